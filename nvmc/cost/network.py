"""The events of a compiled network for one inference, by layer: nothing here knows hardware."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.artifact import ArrayEntry, Manifest
from nvmc.compiled.work import LayerEntry, Shape
from nvmc.cost.counts import Counts, Use
from nvmc.cost.drives import Drives
from nvmc.errors import ModelError, OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target
from nvmc.hardware.rows import reads_of_rows, rows_of_tiles
from nvmc.hardware.tile_cells import levels_on_target
from nvmc.hardware.tiling import Matrix, count_tiles, matrices

__all__ = [
    "Conductances",
    "cells_of_array",
    "check_converters",
    "converted",
    "layer_counts",
    "target_of",
    "turns_of",
    "use_of",
]

_RECURRENT = frozenset({"CrossbarGRU", "CrossbarLSTM", "CrossbarRNN"})


@dataclass(frozen=True)
class Conductances:
    """What the cells of one array conduct.

    Attributes:
        rows: Siemens of all cells of a row, over columns and planes, shape (groups, rows).
        cells: Cells there are; places that stay unformed are none.
        low: Siemens of a cell at level 0.
    """

    rows: NDArray[np.float64]
    cells: int
    low: float


def target_of(manifest: Manifest, array: str) -> Target:
    """How the cells of an array and its converters are used: the one place that says so."""
    return manifest.target.of_array(array)


def check_converters(target: Target, array: str | None = None) -> None:
    """Complain where nothing is known of DAC or ADC.

    Args:
        target: Of the network, or of the layers that hold `array`.
        array: Its name, where layers have targets of their own.

    Raises:
        OptionError: The target has none, so that there is nothing to count.
    """
    lacking = [
        (name, option)
        for name, option, bits in (
            ("DAC", "--dac-bits", target.periphery.dac_bits),
            ("ADC", "--adc-bits", target.periphery.adc_bits),
        )
        if bits is None
    ]
    if lacking:
        names = " and no ".join(name for name, _ in lacking)
        options = " and ".join(f"{option} (1 to 16)" for _, option in lacking)
        do = f"compile it again with {options}"
        if array is not None:
            keys = " and ".join(option[2:].replace("-", "_") for _, option in lacking)
            do = f"state {keys} (1 to 16) of its layers in the target file, and compile it again"
        raise OptionError(
            f"{'the network' if array is None else f'array {array!r}'} was compiled with no "
            f"{names}, so its converters cannot be counted; {do}"
        )


def use_of(target: Target) -> Use:
    """How tiles are used.

    Raises:
        OptionError: The target has no DAC or no ADC.
    """
    check_converters(target)
    periphery = target.periphery
    dac, adc = periphery.dac_bits or 0, periphery.adc_bits or 0
    serial = periphery.dac_mode == "bit-serial"
    each = periphery.dac_slice_bits if serial else dac
    return Use(target.rows, target.cols, each, dac, adc, held=periphery.held)


def cells_of_array(
    array: Array, default_us: tuple[float, float], chip: Chip | None = None
) -> Conductances:
    """What the cells of an array conduct: on target, or as a chip has them.

    Args:
        array: The array, with its place.
        default_us: Conductances of the lowest and the highest level where its device states none.
        chip: Whose cells; None for cells on target.

    Raises:
        OptionError: The array does not know its place.
    """
    if array.place is None:
        raise OptionError(f"array {array.name!r} does not say which operator uses it")
    stated = array.target.device.conductance
    low, high = default_us if stated is None else (stated.min_us, stated.max_us)
    step = (high - low) / array.target.highest_level
    programmed = None if chip is None else chip.program(array).levels
    if programmed is None and array.target.places is not None:
        programmed = levels_on_target(array)
    planes = array.layout.planes
    if programmed is None:
        total = sum(array.layout.plane(array.steps, plane) for plane in range(planes))
    else:
        total = programmed.sum(axis=0)
    view = matrices(array.place, total)
    summed = view.sum(axis=2, dtype=np.float64)
    rows = np.maximum(summed * step + planes * view.shape[2] * low, 0.0) * 1e-6
    return Conductances(rows, planes * array.codes.size, low * 1e-6)


def layer_counts(
    layer: LayerEntry,
    entries: Mapping[str, ArrayEntry],
    targets: Mapping[str, Target],
    cells: Mapping[str, Conductances],
    drives: Mapping[str, Drives],
) -> Counts:
    """The events of one mapped layer for one inference.

    Args:
        layer: The layer.
        entries: The manifest's arrays by name.
        targets: How each is used.
        cells: What they conduct.
        drives: What they are driven with.

    Raises:
        ModelError: Nobody knows how many vectors the layer is multiplied with.
    """
    if layer.products is None:
        raise ModelError(
            f"the number of vectors per inference of layer {layer.name!r} is not known, since "
            "sizes are left open or it lies in a subgraph; compile with --shape, or --skip it"
        )
    total: Counts | None = None
    for name in layer.arrays:
        one = _array_counts(layer.products, entries[name], targets[name], cells[name], drives[name])
        total = one if total is None else total.beside(one)
    if total is None:
        return Counts()
    return _with_traffic(total, layer, entries[layer.arrays[0]], targets[layer.arrays[0]])


def _array_counts(
    products: int, entry: ArrayEntry, target: Target, cells: Conductances, drives: Drives
) -> Counts:
    """The events of one array that `products` vectors go through, all its groups counted."""
    layout, periphery = target.layout, target.periphery
    matrix = Matrix(entry.groups, entry.rows, entry.cols)
    offset = layout.encoding == "offset"
    lanes = layout.slices * (2 if periphery.subtract == "digital" and not offset else 1)
    col_tiles = -(-matrix.cols // target.cols)
    reads, turns = reads_of_rows(target, matrix.rows), turns_of(target, matrix.rows)
    groups = max(1, min(target.rows // matrix.rows, target.cols // matrix.cols))
    groups = min(groups, matrix.groups)  # that share a tile
    vectors = products / matrix.groups
    beside = col_tiles * lanes if target.reference == "column" else 0  # reference columns
    conducting = cells.rows + beside * cells.low
    driven = products * matrix.rows * col_tiles * layout.crossbars
    conversions = products * len(reads) * (matrix.cols * lanes + beside)
    conversions *= converted(target, drives.pulses)
    added = conversions + (products * matrix.rows if layout.shift else 0)
    each = count_tiles(matrix, 1, target.rows, target.cols)
    return Counts(
        tiles=each * layout.crossbars,
        readers=each * lanes,
        vectors=vectors,
        pulses=drives.pulses * turns,
        columns=(min(matrix.cols, target.cols) + (beside > 0)) * groups,
        drives=driven * drives.pulses,
        active=driven * drives.active,
        conversions=conversions,
        additions=added,
        width=_width(target, len(reads)),
        linear_s=vectors * float(np.sum(drives.linear * conducting)),
        squared_s=vectors * float(np.sum(drives.squared * conducting)),
        read_bits=products * matrix.rows * (periphery.dac_bits or 0),
    )


def converted(target: Target, pulses: float) -> float:
    """How many of a vector's pulses are converted: all, or those that end a sum of currents."""
    held = target.periphery.held
    return pulses if held == 1 else pulses / held


def turns_of(target: Target, rows: int) -> int:
    """How often one pulse drives a tile, some of its rows at a time: of the tile that needs most.

    Args:
        target: Of the layer.
        rows: Of its matrices.
    """
    highest = max((tile.stop - tile.start for tile in rows_of_tiles(target, rows)), default=1)
    return -(-highest // (target.periphery.rows_on or max(1, highest)))


def _width(target: Target, reads: int) -> int:
    """Bits that a sum of output codes has, over slices, pulses and reads of rows."""
    layout, periphery = target.layout, target.periphery
    pulses = 0 if periphery.held > 1 else (periphery.input_slices - 1) * periphery.dac_slice_bits
    slices = target.cell_bits * (layout.slices - 1) if layout.weight_bits else 0
    return (periphery.adc_bits or 0) + pulses + slices + math.ceil(math.log2(max(1, reads)))


def _with_traffic(counts: Counts, layer: LayerEntry, entry: ArrayEntry, target: Target) -> Counts:
    """The bits that a layer moves, and what it does with its outputs.

    An input goes once from the layer before to this one, and sums of rows of tiles go to where
    they are added up, one hop each. Numbers between layers have the DAC's bits. Each column's sum
    is scaled, and its bias added, by one multiply-add; a recurrent layer has an activation for
    each of them, too.
    """
    bits, sums = target.periphery.dac_bits or 0, (layer.products or 0) * entry.cols
    inputs = _numbers(layer.input_shape, (layer.products or 0) * entry.rows)
    row_tiles = -(-entry.rows // target.rows)
    return replace(
        counts,
        written_bits=_numbers(layer.output_shape, sums) * bits,
        moved_bits=inputs * bits + (row_tiles - 1) * sums * counts.width,
        multiply_adds=sums,
        operations=sums if layer.op in _RECURRENT else 0,
    )


def _numbers(shape: Shape, otherwise: int) -> int:
    """How many numbers a value of a shape is; `otherwise` where a size is not known."""
    if shape is None or None in shape:
        return otherwise
    return math.prod(size for size in shape if size is not None)
