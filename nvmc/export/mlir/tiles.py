"""Tiles in MLIR: acquired and written once, executed row of tiles by row of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nvmc.export.mlir.text import Text, Value, number, quoted
from nvmc.export.schedule.cells import Board, Crossbar, Held
from nvmc.hardware.tiling import Tile as Place
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.circuit import Circuit
from nvmc.runtime.crossbar.curves import Curves
from nvmc.runtime.crossbar.mvm import ALL

__all__ = ["Codes", "Tiles", "product"]


@dataclass
class Tiles:
    """The tiles of a network, each with the SSA value that stands for it.

    Attributes:
        text: Of the function, in whose beginning they are acquired.
        board: Rows of all tiles, and their cells.
        names: SSA values by number of the tile.
    """

    text: Text
    board: Board
    names: dict[int, str] = field(default_factory=dict[int, str])

    def acquire(self, held: Held) -> None:
        """Acquire and write the tiles of an array, where that was not done."""
        for crossbar in held.crossbars:
            if crossbar.index in self.names:
                continue
            row, name = self.board.tiles[crossbar.index], self.text.fresh()
            self.names[crossbar.index] = name
            rows, columns = row.shape
            self.text.add(
                f'{name} = "cim.acquire"() {{array = {quoted(row.array)}, '
                f"columns = {columns} : i64, number = {row.number} : i64, "
                f"off = {number(row.off)} : f32, polarity = {quoted(row.polarity or '')}, "
                f"rows = {rows} : i64, slice = {row.slice} : i64}} : () -> !cim.tile"
            )
            cells = self.text.constant(
                self.board.stored[row.levels or row.codes], row.levels or row.codes
            )
            self.text.add(f'"cim.write"({name}, {cells.name}) : (!cim.tile, {cells.text}) -> ()')

    def release(self) -> None:
        """Give all of them back."""
        for name in self.names.values():
            self.text.add(f'"cim.release"({name}) : (!cim.tile) -> ()')


@dataclass(frozen=True)
class Codes:
    """What `cim.encode` gives, with the codes as vectors.

    Attributes:
        values: Shape (entries, vectors, groups, rows).
        step: What a code of 1 stands for, (entries,).
        shift: Offset of codes, (entries,).
        negative: Not 0 where codes take a second phase, (entries,).
    """

    values: Value
    step: Value
    shift: Value
    negative: Value


@dataclass(frozen=True)
class _Layer:
    """One node's array while its products are written."""

    tiles: Tiles
    held: Held
    circuit: Circuit
    codes: Codes

    @property
    def text(self) -> Text:
        """Where lines go."""
        return self.tiles.text

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the results: entries, vectors, groups, columns."""
        return (*self.codes.values.shape[:2], *self.circuit.unit.shape)

    def read(self, index: int) -> Value:
        """What the converters of one row of tiles say, all pulses and lanes added up."""
        rows, adc = self.circuit.blocks[index].rows, self.circuit.adcs[index]
        crossbars = [
            crossbar
            for crossbar in self.held.crossbars
            if crossbar.place.rows[0] <= rows.start < crossbar.place.rows[1]
        ]
        places = dict.fromkeys((c.place.groups, c.place.cols) for c in crossbars)
        whole = None
        for groups, cols in places:
            here = [c for c in crossbars if (c.place.groups, c.place.cols) == (groups, cols)]
            found = self._execute(here, rows, adc)
            if found.shape == self.shape:
                return found
            whole = self.text.empty(self.shape) if whole is None else whole
            whole = self.text.inserted(found, whole, (0, 0, groups[0], cols[0]))
        assert whole is not None
        return whole

    def _execute(self, crossbars: Sequence[Crossbar], rows: slice, adc: Adc) -> Value:
        """The operation for the tiles of one place."""
        place = crossbars[0].place
        entries, vectors = self.codes.values.shape[:2]
        groups, height = place.groups[1] - place.groups[0], rows.stop - rows.start
        offsets = (0, 0, place.groups[0], rows.start)
        codes = self.text.part(self.codes.values, offsets, (entries, vectors, groups, height))
        coefficients = self.circuit.coefficients.tolist()
        limit = float("inf") if adc.limit is None else adc.limit
        attributes = {
            "bits": f"{self.circuit.dac.serial[0]} : i64",
            "coefficients": f"array<f32: {', '.join(number(c) for c in coefficients)}>",
            "limit": f"{number(limit)} : f32",
            "line": f"{rows.start - place.rows[0]} : i64",
        }
        tables: list[Value] = []
        if adc.curves is None:
            inverse = 1.0 if adc.step == 1 else 1 / adc.step
            ends = {"high": adc.high, "inverse": inverse, "low": adc.low}
            attributes |= {key: f"{number(value)} : f32" for key, value in ends.items()}
        else:
            tables = self._tables(adc.curves, place)
        tiles = [self.tiles.names[n] for n in self._order(crossbars, len(coefficients))]
        given = [codes, self.codes.shift, self.codes.negative, *tables]
        operands = ", ".join([*(each.name for each in given), *tiles])
        types = ", ".join([*(each.text for each in given), *["!cim.tile"] * len(tiles)])
        told = ", ".join(f"{key} = {attributes[key]}" for key in sorted(attributes))
        shape = (entries, vectors, groups, place.cols[1] - place.cols[0])
        name = "cim.execute_table" if tables else "cim.execute"
        line = f'"{name}"({operands}) {{{told}}} : ({types}) -> {{type}}'
        return self.text.value(shape, "float32", line)

    def _tables(self, curves: Curves, place: Place) -> list[Value]:
        """Thresholds and levels of curves, and of every column its curve, steps and worth."""
        groups, columns = self.circuit.unit.shape
        width = int(np.isfinite(curves.thresholds).sum(axis=1).max())
        worth = np.ones_like(curves.inverse) if curves.worth is None else curves.worth
        found: dict[str, Any] = {
            "thresholds": curves.thresholds[:, :width],
            "levels": curves.levels[:, : width + 1],
        }
        each = {"curve": curves.of_column, "inverses": curves.inverse, "worth": worth}
        for name, values in each.items():
            lanes = values.reshape(groups, -1, columns).swapaxes(0, 1)
            part = lanes[:, slice(*place.groups), slice(*place.cols)]
            found[name] = part.astype(np.int32 if name == "curve" else np.float32)
        array = self.held.array.name
        return [self.text.constant(values, f"{array}.{name}") for name, values in found.items()]

    def _order(self, crossbars: Sequence[Crossbar], lanes: int) -> list[int]:
        """Tiles by lane; of lanes that subtract polarities themselves, both, + first."""
        layout, target = self.held.array.layout, self.held.array.target
        known = {(c.slice, c.polarity): c.index for c in crossbars}
        if layout.encoding == "offset":
            return [known[lane, None] for lane in range(lanes)]
        if target.periphery.subtract == "analog":
            return [known[lane, sign] for lane in range(lanes) for sign in ("+", "-")]
        signs = ["+"] * layout.slices + ["-"] * layout.slices
        return [known[n % layout.slices, sign] for n, sign in enumerate(signs)]  # pyright: ignore

    def corrected(self, index: int, total: Value) -> Value:
        """`total` with what one row of tiles adds digitally."""
        circuit, text, rows = self.circuit, self.text, self.circuit.blocks[index].rows
        at = ["d0", "d1", "d2", "d3"]
        entries, vectors, groups = self.codes.values.shape[:3]
        if circuit.shift:
            sizes = (entries, vectors, groups, rows.stop - rows.start)
            part = text.part(self.codes.values, (0, 0, 0, rows.start), sizes)
            start = text.filled((entries, vectors, groups), 0.0)
            adding = [("arith.addf", "o", "a")]
            sums = text.generic(sizes[:3], [(part, at)], adding, reduced=1, start=start)
            factor = text.scalar(-circuit.shift)
            body = [("arith.mulf", "b", factor), ("arith.addf", "a", "0")]
            total = text.generic(self.shape, [(total, at), (sums, at[:3])], body)
        if circuit.dac.offsets:
            found = circuit.products(ALL)[index].at_unit_drive.reshape(circuit.unit.shape)
            driven = text.constant(found, f"{self.held.array.name}.driven{index}")
            minus = text.scalar(-1.0)
            body = [
                ("arith.mulf", "b", minus),
                ("arith.mulf", "0", "c"),
                ("arith.addf", "a", "1"),
            ]
            inputs = [(total, at), (driven, at[2:]), (self.codes.shift, at[:1])]
            total = text.generic(self.shape, inputs, body)
        return total

    def total(self) -> Value:
        """The results, in the network's units."""
        circuit, text, at = self.circuit, self.text, ["d0", "d1", "d2", "d3"]
        plain = len(circuit.blocks) == 1 and not circuit.shift and not circuit.dac.offsets
        total = self.read(0)
        factor = float(np.float32(circuit.adcs[0].step))
        if not plain:
            body = [("arith.mulf", "a", text.scalar(factor))]
            total = self.corrected(0, text.generic(self.shape, [(total, at)], body))
            factor = 1.0
        for index in range(1, len(circuit.blocks)):
            body = [
                ("arith.mulf", "b", text.scalar(float(np.float32(circuit.adcs[index].step)))),
                ("arith.addf", "a", "0"),
            ]
            inputs = [(total, at), (self.read(index), at)]
            total = self.corrected(index, text.generic(self.shape, inputs, body))
        unit = text.constant(circuit.unit.astype(np.float32), f"{self.held.array.name}.unit")
        body = [
            ("arith.mulf", "c", text.scalar(factor)),
            ("arith.mulf", "b", "0"),
            ("arith.mulf", "a", "1"),
        ]
        inputs = [(total, at), (self.codes.step, at[:1]), (unit, at[2:])]
        return text.generic(self.shape, inputs, body)


def product(tiles: Tiles, held: Held, circuit: Circuit, codes: Codes) -> Value:
    """The products of vectors of codes with an array.

    Args:
        tiles: Of the network.
        held: The array.
        circuit: Between its converters.
        codes: What drives it.

    Returns:
        Shape (entries, vectors, groups, columns).
    """
    return _Layer(tiles, held, circuit, codes).total()
