"""Converters that are not ideal: currents to levels by a search in a table.

    u     = I / step + noise z + (U - 1/2)      z a normal and U a uniform for each conversion
    level = levels[i],  i = how many thresholds of the column's converter u has reached

U is there where codes are rounded at random: floor(u + U), whose mean is u. The compiled kernels
(`csrc/panel.inc`) do the same, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices.adc.base import Curves as Drawn

__all__ = ["Curves", "tabled"]

Real = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Curves:
    """What the converters of a row of tiles put out.

    Attributes:
        thresholds: In steps of the code, ascending, the last of each curve without meaning; shape
            (curves, size), size a power of two.
        levels: Of a current below the first threshold, the second …, likewise; in steps.
        of_column: The curve of every column, shape (groups, lanes * cols).
        inverse: Steps in a unit of current, likewise.
        worth: What a level of every column counts for, in the tile's steps; None where all count 1.
        noise: Standard deviation of a conversion, in steps.
        codes: The codes that levels belong to; None where they are the levels.
    """

    thresholds: NDArray[np.float32]
    levels: NDArray[np.float32]
    of_column: NDArray[np.uint32]
    inverse: NDArray[np.float64]
    worth: NDArray[np.float64] | None = None
    noise: float = 0.0
    codes: NDArray[np.float32] | None = None

    def columns(self, lanes: int, cols: slice) -> Curves:
        """Those of some columns of every lane."""

        def some(values: NDArray[Any]) -> NDArray[Any]:
            parts = values.reshape(len(values), lanes, -1)[..., cols]
            return np.ascontiguousarray(parts).reshape(len(values), -1)

        worth = None if self.worth is None else some(self.worth)
        return replace(
            self, of_column=some(self.of_column), inverse=some(self.inverse), worth=worth
        )

    def convert(self, currents: Real, normals: Real | None, uniforms: Real | None) -> Real:
        """The levels of currents, which they replace.

        Args:
            currents: Shape (entries, groups, vectors, lanes * cols).
            normals: z of every conversion; None for no noise.
            uniforms: U likewise; None to round to the nearest code.
        """
        currents = self._of(self.levels, currents, normals, uniforms)
        if self.worth is not None:
            currents *= self.worth[:, None].astype(currents.dtype)
        return currents

    def codes_of(self, currents: Real, normals: Real | None, uniforms: Real | None) -> Real:
        """The whole codes of currents, which they replace; see `convert`."""
        table = self.levels if self.codes is None else self.codes
        return self._of(table, currents, normals, uniforms)

    def _of(
        self,
        table: NDArray[np.float32],
        currents: Real,
        normals: Real | None,
        uniforms: Real | None,
    ) -> Real:
        dtype = currents.dtype.type
        currents *= self.inverse[:, None].astype(dtype)
        if normals is not None:
            currents += normals.astype(dtype, copy=False) * dtype(self.noise)
        if uniforms is not None:
            currents += uniforms.astype(dtype, copy=False) - dtype(0.5)
        found = table.ravel()[self._reached(currents)].astype(dtype, copy=False)
        np.copyto(currents, found, where=currents == currents)
        return currents

    def _reached(self, x: Real) -> NDArray[np.int64]:
        """Where in the flat tables the last threshold that x has reached leads."""
        size, flat = self.thresholds.shape[1], self.thresholds.ravel()
        at: NDArray[np.int64] = np.zeros(x.shape, np.int64)
        at += self.of_column[:, None].astype(np.int64) * size
        step = size // 2
        while step:
            at += np.where(x >= flat[at + step - 1], step, 0)
            step //= 2
        return at


def tabled(
    drawn: Drawn, low: int, levels: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The tables of drawn converters, of a power of two.

    Args:
        drawn: Their curves, as of even steps.
        low: The lowest code.
        levels: What each code stands for, in steps; None where that is the code.

    Returns:
        Thresholds, levels and codes of `Curves`.
    """
    edges, codes = drawn.edges + low, drawn.codes + low
    worth = codes.astype(np.float64)
    if levels is not None:  # an edge errs by as many steps as it would between even levels
        worth = levels[drawn.codes]
        places, between = np.arange(len(levels) - 1) + 0.5, (levels[1:] + levels[:-1]) / 2
        ends = np.clip(drawn.edges, places[0], places[-1])
        edges = np.interp(ends, places, between) + (drawn.edges - ends)
    count, width = codes.shape
    size = 1 << max(1, (width - 1).bit_length())
    thresholds = np.full((count, size), np.inf, np.float32)
    thresholds[:, : width - 1] = edges
    return thresholds, _padded(worth, size), _padded(codes, size)


def _padded(values: NDArray[Any], size: int) -> NDArray[np.float32]:
    found = np.empty((len(values), size), np.float32)
    found[:, : values.shape[1]] = values
    found[:, values.shape[1] :] = values[:, -1:]
    return found
