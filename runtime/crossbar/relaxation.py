r"""A tile with wires whose cells are not linear, exactly: Kirchhoff's laws line by line.

The circuit is that of `parasitics`. With the voltages u of the bit lines held, every word line is
a chain of its own: driver, segments, and cells to known voltages. With the word lines' voltages w
held, so is every bit line. A sweep solves all word lines and then all bit lines, each by one step
of Newton's method,

    I(w - u) = I(d) + I'(d) (w - u - d)                d the voltage of the sweep before      (1)

    y = I'(d) + B      j = I(d) - I'(d) d + J          what is drawn at a node, y w + j       (2)
    B = y / (1 + rho y)      J = j / (1 + rho y)       the same, seen through a segment rho   (3)
    w = (w before the segment - rho j) / (1 + rho y)   from the driver on                     (4)

(for u = 0). This is block relaxation of the gradient of a convex function, the co-content, as long
as currents rise with voltages: it has one solution (Duffin, Bull. AMS 53, 1947), and what a sweep
leaves of an error is about the share of the drive that word lines lose times that which bit lines
lose. Every input vector stops by itself, once a sweep moves no voltage by more than `SETTLED`.

Only sums, products and quotients, cell by cell, in float64: the same bits for every batch, number
of threads and machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.devices import WireOhm

__all__ = ["SETTLED", "Law", "column_currents"]

Real = NDArray[np.floating[Any]]
Law = Callable[[Real], tuple[Real, Real]]
"""From the voltages of all cells, (rows, cols, vectors), to currents in µA and slopes in µS."""

SETTLED = 1e-13
"""Of the largest drive: the most that a last sweep moves a voltage."""

_MOST_SWEEPS = 2000
_MEGAOHM = 1e-6


@dataclass(frozen=True)
class _Chain:
    """Resistances of a line's segments in megaohm: the one at its terminal, and all others."""

    first: float
    rest: float

    @property
    def any(self) -> bool:
        """Whether it has some."""
        return self.first > 0 or self.rest > 0


def column_currents(
    law: Law, volts: Real, cols: int, wires: WireOhm, floating: NDArray[np.bool_] | None = None
) -> Real:
    """What arrives at the sense ends, exact up to rounding.

    Args:
        law: Of the cells; it must hold for voltages of both signs up to the largest drive.
        volts: Of the drivers, shape (rows, vectors).
        cols: Bit lines.
        wires: Their resistances and those of the terminals, in ohm.
        floating: Which word lines hang on nothing but their cells, shape (rows,); None for none.

    Returns:
        Currents in µA, shape (cols, vectors). A sweep takes some 60 operations a cell and vector.

    Raises:
        OptionError: The circuit does not settle: it feeds itself, or next to nothing of the drive
            arrives.
    """
    word = _Chain((wires.row + wires.driver) * _MEGAOHM, wires.row * _MEGAOHM)
    bit = _Chain((wires.col + wires.sense) * _MEGAOHM, wires.col * _MEGAOHM)
    rows, vectors = volts.shape
    free = np.zeros(rows, np.bool_) if floating is None else floating
    found: Real = np.zeros((cols, vectors))
    left: NDArray[np.intp] = np.flatnonzero(volts.any(axis=0))
    drive = np.ascontiguousarray(volts[:, left])
    w = np.broadcast_to(drive[:, None], (rows, cols, len(left))).copy()
    u: Real = np.zeros_like(w)
    limit = SETTLED * np.abs(drive).max(axis=0, initial=0.0)
    for _ in range(_MOST_SWEEPS):
        if not len(left):
            return found
        moved = _swept(law, w, u, drive, (word, bit), free)
        done = moved <= limit
        if done.any():
            current, _ = law(w - u)
            found[:, left[done]] = _summed(current)[:, done]
            keep = ~done
            left, drive, limit = left[keep], drive[:, keep], limit[keep]
            w, u = w[..., keep], u[..., keep]
    raise OptionError(
        f"a tile with wires of {wires} ohm does not converge in {_MOST_SWEEPS} sweeps: "
        "hardly any drive arrives, or cells below 0 µS supply current; lower the wire resistance, "
        "clip the device at 0 or give wire_solution approximate"
    )


def _swept(
    law: Law,
    w: Real,
    u: Real,
    drive: Real,
    chains: tuple[_Chain, _Chain],
    free: NDArray[np.bool_],
) -> Real:
    """Solve all word lines, then all bit lines, in place; by how much voltages moved at most.

    Args:
        law: Of the cells.
        w: Voltages of word lines, (rows, cols, vectors).
        u: Of bit lines.
        drive: Of the drivers, (rows, vectors).
        chains: Segments of word lines, whose nodes are the columns, and of bit lines, whose nodes
            are the rows, the last at the terminal.
        free: Which word lines hang on nothing.
    """
    word, bit = chains
    moved: list[Real] = [np.zeros(drive.shape[1])]
    if word.any or free.any():
        current, slope = law(w - u)
        current -= slope * w
        across = slope.swapaxes(0, 1), current.swapaxes(0, 1)
        found = _solved(*across, drive, word, free).swapaxes(0, 1)
        moved.append(np.abs(found - w).max(axis=(0, 1)))
        w[...] = found
    if bit.any:
        current, slope = law(w - u)
        current = -current - slope * u
        ground: Real = np.zeros_like(u[0])
        found = _solved(slope[::-1], current[::-1], ground, bit, None)[::-1]
        moved.append(np.abs(found - u).max(axis=(0, 1)))
        u[...] = found
    return np.stack(moved).max(axis=0)


def _solved(
    slope: Real,
    current: Real,
    terminal: Real,
    chain: _Chain,
    free: NDArray[np.bool_] | None,
) -> Real:
    """Voltages of the nodes of lines, Equations 2 to 4.

    Args:
        slope: y of each node's own cell, shape (nodes, ...), node 0 next to the terminal.
        current: j likewise.
        terminal: Voltages of the terminals.
        chain: Segments.
        free: Which lines hang on nothing, so that nothing is drawn at their first node:
            y w + j = 0.
    """
    share: Real = np.empty(slope.shape)
    drawn: Real = np.empty(slope.shape)
    beyond: Real = np.zeros(slope.shape[1:])
    source, y, j = beyond, beyond, beyond
    for node in range(len(slope) - 1, -1, -1):
        rho = chain.rest if node else chain.first
        y, j = slope[node] + beyond, current[node] + source
        divisor = 1 / (1 + rho * y)
        share[node], drawn[node] = divisor, rho * j
        beyond, source = y * divisor, j * divisor
    before = terminal
    for node in range(len(slope)):
        before = (before - drawn[node]) * share[node]
        if node == 0 and free is not None and free.any():
            hanging = np.where(free[:, None], -j / np.where(y == 0, 1.0, y), before)
            before: Real = hanging
        share[node] = before
    return share


def _summed(current: Real) -> Real:
    """The sum over rows, in order."""
    total = current[0].copy()
    for row in current[1:]:
        total += row
    return total
