"""What the cells of one chip conduct, tile by tile, as they are wired.

A tile's matrix has a row for each word line and a column for each bit line that are in use. Groups
that share a tile lie along its diagonal, each on word lines and bit lines of its own; the places
off the diagonal are never formed and conduct nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.chip import Array
from nvmc.hardware.tiling import Matrix

__all__ = ["ArrayCells", "Polarity", "TileCells", "levels_on_target"]

Polarity = Literal["positive", "negative", "both"]


@dataclass(frozen=True, eq=False)
class TileCells:
    """The cells of one physical tile. Its arrays are read-only: copy what is to be changed.

    Attributes:
        array: Name of the array in the manifest.
        number: The tile's number within its array, from 0, as `tiles.json` counts.
        plane: The crossbar that it is a part of: slice times polarities, plus polarity.
        slice: Which digit of the weights it holds, from the lowest.
        polarity: Which sign its cells stand for; `both` where one cell holds a weight of any sign
            (offset), and of stored parameters under sign-magnitude, whose sign is a bit beside.
        coefficient: What a level step of its cells counts for, in code steps, with its sign.
        groups: First group and one past the last, of the array's matrices.
        rows: First row and one past the last, of each group's matrix.
        cols: First column and one past the last, likewise.
        conductance_us: What each cell conducts, in µS, shape (word lines, bit lines); 0 where
            none is formed. Cells of a device that does not clip may be below 0.
        formed: Where there are cells, of that shape.
        reference_us: What the cells of its reference columns conduct, shape (word lines, groups);
            0 on the word lines of other groups. None where it has no such column.
    """

    array: str
    number: int
    plane: int
    slice: int
    polarity: Polarity
    coefficient: float
    groups: tuple[int, int]
    rows: tuple[int, int]
    cols: tuple[int, int]
    conductance_us: NDArray[np.float64]
    formed: NDArray[np.bool_]
    reference_us: NDArray[np.float64] | None = None

    def lines(self, group: int) -> tuple[slice, slice]:
        """The word lines and the bit lines of one of its groups, as slices of the matrix.

        Args:
            group: Between `groups[0]` and `groups[1]`.
        """
        packed = group - self.groups[0]
        height, width = self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]
        return (
            slice(packed * height, (packed + 1) * height),
            slice(packed * width, (packed + 1) * width),
        )


@dataclass(frozen=True, eq=False)
class ArrayCells:
    """The cells of one array, and what turns them into weights again.

    The level of a cell is (g - min_us) / step_us. With w the sum over an element's tiles of
    coefficient times level, 0 where no cell is formed, the element is unit * (w - shift), times
    its sign where there is one.

    Attributes:
        name: Name of the array in the manifest.
        matrix: Number and size of its matrices.
        min_us: What level 0 conducts, in µS.
        step_us: Microsiemens in one level step.
        shift: What is subtracted from the sum over tiles digitally, in code steps.
        unit: Network units in a code step, of a shape that broadcasts against (groups, rows, cols).
        sign: The digital sign of each element, shape (groups, rows, cols), of a parameter whose
            sign is a bit beside its cells; None of any other array.
        tiles: Its tiles, in the order of their numbers.
    """

    name: str
    matrix: Matrix
    min_us: float
    step_us: float
    shift: float
    unit: NDArray[np.float64]
    sign: NDArray[np.int8] | None
    tiles: tuple[TileCells, ...]

    def weights(self) -> NDArray[np.float64]:
        """The weights that the cells stand for, shape (groups, rows, cols), network units.

        In float64 from conductances: those of `nvmc program` to the rounding of float32.
        """
        shape = self.matrix.groups, self.matrix.rows, self.matrix.cols
        total: NDArray[Any] = np.full(shape, -self.shift)
        for tile in self.tiles:
            levels = (tile.conductance_us - self.min_us * tile.formed) / self.step_us
            for group in range(*tile.groups):
                part = total[group, slice(*tile.rows), slice(*tile.cols)]
                part += tile.coefficient * levels[tile.lines(group)]
        return total * self.unit * (1 if self.sign is None else self.sign)


def levels_on_target(array: Array) -> Any:
    """The levels that cells aim for, where those of the device lie if they are uneven.

    Returns:
        Shape (planes, *weight shape), float32, in level steps.
    """
    return replace(array.cells, places=array.target.places).placed().targets
