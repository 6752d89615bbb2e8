"""Noise injection with a left-censored Gaussian (Yan et al., ICCAD 2023, arXiv:2307.15853)."""

from __future__ import annotations

from typing import ClassVar

from nvmc.training.gaussians import Law, Mirrored, RightCensored
from nvmc.training.methods.injected import FixedInjected

__all__ = ["LcGaussian"]


class LcGaussian(FixedInjected):
    """max(g, -th sigma_t) with g ~ N(0, sigma_t) on every weight (TRICE, Sec. III-D (b)).

    Attributes:
        sigma_t: Strength, in the unit of the device's sigma; None for that sigma itself.
        th: Where the law is cut, in units of sigma_t.
    """

    kind: ClassVar[str] = "lc-gaussian"
    title: ClassVar[str] = "left-censored Gaussian noise of fixed strength (TRICE, Sec. III-D)"

    def noise(self) -> Law:
        """See `Injected.noise`."""
        return Mirrored(RightCensored(self.th))
