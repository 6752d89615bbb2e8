"""Workloads: a compiled network, the images that its chips are judged on, and by what.

The images of a data set are run in one shuffled order, so the images that a chip has done are a
random sample of all, whoever ran it and whenever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from nvmc.compiled.artifact import MODEL_FILE, Compiled, TensorEntry
from nvmc.compiled.masks import Outputs
from nvmc.data import Data, Dataset, load_data
from nvmc.errors import ModelError, OptionError, unknown
from nvmc.evaluation.description import Fidelity
from nvmc.evaluation.ordering import run_ideal
from nvmc.evaluation.plan import MOST_RUNS
from nvmc.evaluation.population import Workload
from nvmc.hardware.chip import PHYSICS, Chip
from nvmc.hardware.devices import Target
from nvmc.passes.detach_weights import detached, has_fixed_batch, images_a_run
from nvmc.passes.feed_masks import FeedMasks, outputs_kinds
from nvmc.passes.graph.describe import Model, serialized, set_target, tensor_entries
from nvmc.passes.io.load import load_model
from nvmc.passes.two_classes import is_single, two_classes
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.feeding import check_first_axis, feed_of
from nvmc.runtime.montecarlo import (
    CircuitNetwork,
    Network,
    evaluate,
)
from nvmc.statistics import percentile_index

__all__ = [
    "Options",
    "check_options",
    "circuit_of",
    "data_for",
    "fidelity_of",
    "network_of",
    "set_up",
]

CIRCUIT_IMAGES = 256
"""Most images a run of a circuit."""
CIRCUIT_BATCHES = 32
"""How many batches that suit the cache go into a run of a circuit: each run costs Python's time."""


class Options(TypedDict, total=False):
    """What a network is run on, and how: options of `set_up` and all that is built on it.

    Attributes:
        data: A data set, its spec (docs/data.md), or a pair of arrays (x, y); None compares with
            the ideal chip.
        limit: Use the first `limit` images only.
        output: The output that is scored; the first by default.
        metric: Name of the metric (`nvmc.metrics.METRICS`); by default the one that suits the data.
        fidelity: `cells` or `circuit`; by default what the target needs (`fidelity_of`).
        batch: Images per run, which bounds the memory; by default what suits the cache. Changes
            nothing else.
        mc_passes: Passes of a stochastic network that are averaged (docs/simulate.md); one by
            default.
    """

    data: Data | None
    limit: int | None
    output: str | None
    metric: str | None
    fidelity: Fidelity | None
    batch: int | None
    mc_passes: int | None


def set_up(
    compiled: Compiled | Model, target: Target, *, seed: int = 0, **options: Unpack[Options]
) -> Workload:
    """Everything of a simulation but the chips.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`; or a network in memory behind the
            passes of `nvmc compile`, which is used up by this and whose chips no store can keep.
        target: What holds its arrays.
        seed: Of inputs that are drawn where there are no data.
        **options: See `Options`.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    data, limit = options.get("data"), options.get("limit")
    dataset = None if data is None else load_data(data, limit=limit)
    model = load_model(compiled.model_path) if isinstance(compiled, Compiled) else compiled
    inputs, outputs = tensor_entries(model.graph.inputs), tensor_entries(model.graph.outputs)
    scored = _scored_entry(inputs, outputs, options.get("output"))
    if dataset is not None:
        dataset = data_for(dataset, inputs, scored).shuffled()
    check_first_axis(inputs, scored)
    classes = dataset is not None and dataset.y is not None
    circuit = None
    if fidelity_of(target, options.get("fidelity")) == "circuit":
        circuit = circuit_of(model.clone(), target, scored.name, classes=classes)
    exact = network_of(model, target, scored.name, classes=classes)
    if isinstance(compiled, Compiled):
        compiled.check_arrays(array.name for array in exact.arrays)
    changes = _changes(exact, options)
    if dataset is not None and dataset.targets is not None:
        changes["holds"] = "values"
    exact = replace(exact, **changes)
    network = exact if circuit is None else replace(circuit, **changes)
    feed = feed_of(inputs, dataset, seed, limit)
    with single_threaded_blas():
        run = run_ideal(exact, feed, dataset, options.get("metric"))
        # The run is of cells: a circuit's ideal chip has converters that round.
        ideal = run.ideal if network is exact else None
        if ideal is None:
            ideal = evaluate(network, run.feed, run.metric, Chip.ideal())
    name = "seeded inputs" if dataset is None else dataset.name
    workload = Workload(network, run.feed, run.metric, ideal, name, hard=run.hard, limit=limit)
    if not isinstance(compiled, Compiled):
        return workload
    identity = {
        "physics": PHYSICS,
        "network": _digest(compiled),
        "target": target.model_dump(mode="json"),
        "output": scored.name,
        "fidelity": workload.fidelity,
        "mc_passes": workload.mc_passes,
        "data": dataset.sha256 if dataset else f"seeded {seed}",
        "images": len(feed),
        "order": hashlib.sha256(run.order.astype("<i8").tobytes()).hexdigest()[:16],
        "metric": workload.metric.name,
    }
    return replace(workload, name=compiled.folder.name, identity=identity)


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


def _changes(network: Network, options: Options) -> dict[str, Any]:
    """What the options change of a network: passes per image, images per run."""
    changes: dict[str, Any] = {}
    passes, batch = options.get("mc_passes"), options.get("batch")
    if passes is not None:
        if passes < 1:
            raise OptionError(f"mc-passes is {passes}; expected at least 1")
        if passes > 1 and not network.masks:
            raise OptionError(
                f"mc-passes is {passes}, but the network draws nothing at inference, so all passes "
                "are equal; compile it with --pass insert-dropout:active=true or "
                "invert-normalization:active=true, or leave mc-passes out"
            )
        changes["passes"] = passes
    if batch is not None:
        if batch < 1 or (network.fixed and batch != network.batch):
            expected = f"{network.batch}, as the network has" if network.fixed else "at least 1"
            raise OptionError(f"batch is {batch}; expected {expected}")
        changes["batch"] = batch
    return changes


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


def circuit_of(
    model: Model, target: Target, output: str, *, classes: bool = False
) -> CircuitNetwork:
    """A compiled network ready to run as circuits on `target`; see `network_of`."""
    set_target(model, target)
    batch, fixed = images_a_run(model), has_fixed_batch(model)
    if not fixed:
        batch = min(CIRCUIT_IMAGES, CIRCUIT_BATCHES * batch)
    scored, holds = _scored(model, output, classes)
    feed = FeedMasks()
    feed(model)
    return CircuitNetwork(serialized(model), scored, batch, fixed, holds, feed.masks)


def network_of(model: Model, target: Target, output: str, *, classes: bool = False) -> Network:
    """A compiled network ready to run as chips on `target`.

    Args:
        model: Of a compiled network; used up by this.
        target: What holds its arrays.
        output: The output that is scored.
        classes: Whether its classes are scored: a single score is then that of class 1 of two.

    Raises:
        ArtifactError: It is not a compiled network.
    """
    scored, holds = _scored(model, output, classes)
    found = detached(model, target)
    return Network(
        found.model,
        found.arrays,
        found.dtypes,
        scored,
        found.batch,
        found.fixed,
        holds,
        found.masks,
        stack=found.stack,
    )


def _scored(model: Model, name: str, classes: bool) -> tuple[str, Outputs]:
    """The output that is scored, and what it holds: one score, where classes count, is two."""
    output = next(output for output in model.graph.outputs if output.name == name)
    if classes and is_single(output.shape):
        return two_classes(model, name)
    return name, outputs_kinds(model)[name]


def _scored_entry(
    inputs: Sequence[TensorEntry], outputs: Sequence[TensorEntry], name: str | None
) -> TensorEntry:
    if not inputs:
        raise ModelError("the compiled network has no input to give images to")
    if name is None:
        return outputs[0]
    for entry in outputs:
        if entry.name == name:
            return entry
    raise OptionError(unknown("output", name, [entry.name for entry in outputs]))
