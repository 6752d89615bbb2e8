"""A crossbar node by node: Kirchhoff's laws in a dense matrix, cell by cell, with numpy.linalg.

The oracle for terminals, for rows that float and for cells that are not linear. It shares nothing
with `nvmc.runtime.crossbar.parasitics`, nor with `resistor_network`. The geometry is theirs: word
line r is driven at column 0, bit line c is sensed behind the last row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Law = Callable[[float, float], tuple[float, float]]
"""From a cell's conductance and its voltage to its current and the current's slope."""

WIRE = 1e-9
"""Ohm that stand for a wire without resistance."""


def linear(g: float, volts: float) -> tuple[float, float]:
    return g * volts, g


@dataclass(frozen=True)
class Resistances:
    """In ohm."""

    row: float = 0.0
    col: float = 0.0
    driver: float = 0.0
    sense: float = 0.0
    first_row: float = 0.0
    """More in every segment of word line 0, a quirk of another simulator."""
    pair: float | None = None
    """Of segments of bit lines behind rows 0, 2, 4 ...; `col` where None."""


def currents(g: Real, volts: Any, ohm: Resistances, law: Law = linear) -> Real:
    """Currents into the sense ends in µA of cells of g µS, shape (rows, cols).

    Args:
        g: Conductances.
        volts: Of each driver; NaN where a row is not connected.
        ohm: Wires and terminals; where all is 0 a wire is of `WIRE`.
        law: Of the cells.
    """
    rows, cols = g.shape
    nodes = 2 * rows * cols

    def word(r: int, c: int) -> int:
        return r * cols + c

    def bit(r: int, c: int) -> int:
        return rows * cols + r * cols + c

    matrix, fed = np.zeros((nodes, nodes)), np.zeros(nodes)

    def join(a: int, b: int, siemens: float) -> None:
        for one, other in ((a, b), (b, a)):
            matrix[one, one] += siemens
            matrix[one, other] -= siemens

    for r in range(rows):
        segment = ohm.row + (ohm.first_row if r == 0 else 0.0)
        if not np.isnan(volts[r]):
            siemens = 1e6 / max(ohm.driver + segment, WIRE)
            matrix[word(r, 0), word(r, 0)] += siemens
            fed[word(r, 0)] += siemens * volts[r]
        for c in range(cols - 1):
            join(word(r, c), word(r, c + 1), 1e6 / max(segment, WIRE))
    ends = 1e6 / max(ohm.sense + ohm.col, WIRE)
    for c in range(cols):
        matrix[bit(rows - 1, c), bit(rows - 1, c)] += ends
        for r in range(rows - 1):
            segment = ohm.col if ohm.pair is None or r % 2 else ohm.pair
            join(bit(r, c), bit(r + 1, c), 1e6 / max(segment, WIRE))
    found = np.zeros(nodes)
    for _ in range(100):
        jacobian, rest = matrix.copy(), matrix @ found - fed
        for r in range(rows):
            for c in range(cols):
                a, b = word(r, c), bit(r, c)
                current, slope = law(float(g[r, c]), float(found[a] - found[b]))
                rest[a] += current
                rest[b] -= current
                for one, other in ((a, b), (b, a)):
                    jacobian[one, one] += slope
                    jacobian[one, other] -= slope
        step = (
            np.linalg.lstsq(jacobian, rest, rcond=None)[0]
            if singular(g, volts)
            else (np.linalg.solve(jacobian, rest))
        )
        found -= step
        if np.abs(step).max() < 1e-13 * max(1.0, float(np.abs(found).max())):
            break
    return ends * found[[bit(rows - 1, c) for c in range(cols)]]


def singular(g: Real, volts: Any) -> bool:
    """Whether a row hangs on nothing at all."""
    return any(np.isnan(volts[r]) and not g[r].any() for r in range(len(g)))
