"""Tiles with wires whose cells are not linear: the currents of every read, solved by themselves.

Such a tile is no matrix. `relaxation` solves it for the voltages of a read; here are the tiles of
an array, with what lies on each, and the units of its currents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Target, WireOhm
from nvmc.hardware.rows import tile_of, waiting
from nvmc.hardware.tiling import Matrix, tiles_of
from nvmc.runtime.crossbar.relaxation import column_currents

__all__ = ["Solved"]

Real = NDArray[np.floating[Any]]
Double = NDArray[np.float64]

_TOGETHER = 2**17
"""Voltages of a line's kind that are solved together, so that they stay in a core's cache."""


@dataclass(frozen=True)
class _Placed:
    """A group's matrix, or what of it is on one tile, and the wires that lead to it."""

    group: int
    rows: slice
    cols: slice
    wires: WireOhm


@dataclass(frozen=True)
class Solved:
    """The tiles of rows that are driven together.

    Attributes:
        target: Cells, wires and tiles.
        top: The highest drive, in input steps.
        conducted: Of all cells, polarities apart, in µS, shape (parts, groups, rows, cols).
        formed: Which cells exist, likewise.
        pairs: Whether a lane is a part of the first half less one of the second.
        driven: Which rows; the others of their tiles wait (`Periphery.waiting_rows`).
    """

    target: Target
    top: float
    conducted: Double
    formed: NDArray[np.bool_]
    pairs: bool
    driven: slice

    def __call__(self, drive: Real, cols: slice) -> Real:
        """Currents of some columns in level steps x input steps.

        Args:
            drive: Of the rows, at least 0, shape (batch, groups, vectors, rows in `driven`).
            cols: Which columns.

        Returns:
            Shape (batch, groups, vectors, lanes * cols), of drive's precision.
        """
        batch, groups, vectors, rows = drive.shape
        step, read_v = self.target.step_us or 1.0, self.target.periphery.read_v or 1.0
        first, last, _ = cols.indices(self.conducted.shape[3])
        volts = drive.astype(np.float64).transpose(1, 3, 0, 2).reshape(groups, rows, -1)
        volts *= read_v / self.top
        found: Double = np.zeros((len(self.conducted), groups, last - first, batch * vectors))
        for placed in self._places(first, last):
            begin, end = max(placed.cols.start, first), min(placed.cols.stop, last)
            for part in range(len(self.conducted)):
                read = self._read(placed, part, volts[placed.group], read_v)
                read = read[begin - placed.cols.start : end - placed.cols.start]
                found[part, placed.group, begin - first : end - first] = read
        self._take_off_idle(found, volts, slice(first, last), read_v)
        found *= self.top / (step * read_v)
        half = len(found) // 2
        lanes = found[:half] - found[half:] if self.pairs else found
        lanes = lanes.reshape(-1, groups, last - first, batch, vectors).transpose(3, 1, 4, 0, 2)
        return lanes.reshape(batch, groups, vectors, -1).astype(drive.dtype)

    def _places(self, first: int, last: int) -> Iterator[_Placed]:
        """What is driven of each tile that has some of the columns from first to last."""
        matrix, wires = Matrix(*self.conducted.shape[1:]), self.target.periphery.wire_ohm
        assert wires is not None
        for tile in tiles_of(matrix, 1, *tile_of(self.target)):
            rows, cols = slice(*tile.rows), slice(*tile.cols)
            driven = rows.start <= self.driven.start and self.driven.stop <= rows.stop
            if not driven or cols.stop <= first or last <= cols.start:
                continue
            for group in range(*tile.groups):  # along the diagonal, with no cell in common
                left = (group - tile.groups[0]) * matrix.cols
                below = (tile.groups[1] - 1 - group) * matrix.rows
                ends = {
                    "driver": wires.driver + left * wires.row,
                    "sense": wires.sense + below * wires.col,
                }
                yield _Placed(group, rows, cols, wires.model_copy(update=ends))

    def _read(self, placed: _Placed, part: int, volts: Double, read_v: float) -> Double:
        """Currents of a tile's columns in µA, (cols, vectors), for voltages (driven, vectors)."""
        law = self.target.iv
        assert law is not None
        cells = self.conducted[part, placed.group, placed.rows, placed.cols]
        start, wait = self.driven.start - placed.rows.start, waiting(self.target)
        idle = np.ones(len(cells), np.bool_)
        idle[start : start + len(volts)] = False
        cells = np.where(idle[:, None] & (wait == "off"), 0.0, cells)
        at = law.both_signs(cells[..., None], read_v)
        rows, cols = cells.shape
        found: Double = np.zeros((cols, volts.shape[1]))
        free = idle if wait == "float" else None
        together = max(1, _TOGETHER // max(1, cells.size))
        for number in range(0, volts.shape[1], together):
            some = slice(number, number + together)
            put: Double = np.zeros((rows, len(range(*some.indices(volts.shape[1])))))
            put[start : start + len(volts)] = volts[:, some]
            found[:, some] = column_currents(at, put, cols, placed.wires, free)
        return found

    def _take_off_idle(self, found: Double, volts: Double, cols: slice, read_v: float) -> None:
        """Take off what formed cells conduct at level 0 without wires, where no ADC sees that."""
        law, range_us = self.target.iv, self.target.device.conductance
        if law is None or range_us is None or not range_us.min_us or self.target.off_at_adc:
            return
        formed = self.formed[:, :, self.driven, cols]
        for row in range(volts.shape[1]):
            idle = law.current(np.asarray(range_us.min_us), volts[:, row], read_v)
            found -= np.where(formed[:, :, row, :, None], idle[:, None], 0.0)
