"""Weights -> crossbar arrays: codes, step, and the manifest's rows for them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from nvmc.budget import check_room
from nvmc.compiled.artifact import ArrayEntry
from nvmc.compiled.converters import AdcCodes
from nvmc.compiled.operators import PARAMETER
from nvmc.compiled.rounding import Outliers, Rounding
from nvmc.compiled.work import DigitalEntry, LayerEntry, Work
from nvmc.errors import OptionError
from nvmc.hardware.devices import Target
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.hardware.tiling import Channels, Place, count_tiles, matrix_of
from nvmc.passes.graph.grids import fit_grid, grid_of
from nvmc.passes.graph.mappable import Layer, Weight, finite_array
from nvmc.passes.graph.names import Names

__all__ = ["ArrayTable", "Mapping", "Placed"]

TILE_BYTES = 4000
"""What a tile takes until it stands in tiles.json (measured: 3700)."""
_CODES = ".codes"
_SCALE = ".scale"


@dataclass
class Mapping:
    """What lies where: the tables of the manifest."""

    arrays: list[ArrayEntry] = field(default_factory=list[ArrayEntry])
    layers: list[LayerEntry] = field(default_factory=list[LayerEntry])
    digital: list[DigitalEntry] = field(default_factory=list[DigitalEntry])
    assumed: dict[str, int] = field(default_factory=dict[str, int])
    """Axes that the network leaves open, and the sizes taken to count multiply-adds."""

    @property
    def work(self) -> Work:
        """The multiply-adds of all of it."""
        return Work.of(self.layers, self.digital, self.assumed)

    def tell_inputs(self, told: dict[str, str]) -> None:
        """Say of each array what a DAC does to inputs that the network has rounded."""
        self.arrays = [
            entry.model_copy(update={"inputs": told.get(entry.name, "")}) for entry in self.arrays
        ]

    def tell_outliers(self, found: dict[str, Outliers]) -> None:
        """Say of each array what its largest weights cost."""
        self.arrays = [
            entry.model_copy(update={"outliers": found.get(entry.name)}) for entry in self.arrays
        ]

    def tell_codes(self, found: dict[str, AdcCodes]) -> None:
        """Say of each array which codes of its ADCs it reaches."""
        self.arrays = [
            entry.model_copy(update={"adc_codes": found.get(entry.name)}) for entry in self.arrays
        ]


@dataclass(frozen=True)
class Placed:
    """An array in the graph: its name, and the initializers of its codes and step."""

    name: str
    codes: ir.Value
    scale: ir.Value


class ArrayTable:
    """Makes the arrays of one model and lists them, each weight once.

    Attributes:
        layers: Name of the layer that first uses an array, by the array's name.
    """

    def __init__(self, target: Target, names: Names, mapping: Mapping) -> None:
        self._target = target
        self._names = names
        self._mapping = mapping
        self._placed: dict[ir.Value, Placed] = {}
        self.layers: dict[str, str] = {}

    def of_layer(self, layer: Layer, weight: Weight) -> Placed:
        """The array of a layer's weight.

        Raises:
            OptionError: The weight is not quantised as the target asks.
            ModelError: The weight holds NaN or infinity.
        """
        placed = self._placed.get(weight.source)
        if placed is not None:
            return placed
        shape = finite_array(weight.source).shape
        target = self._target.of_layer(layer.node.name or "", str(weight.operand.name))
        if weight.scale is not None:
            placed = self._quantized(weight, target.weight_bits)
        else:
            placed = self._analog(weight, target.weight_bits)
        self._placed[weight.source] = placed
        self.layers[placed.name] = layer.node.name or ""
        grid = self._grid(layer, weight)
        self._list(placed, shape, layer.place, target, grid, weight.rounding)
        return placed

    def of_parameter(self, source: ir.Value) -> Placed:
        """The array of a bias or norm parameter, quantised here where the target is.

        Raises:
            ModelError: It holds NaN or infinity.
            OptionError: It is to be held in one bit, which would leave its sign.
        """
        placed = self._placed.get(source)
        if placed is not None:
            return placed
        values = finite_array(source)
        bits = self._target.weight_bits
        if bits == 1:
            raise OptionError(
                f"parameter {source.name!r} is to be kept in cells, but 1 bit holds its sign only; "
                "give --weight-bits 2 to 16, with --bits for layers that have 1 bit, or leave "
                "--store out"
            )
        if bits is None:
            placed = self._analog(Weight(source, source), bits)
        else:
            scale = scale_of(values, bits).astype(np.float32)
            name = str(source.name)
            source.name = self._names.fresh(f"{name}.digital")
            codes = self._names.initializer(f"{name}{_CODES}", quantize(values, scale, bits))
            placed = Placed(
                self._array_name(name), codes, self._names.initializer(f"{name}{_SCALE}", scale)
            )
        self._placed[source] = placed
        self._list(placed, values.shape, Place(PARAMETER), self._target)
        return placed

    def _analog(self, weight: Weight, bits: int | None) -> Placed:
        """The float weight is its own codes, with step 1; its old name becomes the array's."""
        if bits is not None:
            raise OptionError(
                f"weight {weight.source.name!r} is not quantised, but the target asks for "
                f"{bits} bits; run quantize-weights before map-crossbars"
            )
        name = str(weight.source.name)
        weight.source.name = self._names.fresh(f"{name}{_CODES}")
        one = np.asarray(1.0, np.float32)
        return Placed(name, weight.source, self._names.initializer(f"{name}{_SCALE}", one))

    def _quantized(self, weight: Weight, bits: int | None) -> Placed:
        name = str(weight.operand.name)
        assert weight.scale is not None and weight.bits is not None
        if bits is None:
            raise OptionError(
                f"weight {name!r} is quantised, but the target is analog; run canonicalize, which "
                "gives float weights back, or choose --weight-bits"
            )
        codes, held = finite_array(weight.source), min(bits, weight.bits)
        largest = max(int(codes.max(initial=0)), -int(codes.min(initial=0)))
        if largest >= 2**held:
            raise OptionError(
                f"weight {name!r} has codes up to {largest}, but {held} bits hold {2**held - 1}; "
                "quantise with the target's bits"
            )
        return Placed(self._array_name(name), weight.source, weight.scale)

    def _array_name(self, name: str) -> str:
        """`name`, with a number behind it where another array has it."""
        taken = {placed.name for placed in self._placed.values()}
        return name if name not in taken else self._names.fresh(f"{name}_array")

    def _grid(self, layer: Layer, weight: Weight) -> str:
        """What became of the grid of a quantised network's weight."""
        grid = grid_of(weight.source)
        if weight.scale is not None or grid is None:
            return weight.grid
        values = finite_array(weight.source)
        return str(fit_grid(values, grid, None, Channels(layer.place, values.shape)))

    def _list(
        self,
        placed: Placed,
        shape: tuple[int, ...],
        place: Place,
        target: Target,
        grid: str = "",
        rounding: Rounding | None = None,
    ) -> None:
        """Add the array to the manifest's table."""
        matrix, layout = matrix_of(place, shape), target.layout
        # Parameters are read cell by cell, and their sign is a bit beside: no negative column.
        planes = layout.planes if place.op == PARAMETER else layout.crossbars
        tiles = count_tiles(matrix, planes, target.rows, target.cols)
        cells = planes * matrix.groups * matrix.rows * matrix.cols
        together = tiles + sum(entry.tiles for entry in self._mapping.arrays)
        check_room(f"{together:,} tiles, {placed.name!r} on some of them,", TILE_BYTES * together)
        self._mapping.arrays.append(
            ArrayEntry(
                name=placed.name,
                shape=list(shape),
                groups=matrix.groups,
                rows=matrix.rows,
                cols=matrix.cols,
                planes=planes,
                tiles=tiles,
                cells=cells,
                utilization=cells / (tiles * target.rows * target.cols),
                codes=str(placed.codes.name),
                scale=str(placed.scale.name),
                grid=grid,
                rounding=rounding,
                weight_bits=target.weight_bits,
                cell_bits=None if target.weight_bits is None else target.cell_bits,
            )
        )
