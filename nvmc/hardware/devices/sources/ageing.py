"""Retention: what a cell loses with the time since programming."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from array_api_compat import array_namespace
from pydantic import Discriminator, Tag

from nvmc.hardware.devices.laws import Cells, LogLaw
from nvmc.hardware.devices.numbers import Above, Finite, Positive
from nvmc.hardware.devices.sources.base import Draws, Stage
from nvmc.hardware.devices.sources.thermal import ThermallyAged

__all__ = ["Retention"]


def _form(value: Any) -> str:
    return "law" if isinstance(value, dict | LogLaw) else "number"


_Law = Annotated[LogLaw, Tag("law")]


class Retention(ThermallyAged, frozen=True):
    """Conductance that decays: g(t) = g(t0) (t/t0)^(-nu), nu ~ N(nu_mean, nu_std) clipped at 0.

    Every cell has one nu for all times, drawn from the state that it was programmed for. Before t0
    nothing changes. Source: Joshi et al., Nature Communications 2020; Nandakumar et al., ICECS
    2019.

    Attributes:
        nu_mean: Mean of nu before clipping, the same for all states or by `LogLaw`.
        nu_std: Standard deviation of nu before clipping, likewise.
        t0_s: t0, seconds after programming at which the programmed state was read; of time at the
            reference temperature, as all of this is (`ThermallyAged`).
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["retention"] = "retention"
    nu_mean: Annotated[Annotated[Finite, Tag("number")] | _Law, Discriminator(_form)]
    nu_std: Annotated[Annotated[Positive, Tag("number")] | _Law, Discriminator(_form)] = 0.0
    t0_s: Above

    @property
    def active(self) -> bool:
        """Whether it changes anything at any time."""
        return self.nu_mean != 0 or self.nu_std != 0

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    @property
    def timed(self) -> bool:
        """Always."""
        return True

    def exponents(self, cells: Cells, draws: Draws) -> Any:
        """Exponent nu of every cell, an array like `cells.targets`."""
        xp = array_namespace(cells.targets)
        mean, std = (
            law.at(cells.targets, cells) if isinstance(law, LogLaw) else law
            for law in (self.nu_mean, self.nu_std)
        )
        return xp.clip(mean + std * draws.normal(tuple(cells.targets.shape)), 0, None)

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels at the time that `cells` states; as they are without one."""
        time_s = self.aged(cells.time_s or 0.0)
        if time_s <= self.t0_s:
            return levels
        xp = array_namespace(levels)
        kept = xp.exp(-math.log(time_s / self.t0_s) * self.exponents(cells, draws))
        aged = cells.conducted(levels) * kept
        return aged - cells.off_level if cells.off_level else aged
