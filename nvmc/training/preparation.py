"""Everything that is looked at before the first step: the data, the network, whether they fit."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch

from nvmc import __version__
from nvmc.arguments import checked
from nvmc.compiled.artifact import TARGET_KEY
from nvmc.compiled.options import CompileOptions
from nvmc.data import IGNORED, Data, Dataset, check_labels, has_split, load_data
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Device, Target, as_target
from nvmc.passes.bind_inputs import bind_inputs
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.fold_constants import Fold
from nvmc.passes.graph.describe import tensor_entries
from nvmc.passes.graph.globs import check_layers, check_skip
from nvmc.passes.io.load import load_model
from nvmc.rng import stream
from nvmc.runtime.feeding import feed_of
from nvmc.statistics import percentile_index
from nvmc.training.circuit.choice import check_ranges
from nvmc.training.initialisation import initialise
from nvmc.training.method import Method
from nvmc.training.settings import Settings
from nvmc.training.task import Task

__all__ = [
    "canonical_network",
    "fitted",
    "identity_of",
    "lacking_classes",
    "make_task",
    "prepared_network",
]

SHOWN = 8
"""Classes that a message names, at most."""

SPREADS = (1e-9, 1e9)
"""Standard deviations of targets between which float32 trains."""
HELD_OUT = 0.1
"""Share of a data set without a validation split that is held out of training."""
STEP = 3
"""Forward passes that a step of training takes for an image: forward, and backward twice."""
FEWEST = 1000
"""Held-out images that a KPP is taken on in any case, where there are so many."""


@checked
def make_task(
    data: Data,
    target: Target | Device | str | Path,
    *,
    validation: Data | None = None,
    validation_limit: int | None = None,
    sigma: float | None = None,
    settings: Settings | None = None,
    options: CompileOptions | None = None,
    output: str | None = None,
    class_axis: int | None = None,
    metric: str | None = None,
    teacher: str | Path | None = None,
    times_s: tuple[float, float] | None = None,
) -> Task:
    """A training task from the names of its data.

    Args:
        data: Training data (docs/data.md): a spec (its training split), a set, or arrays (x, y).
        target: The cells: a target, or a device, its name or its file as its source uses it.
        validation: Held-out data; by default the validation split of `data`, or a tenth of the
            images of a file or of arrays, drawn once and for all.
        validation_limit: Held-out images that KPPs are taken on, drawn once and for all; 0 for all.
            By default as many as let judging take no more forward passes than training, but at
            least 1,000.
        sigma: Strength of the cells' noise; None for the device's own.
        settings: Optimiser, schedule and the like.
        options: How it will be compiled: `skip`, `activation_bits`, `shape` and `inputs`.
        output: The output that is trained; by default the one that `nvmc simulate` scores.
        class_axis: Its axis of the classes; from shapes and labels by default.
        metric: What KPPs are of; by default what suits the labels. The loss stays.
        teacher: The ONNX file of a network whose outputs are to be met as well (distillation).
        times_s: Seconds since programming between which chips in training are, drawn
            log-uniformly; KPPs are of the greatest. None for the device's own time.

    Raises:
        DataError, ModelError, OptionError: By what is wrong.
    """
    settings, options = settings or Settings(), options or CompileOptions()
    target = as_target(target)
    _check_options(settings, options)
    percentile_index(settings.chips, settings.percentile)
    _check_chips(target, sigma, times_s)
    whole, train, held_out = _loaded(data, validation)
    _check_known(train, held_out)
    calibrated = options.activation_bits is not None or target.needs_data
    calibration = whole if calibrated and train is not whole else None
    judged = _judged(held_out, len(train.x), settings, validation_limit)
    kinds = settings, options, calibration, output, class_axis, None, metric, len(held_out.x)
    taught = None if teacher is None else canonical_network(Path(teacher), options)
    task = Task(target, sigma, train, judged, *kinds, teacher=taught, times_s=times_s)
    task.check_metric()
    return task


def _loaded(data: Data, validation: Data | None) -> tuple[Dataset, Dataset, Dataset]:
    """All training data, those that train, and those that are held out."""
    whole = load_data(data, "train")
    if validation is not None:
        return whole, whole, load_data(validation, "validation")
    if not has_split(data, "validation"):
        return whole, *_parted(whole)
    return whole, whole, load_data(data, "validation")


def _check_known(train: Dataset, held_out: Dataset) -> None:
    """Complain where nothing is known of images, or not the same."""
    for dataset in (train, held_out):
        if dataset.y is None and dataset.targets is None:
            raise DataError(f"{dataset.name} has no labels; training needs them: add an array y")
    if (train.y is None) != (held_out.y is None):
        raise DataError(
            f"one of {train.name} and {held_out.name} has classes and the other target values; "
            "save both y as int64, or both as float32"
        )


def lacking_classes(task: Task) -> str | None:
    """That training data lack classes that held-out data have, in one line; None where they do not.

    Args:
        task: From `make_task`.
    """
    train, held_out = task.train.y, task.validation.y
    if train is None or held_out is None:
        return None
    missing = sorted({*np.unique(held_out).tolist()} - {*np.unique(train).tolist(), IGNORED})
    if not missing:
        return None
    shown = ", ".join(map(str, missing[:SHOWN])) + (", …" if len(missing) > SHOWN else "")
    return (
        f"no training sample of {task.train.name} is of class {shown}, but held-out samples of "
        f"{task.validation.name} are: the network cannot learn that"
    )


def _check_chips(target: Target, sigma: float | None, times_s: tuple[float, float] | None) -> None:
    """Complain where there are no such chips."""
    if times_s is not None and not 0 < times_s[0] <= times_s[1]:
        raise OptionError(
            f"times are {times_s[0]:g} s to {times_s[1]:g} s; expected the earlier first, above 0"
        )
    target.check_reading()
    target.check_reference()
    if any(part.periphery.bias == "rows" for part in target.variants):
        raise OptionError(
            "biases on rows are another network: write it with nvmc transform --pass map-bias, and "
            "train and compile that without --bias rows"
        )
    for time_s in times_s or (None,):
        Chip.of(target, 0, 0, sigma, time_s)


def _check_options(settings: Settings, options: CompileOptions) -> None:
    """Complain about what training does not take, or this machine does not have."""
    taken = ("skip", "activation_bits", "shape", "inputs")
    if options != CompileOptions(**{name: getattr(options, name) for name in taken}):
        raise OptionError(
            f"training takes {', '.join(taken)} of the options of a compilation; fold, store or "
            "run passes after it, or train what `nvmc transform` writes"
        )
    if settings.accelerator == "cuda" and not torch.cuda.is_available():
        raise OptionError("accelerator is cuda, but torch finds no CUDA device; use cpu")


def canonical_network(
    source: Path, options: CompileOptions | None = None, folds: list[Fold] | None = None
) -> ir.Model:
    """The network in a file, in canonical form, with the sizes and constants of the options.

    What is folded is noted in `folds`.

    Raises:
        ModelError: It cannot be read, or is a compiled one.
        OptionError: A size or a constant is not for this network.
    """
    model = load_model(source)
    if TARGET_KEY in model.metadata_props:
        raise ModelError(f"{str(source)!r} is a compiled network; train its source")
    bind_inputs(model, options or CompileOptions())
    step = Canonicalize()
    step.folds = folds
    step(model)
    return model


def fitted(task: Task, model: ir.Model, method: Method) -> Task:
    """The task with the data that the network takes, how its output is read, and no `auto`.

    Raises:
        DataError: An input gets nothing, or the output does not fit the labels.
        ModelError: The output has no gradient, or its images lie along another axis than the first.
    """
    names = [entry.name for entry in tensor_entries(model.graph.inputs)]
    both = [data.for_network(names) for data in (task.train, task.validation)]
    reading = replace(task, train=both[0]).read(model)
    if reading.holds == "class numbers":
        raise ModelError(
            f"output {reading.output!r} holds class numbers, which have no gradient; export the "
            "class scores that they are made of as an output"
        )
    if reading.batch_axis != 0:
        raise ModelError(
            f"output {reading.output!r} has its images along axis {reading.batch_axis}; training "
            "needs them along the first: export the network batch first"
        )
    train, validation = map(reading.arranged, both)
    settings = task.settings.settled(method.defaults)
    return replace(task, train=train, validation=validation, reading=reading, settings=settings)


def prepared_network(model: ir.Model, task: Task, method: Method) -> ir.Model:
    """A copy of a canonical network as the method wants it, checked against the data.

    Raises:
        NvmcError: By what is wrong.
    """
    _check(model, task)
    if task.teacher is not None and not method.taught:
        raise OptionError(f"method {method.kind!r} takes no teacher; use hwa, or leave it out")
    check_ranges(task)
    method.check(task)
    prepared = model.clone()
    if task.settings.init == "random":
        initialise(prepared, task.settings.seed)
    method.prepare(prepared, task)
    Canonicalize()(prepared)
    return prepared


def identity_of(network: ir.Model, task: Task, method: Method) -> dict[str, str]:
    """What decides the numbers of a run on a canonical network, by name."""
    settings = {key: str(value) for key, value in task.settings.model_dump().items()}
    return {
        "nvmc": __version__,
        "network": _digest(network),
        "training data": task.train.sha256[:16],
        "validation data": task.validation.sha256[:16],
        "target": task.target.model_dump_json(),
        "sigma": str(task.sigma),
        **({} if task.times_s is None else {"times": str(task.times_s)}),
        **{key: str(value) for key, value in asdict(task.options).items()},
        "reading": str(task.read(network)),
        "metric": task.metric,
        "teacher": "None" if task.teacher is None else _digest(task.teacher),
        "method": method.kind,
        **{f"{method.kind} {key}": str(value) for key, value in method.model_dump().items()},
        **settings,
    }


def _digest(network: ir.Model) -> str:
    """Of the nodes and of every number, wherever the file keeps it."""
    digest = hashlib.sha256()
    for node in network.graph:
        values = [value and value.name for value in (*node.inputs, *node.outputs)]
        attributes = sorted((key, str(a.value)) for key, a in node.attributes.items())
        digest.update(repr((node.domain, node.op_type, values, attributes)).encode())
    for name, value in sorted(network.graph.initializers.items()):
        digest.update(name.encode())
        if value.const_value is not None:
            digest.update(np.ascontiguousarray(value.const_value.numpy()).tobytes())
    return digest.hexdigest()[:16]


def _parted(data: Dataset) -> tuple[Dataset, Dataset]:
    """Training and held-out images of one file."""
    count = max(1, round(len(data.x) * HELD_OUT))
    if count == len(data.x):
        raise DataError(
            f"{data.name} has 1 image; expected at least 2, of which a tenth is held out: give "
            "more, or name held-out data with --validation"
        )
    order = stream(0, 0, "held-out").permutation(len(data.x))
    out, rest = np.sort(order[:count]), np.sort(order[count:])
    return data.of(rest), data.of(out)


def _judged(data: Dataset, trained: int, settings: Settings, limit: int | None) -> Dataset:
    """The held-out images that KPPs are taken on."""
    if limit is not None and limit < 0:
        raise OptionError(f"validation-limit is {limit}; expected at least 1, or 0 for all")
    if limit is None:
        passes = STEP * trained * (settings.every or settings.epochs)
        limit = max(FEWEST, passes // settings.chips)
    if limit == 0 or limit >= len(data.x):
        return data
    return data.of(np.sort(stream(0, 0, "judged").permutation(len(data.x))[:limit]))


def _check(model: ir.Model, task: Task) -> None:
    inputs = tensor_entries(model.graph.inputs)
    for data in (task.train, task.validation):
        feed_of(inputs, data, 0, None)
    for entry in inputs:
        first = (entry.shape or [None])[0]
        if isinstance(first, int):
            raise ModelError(
                f"input {entry.name!r} takes exactly {first} images; training needs a free first "
                "dimension: export the network with a dynamic batch"
            )
    check_skip(model, task.options.skip)
    check_layers(model, task.target)
    reading = task.read(model)
    scored = next(v for v in model.graph.outputs if v.name == reading.output)
    shape = tensor_entries([scored])[0].shape
    if task.train.targets is not None:
        spread = float(np.var(task.train.targets, axis=0, dtype=np.float64).mean()) ** 0.5
        if not SPREADS[0] < spread < SPREADS[1]:
            raise DataError(
                f"the target values of {task.train.name} have a standard deviation of "
                f"{spread:g}; scale them to about 1"
            )
    elif reading.by_sign:
        check_labels(task.train, 2)
    elif shape and isinstance(classes := shape[reading.class_axis or 0], int):
        check_labels(task.train, classes)
    _check_augment(task, len(inputs))


def _check_augment(task: Task, inputs: int) -> None:
    """Complain about images that cannot be moved, or what is known of them cannot.

    Raises:
        OptionError: They cannot.
    """
    x, y = task.train.x, task.train.y
    if task.settings.augment is None:
        return
    if inputs > 1 or x.ndim != 4:
        raise OptionError(
            f"images have shape {list(x.shape[1:])}; augmentation needs channels, rows and "
            "columns: leave it out"
        )
    if task.settings.augment.crop >= min(x.shape[2:]):
        raise OptionError(
            f"crop is {task.settings.augment.crop} pixels of images of "
            f"{'x'.join(map(str, x.shape[2:]))}; expected fewer than they have, such as 4"
        )
    known = task.train.targets if y is None else y
    places = () if known is None else known.shape[1:]
    if sum(size > 1 for size in places) > 1 and (y is None or places != x.shape[2:]):
        raise OptionError(
            f"images have {'x'.join(map(str, x.shape[2:]))} pixels and {task.train.name} maps of "
            f"shape {list(places)}; augmentation moves classes of as many pixels with their "
            "images, no others: leave it out"
        )
