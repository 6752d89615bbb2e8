"""Networks whose chips are calibrated on images: what they take, and what it costs them.

Each chip runs the calibration images once, in a network that puts out its corrections
(`nvmc.passes.correct_layers`), and is then judged in one that takes them. The images are the same
for all chips, and so is what the ideal chip makes of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.data import Data, Dataset, load_data
from nvmc.data.items import counted_items
from nvmc.errors import DataError, OptionError
from nvmc.evaluation.description import Compensated
from nvmc.evaluation.marking import curvatures_of, marks_of
from nvmc.evaluation.networks import circuit_of, network_of
from nvmc.evaluation.population import Workload
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.compensation import Affine, BatchNorm, Compensation, Corrected, Verify
from nvmc.hardware.devices import Target
from nvmc.passes.correct_layers import IDEAL, Correction, CorrectLayers, hold_inputs
from nvmc.passes.detach_weights import has_fixed_batch, images_a_run
from nvmc.passes.feed_masks import draws_numbers
from nvmc.passes.graph.describe import Model, tensor_entries
from nvmc.passes.vary_activations import activation_sources
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.feeding import feed_of
from nvmc.runtime.layout import Layouts
from nvmc.runtime.montecarlo import CircuitNetwork, Feed, corrections_by, open_session
from nvmc.runtime.networks import Trial
from nvmc.runtime.seeded import seeded_text
from nvmc.runtime.sessions import run_once

__all__ = ["NO_TUNING", "Judged", "Tuning", "corrected_chip", "tuned"]

APART = 1 << 32
"""Seeded calibration inputs are those of the population's seed and this."""


@dataclass(frozen=True)
class Tuning:
    """What chips do against their noise.

    Attributes:
        compensate: In the order in which it acts, for the device at hand.
        data: Images for those that need some; None for the training split of the data that chips
            are judged on, or where there are none for other seeded inputs.
        sigma: Strength of the device's noise, which decides what verification costs; None for the
            device's own.
        spec: The data that chips are judged on, as the user gave them, where they were loaded
            before.

    Raises:
        OptionError: Images are given, and nothing is calibrated on them; or two compensations
            want different numbers of images.
    """

    compensate: tuple[Compensation, ...] = ()
    data: Data | None = None
    sigma: float | None = None
    spec: Data | None = None

    def __post_init__(self) -> None:
        counts = {one.type: one.images for one in self.calibrated}
        if len(set(counts.values())) > 1:
            told = " and ".join(f"{kind} {count}" for kind, count in counts.items())
            raise OptionError(
                f"--compensate: {told} images; expected the same number, as each chip runs its "
                "calibration images once"
            )
        if self.data is not None and not self.looks:
            raise OptionError(
                "calibration data are given, but no compensation is calibrated on images; give "
                "--compensate affine, batchnorm or verify, or leave --calibration-data out"
            )

    @property
    def calibrated(self) -> list[Affine | BatchNorm]:
        """Those that need images."""
        return [one for one in self.compensate if isinstance(one, Affine | BatchNorm)]

    @property
    def images(self) -> int:
        """Calibration images of each chip; 0 without any."""
        return next((one.images for one in self.calibrated), 0)

    @property
    def verify(self) -> Verify | None:
        """What is verified, if anything is."""
        found = next((one for one in self.compensate if isinstance(one, Verify)), None)
        return None if found is None or not found.share else found

    @property
    def looks(self) -> bool:
        """Whether anything needs images."""
        return bool(self.calibrated) or (self.verify is not None and self.verify.derives)

    def passes(self) -> tuple[CorrectLayers, CorrectLayers]:
        """What makes the network that takes corrections, and the one that finds them."""
        fit = next((one.fit for one in self.compensate if isinstance(one, Affine)), None)
        norm = any(isinstance(one, BatchNorm) for one in self.compensate)
        return CorrectLayers(fit, norm), CorrectLayers(fit, norm, calibrating=True)


NO_TUNING = Tuning()
"""Of chips that do nothing."""


@dataclass(frozen=True)
class Judged:
    """What chips are judged on, which calibration images should not be.

    Attributes:
        spec: The data, as the user gave them; None for seeded inputs.
        dataset: The images; None for seeded inputs.
        seed: Of seeded inputs.
    """

    spec: Data | None
    dataset: Dataset | None
    seed: int


def tuned(
    workload: Workload,
    tuning: Tuning,
    model: Model | None,
    target: Target,
    arrays: Sequence[Array],
    judged: Judged,
) -> Workload:
    """The workload with chips that correct themselves.

    Args:
        workload: Of chips that do not.
        tuning: What they do.
        model: Of the compiled network as it is scored, where something is calibrated; used up.
        target: What holds its arrays.
        arrays: The arrays.
        judged: What chips are judged on.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    layers, norms = Corrected(), Corrected()
    if tuning.verify is not None:
        workload = _marked(workload, tuning, tuning.verify, model, target, arrays, judged)
    if model is not None and tuning.calibrated:
        workload, (layers, norms) = _calibrated(workload, tuning, model, target, judged)
    corrected = {"affine": layers, "batchnorm": norms}
    applied: list[Compensated] = []
    for one in tuning.compensate:
        its, marks = corrected.get(one.type, Corrected()), workload.marks
        needs = one.needs(arrays, its)
        if isinstance(one, Verify) and marks is not None:
            needs = one.work(arrays, marks, Chip.of(target, 0, 0, tuning.sigma))
        applied.append(Compensated(one, needs, its.left))
    return replace(workload, compensation=tuple(applied))


def _marked(
    workload: Workload,
    tuning: Tuning,
    verify: Verify,
    model: Model | None,
    target: Target,
    arrays: Sequence[Array],
    judged: Judged,
) -> Workload:
    """The workload whose chips know which of their weights they verify."""
    curvatures, name = None, None
    if verify.derives:
        assert model is not None
        feed, name = _images(tuning, model, judged, verify.type, verify.images or 0)
        output, holds = workload.network.output, workload.network.holds
        curvatures = curvatures_of(model.clone(), target, output, holds, feed)
    marks = replace(marks_of(verify, arrays, curvatures), data=name)
    known = {**workload.identity, "verified": marks.sha256} if workload.identity else {}
    return replace(workload, identity=known, marks=marks)


def _calibrated(
    workload: Workload, tuning: Tuning, model: Model, target: Target, judged: Judged
) -> tuple[Workload, tuple[Corrected, Corrected]]:
    """The workload whose chips are calibrated, and what that corrects: layers, normalisations."""
    network = workload.network
    feed, name = _images(tuning, model, judged, tuning.calibrated[0].type, tuning.images)
    circuit = isinstance(network, CircuitNetwork)
    taking, trial = _trial(tuning, model, target, feed, circuit=circuit)
    if isinstance(network, CircuitNetwork):
        run = circuit_of(model, target, network.output)
        made = replace(network, model=run.model, trial=trial)
    else:
        run = network_of(model, target, network.output)
        own: Any = {"arrays": run.arrays, "dtypes": run.dtypes, "stack": None}
        made = replace(network, model=run.model, trial=trial, layouts=Layouts(), **own)
    digest = _digest(feed)
    known = {**workload.identity, "calibration": digest} if workload.identity else {}
    on = {"identity": known, "calibration": (name, digest)}
    return replace(workload, network=made, **on), _counted(taking, trial)


def corrected_chip(tuning: Tuning, model: Model, target: Target, chip: Chip) -> None:
    """Put the corrections of a chip behind an ideal periphery into a compiled network.

    Args:
        tuning: What it is calibrated by; its data must be given.
        model: The network, changed in place.
        target: What holds its arrays.
        chip: The chip.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    if tuning.data is None:
        raise OptionError(
            f"--compensate {tuning.calibrated[0].type} needs images to calibrate the chip on; give "
            "--calibration-data SPEC"
        )
    kind = tuning.calibrated[0].type
    feed, _ = _images(tuning, model, Judged(None, None, 0), kind, tuning.images)
    _, trial = _trial(tuning, model, target, feed, circuit=False)
    with single_threaded_blas():
        hold_inputs(model, corrections_by(trial, chip))


def _trial(
    tuning: Tuning, model: Model, target: Target, feed: Feed, *, circuit: bool
) -> tuple[CorrectLayers, Trial]:
    """How a chip finds its corrections; `model` is changed to take them.

    Raises:
        OptionError, ModelError: The network cannot be calibrated.
    """
    kind, size = tuning.calibrated[0].type, images_a_run(model)
    if draws_numbers(model):
        raise OptionError(
            f"--compensate {kind}: the network draws numbers at inference, so no two runs of its "
            "calibration images are the same; leave it out"
        )
    if activation_sources(target.device.noise):
        raise OptionError(
            f"--compensate {kind}: noise of activations differs from run to run, so no calibration "
            "finds it; leave it out, or the noise source 'activation'"
        )
    if has_fixed_batch(model) and size < 2:
        raise OptionError(
            f"--compensate {kind}: the network takes one image at a time, and a chip runs at least "
            "two to calibrate; export it with a free batch"
        )
    if has_fixed_batch(model) and len(feed) != size:
        raise OptionError(
            f"--compensate {kind}: images is {len(feed)}, but the network takes {size} at a time; "
            f"give images={size}"
        )
    finder, ideal = model.clone(), model.clone()
    taking, finding = tuning.passes()
    taking(model)
    finding(finder)
    values = _ideal_values(ideal, target, taking.found, feed)
    names = tuple(name for one in finding.found for name in one.names)
    if circuit:
        network = replace(circuit_of(finder, target, names[0]), batch=len(feed))
    else:
        network = network_of(finder, target, names[0])
    return taking, Trial(network, {**feed.inputs, **values}, len(feed), names)


def _images(
    tuning: Tuning, model: Model, judged: Judged, kind: str, count: int
) -> tuple[Feed, str]:
    """`count` calibration images, as the network takes them, and what they are.

    Raises:
        DataError, OptionError: There are too few, or they would be those that chips are judged on.
    """
    entries = tensor_entries(model.graph.inputs)
    spec = judged.spec if tuning.spec is None else tuning.spec
    spec = spec if tuning.data is None else tuning.data
    if spec is None:
        return feed_of(entries, None, judged.seed + APART, count), seeded_text(entries)
    data = load_data(spec, "train", count)
    shared = judged.dataset is not None and _shares(data, judged.dataset)
    if tuning.data is None and shared:
        raise OptionError(
            f"--compensate {kind}: {data.name} has no training split, and chips are judged on its "
            "images; give others with --calibration-data SPEC (or the same, where that is meant)"
        )
    if len(data.x) < count:
        raise DataError(
            f"{data.name} holds {counted_items(len(data.x), data.name)} to calibrate on; expected "
            f"{count}: give --compensate {kind}:images={len(data.x)}, or other data"
        )
    name = f"{data.name}, images that chips are judged on" if shared else data.name
    return feed_of(entries, data, 0, None), name


def _shares(data: Dataset, judged: Dataset) -> bool:
    """Whether the first of the data is among the images that chips are judged on."""
    first = (data.inputs or {"x": data.x}).get(next(iter(judged.inputs), "x"), data.x)[0]
    x = judged.x
    if x.shape[1:] != first.shape:
        return False
    return bool((x.reshape(len(x), -1) == first.reshape(1, -1)).all(axis=1).any())


def _ideal_values(
    model: Model, target: Target, found: Sequence[Correction], feed: Feed
) -> dict[str, NDArray[Any]]:
    """The ideal chip's output of every layer for the images, by the name of the trial's input."""
    names = [one.value for one in found if one.value]
    if not names:
        return {}
    values = {str(v.name): v for node in model.graph for v in node.outputs}
    model.graph.outputs[:] = [values[name] for name in names]
    network = network_of(model, target, names[0], noisy=False)
    outputs = [str(value.name) for value in model.graph.outputs]  # renamed where an array is so
    with single_threaded_blas():
        ideal = run_once(open_session(network, Chip.ideal()), outputs, feed.inputs)
    return {
        f"{name}{IDEAL}": np.asarray(value, np.float32)
        for name, value in zip(names, ideal, strict=True)
    }


def _counted(taking: CorrectLayers, trial: Trial) -> tuple[Corrected, Corrected]:
    """What is corrected of layers, and of normalisations."""
    layers = [one.count for one in taking.found if one.value]
    norms = [one.count for one in taking.found if not one.value]
    size = sum(x.size for name, x in trial.inputs.items() if name.endswith(IDEAL))
    left = tuple(taking.left)
    return Corrected(len(layers), sum(layers), size, left), Corrected(len(norms), sum(norms))


def _digest(feed: Feed) -> str:
    digest = hashlib.sha256()
    for name, images in sorted(feed.inputs.items()):
        digest.update(f"{name} {images.dtype} {images.shape} ".encode())
        digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()
