"""The pipeline behind `nvmc simulate`: a compiled network, a population of chips, their yield."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.artifact import Compiled
from nvmc.chip import Chip
from nvmc.data import Dataset, check_labels, load_data
from nvmc.devices import Device, NoiseSource, Target
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.passes.describe import Model, serialized, set_target, tensor_entries
from nvmc.passes.detach_weights import (
    Detached,
    detached,
    detached_network,
    has_fixed_batch,
    images_a_run,
)
from nvmc.passes.feed_masks import FeedMasks, outputs_kinds
from nvmc.passes.load import load_model
from nvmc.result import AtTime, Fidelity, Simulation
from nvmc.runtime.feeding import check_first_axis, feed_of
from nvmc.runtime.montecarlo import (
    CircuitNetwork,
    Feed,
    Network,
    default_jobs,
    evaluate,
    evaluate_chips,
    outputs_of,
    single_threaded_blas,
)
from nvmc.runtime.scoring import Accuracy, Score, score_against
from nvmc.statistics import percentile_index, percentile_performance, summarize

__all__ = [
    "Bench",
    "bench_of",
    "check_options",
    "fidelity_of",
    "load_circuit",
    "load_network",
    "set_up",
    "simulate",
]

MOST_RUNS = 1_000_000
CIRCUIT_IMAGES = 512
"""Most images a run of a circuit."""
CIRCUIT_BATCHES = 32
"""How many batches that suit the cache go into a run of a circuit: each run costs Python's time."""


@dataclass(frozen=True)
class Bench:
    """A network and the images it is judged on: what chips are tried out with.

    Attributes:
        network: The network, to be run as chips.
        feed: The images.
        score: How outputs become one number.
        ideal: Value of the chip whose every cell is on target.
        data: What the images are, for people.
    """

    network: Network | CircuitNetwork
    feed: Feed
    score: Score
    ideal: float
    data: str

    @property
    def mc_passes(self) -> int | None:
        """Stochastic passes that are averaged; None where the network draws nothing."""
        return self.network.passes if self.network.masks else None

    def run(
        self,
        chips: Sequence[Chip],
        *,
        jobs: int,
        on_chip: Callable[[int, float], None] | None = None,
    ) -> NDArray[np.float64]:
        """The value of every chip, in the order of `chips`; shape (len(chips),)."""
        return evaluate_chips(
            self.network, self.feed, self.score, chips, jobs=jobs, on_chip=on_chip
        )


def simulate(
    compiled: Compiled,
    *,
    runs: int = 300,
    data: str | Dataset | None = None,
    device: Device | None = None,
    noise: Iterable[NoiseSource] = (),
    sigma: float | None = None,
    percentile: float = 1.0,
    seed: int = 0,
    jobs: int | None = None,
    limit: int | None = None,
    output: str | None = None,
    fidelity: Fidelity | None = None,
    times_s: Sequence[float] | None = None,
    batch: int | None = None,
    mc_passes: int | None = None,
    on_chip: Callable[[int, float], None] | None = None,
) -> Simulation:
    """Evaluate chips 0 … runs - 1 of population `seed`.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        runs: Number of chips, at least 1.
        data: A data set or its spec (docs/data.md); None compares with the ideal chip.
        device: Another device than the network was compiled for.
        noise: More noise sources behind the device's own.
        sigma: Strength of the device's noise instead of its default.
        percentile: k of the k-th percentile performance.
        seed: Population of chips.
        jobs: Chips in parallel; the cores at hand by default. Changes nothing but the time.
        limit: Use the first `limit` images only.
        output: The output that is scored; the first by default.
        fidelity: `cells` or `circuit`; by default what the target needs (`fidelity_of`).
        times_s: Seconds since programming at which the same chips are evaluated; the device's own
            time by default.
        batch: Images a run, which bounds the memory; by default what suits the cache. Changes
            nothing else.
        mc_passes: Passes of a stochastic network that are averaged (docs/simulate.md); one by
            default.
        on_chip: Called with (chip, value) as each chip is done, from its thread, at every time.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    check_options(runs, jobs, percentile)
    target = compiled.manifest.target.on(device, noise)
    ages = times_s or [None]
    populations = [[Chip.of(target, seed, k, sigma, age) for k in range(runs)] for age in ages]
    images: dict[str, Any] = {"data": data, "seed": seed, "limit": limit, "output": output}
    images |= {"batch": batch, "mc_passes": mc_passes}
    bench = set_up(compiled, target, fidelity=fidelity, **images)
    started = time.perf_counter()
    count = min(jobs or default_jobs(), runs)
    found = [bench.run(chips, jobs=count, on_chip=on_chip) for chips in populations]
    pairs = zip(populations, found, strict=True)
    times = tuple(_at_time(chips, values, percentile) for chips, values in pairs)
    seconds = time.perf_counter() - started
    return _simulation(bench, target, times, seed=seed, sigma=sigma, jobs=count, seconds=seconds)


def _at_time(chips: list[Chip], values: NDArray[np.float64], percentile: float) -> AtTime:
    kpp = percentile_performance(values, percentile)
    return AtTime(chips[0].time_s, values, kpp, summarize(values))


def _simulation(
    bench: Bench,
    target: Target,
    times: tuple[AtTime, ...],
    *,
    seed: int,
    sigma: float | None,
    jobs: int,
    seconds: float,
) -> Simulation:
    circuit = isinstance(bench.network, CircuitNetwork)
    return Simulation(
        metric=bench.score.metric,
        images=len(bench.feed),
        data=bench.data,
        seed=seed,
        target=target,
        sigma=target.device.sigma if sigma is None else sigma,
        fidelity="circuit" if circuit else "cells",
        jobs=jobs,
        mc_passes=bench.mc_passes,
        ideal=bench.ideal,
        times=times,
        seconds=seconds,
    )


def set_up(
    compiled: Compiled,
    target: Target,
    *,
    data: str | Dataset | None = None,
    seed: int = 0,
    limit: int | None = None,
    output: str | None = None,
    fidelity: Fidelity | None = None,
    batch: int | None = None,
    mc_passes: int | None = None,
) -> Bench:
    """Everything of a simulation but the chips; arguments are those of `simulate`.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    exact = _with_passes(load_network(compiled, target, output), mc_passes)
    network: Network | CircuitNetwork = exact
    if fidelity_of(target, fidelity) == "circuit":
        network = replace(load_circuit(compiled, target, output), passes=exact.passes)
    if batch is not None:
        network = replace(network, batch=_checked_batch(compiled, batch))
    dataset = load_data(data, limit=limit) if isinstance(data, str) else data
    check_first_axis(compiled.manifest, network.output)
    feed = feed_of(compiled.manifest.inputs, dataset, seed, limit)
    with single_threaded_blas():
        score, ideal = _score(network, exact, feed, dataset)
    return Bench(network, feed, score, ideal, dataset.name if dataset else "seeded inputs")


def bench_of(model: Model, target: Target, dataset: Dataset) -> Bench:
    """The bench of a compiled network that is in memory, judged on labelled images.

    Args:
        model: A network behind the passes of `nvmc compile`; used up by this.
        target: What holds its arrays.
        dataset: Images and labels.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    if dataset.y is None:
        raise DataError(f"{dataset.name} has no labels; chips are judged by them: add an array y")
    feed = feed_of(tensor_entries(model.graph.inputs), dataset, 0, None)
    output = str(model.graph.outputs[0].name)
    circuit = None
    if fidelity_of(target) == "circuit":
        circuit = _circuit(model.clone(), target, output)
    exact = _network(detached(model, target), output)
    with single_threaded_blas():
        score, ideal = _score(circuit or exact, exact, feed, dataset)
    return Bench(circuit or exact, feed, score, ideal, dataset.name)


def _with_passes(network: Network, passes: int | None) -> Network:
    """`network`, every image of which is run so many times."""
    if passes is None:
        return network
    if passes < 1:
        raise OptionError(f"mc-passes is {passes}; expected at least 1")
    if passes > 1 and not network.masks:
        raise OptionError(
            f"mc-passes is {passes}, but the network draws nothing at inference, so all passes "
            "are equal; compile it with --pass insert-dropout:active=true or "
            "invert-normalization:active=true, or leave mc-passes out"
        )
    return replace(network, passes=passes)


def _checked_batch(compiled: Compiled, batch: int) -> int:
    fixed = next(iter(compiled.manifest.inputs[0].shape or ()), None)
    if batch < 1 or (isinstance(fixed, int) and batch != fixed):
        expected = "at least 1" if not isinstance(fixed, int) else f"{fixed}, as the network has"
        raise OptionError(f"batch is {batch}; expected {expected}")
    return batch


def check_options(runs: int, jobs: int | None, percentile: float) -> None:
    """Complain about options now rather than after the runs.

    Raises:
        OptionError: One of them is out of range.
    """
    if not 1 <= runs <= MOST_RUNS:
        raise OptionError(f"runs is {runs}; expected 1 to {MOST_RUNS:,}")
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs is {jobs}; expected at least 1")
    percentile_index(runs, percentile)


def fidelity_of(target: Target, wanted: Fidelity | None = None) -> Fidelity:
    """The fidelity that chips on `target` are simulated at.

    Args:
        target: The cells and their periphery.
        wanted: What the user asks for; None for the lowest that says all of the target.

    Raises:
        OptionError: Cells are asked for, but reads are noisy, which no set of weights shows.
    """
    noisy = [source.type for source in target.device.noise if source.place == "read"]
    if wanted == "cells":
        if noisy:
            raise OptionError(
                f"noise source {noisy[0]!r} of device {target.device.name!r} is fresh at every "
                "read, which fidelity 'cells' cannot show; use fidelity 'circuit'"
            )
        return "cells"
    if wanted not in (None, "circuit"):
        raise OptionError(f"fidelity is {wanted!r}; expected cells or circuit")
    return "circuit" if wanted or noisy or not target.periphery.ideal else "cells"


def load_circuit(compiled: Compiled, target: Target, output: str | None = None) -> CircuitNetwork:
    """The compiled network ready to run as circuits on `target`.

    Raises:
        OptionError: It has no output of that name.
    """
    name = _output(compiled, output)
    model = load_model(compiled.model_path)
    return _circuit(model, target, name)


def _circuit(model: Model, target: Target, name: str) -> CircuitNetwork:
    """`model`, which is used up by this, as circuits."""
    set_target(model, target)
    batch, fixed = images_a_run(model), has_fixed_batch(model)
    if not fixed:
        batch = min(CIRCUIT_IMAGES, CIRCUIT_BATCHES * batch)
    holds, feed = outputs_kinds(model), FeedMasks()
    feed(model)
    return CircuitNetwork(serialized(model), name, batch, fixed, holds[name], feed.masks)


def _output(compiled: Compiled, output: str | None) -> str:
    names = [entry.name for entry in compiled.manifest.outputs]
    if not compiled.manifest.inputs:
        raise ModelError(f"{str(compiled.folder)!r} has no input to give images to")
    if output is not None and output not in names:
        raise OptionError(f"output {output!r} is unknown; expected one of {', '.join(names)}")
    return output or names[0]


def load_network(compiled: Compiled, target: Target, output: str | None = None) -> Network:
    """The compiled network ready to run as chips on `target`.

    Raises:
        OptionError: It has no output of that name.
        ModelError: It has no input.
        ArtifactError: Its model does not hold the arrays that its manifest lists.
    """
    name = _output(compiled, output)
    found = detached_network(compiled.model_path, target)
    compiled.check_arrays(array.name for array in found.arrays)
    return _network(found, name)


def _network(found: Detached, output: str) -> Network:
    return Network(
        found.model,
        found.arrays,
        found.dtypes,
        output,
        found.batch,
        found.fixed,
        found.holds[output],
        found.masks,
        stack=found.stack,
    )


def _score(
    network: Network | CircuitNetwork, exact: Network, feed: Feed, dataset: Dataset | None
) -> tuple[Score, float]:
    """What chips are scored by, and the value of the chip whose every cell is on target.

    Without labels the reference is that chip behind an ideal periphery (`exact`).
    """
    if dataset is not None and dataset.y is not None:
        first = outputs_of(exact, Feed({k: v[:1] for k, v in feed.inputs.items()}), Chip.ideal())
        if first.ndim < 2 or first.shape[1] < 2:
            raise DataError(
                f"output {network.output!r} has shape {list(first.shape)}, which is no classes to "
                "hold labels against; choose another with --output, or leave the labels out"
            )
        check_labels(dataset, first.shape[1])
        score: Score = Accuracy(dataset.y)
        return score, evaluate(network, feed, score, Chip.ideal())
    score = score_against(outputs_of(exact, feed, Chip.ideal()))
    if isinstance(network, Network):
        return score, 1.0
    return score, evaluate(network, feed, score, Chip.ideal())
