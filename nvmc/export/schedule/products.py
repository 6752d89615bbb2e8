"""The instructions of one array: a vector through its tiles, converters and shift-and-add.

What they compute is `nvmc.runtime.crossbar.circuit`, operation by operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nvmc.export.schedule.cells import Crossbar, Held
from nvmc.export.schedule.format import (
    Add,
    Clear,
    Convert,
    Converter,
    Drive,
    Instruction,
    Repeat,
    Scale,
    Sum,
    View,
    When,
)
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.circuit import Circuit
from nvmc.runtime.crossbar.curves import Curves
from nvmc.runtime.crossbar.mvm import ALL

__all__ = ["Product", "Registers"]

Span = tuple[int, int, int]
_BIT = "bit"


@dataclass
class Registers:
    """Names and sizes of buffers, and the arrays and converters of a file, as they are added.

    Attributes:
        sizes: Elements by buffer; all zeros at first.
        stored: Buffers that tiles.npz holds.
        tables: Its other arrays.
        converters: Rows of the file.
        taken: Names of the graph, which no buffer may have.
    """

    taken: frozenset[str]
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    stored: dict[str, Any] = field(default_factory=dict[str, Any])
    tables: dict[str, Any] = field(default_factory=dict[str, Any])
    converters: list[Converter] = field(default_factory=list[Converter])

    def name(self, layer: str, what: str) -> str:
        """A name that is new."""
        name = f"#{layer}.{what}"
        while name in self.taken or name in self.sizes or name in self.stored:
            name = f"#{name}"
        return name

    def make(self, layer: str, what: str, *shape: int) -> str:
        """A new buffer of zeros."""
        name = self.name(layer, what)
        self.sizes[name] = shape
        return name

    def store(self, layer: str, what: str, values: Any) -> str:
        """A new buffer that tiles.npz holds, float32."""
        name = self.name(layer, what)
        self.stored[name] = np.ascontiguousarray(values, np.float32)
        return name


@dataclass(frozen=True)
class Product:
    """How one node reads an array.

    Attributes:
        name: Of the node.
        held: The array on its tiles.
        circuit: Between its converters.
        registers: Where buffers are made.
        vector: Buffer of the codes of a vector, (groups, rows).
        step, signed, shift: Of the entry that the vector belongs to; `shift` is None where codes
            get no offset.
        bits: Pulses of a bit-serial code; 0 where a code is one pulse.
    """

    name: str
    held: Held
    circuit: Circuit
    registers: Registers
    vector: str
    step: View
    signed: View
    shift: View | None
    bits: int

    @property
    def columns(self) -> int:
        """Of all groups."""
        return self.circuit.unit.size

    def instructions(self, result: str) -> list[Instruction]:
        """From the vector to `result`, (groups, columns)."""
        registers, circuit = self.registers, self.circuit
        names = ("read", "sum", "pulses", "total")
        read, lanes, pulses, total = (registers.make(self.name, n, self.columns) for n in names)
        unit = registers.store(self.name, "unit", circuit.unit.ravel())
        found: list[Instruction] = []
        plain = len(circuit.blocks) == 1 and not circuit.shift and self.shift is None
        for number, (block, adc) in enumerate(zip(circuit.blocks, circuit.adcs, strict=True)):
            found.append(Clear(to=self._all(pulses)))
            found += self._pulses(block.rows, self._converters(adc), read, lanes, pulses)
            if plain:
                continue
            factor = float(np.float32(adc.step))
            first = True if number == 0 else None
            to, source = self._all(total), self._all(pulses)
            found.append(Add(to=to, source=source, factor=factor, set=first))
            found += self._corrections(number, total)
        factor = float(np.float32(circuit.adcs[0].step)) if plain else 1.0
        scale = Scale(
            to=self._all(result),
            source=self._all(pulses if plain else total),
            step=self.step,
            unit=self._all(unit),
            factor=factor,
        )
        return [*found, scale]

    def _all(self, buffer: str) -> View:
        return View(buffer=buffer, shape=(self.columns,), strides=(1,))

    def _pulses(
        self, rows: slice, converters: Sequence[int], read: str, lanes: str, pulses: str
    ) -> list[Instruction]:
        """Every pulse on some rows of tiles, and what it counts for, added up in `pulses`."""
        crossbars = self._crossbars(rows)
        found: list[Instruction] = []
        for phase in ("+",) if self.shift is not None else ("+", "-"):
            body: list[Instruction] = [*self._drives(rows, crossbars, phase)]
            for lane, coefficient in enumerate(self.circuit.coefficients.tolist()):
                body += self._converts(lane, converters[lane], crossbars, read)
                first = True if lane == 0 else None
                to, source = self._all(lanes), self._all(read)
                body.append(Add(to=to, source=source, factor=coefficient, set=first))
            sign, bit = 1.0 if phase == "+" else -1.0, _BIT if self.bits else None
            to, source = self._all(pulses), self._all(lanes)
            body.append(Add(to=to, source=source, factor=sign, bit=bit))
            if self.bits:
                body = [Repeat(index=_BIT, count=self.bits, body=tuple(body))]
            found += body if phase == "+" else [When(flag=self.signed, body=tuple(body))]
        return found

    def _crossbars(self, rows: slice) -> list[Crossbar]:
        return [
            crossbar
            for crossbar in self.held.crossbars
            if crossbar.place.rows[0] <= rows.start < crossbar.place.rows[1]
        ]

    def _drives(self, rows: slice, crossbars: list[Crossbar], phase: Any) -> Sequence[Instruction]:
        """One for all tiles that get the same codes on the same word lines."""
        bit = _BIT if self.bits else None
        height = self._height
        alike: dict[tuple[Span, ...], list[int]] = {}
        for crossbar in crossbars:
            (g0, g1), (r0, r1) = crossbar.place.groups, crossbar.place.rows
            spans = tuple(
                ((group - g0) * (r1 - r0) + rows.start - r0, rows.stop - rows.start,
                 group * height + rows.start)
                for group in range(g0, g1)
            )  # fmt: skip
            alike.setdefault(spans, []).append(crossbar.index)
        return [
            Drive(
                tiles=tuple(tiles),
                source=self.vector,
                rows=spans,
                phase=phase,
                bit=bit,
                shift=self.shift,
            )
            for spans, tiles in alike.items()
        ]

    @property
    def _height(self) -> int:
        """Rows of a group."""
        return self.circuit.blocks[-1].rows.stop

    def _converts(
        self, lane: int, converter: int, crossbars: list[Crossbar], read: str
    ) -> list[Instruction]:
        """The conversions of one lane, into `read`."""
        cols = self.circuit.unit.shape[1]
        layout, target = self.held.array.layout, self.held.array.target
        number, polarity = lane % layout.slices, "-" if lane >= layout.slices else "+"
        if layout.encoding == "offset":
            polarity = None
        both = layout.encoding != "offset" and target.periphery.subtract == "analog"
        others = {(c.slice, c.polarity, c.place.groups, c.place.cols): c.index for c in crossbars}
        found: list[Instruction] = []
        for crossbar in crossbars:
            if (crossbar.slice, crossbar.polarity) != (number, polarity):
                continue
            (g0, g1), (c0, c1) = crossbar.place.groups, crossbar.place.cols
            spans = tuple(
                ((group - g0) * (c1 - c0), c1 - c0, group * cols + c0) for group in range(g0, g1)
            )
            key = (number, "-", crossbar.place.groups, crossbar.place.cols)
            found.append(
                Convert(
                    tile=crossbar.index,
                    minus=others[key] if both else None,
                    converter=converter,
                    columns=spans,
                    to=read,
                )
            )
        return found

    def _corrections(self, number: int, total: str) -> list[Instruction]:
        """What one row of tiles adds digitally: the encoding's shift, and that of the inputs."""
        circuit, registers = self.circuit, self.registers
        block, found = circuit.blocks[number], list[Instruction]()
        groups, cols = circuit.unit.shape
        if circuit.shift:
            sums = registers.make(self.name, f"inputs{number}", groups)
            rows = block.rows
            for group in range(groups):
                at = group * self._height + rows.start
                source = View(
                    buffer=self.vector, offset=at, shape=(rows.stop - rows.start,), strides=(1,)
                )
                found.append(Sum(to=View(buffer=sums, offset=group), source=source))
            to = View(buffer=total, shape=(groups, cols), strides=(cols, 1))
            source = View(buffer=sums, shape=(groups, cols), strides=(1, 0))
            found.append(Add(to=to, source=source, factor=float(np.float32(-circuit.shift))))
        if self.shift is not None:
            at_unit = circuit.products(ALL)[number].at_unit_drive.ravel()
            stored = registers.store(self.name, f"driven{number}", at_unit)
            source = self._all(stored)
            found.append(Add(to=self._all(total), source=source, factor=-1.0, by=self.shift))
        return found

    def _converters(self, adc: Adc) -> list[int]:
        """The converters of every lane of a row of tiles."""
        registers, lanes = self.registers, len(self.circuit.coefficients)
        if adc.curves is None:
            inverse = 1.0 if adc.step == 1 else float(np.float32(1 / adc.step))
            registers.converters.append(
                Converter(
                    bits=adc.bits or 1,
                    inverse=inverse,
                    low=float(adc.low),
                    high=float(adc.high),
                    limit=None if adc.limit is None else float(np.float32(adc.limit)),
                )
            )
            return [len(registers.converters) - 1] * lanes
        return [self._tabled(adc, adc.curves, lane) for lane in range(lanes)]

    def _tabled(self, adc: Adc, curves: Curves, lane: int) -> int:
        """A converter whose codes are found in a table."""
        registers = self.registers
        index, cols = len(registers.converters), self.circuit.unit.shape[1]
        columns = slice(lane * cols, (lane + 1) * cols)
        width = int(np.isfinite(curves.thresholds).sum(axis=1).max())
        tables = {
            "thresholds": curves.thresholds[:, :width],
            "levels": curves.levels[:, : width + 1],
            "curve": curves.of_column[:, columns].astype(np.int32).ravel(),
            "inverses": curves.inverse[:, columns].astype(np.float32).ravel(),
        }
        if curves.worth is not None:
            tables["worth"] = curves.worth[:, columns].astype(np.float32).ravel()
        names = {key: f"converter{index}.{key}" for key in tables}
        registers.tables |= {name: tables[key] for key, name in names.items()}
        row = Converter(
            bits=adc.bits or 1,
            low=float(adc.low),
            high=float(adc.high),
            limit=None if adc.limit is None else float(np.float32(adc.limit)),
            thresholds=names["thresholds"],
            levels=names["levels"],
            curve=names["curve"],
            inverses=names["inverses"],
            worth=names.get("worth"),
        )
        registers.converters.append(row)
        return index
