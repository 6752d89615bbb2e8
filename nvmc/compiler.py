"""The pipelines behind `nvmc compile` and `nvmc transform`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nvmc import __version__
from nvmc.arguments import checked
from nvmc.compiled.artifact import (
    MANIFEST_FILE,
    MODEL_FILE,
    TARGET_KEY,
    TILES_FILE,
    Compiled,
    Manifest,
    Origin,
    SourceEntry,
    files_in,
    replacing_file,
)
from nvmc.compiled.converters import AdcCodes
from nvmc.compiled.generations import replacing_folder
from nvmc.compiled.held import free_folder
from nvmc.compiled.options import Calibration, CompileOptions
from nvmc.compiled.rounding import SEEDED, AgainstSource, Outliers
from nvmc.compiled.work import check_share
from nvmc.data import Data, Dataset, load_data
from nvmc.errors import ModelError, OptionError
from nvmc.hardware.devices import Device, Target, as_target
from nvmc.models.given import as_file
from nvmc.passes import make_pass
from nvmc.passes.bind_inputs import bind_inputs, states_of
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.feed_masks import draws_numbers
from nvmc.passes.graph.arrays import Mapping
from nvmc.passes.graph.assumptions import assumptions_of
from nvmc.passes.graph.describe import (
    Model,
    opset_of,
    serialized,
    serialized_apart,
    set_target,
    tensor_entries,
)
from nvmc.passes.graph.globs import check_layers, check_skip
from nvmc.passes.graph.input_grids import dac_limits, told_of_inputs
from nvmc.passes.graph.outputs import outputs_of
from nvmc.passes.graph.tile_graph import tile_graph, tile_graph_json
from nvmc.passes.io.load import NEWEST_IR, load_model
from nvmc.passes.io.parse import ir_version_of
from nvmc.passes.io.save import save_model
from nvmc.passes.loop_states import LoopStates
from nvmc.passes.map_bias import MapBias
from nvmc.passes.measure_outliers import MeasureOutliers
from nvmc.passes.pipeline import compile_passes
from nvmc.passes.program_chip import arrays_of
from nvmc.passes.quantize_activations import QuantizeActivations, activation_tensors
from nvmc.runtime.adc_codes import adc_codes
from nvmc.runtime.against_source import compare_to_source
from nvmc.runtime.calibration import CONVERTER_IMAGES, calibrate, calibration_on
from nvmc.runtime.feeding import feed_of, image_sizes
from nvmc.runtime.ranges import calibrate_converters
from nvmc.runtime.refusal import refusal_of
from nvmc.runtime.saving import save_checked

__all__ = [
    "MappedNetwork",
    "compile_model",
    "map_network",
    "transform_model",
]


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MappedNetwork:
    """A compiled network in memory.

    Attributes:
        model: Its graph.
        mapping: What lies where.
        target: The cells, with the ranges that calibration found.
        calibration: The images that ranges come from; None where there are no such ranges.
    """

    model: Model
    mapping: Mapping
    target: Target
    calibration: Calibration | None


@checked
def compile_model(
    source: Any,
    target: Target | Device | str | Path,
    options: CompileOptions | None = None,
    *,
    example: Any = None,
    output: str | Path | None = None,
    data: Data | None = None,
) -> Compiled:
    """Map a model onto crossbars and write the compiled network.

    Args:
        source: An ONNX file, which is never written to; `zoo:NAME`; an `onnx.ModelProto`; or a
            `torch.nn.Module`, which is exported first (`nvmc.models.given`).
        target: The cells and how they are used; or a device, its name or file, used as by default.
        options: Which nodes stay digital, and the like.
        example: Of a torch module: an input with its batch axis, several in a tuple or by name; by
            default the first images of `data`.
        output: The folder to write; `NAME.nvmc` in the working directory by default, NAME being
            that of the file, the graph or the module's class. A compiled
            network that is there already is replaced, anything else refused; but beside a network
            of that folder which this process still has, a module or a ModelProto is written to
            `NAME-2.nvmc`, and so on.
        data: Images (docs/data.md), of a spec its training split: what `activation_bits` and
            calibrated ranges of the target's periphery are calibrated on, and what the ideal chip
            is compared with the source on.

    Raises:
        NvmcError: One of its children, by what is wrong; nothing is written then.
    """
    target, options = as_target(target), options or CompileOptions()
    with as_file(source, example, data) as path:
        if output is None and not isinstance(source, str | Path):
            output = free_folder(path.stem)
        compiled = _compile(path, target, options, output, data)
    compiled.origin = Origin(source, example, target, options)
    return compiled


def _compile(
    path: Path,
    target: Target,
    options: CompileOptions,
    output: str | Path | None,
    data: Data | None,
) -> Compiled:
    """`compile_model` of a file."""
    folder = Path(f"{path.stem}.nvmc") if output is None else Path(output)
    if path.resolve().is_relative_to(folder.resolve()):
        raise OptionError(
            f"{str(path)!r} lies in {str(folder)!r}, which would be replaced; choose another -o"
        )
    target.check_reading()
    _check_data(options.activation_bits, target, data)
    compile_passes(target, options)  # complains about those that are none, before anything is read
    model = load_model(path)
    if TARGET_KEY in model.metadata_props:
        raise ModelError(f"{str(path)!r} is a compiled network already; compile its source")
    opset = opset_of(model)
    bind_inputs(model, options)
    limit = CONVERTER_IMAGES if options.activation_bits is None else None
    images = None if data is None else load_data(data, "train", limit)
    mapped = map_network(model, target, options, images, strict=True)
    if not mapped.mapping.arrays:
        reasons = sorted({f"{d.op}: {d.reason}" for d in mapped.mapping.digital})
        raise ModelError(
            f"{str(path)!r} has no layer that can be mapped onto crossbars ("
            f"{'; '.join(reasons[:3])}); give a network with constant weights"
        )
    entry = SourceEntry(file=path.name, sha256=_sha256(path), opset=opset)
    return Compiled(folder, _write(mapped, options, entry, path, folder, images))


def map_network(
    model: Model,
    target: Target,
    options: CompileOptions,
    data: Dataset | None = None,
    *,
    strict: bool = False,
) -> MappedNetwork:
    """Compile a network in memory: what `nvmc compile` writes, and what training judges.

    Args:
        model: The network; used up by this.
        target: The cells and how they are used.
        options: Which nodes stay digital, and the like.
        data: The training split, which calibrates what `options` and `target` want ranges of.
        strict: Whether a glob of `options.skip` or of the target's that matches no layer is an
            error.

    Raises:
        NvmcError: One of its children, by what is wrong.
    """
    *before, mapper = compile_passes(target, options)
    outliers: dict[str, Outliers] = {}
    for step in before:
        _log.debug("pass %s", type(step).__name__)
        if isinstance(step, MapBias) and data is not None:
            step.drives = _largest_inputs(model, options, data.of(slice(CONVERTER_IMAGES)))
            step.told = f"the largest input on {data.name}"
        if not isinstance(step, MeasureOutliers):
            step(model)
        elif strict:  # training maps a network many times, and asks for none
            step(model)
            outliers = step.found
    if strict:
        check_skip(model, options.skip)
        check_layers(model, target)
        target.check_reference()
    bits, converters, calibration = options.activation_bits, target.needs_data, None
    if bits is not None or converters:
        if data is None:
            raise OptionError("ranges are to be calibrated, but there are no data; give some")
        calibration = calibration_on(data, bits is not None, converters)
    if bits is not None and data is not None:
        ranges = _ranges(model, activation_tensors(model, options.skip, bits), options, data)
        QuantizeActivations(bits, ranges, options.skip)(model)
    mapper.sizes = image_sizes(tensor_entries(model.graph.inputs), data, states_of(options))
    mapper(model)
    mapper.mapping.tell_outliers(outliers)
    mapper.mapping.tell_inputs(told_of_inputs(model, mapper.target))
    check_share(mapper.mapping.work, mapper.mapping.digital, options.require_mapped)
    target = mapper.target
    LoopStates(options)(model)
    if converters and data is not None:
        target = _calibrated(model, target, data.of(slice(CONVERTER_IMAGES)))
    return MappedNetwork(model, mapper.mapping, target, calibration)


def _ranges(
    model: Model, tensors: list[str], options: CompileOptions, data: Dataset
) -> dict[str, tuple[float, float]]:
    """The smallest and the largest value of tensors on some images."""
    whole = model.clone() if options.state else model
    LoopStates(options, tensors)(whole)
    images = feed_of(tensor_entries(whole.graph.inputs), data, 0, None)
    content, weights = serialized_apart(whole, tensors)
    return calibrate(content, tensors, images, weights)


def _largest_inputs(model: Model, options: CompileOptions, data: Dataset) -> dict[str, float]:
    """The largest magnitude of what enters each layer."""
    found = _ranges(model, activation_tensors(model, options.skip), options, data)
    return {name: max(-low, high) for name, (low, high) in found.items()}


@checked
def transform_model(source: str | Path, passes: Sequence[str], output: str | Path) -> list[bool]:
    """Run passes on an ONNX model and write the result; says which changed anything.

    Raises:
        ModelError: No pass changed anything.
        NvmcError: One of its children, by what is wrong; nothing is written in either case.
    """
    if Path(output).resolve() == Path(source).resolve():
        raise OptionError(f"{str(output)!r} is the source; the source is never overwritten")
    steps = [make_pass(text) for text in passes]
    with replacing_file(Path(output)) as temporary:
        model = load_model(source)
        changed = [bool(step(model).modified) for step in steps]
        if not any(changed):
            raise ModelError(
                f"{Path(source).name}: {', '.join(passes) or 'no pass'} changed nothing, so "
                "nothing was written; docs/passes.md says what each pass looks for"
            )
        save_checked(model, temporary, Path(source))
    return changed


def _write(
    mapped: MappedNetwork,
    options: CompileOptions,
    entry: SourceEntry,
    source: Path,
    folder: Path,
    data: Dataset | None,
) -> Manifest:
    """Write the folder; the manifest that is in it."""
    model, mapping, target = mapped.model, mapped.mapping, mapped.target
    inputs, outputs = tensor_entries(model.graph.inputs), tensor_entries(model.graph.outputs)
    tiles = tile_graph(model, mapping, target)
    mapping.tell_codes(_codes_of(model, target, data))
    with replacing_folder(folder) as temporary:
        save_checked(model, temporary / MODEL_FILE, source)
        (temporary / TILES_FILE).write_text(tile_graph_json(tiles) + "\n")
        manifest = Manifest(
            files=files_in(temporary),
            nvmc=__version__,
            source=entry,
            target=target,
            options=options,
            calibration=mapped.calibration,
            inputs=inputs,
            outputs=outputs,
            arrays=mapping.arrays,
            layers=mapping.layers,
            digital=mapping.digital,
            work=mapping.work,
            refusal=refusal_of(model),
            assumptions=assumptions_of(model),
            against_source=_against_source(mapped, options, source, temporary / MODEL_FILE, data),
        )
        text = manifest.model_dump_json(indent=1) + "\n"
        (temporary / MANIFEST_FILE).write_text(text)
    return Manifest.model_validate_json(text)


def _codes_of(model: Model, target: Target, data: Dataset | None) -> dict[str, AdcCodes]:
    """Which codes of their ADCs the arrays reach."""
    if all(part.periphery.adc_bits is None for part in target.variants):
        return {}
    images = None if data is None else feed_of(tensor_entries(model.graph.inputs), data, 0, None)
    return adc_codes(arrays_of(model), images, lambda: serialized(model))


def _against_source(
    mapped: MappedNetwork,
    options: CompileOptions,
    source: Path,
    ideal: Path,
    data: Dataset | None,
) -> AgainstSource:
    """The ideal chip against the source, unless both draw numbers of their own."""
    graph = mapped.model.graph
    inputs, outputs = tensor_entries(graph.inputs), tensor_entries(graph.outputs)
    if draws_numbers(mapped.model):
        output, name = outputs[0].name, SEEDED if data is None else data.name
        reason = "the network draws random numbers, so that no two runs of it are the same"
        return AgainstSource(output=output, data=name, reason=reason)
    told = {output.name: output.class_axis() for output in outputs_of(mapped.model)}
    axes = {name: axis[0] for name, axis in told.items() if axis is not None}
    rest = inputs, outputs, data, axes
    changed = bool(options.inputs or options.state)
    if not changed and ir_version_of(source) <= NEWEST_IR:
        return compare_to_source(source, ideal, *rest)
    model = load_model(source)
    if changed:  # with the inputs that the compiled network has
        bind_inputs(model, options)
        Canonicalize()(model)
        LoopStates(options)(model)
    with TemporaryDirectory() as folder:
        save_model(model, Path(folder) / source.name)
        return compare_to_source(Path(folder) / source.name, ideal, *rest)


def _check_data(activation_bits: int | None, target: Target, data: Data | None) -> None:
    """Complain where calibration data are missing."""
    if data is None and (activation_bits is not None or target.needs_data):
        what = "activation bits are" if activation_bits is not None else "a range is"
        raise OptionError(f"{what} to be calibrated, but there are no images; give --data SPEC")


def _calibrated(model: Model, target: Target, data: Dataset) -> Target:
    """The target with the ranges of its converters, which the model then carries."""

    def on(other: Target) -> bytes:
        set_target(model, other)
        return serialized(model)

    images = feed_of(tensor_entries(model.graph.inputs), data, 0, None)
    found = calibrate_converters(on, target, images, dac_limits(model, target))
    set_target(model, found)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
