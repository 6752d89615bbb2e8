"""Workloads: a compiled network, the images that its chips are judged on, and by what.

The images of a data set are run in one shuffled order, so the images that a chip has done are a
random sample of all, whoever ran it and whenever.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.artifact import Compiled
from nvmc.compiled.masks import Outputs
from nvmc.compiled.options import LOOPED
from nvmc.data import Data, Dataset, load_data
from nvmc.errors import ModelError, OptionError
from nvmc.evaluation.description import Fidelity
from nvmc.evaluation.detecting import boxes_of, one_by_one
from nvmc.evaluation.networks import circuit_of, network_of
from nvmc.evaluation.ordering import run_ideal
from nvmc.evaluation.plan import MOST_RUNS
from nvmc.evaluation.population import Workload
from nvmc.evaluation.reading import BatchAxes, Reading, Wanted, input_axes, parse_batch_axes
from nvmc.evaluation.scoring import Probe, read
from nvmc.evaluation.tuning import NO_TUNING, Judged, Tuning, tuned
from nvmc.hardware.chip import PHYSICS, Chip
from nvmc.hardware.devices import Target
from nvmc.metrics import Metric, as_metric
from nvmc.passes.arrange_axes import classes_second, images_first, log_probabilities
from nvmc.passes.bind_inputs import fix_sizes
from nvmc.passes.feed_masks import draws_numbers, outputs_kinds
from nvmc.passes.graph.describe import Model, tensor_entries
from nvmc.passes.graph.mappable import reads_by_turns
from nvmc.passes.graph.sizes import check_runs
from nvmc.passes.io.load_compiled import load_compiled
from nvmc.passes.two_classes import two_classes
from nvmc.passes.vary_activations import activation_sources
from nvmc.runtime.averaging import kind_of
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.feeding import check_first_axis, feed_of
from nvmc.runtime.montecarlo import (
    CircuitNetwork,
    Feed,
    Network,
    evaluate,
    outputs_of_some,
)
from nvmc.runtime.seeded import seeded_text
from nvmc.statistics import percentile_index

__all__ = [
    "Options",
    "check_options",
    "circuit_of",
    "fidelity_of",
    "network_of",
    "set_up",
]

PROBED = 16
"""Most images that are run to see what an output holds."""


class Options(TypedDict, total=False):
    """What a network is run on, and how: options of `set_up` and all that is built on it.

    Attributes:
        data: A data set, its spec (docs/data.md), or a pair of arrays (x, y); None compares with
            the ideal chip.
        limit: Use the first `limit` images only.
        output: The output that is scored; by default the first that fits what is known of the
            images, and class scores rather than the class numbers that are made of them.
        class_axis: Its axis of the classes; from shapes and labels by default.
        batch_axis: Its axis of images (`1`), those of inputs and outputs by name (`y=1,x=1`), or
            `none` for a network that takes one image at a time; the first by default.
        metric: Name of the metric (`nvmc.metrics.METRICS`), or one of your own (docs/metrics.md);
            by default the one that suits the data.
        fidelity: `cells` or `circuit`; by default what the target needs (`fidelity_of`).
        batch: Images per run, which bounds the memory; by default what suits the cache. Changes
            nothing else.
        mc_passes: Passes of a stochastic network that are averaged (docs/simulate.md); one by
            default.
    """

    data: Data | None
    limit: int | None
    output: str | None
    class_axis: int | None
    batch_axis: str | None
    metric: Any
    fidelity: Fidelity | None
    batch: int | None
    mc_passes: int | None


def set_up(
    compiled: Compiled | Model,
    target: Target,
    *,
    seed: int = 0,
    probabilities: bool = False,
    tuning: Tuning = NO_TUNING,
    **options: Unpack[Options],
) -> Workload:
    """Everything of a simulation but the chips.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`; or a network in memory behind the
            passes of `nvmc compile`, which is used up by this and whose chips no store can keep.
        target: What holds its arrays.
        seed: Of inputs that are drawn where there are no data.
        tuning: What chips do against their noise, and the images for that.
        probabilities: Whether class scores are to be read as probabilities.
        **options: See `Options`.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    data, limit = options.get("data"), options.get("limit")
    dataset, metric = _asked(options)
    model = load_compiled(compiled) if isinstance(compiled, Compiled) else compiled
    dataset, axes = _with_images_first(model, target, dataset, options)
    feed, name = _fed(model, target, dataset, seed, limit)
    probe = _probe_of(model, target, feed)
    reading = _reading(model, dataset, axes, options, metric, probe)
    dataset = dataset and reading.arranged(dataset)
    output, holds = _scored(model, reading, metric, probe, probabilities)
    corrected = model.clone() if tuning.looks else None
    circuit, turns, classes = None, reads_by_turns(model), _classes_of(model, output)
    if fidelity_of(target, options.get("fidelity")) == "circuit":
        circuit = circuit_of(model.clone(), target, output)
    exact = network_of(model, target, output)
    changes = {"holds": holds, **_changes(exact, reading, options, metric, len(feed))}
    exact = replace(exact, **changes)
    with single_threaded_blas():
        run = run_ideal(exact, feed, dataset, metric, classes)
        network = exact = replace(exact, shape=run.shape)
        if circuit is not None:
            network = replace(circuit, **changes, shape=run.shape, turns=_turns(model, feed))
        ideal = run.ideal if network is exact else None  # converters round on an ideal chip, too
        if ideal is None:
            ideal = evaluate(network, run.feed, run.metric, Chip.ideal())
    judged: Any = {"hard": run.hard, "limit": limit, "reading": reading}
    workload = Workload(network, run.feed, run.metric, ideal, name, **judged)
    on = Judged(data, dataset, seed)
    if not isinstance(compiled, Compiled):
        return tuned(workload, tuning, corrected, target, exact.arrays, on)
    identity = {
        **{"physics": PHYSICS, "network": compiled.network_sha256},
        "target": target.model_dump(mode="json"),
        "data": dataset.sha256 if dataset else f"seeded {seed}",
        **_identity(workload, run.order, turns),
    }
    named: Any = {"identity": identity, **_said_of(compiled, dataset)}
    return tuned(replace(workload, **named), tuning, corrected, target, exact.arrays, on)


def _asked(options: Options) -> tuple[Dataset | None, type[Metric] | None]:
    """The data as the metric takes them, without labels where it is one against the ideal chip."""
    data, metric = options.get("data"), as_metric(options.get("metric"))
    dataset = None if data is None else load_data(data, limit=options.get("limit"))
    if dataset is None or metric is None or not metric.reference.startswith("ideal"):
        return dataset, metric
    return replace(dataset, y=None, targets=None), metric


def _said_of(compiled: Compiled, dataset: Dataset | None) -> dict[str, Any]:
    """What its manifest and the data say that every result repeats."""
    said = compiled.manifest
    return {
        "name": compiled.folder.name,
        "data_note": "" if dataset is None else dataset.note,
        "mapped_share": said.mapped_share,
        "clip": said.options.clip,
        "activation_bits": said.options.activation_bits,
        "against_source": said.against_source,
    }


def _classes_of(model: Model, output: str) -> int | None:
    """How many classes the shape of an output has, along axis 1; None where it does not say."""
    shape = next(value.shape for value in model.graph.outputs if value.name == output)
    size = None if shape is None or len(shape) < 2 else shape[1]
    return size if isinstance(size, int) else None


def _identity(workload: Workload, order: NDArray[np.int64], turns: bool) -> dict[str, Any]:
    """What decides values beside the network, its target and the images."""
    network = workload.network
    return {
        "order": hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16],
        "output": workload.reading.output,
        "fidelity": workload.fidelity,
        "mc_passes": workload.mc_passes,
        "images": len(workload.feed),
        "metric": _name_of(workload.metric),
        **workload.reading.identity,
        **({"batch": network.batch} if isinstance(network, CircuitNetwork) and turns else {}),
    }


def _fed(
    model: Model, target: Target, dataset: Dataset | None, seed: int, limit: int | None
) -> tuple[Feed, str]:
    """The images, and what they are; what a network draws is drawn for images of their sizes."""
    check_runs(model)
    inputs = tensor_entries(model.graph.inputs)
    feed = feed_of(inputs, dataset, seed, limit)
    if draws_numbers(model) or activation_sources(target.device.noise):
        fix_sizes(model, {name: images.shape[1:] for name, images in feed.inputs.items()})
    return feed, seeded_text(inputs) if dataset is None else dataset.name


def _turns(model: Model, feed: Feed) -> int:
    """How often a run reads the arrays for the same images."""
    looped = LOOPED in model.metadata_props
    return next(iter(feed.inputs.values())).shape[1] if looped else 1


def _with_images_first(
    model: Model, target: Target, dataset: Dataset | None, options: Options
) -> tuple[Dataset | None, BatchAxes | None]:
    """Let the network take images along the first axis.

    Returns:
        What it takes of the data, shuffled, and where its outputs have images; None where nothing
        is said of that.
    """
    inputs, outputs = tensor_entries(model.graph.inputs), tensor_entries(model.graph.outputs)
    if not inputs:
        raise ModelError("the compiled network has no input to give images to")
    names = [entry.name for entry in (*inputs, *outputs)]
    given = parse_batch_axes(options.get("batch_axis"), names)
    if given is None:
        check_first_axis(inputs, outputs)
    if dataset is not None:
        dataset = dataset.for_network(names[: len(inputs)]).shuffled()
    axes = input_axes(inputs, outputs, dataset, given)
    if None in axes.values():
        noisy = activation_sources(target.device.noise)
        if noisy or draws_numbers(model):
            who = "noise of activations is drawn" if noisy else "the network draws numbers"
            raise ModelError(
                f"{who} at inference, and the network takes one image at a time, so every "
                "image would get the same; export it with an axis of images"
            )
        given = given or dict.fromkeys(["", *names])
    images_first(model, axes)
    return dataset, given


def _probe_of(model: Model, target: Target, feed: Feed) -> Probe:
    """What the ideal chip puts out for some of the images."""

    def probe(name: str) -> NDArray[Any]:
        with single_threaded_blas():
            return outputs_of_some(network_of(model.clone(), target, name), feed, PROBED)

    return probe


def _reading(
    model: Model,
    dataset: Dataset | None,
    axes: BatchAxes | None,
    options: Options,
    metric: type[Metric] | None,
    probe: Probe,
) -> Reading:
    """How the scored output is read; the ideal chip is run where shapes do not tell."""
    if metric is not None and metric.detects:
        return boxes_of(model, dataset, options.get("output"), options.get("class_axis"), metric)
    named = options.get("output"), options.get("class_axis"), metric and metric.name
    return read(model, dataset, Wanted(*named, axes), probe)


def _changes(
    network: Network,
    reading: Reading,
    options: Options,
    metric: type[Metric] | None,
    images: int,
) -> dict[str, Any]:
    """What the options change of a network: passes per image, images per run, all at most."""
    changes: dict[str, Any] = {}
    passes, batch = options.get("mc_passes"), options.get("batch")
    if passes is not None:
        if passes < 1:
            raise OptionError(f"--mc-passes is {passes}; expected at least 1")
        if passes > 1 and not network.draws:
            raise OptionError(
                f"--mc-passes is {passes}, but the network has no random layers, so all passes "
                "are equal; compile it with --pass insert-dropout:active=true or "
                "invert-normalization:active=true, or leave --mc-passes out"
            )
        if passes > 1 and reading.holds == "class numbers":
            raise OptionError(
                f"output {reading.output!r} holds class numbers, whose mean over passes says "
                "nothing; choose an output of class scores with --output"
            )
        if passes > 1 and metric is not None and metric.log_probabilities:
            raise OptionError(f"--mc-passes is {passes}; expected 1 with metric {metric.name!r}")
        changes["passes"] = passes
    if batch is not None:
        if batch < 1 or (network.fixed and batch != network.batch):
            expected = f"{network.batch}, as the network has" if network.fixed else "at least 1"
            raise OptionError(f"batch is {batch}; expected {expected}")
        changes["batch"] = batch if network.fixed else min(batch, images)
    return one_by_one(changes, metric, network.fixed)


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
        OptionError: Cells are asked for, but reads are noisy or cells not linear, which no set of
            weights shows; or cells cannot be read as the target says.
    """
    target.check_reading()
    noisy = [(s.type, d.name) for d in target.devices for s in d.noise if s.acts_in == "read"]
    if wanted == "cells":
        if noisy:
            raise OptionError(
                f"noise source {noisy[0][0]!r} of device {noisy[0][1]!r} is fresh at every "
                "read, which fidelity 'cells' cannot show; use fidelity 'circuit'"
            )
        if any(part.iv is not None for part in target.variants):
            raise OptionError(
                "cells read at a voltage (--read-v) are not linear, which fidelity 'cells' cannot "
                "show; use fidelity 'circuit'"
            )
        return "cells"
    if wanted not in (None, "circuit"):
        raise OptionError(f"fidelity is {wanted!r}; expected cells or circuit")
    return "circuit" if wanted or noisy or not target.ideal else "cells"


def _name_of(metric: Metric) -> str:
    """A metric's name in the key of results."""
    return metric.name if metric.version == 1 else f"{metric.name} {metric.version}"


def _scored(
    model: Model,
    reading: Reading,
    metric: type[Metric] | None,
    probe: Probe,
    probabilities: bool,
) -> tuple[str, Outputs]:
    """The output in the form that is scored, and what it holds: one score is made two.

    Where probabilities are asked for, the ideal chip tells those from other scores that no softmax
    at the end of the graph gives away.
    """
    holds = outputs_kinds(model)[reading.output]
    name = classes_second(model, reading.output, reading.batch_axis, reading.class_axis)
    asked = probabilities or draws_numbers(model)
    likely = metric is not None and metric.log_probabilities
    asked = asked or likely
    if asked and holds == "scores" and reading.holds == "class scores":
        holds = kind_of(probe(name))
    if reading.holds in ("one score", "label scores"):
        name, holds = two_classes(model, name, apart=reading.holds == "label scores")
    if metric is not None and likely:
        if reading.holds not in ("class scores", "one score", "label scores"):
            raise OptionError(
                f"metric {metric.name!r} wants class scores, but output {reading.output!r} holds "
                f"{reading.holds}; choose another with --output"
            )
        return log_probabilities(model, name, holds), "log-probabilities"
    if reading.holds == "values":
        return name, "values"
    return name, "classes" if reading.holds == "class numbers" else holds
