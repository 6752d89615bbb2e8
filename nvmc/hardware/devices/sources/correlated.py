"""Variation that cells of a tile share: along word lines, along bit lines, and a gradient."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from array_api_compat import array_namespace

from nvmc.errors import OptionError
from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.devices.numbers import Positive
from nvmc.hardware.devices.sources.base import Draws, NoiseSource, Stage

__all__ = ["Correlated"]


class Correlated(NoiseSource, frozen=True):
    """gp = g + row z_r + col z_c + gradient (a u + b v), z_r, z_c, a and b standard normals.

    Every word line of a tile has one z_r, every bit line one z_c, and every tile one slope (a, b);
    u and v go from -1 to 1 between the edges of the whole tile, along its bit and word lines. Each
    plane has tiles of its own. Two cells of a tile are correlated by what they share; offsets of a
    whole tile, array or chip are `Global`.

    Attributes:
        row: Standard deviation of what a word line's cells share, in units of `basis`.
        col: Of what a bit line's cells share.
        gradient: Of the gradient along either axis, at the edge of a tile.
        basis: `level` steps, fraction of the cell's `full_range`, microsiemens, or fraction of the
            `value` of each cell (common gains).
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["correlated"] = "correlated"
    row: Positive = 0.0
    col: Positive = 0.0
    gradient: Positive = 0.0
    basis: Literal["level", "full_range", "value", "us"]

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return bool(self.row or self.col or self.gradient)

    @property
    def needs_conductance(self) -> bool:
        """Whether it is in microsiemens."""
        return self.basis == "us"

    @property
    def needs_tiles(self) -> bool:
        """Always."""
        return True

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels moved together. A tile's normals: its word lines', its bit lines', a and b.

        All are drawn whatever the strengths are, so that none depends on another.

        Raises:
            OptionError: Cells do not know their lines.
        """
        if cells.tiles is None or cells.lines is None:
            raise OptionError(
                "correlated noise acts along the lines of a tile, and these cells do not say on "
                "which they sit (reference columns never do: give --reference exact or none)"
            )
        xp = array_namespace(levels)
        height, width = cells.lines.size
        tiles, rows, cols = (
            xp.asarray(numbers, dtype=xp.int64, device=levels.device)
            for numbers in (cells.tiles, cells.lines.rows, cells.lines.cols)
        )
        count = int(xp.max(tiles)) + 1 if 0 not in levels.shape else 0
        normals = draws.normal((levels.shape[0], count * (height + width + 2)))
        first = xp.reshape(tiles * (height + width + 2), (-1,))
        u, v = (
            xp.astype(2 * lines + 1, levels.dtype) / size - 1
            for lines, size in ((rows, height), (cols, width))
        )

        def shift(drawn: Any) -> Any:
            def of(place: Any) -> Any:
                return xp.reshape(xp.take(drawn, first + place, axis=0), tiles.shape)

            flat_rows, flat_cols = xp.reshape(rows, (-1,)), xp.reshape(cols, (-1,))
            lines = self.row * of(flat_rows) + self.col * of(height + flat_cols)
            slope = of(height + width) * u + of(height + width + 1) * v
            return lines + self.gradient * slope

        shifts = xp.stack([shift(normals[plane, ...]) for plane in range(levels.shape[0])])
        return levels + shifts * cells.unit(self.basis, levels)
