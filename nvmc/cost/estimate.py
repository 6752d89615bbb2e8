"""What a compiled network costs on some hardware: counts times components, within bands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from nvmc.arguments import checked
from nvmc.compiled.artifact import ArrayEntry, Compiled, Manifest
from nvmc.cost.assumptions import UNPLACED, some, told
from nvmc.cost.band import Band, bands
from nvmc.cost.counts import Counts, Use
from nvmc.cost.drives import ASSUMED, assumed_drives
from nvmc.cost.hardware import Hardware, load_hardware
from nvmc.cost.network import (
    Conductances,
    cells_of_array,
    check_converters,
    converted,
    layer_counts,
    target_of,
    turns_of,
    use_of,
)
from nvmc.cost.placed import copies_of, hop_energy_j, nodes_of_layer, placed, told_by
from nvmc.cost.result import Component, Cost, Figure, LayerCost, Peak, ratio
from nvmc.cost.scaling import Dimension
from nvmc.cost.schedule import Schedule, check_schedule
from nvmc.data import Data
from nvmc.data.items import counted_items
from nvmc.errors import ModelError, OptionError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target
from nvmc.passes.graph.describe import Model
from nvmc.passes.graph.digital_work import digital_work
from nvmc.passes.io.load_compiled import load_compiled
from nvmc.passes.program_chip import arrays_of

__all__ = ["estimate_cost"]

DIGITAL = "digital nodes"


@checked
def estimate_cost(
    compiled: Compiled,
    hardware: Hardware | str | Path,
    *,
    data: Data | None = None,
    limit: int | None = None,
    chip: int | None = None,
    seed: int = 0,
    idle: Literal["off", "on"] = "off",
    schedule: Schedule | None = None,
) -> Cost:
    """Energy, time and area of a compiled network on some hardware, for one inference.

    Every figure has the band within which published macros agree with the hardware
    (`nvmc.cost.band`). The events that are counted are those of the compiled network: vectors,
    pulses, conversions of every tile, slice and polarity, and the current through its cells.

    Args:
        compiled: From `open_compiled` or `compile_model`, with a DAC and an ADC.
        hardware: Hardware, its name or its file.
        data: Images (docs/data.md) that say what rows are driven with; without, drives are
            assumed, which the result says.
        limit: How many rows of the data; 32 by default.
        chip: Whose cells conduct; None for cells on target.
        seed: Population of the chip.
        idle: Whether waiting tiles are switched off (`off`), or their leakage counts (`on`).
        schedule: From `place_network` on the same hardware: its copies, times and hops are counted.
            Without, no layer has copies and data go one hop.

    Raises:
        OptionError: The network has no DAC or no ADC, or an option is wrong.
        HardwareError: There is no such hardware, or it has no band or no leakage that could count.
        ModelError: A layer does not say how often it is used.
        ArtifactError, DataError: The folder or the images are wrong.
    """
    chosen = load_hardware(hardware)
    if schedule is not None:
        check_schedule(schedule, compiled, chosen)
    work = _Work.of(compiled, chosen, data, limit, None if chip is None else (seed, chip))
    if schedule is not None:
        work = _placed(work, schedule)
    if idle == "on" and chosen.leakage is None:
        raise OptionError(
            f"hardware {chosen.name!r} has no section [leakage], so waiting tiles cannot be "
            "counted; add it to the file, or leave --idle out"
        )
    return _cost(work, chosen, bands(chosen), idle == "on", str(compiled.folder), schedule)


@dataclass(frozen=True)
class _Layer:
    name: str
    op: str
    arrays: tuple[str, ...]
    use: Use
    counts: Counts


@dataclass(frozen=True)
class _Work:
    """What a compiled network has to do for one inference, whatever hardware does it."""

    manifest: Manifest
    layers: list[_Layer]
    tiles: list[tuple[Use, Counts]]
    use: Use
    full: Counts
    weights: int
    drives: str
    assumptions: list[str]

    @classmethod
    def of(
        cls,
        compiled: Compiled,
        hardware: Hardware,
        data: Data | None,
        limit: int | None,
        chip: tuple[int, int] | None,
    ) -> _Work:
        manifest = compiled.manifest
        entries = {entry.name: entry for entry in manifest.arrays}
        targets = {name: target_of(manifest, name) for name in entries}
        for name, target in targets.items():
            check_converters(target, name if manifest.target.layers else None)
        use = use_of(targets[manifest.arrays[0].name])
        model = load_compiled(compiled)
        cells = _cells(model, hardware, manifest.target, chip)
        assumptions = told(manifest, hardware)
        drives = {name: assumed_drives(target) for name, target in targets.items()}
        said = ASSUMED
        nodes = digital_work(model, manifest.work.assumed if manifest.work else {})
        if data is not None:
            from nvmc.cost.watching import drives_on  # loads onnxruntime

            found, name, rows = drives_on(model, manifest.target, data, limit)
            said = f"rows driven by {counted_items(rows, name)} of {name}"
            missing = [name for name in entries if name not in found]
            if missing:
                assumptions.append(
                    f"Arrays that no input reached have assumed drives: {some(missing)}."
                )
            drives |= found
        layers: list[_Layer] = []
        for layer in manifest.layers:
            if layer.op == "CrossbarParameter":
                continue
            counts = layer_counts(layer, entries, targets, cells, drives)
            own = use_of(targets[layer.arrays[0]])
            op, arrays = layer.op.removeprefix("Crossbar"), tuple(layer.arrays)
            layers.append(_Layer(layer.name, op, arrays, own, counts))
        uncounted = [node.name for node in nodes if node.operations is None]
        if uncounted:
            assumptions.append(f"Digital nodes of unknown size are not counted: {some(uncounted)}.")
        digital = Counts(
            operations=sum(node.operations or 0 for node in nodes),
            multiply_adds=sum(
                (node.multiply_adds or 0) + (node.activation_multiply_adds or 0)
                for node in manifest.digital
            ),
        )
        tiles = _tiles(entries.values(), targets)
        number = sum(counts.tiles for _, counts in tiles)
        layers.append(_Layer(DIGITAL, "", (), use, replace(digital, tiles=number)))
        target = targets[manifest.arrays[0].name]
        full, weights = _full(target, cells, entries)
        return cls(manifest, layers, tiles, use, full, weights, said, assumptions)


def _cells(
    model: Model, hardware: Hardware, target: Target, chip: tuple[int, int] | None
) -> dict[str, Conductances]:
    default = (hardware.array.low.si * 1e6, hardware.array.high.si * 1e6)
    one = None if chip is None else Chip.of(target, *chip)
    return {array.name: cells_of_array(array.passing(), default, one) for array in arrays_of(model)}


def _tiles(
    entries: Iterable[ArrayEntry], targets: Mapping[str, Target]
) -> list[tuple[Use, Counts]]:
    """The tiles of each array, and the groups of converters that read them."""
    found: list[tuple[Use, Counts]] = []
    for entry in entries:
        target = targets[entry.name]
        layout = target.layout
        digital = target.periphery.subtract == "digital"
        pairs = 1 if digital or layout.encoding == "offset" else 2
        shared = pairs if entry.planes > layout.slices else 1
        counts = Counts(tiles=entry.tiles, readers=entry.tiles / shared)
        found.append((use_of(target), counts))
    return found


def _full(
    target: Target, cells: Mapping[str, Conductances], entries: Mapping[str, ArrayEntry]
) -> tuple[Counts, int]:
    """One vector through the crossbars of a full tile of weights, and how many weights it holds.

    The cells conduct what the network's conduct on average, drives are the assumed ones.
    """
    layout, drives = target.layout, assumed_drives(target)
    lanes = layout.crossbars
    if target.periphery.subtract == "analog":
        lanes = layout.slices
    places = sum(entry.cells for entry in entries.values())
    each = sum(float(found.rows.sum()) for found in cells.values()) / max(1, places)
    rows, weights = target.rows * layout.crossbars, target.rows * target.cols
    conducting = weights * layout.crossbars * each
    pulses = drives.pulses * turns_of(target, target.rows)
    conversions, use = target.cols * lanes * converted(target, pulses), use_of(target)
    return (
        Counts(
            tiles=layout.crossbars,
            readers=lanes,
            vectors=1,
            pulses=pulses,
            columns=target.cols,
            drives=rows * drives.pulses,
            active=rows * drives.active,
            conversions=conversions,
            additions=conversions,
            width=use.adc_bits + (use.dac_bits - use.pulse_bits) * (use.held == 1),
            linear_s=conducting * float(drives.linear),
            squared_s=conducting * float(drives.squared),
        ),
        weights,
    )


def _cost(
    work: _Work,
    hardware: Hardware,
    of: Mapping[Dimension, Band],
    idle: bool,
    folder: str,
    schedule: Schedule | None,
) -> Cost:
    layers = [_layer(layer, hardware, of, schedule) for layer in work.layers]
    each = [hardware.areas_m2(counts, use) for use, counts in work.tiles]
    areas = {name: sum(area[name] for area in each) for name in hardware.components}
    tiles = sum(counts.tiles for _, counts in work.tiles)
    latency = sum(layer.time.value for layer in layers)
    interval = _interval(layers)
    if schedule is not None:
        latency, interval = schedule.latency_s, schedule.interval_s
    busy = sum(layer.tiles * layer.time.value for layer in layers if layer.name != DIGITAL)
    waiting = hardware.idle_j(max(0.0, tiles * interval - busy))
    by_part = {
        name: sum(layer.components[name] for layer in layers) for name in hardware.components
    }
    if idle:
        by_part["leakage"] = waiting
    components = [
        Component(
            name,
            Figure.of(by_part[name], of["energy"]),
            Figure.of(areas[name] * 1e6, of["area"]),
        )
        for name in hardware.components
        if by_part[name] or areas[name]
    ]
    counted = work.manifest.work
    mapped = 0 if counted is None else counted.mapped
    everything = mapped if counted is None else mapped + counted.digital + counted.activations
    if not mapped:
        raise ModelError(
            "the number of multiply-adds per inference is not known for any layer on crossbars"
        )
    return Cost(
        network=folder,
        hardware=hardware.name,
        node_nm=hardware.node.si * 1e9,
        bands=of,
        calibrated=hardware.calibration.macros,
        multiply_adds=(mapped, everything),
        layers=tuple(layers),
        components=tuple(components),
        energy=Figure.of(sum(by_part.values()), of["energy"]),
        latency=Figure.of(latency, of["time"]),
        interval=Figure.of(interval, of["time"]),
        area_mm2=Figure.of(sum(areas.values()) * 1e6, of["area"]),
        idle=None if hardware.leakage is None else Figure.of(waiting, of["energy"]),
        idle_counted=idle,
        peak=_peak(work, hardware, of),
        drives=work.drives,
        assumptions=tuple(work.assumptions),
        scheduled=None if schedule is None else schedule.mode,
    )


def _interval(layers: Sequence[LayerCost]) -> float:
    """Seconds between two inferences: layers with the same array take turns at its tiles."""
    busy: dict[str, float] = {}
    for layer in layers:
        for array in layer.arrays:
            busy[array] = busy.get(array, 0.0) + layer.time.value
    alone = (layer.time.value for layer in layers if not layer.arrays)
    return max([*busy.values(), *alone])


def _layer(
    layer: _Layer, hardware: Hardware, of: Mapping[Dimension, Band], schedule: Schedule | None
) -> LayerCost:
    energies = hardware.energies_j(layer.counts, layer.use)
    seconds = hardware.layer_s(layer.counts, layer.use)
    if schedule is not None:
        nodes = nodes_of_layer(schedule, layer.name if layer.op else None)
        crossed = sum(node.chiplet_bits for node in nodes)
        energies["router"] = hop_energy_j(hardware, layer.counts.moved_bits, crossed)
        seconds = sum(node.seconds for node in nodes)
    return LayerCost(
        name=layer.name,
        op=layer.op,
        tiles=layer.counts.tiles,
        counts=layer.counts,
        energy=Figure.of(sum(energies.values()), of["energy"]),
        time=Figure.of(seconds, of["time"]),
        components=energies,
        arrays=layer.arrays,
    )


def _placed(work: _Work, schedule: Schedule) -> _Work:
    """The same work with the copies and hops of a schedule."""
    copies = copies_of(schedule)
    tiles = [
        (use, replace(counts, tiles=counts.tiles * number, readers=counts.readers * number))
        for entry, (use, counts) in zip(work.manifest.arrays, work.tiles, strict=True)
        for number in (copies[entry.name],)
    ]
    whole = sum(counts.tiles for _, counts in tiles)
    layers: list[_Layer] = []
    for layer in work.layers:
        nodes = nodes_of_layer(schedule, layer.name if layer.op else None)
        counts = placed(layer.counts, nodes, None if layer.op else whole)
        layers.append(replace(layer, counts=counts))
    assumed = [*told_by(schedule), *work.assumptions[len(UNPLACED) :]]
    return replace(work, layers=layers, tiles=tiles, assumptions=assumed)


def _peak(work: _Work, hardware: Hardware, of: Mapping[Dimension, Band]) -> Peak:
    parts = {name for name, part in hardware.components.items() if not part.per_image}
    energies = hardware.energies_j(work.full, work.use)
    areas = hardware.areas_m2(work.full, work.use)
    seconds = work.full.pulses * hardware.pulse_s(work.full, work.use)
    operations = 2 * work.weights
    energy = Figure.of(sum(energies[name] for name in parts), of["energy"])
    time = Figure.of(seconds, of["time"])
    area = Figure.of(sum(areas[name] for name in parts) * 1e6, of["area"])
    groups = sum(counts.tiles for _, counts in work.tiles) / work.full.tiles
    rate = ratio(operations * 1e-12, time)
    return Peak(
        tops=ratio(groups * operations * 1e-12, time),
        tops_per_w=ratio(operations * 1e-12, energy),
        tops_per_mm2=Figure(rate.value / area.value, rate.low / area.high, rate.high / area.low),
    )
