"""Wire resistance by Kirchhoff's laws: the oracle that `parasitics.effective` is compared with.

It shares nothing with that method: a list of all resistors, one sparse linear system. The
geometry is that of `nvmc.runtime.crossbar.parasitics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from nvmc.errors import OptionError
from nvmc.runtime.crossbar.parasitics import checked_ohm

__all__ = ["ResistorNetwork", "nodal_currents"]

Real = NDArray[np.floating[Any]]
Nodes = NDArray[np.int64]

_SPARSE: Any = linalg  # scipy declares no types for it


def nodal_currents(g_us: Real, v: Real, row_ohm: float, col_ohm: float) -> Real:
    """Output currents of a tile by an exact sparse solution of all node voltages.

    Args:
        g_us: Cell conductances in µS, shape (rows, cols); negative ones too, as long as the
            system is regular.
        v: Driver voltages in V, shape (..., rows).
        row_ohm: Resistance of a word-line segment.
        col_ohm: Resistance of a bit-line segment.

    Returns:
        Currents into the sense ends in µA, shape (..., cols).

    Raises:
        OptionError: A resistance is negative or not finite, the shapes do not fit, or the
            system is singular.
    """
    g = np.asarray(g_us, np.float64)
    drive = np.asarray(v, np.float64)
    if g.ndim != 2 or drive.shape[-1:] != g.shape[:1]:
        raise OptionError(
            f"conductances {g.shape} and voltages {drive.shape}; expected (rows, cols) and "
            "(..., rows)"
        )
    network = ResistorNetwork.of(g, row_ohm, col_ohm)
    voltages = network.voltages(drive.reshape(-1, g.shape[0]).T)
    return network.sensed(voltages).T.reshape(*drive.shape[:-1], g.shape[1])


@dataclass(frozen=True)
class ResistorNetwork:
    """All resistors of a tile. Nodes 0 .. rows-1 are the drivers, the next `cols` the sense ends.

    A wire without resistance has no nodes of its own: its cells hang on its terminal.

    Attributes:
        rows: Word lines.
        cols: Bit lines.
        word: Node of each cell on its word line, shape (rows, cols).
        bit: Node of each cell on its bit line, shape (rows, cols).
        laplacian: Nodal conductances in µS, shape (nodes, nodes), symmetric, rows that sum to 0.
    """

    rows: int
    cols: int
    word: Nodes
    bit: Nodes
    laplacian: Any

    @classmethod
    def of(cls, g: Real, row_ohm: float, col_ohm: float) -> ResistorNetwork:
        """The network of conductances g (µS), shape (rows, cols)."""
        (rows, cols), terminals = g.shape, sum(g.shape)
        row, col = checked_ohm(row_ohm, "row"), checked_ohm(col_ohm, "col")
        sources: Nodes = np.arange(rows, dtype=np.int64)[:, None]
        senses: Nodes = np.arange(rows, terminals, dtype=np.int64)[None, :]
        cells: Nodes = np.arange(g.size, dtype=np.int64).reshape(g.shape)
        word = terminals + cells if row else sources + 0 * cells
        bit = terminals + cells + (g.size if row else 0) if col else senses + 0 * cells
        branches = [(word, bit, g)]
        if row:
            branches.append((np.hstack([sources, word[:, :-1]]), word, np.full(g.shape, 1 / row)))
        if col:
            branches.append((bit, np.vstack([bit[1:], senses]), np.full(g.shape, 1 / col)))
        nodes = terminals + g.size * ((row > 0) + (col > 0))
        return cls(rows, cols, word, bit, _laplacian(branches, nodes))

    def voltages(self, drive: Real) -> Real:
        """Voltages of all nodes, shape (nodes, k), for driver voltages (rows, k) in V."""
        terminals = self.rows + self.cols
        known = np.zeros((terminals, drive.shape[1]))
        known[: self.rows] = drive
        if self.laplacian.shape[0] == terminals:
            return known
        inner: Any = self.laplacian[terminals:, terminals:]
        fed: Any = self.laplacian[terminals:, :terminals] @ known
        try:
            factors = _SPARSE.splu(inner, permc_spec="MMD_AT_PLUS_A")
        except RuntimeError as error:
            raise OptionError(f"the tile's nodal equations have no solution: {error}") from error
        solved: Real = factors.solve(-fed)
        return np.vstack([known, solved])

    def sensed(self, voltages: Real) -> Real:
        """Currents into the sense ends in µA, shape (cols, k)."""
        fed: Real = self.laplacian[self.rows : self.rows + self.cols] @ voltages
        return -fed


def _laplacian(branches: list[tuple[Nodes, Nodes, Real]], nodes: int) -> Any:
    one = np.concatenate([a.ravel() for a, _, _ in branches])
    other = np.concatenate([b.ravel() for _, b, _ in branches])
    conductance = np.concatenate([g.ravel() for _, _, g in branches])
    values = np.concatenate([conductance, conductance, -conductance, -conductance])
    ends = np.concatenate([one, other, one, other]), np.concatenate([one, other, other, one])
    return sparse.coo_array((values, ends), shape=(nodes, nodes)).tocsc()
