"""Noise injection with a right-censored Gaussian (Yan et al., ICCAD 2023, arXiv:2307.15853)."""

from __future__ import annotations

from typing import ClassVar

from nvmc.training.gaussians import Law, RightCensored
from nvmc.training.methods.injected import FixedInjected

__all__ = ["RcGaussian"]


class RcGaussian(FixedInjected):
    """min(g, th sigma_t) with g ~ N(0, sigma_t) on every weight (TRICE, Eq. 10; "RC-Manual").

    Attributes:
        sigma_t: Strength, in the unit of the device's sigma; None for that sigma itself.
        th: Where the law is cut, in units of sigma_t.
    """

    kind: ClassVar[str] = "rc-gaussian"
    title: ClassVar[str] = "right-censored Gaussian noise of fixed strength (TRICE, Eq. 10)"

    def noise(self) -> Law:
        """See `Injected.noise`."""
        return RightCensored(self.th)
