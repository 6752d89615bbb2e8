"""Workloads: a compiled network, the images that its chips are judged on, and by what.

The images of a data set are run in one shuffled order, so the images that a chip has done are a
random sample of all, whoever ran it and whenever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.artifact import MODEL_FILE, Compiled, TensorEntry
from nvmc.compiled.masks import Outputs
from nvmc.data import Dataset, load_data
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.evaluation.ordering import run_ideal
from nvmc.evaluation.plan import MOST_RUNS
from nvmc.evaluation.population import Workload
from nvmc.evaluation.result import Fidelity
from nvmc.hardware.chip import PHYSICS, Chip
from nvmc.hardware.devices import Target
from nvmc.passes.detach_weights import detached, has_fixed_batch, images_a_run
from nvmc.passes.feed_masks import FeedMasks, outputs_kinds
from nvmc.passes.graph.describe import Model, serialized, set_target, tensor_entries
from nvmc.passes.io.load import load_model
from nvmc.passes.two_classes import is_single, two_classes
from nvmc.runtime.feeding import check_first_axis, feed_of
from nvmc.runtime.montecarlo import (
    CircuitNetwork,
    Feed,
    Network,
    evaluate,
    single_threaded_blas,
)
from nvmc.statistics import percentile_index

__all__ = [
    "Options",
    "check_options",
    "data_for",
    "fidelity_of",
    "load_circuit",
    "load_network",
    "set_up",
    "workload_of",
]

CIRCUIT_IMAGES = 256
"""Most images a run of a circuit."""
CIRCUIT_BATCHES = 32
"""How many batches that suit the cache go into a run of a circuit: each run costs Python's time."""


class Options(TypedDict, total=False):
    """What a network is run on, and how: options of `set_up` and all that is built on it.

    Attributes:
        data: A data set or its spec (docs/data.md); None compares with the ideal chip.
        limit: Use the first `limit` images only.
        output: The output that is scored; the first by default.
        fidelity: `cells` or `circuit`; by default what the target needs (`fidelity_of`).
        batch: Images a run, which bounds the memory; by default what suits the cache. Changes
            nothing else.
        mc_passes: Passes of a stochastic network that are averaged (docs/simulate.md); one by
            default.
    """

    data: str | Dataset | None
    limit: int | None
    output: str | None
    fidelity: Fidelity | None
    batch: int | None
    mc_passes: int | None


def set_up(
    compiled: Compiled, target: Target, *, seed: int = 0, **options: Unpack[Options]
) -> Workload:
    """Everything of a simulation but the chips.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        target: What holds its arrays.
        seed: Of inputs that are drawn where there are no data.
        **options: See `Options`.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    data, limit, batch = options.get("data"), options.get("limit"), options.get("batch")
    dataset = load_data(data, limit=limit) if isinstance(data, str) else data
    output = _output(compiled, options.get("output"))
    if dataset is not None:
        scored = next(entry for entry in compiled.manifest.outputs if entry.name == output)
        dataset = data_for(dataset, compiled.manifest.inputs, scored).shuffled()
    check_first_axis(compiled.manifest, output)
    classes = dataset is not None and dataset.y is not None
    exact = load_network(compiled, target, output, classes=classes)
    exact = _with_passes(exact, options.get("mc_passes"))
    network: Network | CircuitNetwork = exact
    if fidelity_of(target, options.get("fidelity")) == "circuit":
        network = load_circuit(compiled, target, output, classes=classes)
        network = replace(network, passes=exact.passes)
    if batch is not None:
        batch = _checked_batch(compiled, batch)
        network, exact = replace(network, batch=batch), replace(exact, batch=batch)
    feed = feed_of(compiled.manifest.inputs, dataset, seed, limit)
    workload, order = _judging(network, exact, feed, dataset)
    return replace(
        workload,
        name=compiled.folder.name,
        identity={
            "physics": PHYSICS,
            "network": _digest(compiled),
            "target": target.model_dump(mode="json"),
            "output": output,
            "fidelity": "circuit" if isinstance(network, CircuitNetwork) else "cells",
            "mc_passes": network.passes if network.masks else None,
            "data": dataset.sha256 if dataset else f"seeded {seed}",
            "images": len(feed),
            "order": hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16],
            "metric": workload.score.metric,
        },
    )


def data_for(dataset: Dataset, inputs: Sequence[TensorEntry], scored: TensorEntry) -> Dataset:
    """What a network takes of a data set, with labels in the shape of its decisions.

    Args:
        dataset: The data set.
        inputs: The network's.
        scored: The output that is judged.

    Raises:
        DataError: An input gets nothing.
    """
    chosen = dataset.for_network([entry.name for entry in inputs])
    shape = scored.shape
    return chosen.for_single(len(shape)) if shape is not None and is_single(shape) else chosen


def _digest(compiled: Compiled) -> str:
    """SHA-256 of the compiled network's model, with its external data."""
    digest = hashlib.sha256()
    for file in sorted(compiled.folder.glob(f"{MODEL_FILE}*")):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def workload_of(model: Model, target: Target, dataset: Dataset) -> Workload:
    """The workload of a compiled network that is in memory, judged on labelled images.

    Args:
        model: A network behind the passes of `nvmc compile`; used up by this.
        target: What holds its arrays.
        dataset: Images and labels.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    if dataset.y is None and dataset.targets is None:
        raise DataError(f"{dataset.name} has no labels; chips are judged by them: add an array y")
    inputs = tensor_entries(model.graph.inputs)
    dataset = data_for(dataset, inputs, tensor_entries(model.graph.outputs)[0]).shuffled()
    feed = feed_of(inputs, dataset, 0, None)
    output, classes = str(model.graph.outputs[0].name), dataset.y is not None
    circuit = None
    if fidelity_of(target) == "circuit":
        circuit = _circuit(model.clone(), target, output, classes)
    exact = _network(model, target, output, classes)
    return _judging(circuit or exact, exact, feed, dataset)[0]


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
    noisy = [source.type for source in target.device.noise if source.stage == "read"]
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


def load_circuit(
    compiled: Compiled, target: Target, output: str | None = None, *, classes: bool = False
) -> CircuitNetwork:
    """The compiled network ready to run as circuits on `target`; see `load_network`.

    Raises:
        OptionError: It has no output of that name.
    """
    name = _output(compiled, output)
    model = load_model(compiled.model_path)
    return _circuit(model, target, name, classes)


def _circuit(model: Model, target: Target, name: str, classes: bool) -> CircuitNetwork:
    """`model`, which is used up by this, as circuits."""
    set_target(model, target)
    batch, fixed = images_a_run(model), has_fixed_batch(model)
    if not fixed:
        batch = min(CIRCUIT_IMAGES, CIRCUIT_BATCHES * batch)
    scored, holds = _scored(model, name, classes)
    feed = FeedMasks()
    feed(model)
    return CircuitNetwork(serialized(model), scored, batch, fixed, holds, feed.masks)


def _scored(model: Model, name: str, classes: bool) -> tuple[str, Outputs]:
    """The output that is scored, and what it holds: one score, where classes count, is two."""
    output = next(output for output in model.graph.outputs if output.name == name)
    if classes and is_single(output.shape):
        return two_classes(model, name)
    return name, outputs_kinds(model)[name]


def _output(compiled: Compiled, output: str | None) -> str:
    names = [entry.name for entry in compiled.manifest.outputs]
    if not compiled.manifest.inputs:
        raise ModelError(f"{str(compiled.folder)!r} has no input to give images to")
    if output is not None and output not in names:
        raise OptionError(f"output {output!r} is unknown; expected one of {', '.join(names)}")
    return output or names[0]


def load_network(
    compiled: Compiled, target: Target, output: str | None = None, *, classes: bool = False
) -> Network:
    """The compiled network ready to run as chips on `target`.

    Args:
        compiled: From `open_compiled`.
        target: What holds its arrays.
        output: The output that is scored; the first by default.
        classes: Whether its classes are scored: a single score is then that of class 1 of two.

    Raises:
        OptionError: It has no output of that name.
        ModelError: It has no input.
        ArtifactError: Its model does not hold the arrays that its manifest lists.
    """
    name = _output(compiled, output)
    network = _network(load_model(compiled.model_path), target, name, classes)
    compiled.check_arrays(array.name for array in network.arrays)
    return network


def _network(model: Model, target: Target, name: str, classes: bool) -> Network:
    """`model`, which is used up by this, as chips."""
    output, holds = _scored(model, name, classes)
    found = detached(model, target)
    return Network(
        found.model,
        found.arrays,
        found.dtypes,
        output,
        found.batch,
        found.fixed,
        holds,
        found.masks,
        stack=found.stack,
    )


def _judging(
    network: Network | CircuitNetwork, exact: Network, feed: Feed, dataset: Dataset | None
) -> tuple[Workload, NDArray[np.int64]]:
    """The workload of a network, and the order of its images, which come in random order.

    Chips are judged by classes or targets, or without them by what the ideal chip behind an ideal
    periphery (`exact`) decides.
    """
    if dataset is not None and dataset.targets is not None:
        network, exact = replace(network, holds="values"), replace(exact, holds="values")
    with single_threaded_blas():
        ideal_run = run_ideal(exact, feed, dataset)
        ideal = ideal_run.ideal
        if isinstance(network, CircuitNetwork):
            ideal = evaluate(network, ideal_run.feed, ideal_run.score, Chip.ideal())
    name = "seeded inputs" if dataset is None else dataset.name
    return Workload(
        network, ideal_run.feed, ideal_run.score, ideal, name, hard=ideal_run.hard
    ), ideal_run.order
