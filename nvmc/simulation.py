"""The pipeline behind `nvmc simulate`: a compiled network, a population of chips, their yield."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.artifact import Compiled, Manifest, TensorEntry
from nvmc.chip import Chip
from nvmc.data import Dataset, check_labels, check_shape, load_data
from nvmc.devices import Device, NoiseSource, Target
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.passes.detach_weights import detached_network
from nvmc.rng import stream
from nvmc.runtime.montecarlo import (
    Feed,
    Network,
    default_jobs,
    evaluate,
    evaluate_chips,
    outputs_of,
)
from nvmc.runtime.scoring import Accuracy, Score, score_against
from nvmc.statistics import Kpp, Summary, percentile_index, percentile_performance, summarize

__all__ = ["FORMAT", "Simulation", "load_network", "simulate"]

FORMAT = "nvmc.simulation/1"
MOST_RUNS = 1_000_000
SEEDED_INPUTS = 64
"""Inputs drawn when there are no data and no limit."""


@dataclass(frozen=True)
class Simulation:
    """What a population of chips is worth.

    Attributes:
        metric: `accuracy`; without labels `agreement` (or `r2`) with the ideal chip.
        images: Images each chip was run on.
        ideal: Value of the chip whose every cell is on target.
        values: One value a chip, in chip order, shape (runs,).
        kpp: K-th percentile performance and its interval.
        summary: Mean, standard deviation, minimum.
        seconds: Wall time of the runs.
    """

    metric: str
    images: int
    data: str
    seed: int
    target: Target
    sigma: float | None
    jobs: int
    ideal: float
    values: NDArray[np.float64]
    kpp: Kpp
    summary: Summary
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc simulate --json` prints it; docs/simulate.md names the keys."""
        return {
            "format": FORMAT,
            "metric": self.metric,
            "runs": len(self.values),
            "images": self.images,
            "data": self.data,
            "seed": self.seed,
            "device": self.target.device.name,
            "sigma": self.sigma,
            "fidelity": "cells",
            "ideal": self.ideal,
            "mean": self.summary.mean,
            "std": self.summary.std,
            "min": self.summary.min,
            "percentile": {
                "k": self.kpp.k,
                "value": self.kpp.value,
                "low": self.kpp.low,
                "high": self.kpp.high,
                "confidence": self.kpp.confidence,
                "runs_needed": self.kpp.runs_needed,
            },
            "values": self.values.tolist(),
            "seconds": self.seconds,
        }


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
        on_chip: Called with (chip, value) as each chip is done, from its thread.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    _check(runs, jobs, percentile)
    target = compiled.manifest.target.on(device, noise)
    chips = [Chip.of(target, seed, index, sigma) for index in range(runs)]
    network = load_network(compiled, target, output)
    dataset = load_data(data, limit=limit) if isinstance(data, str) else data
    _check_first_axis(compiled.manifest, network.output)
    feed = _feed(compiled.manifest.inputs, dataset, seed, limit)
    started = time.perf_counter()
    score, ideal = _score(network, feed, dataset)
    count = min(jobs or default_jobs(), runs)
    values = evaluate_chips(network, feed, score, chips, jobs=count, on_chip=on_chip)
    return Simulation(
        metric=score.metric,
        images=len(feed),
        data=dataset.name if dataset is not None else "seeded inputs",
        seed=seed,
        target=target,
        sigma=target.device.sigma if sigma is None else sigma,
        jobs=count,
        ideal=ideal,
        values=values,
        kpp=percentile_performance(values, percentile),
        summary=summarize(values),
        seconds=time.perf_counter() - started,
    )


def _check(runs: int, jobs: int | None, percentile: float) -> None:
    """Complain about options now rather than after the runs."""
    if not 1 <= runs <= MOST_RUNS:
        raise OptionError(f"runs is {runs}; expected 1 to {MOST_RUNS:,}")
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs is {jobs}; expected at least 1")
    percentile_index(runs, percentile)


def _check_first_axis(manifest: Manifest, output: str) -> None:
    """Complain where images are known to lie along another axis of an input than the first."""
    scored = next(entry for entry in manifest.outputs if entry.name == output)
    images = scored.shape[0] if scored.shape else None
    for entry in manifest.inputs:
        shape = entry.shape or [None]
        if isinstance(images, str) and images in shape[1:] and shape[0] != images:
            raise ModelError(
                f"input {entry.name!r} has shape {shape} with its images along {images!r}; "
                "expected them along the first axis: export the network batch first"
            )


def load_network(compiled: Compiled, target: Target, output: str | None = None) -> Network:
    """The compiled network ready to run as chips on `target`.

    Raises:
        OptionError: It has no output of that name.
        ModelError: It has no input.
        ArtifactError: Its model does not hold the arrays that its manifest lists.
    """
    names = [entry.name for entry in compiled.manifest.outputs]
    if not compiled.manifest.inputs:
        raise ModelError(f"{str(compiled.folder)!r} has no input to give images to")
    if output is not None and output not in names:
        raise OptionError(f"output {output!r} is unknown; expected one of {', '.join(names)}")
    detached = detached_network(compiled.model_path, target)
    compiled.check_arrays(array.name for array in detached.arrays)
    return Network(
        detached.model, detached.arrays, detached.dtypes, output or names[0], detached.batch
    )


def _score(network: Network, feed: Feed, dataset: Dataset | None) -> tuple[Score, float]:
    """What chips are scored by, and the ideal chip's value."""
    if dataset is not None and dataset.y is not None:
        first = outputs_of(network, Feed({k: v[:1] for k, v in feed.inputs.items()}), Chip.ideal())
        if first.ndim < 2 or first.shape[1] < 2:
            raise DataError(
                f"output {network.output!r} has shape {list(first.shape)}, which is no classes to "
                "hold labels against; choose another with --output, or leave the labels out"
            )
        check_labels(dataset, first.shape[1])
        score: Score = Accuracy(dataset.y)
        return score, evaluate(network, feed, score, Chip.ideal())
    score = score_against(outputs_of(network, feed, Chip.ideal()))
    return score, 1.0


def _feed(inputs: list[TensorEntry], dataset: Dataset | None, seed: int, limit: int | None) -> Feed:
    if dataset is None:
        count = SEEDED_INPUTS if limit is None else limit
        if count < 1:
            raise OptionError(f"limit is {count}; expected at least 1")
        return Feed({entry.name: _seeded(entry, count, seed) for entry in inputs})
    if len(inputs) != 1:
        names = ", ".join(entry.name for entry in inputs)
        raise DataError(
            f"the network has {len(inputs)} inputs ({names}); data can be given for one: leave "
            "--data out to compare with the ideal chip on seeded inputs"
        )
    entry = inputs[0]
    if entry.shape is not None:
        check_shape(dataset, entry.shape)
    return Feed({entry.name: dataset.x.astype(entry.dtype, copy=False)})


def _seeded(entry: TensorEntry, count: int, seed: int) -> NDArray[Any]:
    """`count` inputs: uniform in [0, 1) when real, zeros and ones when whole numbers."""
    shape = (entry.shape or [None])[1:]
    if any(not isinstance(size, int) for size in shape) or not entry.shape:
        raise DataError(
            f"input {entry.name!r} has shape {entry.shape}; expected images along the first axis "
            "and fixed sizes behind it: export it so, or give --data FILE.npz"
        )
    sizes = [size for size in shape if isinstance(size, int)]
    draws = stream(seed, 0, "input", entry.name).random((count, *sizes), dtype=np.float32)
    kind = np.dtype(entry.dtype)
    return draws.astype(kind) if kind.kind == "f" else (draws < 0.5).astype(kind)
