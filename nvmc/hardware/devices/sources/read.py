"""Read noise: what every read adds anew. The circuit draws it; the law is here."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from array_api_compat import array_namespace
from pydantic import model_validator

from nvmc.hardware.devices.laws import PER_CELL, Cells, OneOverF, SpreadLaw
from nvmc.hardware.devices.numbers import Positive
from nvmc.hardware.devices.sources.base import NoiseSource, Stage

__all__ = ["Read"]


class Read(SpreadLaw, NoiseSource, frozen=True):
    """Noise of a read: g + N(0, sigma f(g)), independent between cells and between reads.

    Attributes:
        sigma: Standard deviation in units of `basis`; a factor, 1 unless given, where a law gives
            the spread. The device's sigma does not reach it.
        basis: `level` steps, fraction of the cell's `full_range`, fraction of the `value` g at
            the time of the read, microsiemens, or `inverse` (see `Programming`).
        profile, polynomial, saturating: f(g), at most one (`SpreadLaw`); 1 without.
        one_over_f: Instead of those, 1/f noise that grows with time; a fraction of the value that
            depends on the state the cell was programmed for.
    """

    stage: ClassVar[Stage] = "read"
    type: Literal["read"] = "read"
    sigma: Positive | None = None
    basis: Literal["level", "full_range", "value", "us", "inverse"]
    one_over_f: OneOverF | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Read:
        if self.one_over_f is not None:
            if self.laws:
                raise ValueError(f"one_over_f and {self.laws[0]} are both given; keep one law")
            if self.basis != "value":
                raise ValueError("one_over_f is a fraction of the value; set basis to 'value'")
        elif not self.laws and self.sigma is None:
            raise ValueError("read noise has neither sigma nor a law; give one")
        return self

    @property
    def strength(self) -> float:
        """Sigma, or 1 where a law alone gives the spread."""
        return 1.0 if self.sigma is None else self.sigma

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.strength != 0

    @property
    def timed(self) -> bool:
        """Whether it grows with time."""
        return self.one_over_f is not None

    @property
    def needs_time(self) -> bool:
        """Whether it grows with time."""
        return self.one_over_f is not None

    @property
    def profiles(self) -> tuple[tuple[float, ...], ...]:
        """Every list that holds one number per level."""
        return () if self.profile is None else (self.profile,)

    @property
    def needs_conductance(self) -> bool:
        """Whether it is in microsiemens."""
        return self.basis == "us"

    def spread(self, levels: Any, cells: Cells) -> Any:
        """Standard deviation of every cell in one read, in level steps.

        Args:
            levels: The cells' present levels, shape (planes, *shape).
            cells: Their array, at the time of the read.

        Returns:
            An array like `levels`.
        """
        unit = cells.unit(self.basis, levels)
        scale = self.strength * (1.0 if self.basis in PER_CELL else unit)
        if self.one_over_f is not None:
            spread = scale * self.one_over_f.at(cells.targets, cells)
        else:
            spread = self.factor(scale, levels, cells)
        xp = array_namespace(levels)
        return xp.abs(spread * unit) if self.basis in PER_CELL else spread + 0 * levels
