r"""Wire resistance: the array with its wires is linear, so a tile is just another matrix.

Word lines are rows, driven at their left end by ideal sources v; bit lines are columns, sensed at
their bottom end into virtual ground. A cell g[r,c] joins node (r, c) of its word line (o) to node
(r, c) of its bit line (+)::

    v[0]   ==o===========o===== ... ===o             == : row_ohm, a segment of a word line
              \           \             \            #  : col_ohm, a segment of a bit line
              g[0,0]      g[0,1]        g[0,C-1]
                \           \             \
                 +           +             +         far end of the bit lines
                 #           #             #
    v[1]   ==o===#=======o===#= ... ===o   #         a crossing, no contact
              \  #        \  #          \  #
              g[1,0]      g[1,1]        g[1,C-1]
                \#          \#            \#
                 +           +             +
                 :           :             :
                 +           +             +         row R-1, next to the sense ends
                 #           #             #
               I[0]        I[1]          I[C-1]

The first segment of a word line lies before its first cell, the last segment of a bit line after
its last cell, so cell (r, c) is c + 1 segments from its driver and R - r from its sense end.
Resistances of drivers and of sense ends are in series with these two segments.
docs/parasitics.md has the derivation; `tests/resistor_network.py` is the slow solution
to hold this against.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from nvmc.errors import OptionError

__all__ = ["approximate", "checked_ohm", "effective"]

Real = NDArray[np.floating[Any]]

_BLAS: Any = blas  # scipy declares no types for these two
_LAPACK: Any = lapack

_FAINTEST = 1e-200
"""Below this quotients of dividers might not be numbers any more."""

_MEGAOHM = 1e-6
"""An ohm in megaohm, so that megaohm times microsiemens is a pure number."""


@dataclass(frozen=True)
class _Wire:
    """Resistances of a wire's segments.

    Attributes:
        scale: Their unit, in megaohm.
        first: Of the segment at the terminal, with the terminal's own, in that unit.
        rest: Of any other.
    """

    scale: float
    first: float = 1.0
    rest: float = 1.0

    def segment(self, node: int) -> float:
        """That before a node, in units of `scale`; node 0 is next to the terminal."""
        return self.rest if node else self.first

    @classmethod
    def of(cls, ohm: float, terminal_ohm: float, name: str, terminal: str) -> _Wire:
        """A wire of segments of `ohm`, behind a terminal of `terminal_ohm`.

        Raises:
            OptionError: One of them is negative or not finite.
        """
        scale = checked_ohm(ohm, name)
        end = checked_ohm(terminal_ohm, terminal)
        if scale == 0 and end > 0:
            return cls(end, 1.0, 0.0)
        return cls(scale, (scale + end) / scale if end > 0 else 1.0)


def effective(
    g_us: Real,
    row_ohm: float,
    col_ohm: float,
    driver_ohm: float = 0.0,
    sense_ohm: float = 0.0,
    floating: NDArray[np.bool_] | None = None,
) -> Real:
    """The conductances that a tile shows at its terminals, exact up to rounding.

    The output currents (µA) are `v @ effective(...)` for driver voltages v (V). Block elimination
    of the bit-line nodes row by row, each row's word line eliminated in closed form (see
    docs/parasitics.md, Eq. 2 to 5); in float64.

    Args:
        g_us: Cell conductances in µS, shape (..., rows, cols), any number of tiles.
        row_ohm: Resistance of a word-line segment.
        col_ohm: Resistance of a bit-line segment.
        driver_ohm: Resistance of each word line's driver.
        sense_ohm: Resistance between each bit line's end and its virtual ground.
        floating: Which word lines hang on nothing but their cells, shape (rows,); their rows of the
            result are 0. None where all have drivers.

    Returns:
        Shape (..., rows, cols), float64, in µS. With n the shorter side of the tile and m the
        longer: some 2 m n^3 + m^2 n^2 multiply-adds a tile (m n where one resistance is 0), and
        beside the result some 8 (7 m n + 7 n^2) bytes.

    Raises:
        OptionError: A resistance is negative or not finite; a conductance is not finite; or
            negative conductances (noise that is not clipped) outweigh the wires, so that the
            circuit would feed itself and has no stable state; or hardly a voltage reaches the
            far end of a wire.
    """
    row = _Wire.of(row_ohm, driver_ohm, "row segment", "driver")
    col = _Wire.of(col_ohm, sense_ohm, "col segment", "sense end")
    g = _checked(g_us)
    if floating is not None and floating.any() and g.size:
        return _with_floating(g, row, col, floating)
    if row.scale == 0 or col.scale == 0 or g.size == 0:
        return approximate(g, row_ohm, col_ohm, driver_ohm, sense_ohm)
    if g.shape[-1] > g.shape[-2]:  # reciprocity: drive the bit lines, sense the word lines
        return _turned(effective(_turned(g), col_ohm, row_ohm, sense_ohm, driver_ohm))
    result = np.empty_like(g)
    for index in np.ndindex(g.shape[:-2]):
        result[index] = _eliminated(g[index], row, col)
    return result


def _with_floating(g: Real, row: _Wire, col: _Wire, floating: NDArray[np.bool_]) -> Real:
    """`effective` of tiles some of whose word lines have no driver."""
    row = _Wire(1.0, 0.0, 0.0) if row.scale == 0 else row  # a word line is one node
    col = _Wire(1.0, 0.0, 0.0) if col.scale == 0 else col
    result = np.empty_like(g)
    for index in np.ndindex(g.shape[:-2]):
        result[index] = _eliminated(g[index], row, col, floating)
    return result


def approximate(
    g_us: Real, row_ohm: float, col_ohm: float, driver_ohm: float = 0.0, sense_ohm: float = 0.0
) -> Real:
    """A cheap approximation: every cell behind its own word line and its own bit line alone.

    g times the voltage divider of its word line with the bit lines grounded, times that of its bit
    line with the word lines grounded: exact where one of the resistances is 0, and correct to
    first order in the resistances. It neglects that lifted bit lines draw less from the word lines
    and so relieve them: for g >= 0 no conductance is too large, and a column's current falls short
    by at most the share lost along word lines times that lost along bit lines (docs/parasitics.md,
    Eq. 7, and a table). It has no sneak paths: 0 where g is.

    Args:
        g_us: Cell conductances in µS, shape (..., rows, cols).
        row_ohm: Resistance of a word-line segment.
        col_ohm: Resistance of a bit-line segment.
        driver_ohm: Resistance of each word line's driver.
        sense_ohm: Resistance between each bit line's end and its virtual ground.

    Returns:
        Shape (..., rows, cols), float64, in µS; some ten operations a cell.

    Raises:
        OptionError: As `effective`.
    """
    row = _Wire.of(row_ohm, driver_ohm, "row segment", "driver")
    col = _Wire.of(col_ohm, sense_ohm, "col segment", "sense end")
    g = _checked(g_us)
    if g.size == 0:
        return g
    return g * _dividers(_pivots(g, row)) * _turned(_dividers(_pivots(_turned(g), col)))


def checked_ohm(ohm: float, name: str) -> float:
    """A resistance in megaohm; `name` says whose it is.

    Raises:
        OptionError: It is negative or not finite.
    """
    if not 0 <= ohm < np.inf:
        raise OptionError(
            f"the wire resistance of a {name} is {ohm}; expected 0 ohm or more, finite"
        )
    return ohm * _MEGAOHM


def _checked(g_us: Real) -> Real:
    g = np.asarray(g_us, np.float64)
    if g.ndim < 2:
        raise OptionError(
            f"conductances have shape {g.shape}; expected at least rows and columns of a tile"
        )
    if not np.isfinite(g).all():
        raise OptionError("a conductance is not finite; expected µS, check the device's spread")
    return g


def _turned(g: Real) -> Real:
    """The same tile seen from its sense end: bit lines become word lines."""
    return g[..., ::-1, ::-1].swapaxes(-1, -2)


def _pivots(g: Real, wire: _Wire) -> Real:
    """Pivots of a wire with its cells to ground, eliminated from its far end to its driver.

    Args:
        g: Conductances in µS, shape (..., nodes), node 0 next to the driver.
        wire: Its segments.

    Returns:
        d, with U diag(d) U' the wire's nodal matrix, each node in units of the conductance of the
        segment before it. d - 1 is the conductance of a node and all beyond it: a sum without
        cancellation where g >= 0.

    Raises:
        OptionError: A pivot is not positive: the wire with its cells feeds itself.
    """
    beyond = np.zeros(g.shape[:-1])
    pivots = np.empty_like(g)
    for node in range(g.shape[-1] - 1, -1, -1):
        seen = wire.scale * g[..., node] + beyond
        share = wire.segment(node) * seen
        pivots[..., node] = 1 + share
        if not (share > -1).all():
            raise _active(g)
        beyond = seen / (1 + share)
    return pivots


def _dividers(pivots: Real) -> Real:
    """Voltage at each node of a wire for 1 V at its driver."""
    return 1 / np.cumprod(pivots, axis=-1)


def _eliminated(g: Real, row: _Wire, col: _Wire, floating: NDArray[np.bool_] | None = None) -> Real:
    """`effective` of one tile, best of at least as many rows as columns."""
    rows, cols = g.shape
    seen = np.zeros((cols, cols + rows), order="F")
    admittance, gain = seen[:, :cols], seen[:, cols:]
    for r, (matrix, driven) in enumerate(_rows(g, row, floating)):
        admittance += matrix.T  # symmetric, and this is its order in memory
        gain[:, r] = driven
        used = seen[:, : cols + r + 1]
        below = col.scale * col.segment(rows - 1 - r)
        if below == 0:
            continue
        segment = below * admittance
        segment.flat[:: cols + 1] += 1
        used[...] = _BLAS.dsymm(1.0, _inverse(segment, g), used, lower=1)
    return gain.T


def _inverse(matrix: Real, g: Real) -> Real:
    """Lower triangle of the inverse of a symmetric matrix, which is overwritten.

    Raises:
        OptionError: It is not positive definite; conductances g would have made it so.
    """
    factor, failed = _LAPACK.dpotrf(matrix, lower=1, overwrite_a=1, clean=0)
    if failed:
        raise _active(g)
    inverse: Real = _LAPACK.dpotri(factor, lower=1, overwrite_c=1)[0]
    return inverse


def _rows(g: Real, row: _Wire, floating: NDArray[np.bool_] | None) -> Iterator[tuple[Real, Real]]:
    """Each row as its bit lines see it: its admittance (cols, cols), its gain (cols,) per volt.

    The first segment of a floating row is infinite, and its gain 0. Its dividers, of which only the
    ratios count, are those of 1 V at its first node.

    Raises:
        OptionError: As `effective`.
    """
    pivots = _pivots(g, row)
    free = np.zeros(len(g), np.bool_) if floating is None else floating
    first = np.zeros(len(g)) if floating is None else _hanging(g, pivots, row, free)
    pivots[free, 0] = 1
    dividers = _dividers(pivots)
    if dividers.min() < _FAINTEST:
        raise OptionError(
            f"word or bit lines leave {dividers.min():.1g} of their voltage at the far end; lower "
            "the wire resistance"
        )
    beyond = g * dividers
    before = -row.scale * g * _green_diagonal(pivots, row, first) / dividers
    lower = np.tri(g.shape[1], dtype=np.bool_)
    diagonal = np.arange(g.shape[1], dtype=np.int64)
    for r, gain in enumerate(beyond):
        product = np.outer(gain, before[r])
        matrix: Real = np.where(lower, product, product.T)
        matrix[diagonal, diagonal] += g[r]
        yield matrix, np.zeros_like(gain) if free[r] else gain


def _hanging(g: Real, pivots: Real, wire: _Wire, free: NDArray[np.bool_]) -> Real:
    """Resistance from the first node of wires without a driver to ground, in units of the scale.

    0 for other wires, and for those whose cells conduct nothing.
    """
    seen = np.zeros(len(g))
    for node in range(g.shape[-1] - 1, -1, -1):
        beyond = seen / pivots[:, node + 1] if node + 1 < g.shape[-1] else 0.0
        seen = wire.scale * g[:, node] + beyond
    if (seen[free] < 0).any():
        raise _active(g)
    some = free & (seen > 0)
    return np.where(some, 1 / np.where(some, seen, 1.0), 0.0)


def _green_diagonal(pivots: Real, wire: _Wire, first: Real) -> Real:
    """Resistance from each node to ground in units of the wire's scale, shape as the pivots.

    `first` is that of the first node of wires that have no driver, and 0 for others.
    """
    green = np.empty_like(pivots)
    last = np.zeros(len(pivots))
    for node, divisor in enumerate(pivots.T):
        last = (wire.segment(node) + last / divisor) / divisor
        if node == 0:
            last = np.where(first > 0, first, last)
        green[:, node] = last
    return green


def _active(g: Real) -> OptionError:
    return OptionError(
        f"negative conductances, down to {g.min():.3g} µS, outweigh the wires: the circuit feeds "
        "itself; clip the device at 0 or lower the wire resistance"
    )
