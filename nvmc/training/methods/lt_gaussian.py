"""Noise injection with a left-truncated Gaussian (Yan et al., ICCAD 2023, arXiv:2307.15853)."""

from __future__ import annotations

from typing import ClassVar

from nvmc.training.gaussians import Law, Mirrored, RightTruncated
from nvmc.training.methods.injected import FixedInjected

__all__ = ["LtGaussian"]


class LtGaussian(FixedInjected):
    """g ~ N(0, sigma_t) given that g >= -th sigma_t on every weight (TRICE, Sec. III-D (d)).

    Attributes:
        sigma_t: Strength, in the unit of the device's sigma; None for that sigma itself.
        th: Where the law is cut, in units of sigma_t.
    """

    kind: ClassVar[str] = "lt-gaussian"
    title: ClassVar[str] = "left-truncated Gaussian noise of fixed strength (TRICE, Sec. III-D)"

    def noise(self) -> Law:
        """See `Injected.noise`."""
        return Mirrored(RightTruncated(self.th))
