"""Noise injection with a right-truncated Gaussian (Yan et al., ICCAD 2023, arXiv:2307.15853)."""

from __future__ import annotations

from typing import ClassVar

from nvmc.training.gaussians import Law, RightTruncated
from nvmc.training.methods.injected import FixedInjected

__all__ = ["RtGaussian"]


class RtGaussian(FixedInjected):
    """g ~ N(0, sigma_t) given that g <= th sigma_t on every weight (TRICE, Sec. III-D (c)).

    Attributes:
        sigma_t: Strength, in the unit of the device's sigma; None for that sigma itself.
        th: Where the law is cut, in units of sigma_t.
    """

    kind: ClassVar[str] = "rt-gaussian"
    title: ClassVar[str] = "right-truncated Gaussian noise of fixed strength (TRICE, Sec. III-D)"

    def noise(self) -> Law:
        """See `Injected.noise`."""
        return RightTruncated(self.th)
