"""The elements of a tile's netlist: drivers, word lines, cells, bit lines and loads.

The geometry is that of `nvmc.runtime.crossbar.parasitics`. A wire, driver or load without
resistance is no element: what it joins is one node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target, WireOhm
from nvmc.hardware.devices.currents import Cubic, Fitted, Sinh
from nvmc.hardware.tile_cells import TileCells

__all__ = ["Elements", "elements_of"]

Real = NDArray[np.float64]
Cell = Callable[[str, str, str, float], str]
"""From a cell's number, its two nodes and its conductance in µS to its line."""


@dataclass(frozen=True)
class Elements:
    """What the netlists of an array are made of.

    Attributes:
        wires: Resistances.
        cell: The line of a cell.
        declared: Lines ahead of all elements.
    """

    wires: WireOhm
    cell: Cell
    declared: tuple[str, ...] = ()

    def lines(self, tile: TileCells) -> Iterator[tuple[str, str]]:
        """Each line, with the ammeter's name where it is one.

        Word lines are `in0`, `in1`, … at their sources; the ammeters `Vsense0`, `Vsense1`, … and,
        of reference columns, `Vref0`, … carry what flows out of the bit lines.
        """
        g_us, ohm = tile.conductance_us, self.wires
        rows, cols = g_us.shape
        yield from ((line, "") for line in self.declared)
        for r in range(rows):
            yield f"Vin{r} in{r} 0 DC {{v{r}}}", ""
            if ohm.driver:
                yield f"Rdriver{r} in{r} {self._start(r)} {ohm.driver!r}", ""
            for c in range(cols if ohm.row else 0):
                before = self._word(r, c - 1) if c else self._start(r)
                yield f"Rw{r}_{c} {before} {self._word(r, c)} {ohm.row!r}", ""
        for r, c in zip(*np.nonzero(tile.formed & (g_us != 0)), strict=True):
            nodes = self._word(r, c), self._bit(r, c)
            yield self.cell(f"{r}_{c}", *nodes, float(g_us[r, c])), ""
        for c in range(cols):
            for r in range(rows if ohm.col else 0):
                below = self._bit(r + 1, c) if r + 1 < rows else self._end(c)
                yield f"Rb{r}_{c} {self._bit(r, c)} {below} {ohm.col!r}", ""
            if ohm.sense:
                yield f"Rsense{c} {self._end(c)} out{c} {ohm.sense!r}", ""
            yield f"Vsense{c} out{c} 0 DC 0", f"Vsense{c}"
        if tile.reference_us is not None:
            yield from self._reference(tile.reference_us)

    def _reference(self, g_us: Real) -> Iterator[tuple[str, str]]:
        """Reference columns, which are never behind wires."""
        for r, k in zip(*np.nonzero(g_us), strict=True):
            yield self.cell(f"{r}_ref{k}", self._word(r, 0), f"ref{k}", float(g_us[r, k])), ""
        for k in range(g_us.shape[1]):
            yield f"Vref{k} ref{k} 0 DC 0", f"Vref{k}"

    def _start(self, r: int) -> str:
        """Where a word line begins."""
        return f"d{r}" if self.wires.driver else f"in{r}"

    def _word(self, r: int, c: int) -> str:
        return f"w{r}_{c}" if self.wires.row else self._start(r)

    def _bit(self, r: int, c: int) -> str:
        return f"b{r}_{c}" if self.wires.col else self._end(c)

    def _end(self, c: int) -> str:
        """Where a bit line ends."""
        return f"s{c}" if self.wires.sense else f"out{c}"


def elements_of(target: Target) -> Elements:
    """What the netlists of an array are made of.

    Raises:
        OptionError: The current of its cells cannot be said.
    """
    wires = target.periphery.wire_ohm or WireOhm(row=0.0, col=0.0)
    law, read_v = target.iv, target.periphery.read_v
    if law is None or read_v is None:
        return Elements(wires, _linear)
    close = ".options reltol=1e-9 abstol=1e-18 vntol=1e-12"
    match law:
        case Cubic():
            (response,) = law.responses(read_v, read_v)
            one, two, three = (*response, 0.0, 0.0)[:3]
            terms = f"{one!r}+{two!r}*abs(v)+{three!r}*v*v"
            return Elements(wires, _shaped, (close, f".func shape(v) {{v*({terms})}}"))
        case Sinh():
            at = law.v0 * np.sinh(read_v / law.v0) / read_v if law.stated_at == "read" else 1.0
            scale, v0 = float(law.v0 / at), law.v0
            return Elements(wires, _shaped, (close, f".func shape(v) {{{scale!r}*sinh(v/{v0!r})}}"))
        case Fitted():
            form = ".func shape(v,g,q,c) {v*(g+q*abs(v)+c*v*v)}"
            return Elements(wires, _fitted(law), (close, form))
    raise OptionError(f"the current law {law!r} is not known to --to spice")


def _linear(number: str, word: str, bit: str, g_us: float) -> str:
    if g_us < 0:  # a resistor could not be: a source of the current that flows
        return f"Gc{number} {word} {bit} {word} {bit} {g_us * 1e-6!r}"
    return f"Rc{number} {word} {bit} {1e6 / g_us!r}"


def _shaped(number: str, word: str, bit: str, g_us: float) -> str:
    return f"Bc{number} {word} {bit} I={g_us * 1e-6!r}*shape(V({word},{bit}))"


def _fitted(law: Fitted) -> Cell:
    def cell(number: str, word: str, bit: str, g_us: float) -> str:
        siemens = [float(w) * 1e-6 for w in law.weights(np.asarray(g_us), 1.0, 1.0)]
        terms = ",".join(map(repr, siemens))
        return f"Bc{number} {word} {bit} I=shape(V({word},{bit}),{terms})"

    return cell
