"""Spread and mean error of a programmed cell, with or without write-verify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from array_api_compat import array_namespace
from pydantic import Field, model_validator

from nvmc.hardware.devices.laws import PER_CELL, Bias, Cells, Row, SpreadLaw, check_rows, rows_at
from nvmc.hardware.devices.numbers import Above
from nvmc.hardware.devices.sources.base import Draws, GaussianSource, Stage
from nvmc.hardware.devices.sources.thermal import ThermallyAged

__all__ = ["Programming"]

MAX_PULSES = 1000


class Programming(ThermallyAged, GaussianSource, SpreadLaw, frozen=True):
    """Spread of a programmed level: gp = g + b(g) + N(0, sigma f(g)) (TRICE, Eq. 13 and 15).

    Attributes:
        sigma: Standard deviation in units of `basis`; a factor where a law gives the spread.
        basis: `level` steps, fraction of the cell's `full_range`, fraction of the `value` g,
            microsiemens, or `inverse`: a fraction of g_max where g = g_max, g_max/g times as much
            below, and none where g = 0.
        profile, polynomial, saturating: f(g), at most one (`SpreadLaw`); 1 without.
        table: f(g) and b(g) at several times since programming (`Row`); linear in log t between.
            With `activation_ev` these are times at the reference temperature (`ThermallyAged`).
        bias: b(g), the mean error, in units of `basis` and not scaled by sigma.
        tolerance: Write-verify: a cell is programmed again until its error is at most this, in
            units of `basis`; the mean error counts.
        max_pulses: Write-verify: pulses after which the cell stays as it is.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["programming"] = "programming"
    basis: Literal["level", "full_range", "value", "us", "inverse"]
    table: tuple[Row, ...] | None = None
    bias: Bias | None = None
    tolerance: Above | None = None
    max_pulses: Annotated[int, Field(ge=1, le=MAX_PULSES, strict=True)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Programming:
        if self.table is not None:
            check_rows(self.table)
            if self.laws or self.bias is not None:
                raise ValueError("table has the laws at each time; remove the other laws")
            if self.tolerance is not None:
                raise ValueError(
                    "table is measured after write-verify, if there was one; remove tolerance"
                )
        elif self.activation_ev is not None:
            raise ValueError("activation_ev is of a table, which is in time; remove it")
        if (self.tolerance is None) != (self.max_pulses is None):
            raise ValueError("write-verify needs both tolerance and max_pulses; give both or none")
        return self

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        rows = self.table or ()
        biased = self.bias is not None or any(row.bias is not None for row in rows)
        return self.strength != 0 or biased

    @property
    def pointwise(self) -> bool:
        """All but write-verify, which draws again for all cells until the last is settled."""
        return self.tolerance is None

    @property
    def timed(self) -> bool:
        """Whether there is a table in time."""
        return self.table is not None

    @property
    def profiles(self) -> tuple[tuple[float, ...], ...]:
        """Every list that holds one number per level."""
        rows = self.table or ()
        biases = [b for b in (self.bias, *(row.bias for row in rows)) if b is not None]
        lists = [law.profile for law in (self, *rows, *biases)]
        return tuple(found for found in lists if found is not None)

    @property
    def needs_conductance(self) -> bool:
        """Whether it is in microsiemens."""
        return self.basis == "us"

    @property
    def verified(self) -> bool:
        """Whether cells are programmed until they are within tolerance."""
        return self.tolerance is not None

    def spread(self, cells: Cells) -> Any:
        """Standard deviation of every cell in level steps: an array like targets, or a float.

        With write-verify, that of a single pulse.
        """
        unit = cells.unit(self.basis, cells.targets)
        scale = self.strength * (1.0 if self.basis in PER_CELL else unit)
        if self.table is None:
            spread = self.factor(scale, cells.targets, cells)
        else:
            rows = self._rows(cells.time_s)
            spread = sum(row.factor(w * scale, cells.targets, cells) for row, w in rows)
        return spread * unit if self.basis in PER_CELL else spread

    def shift(self, cells: Cells) -> Any:
        """Mean error of every cell in level steps: an array like targets, or None."""
        rows = self._rows(cells.time_s)
        biases = [(self.bias, 1.0), *((row.bias, weight) for row, weight in rows)]
        parts = [w * bias.at(cells.targets, cells) for bias, w in biases if bias is not None]
        return sum(parts) * cells.unit(self.basis, cells.targets) if parts else None

    def errors(self, cells: Cells) -> tuple[Any, Any]:
        """`spread` and `shift` of cells, kept from one chip to the next."""
        return cells.once(self, lambda: (self.spread(cells), self.shift(cells)))

    def _rows(self, time_s: float | None) -> list[tuple[Row, float]]:
        """The rows of the table at a time, each with its weight; none without one."""
        if self.table is None:
            return []
        return rows_at(self.table, None if time_s is None else self.aged(time_s))

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels with their programming error added."""
        return self.program(levels, cells, draws)[0]

    def program(self, levels: Any, cells: Cells, draws: Draws) -> tuple[Any, Any]:
        """Levels with their programming error added, and the pulses each cell took.

        Returns:
            Levels, and pulses as whole numbers of the levels' shape; None without write-verify,
            where one pulse is all there is. Cells that the chip verifies itself
            (`cells.verification`) are those of the device until they need further pulses.
        """
        spread, shift = self.errors(cells)

        def pulse() -> Any:
            error = spread * draws.normal(tuple(levels.shape))
            return error if shift is None else error + shift

        unit = cells.unit(self.basis, cells.targets)
        checks: list[_Check] = []
        if self.tolerance is not None:
            checks.append((self.tolerance * unit, self.max_pulses or 1, True))
        if (own := cells.verification) is not None:
            checks.append((own.bound(unit, spread), own.max_pulses, own.chosen))
        if not checks:
            return levels + pulse(), None
        error, pulses = _verified(pulse, checks)
        return levels + error, pulses


_Check = tuple[Any, int, Any]
"""Largest error, most pulses, and of which cells: an array of bool, or True for all."""


def _verified(pulse: Callable[[], Any], checks: Sequence[_Check]) -> tuple[Any, Any]:
    """Errors drawn again until within their bounds, and how many pulses that took.

    Every round draws one normal for every cell, settled or not, so that a cell's numbers do not
    depend on its neighbours nor on sigma, nor on which other cells are checked.
    """
    error = pulse()
    xp = array_namespace(error)
    pulses = xp.ones(error.shape, dtype=xp.int16, device=error.device)
    for done in range(1, max(most for _, most, _ in checks)):
        size, outside = xp.abs(error), xp.zeros(error.shape, dtype=xp.bool, device=error.device)
        for bound, most, chosen in checks:
            if done < most:
                outside = outside | ((size > bound) & chosen)
        if not xp.any(outside):
            break
        error = xp.where(outside, pulse(), error)
        pulses = pulses + xp.astype(outside, xp.int16)
    return error, pulses
