"""Noise injection with a Gaussian of which one tail is cut, in four ways: a class each.

Yan et al., *Improving Realistic Worst-Case Performance of NVCiM DNN Accelerators through Training
with Right-Censored Gaussian Noise*, ICCAD 2023 (arXiv:2307.15853); "TRICE" below.
"""

from __future__ import annotations

from typing import ClassVar

from nvmc.training.gaussians import Law, Mirrored, RightCensored, RightTruncated
from nvmc.training.methods.injected import FixedInjected

__all__ = ["CutGaussian", "LcGaussian", "LtGaussian", "RcGaussian", "RtGaussian"]


class CutGaussian(FixedInjected):
    """A cut Gaussian of fixed strength on every weight; a subclass names its law.

    Attributes:
        law: The law that is cut on the right.
        left: Whether it is mirrored, and so cut on the left.
    """

    law: ClassVar[type[RightCensored] | type[RightTruncated]]
    left: ClassVar[bool] = False

    def noise(self) -> Law:
        """See `Injected.noise`."""
        right = self.law(self.th)
        return Mirrored(right) if self.left else right


class RcGaussian(CutGaussian):
    """min(g, th sigma_t) with g ~ N(0, sigma_t) on every weight (TRICE, Eq. 10; "RC-Manual")."""

    kind: ClassVar[str] = "rc-gaussian"
    title: ClassVar[str] = "right-censored Gaussian noise of fixed strength (TRICE, Eq. 10)"
    law = RightCensored


class LcGaussian(CutGaussian):
    """max(g, -th sigma_t) with g ~ N(0, sigma_t) on every weight (TRICE, Sec. III-D (b))."""

    kind: ClassVar[str] = "lc-gaussian"
    title: ClassVar[str] = "left-censored Gaussian noise of fixed strength (TRICE, Sec. III-D)"
    law = RightCensored
    left: ClassVar[bool] = True


class RtGaussian(CutGaussian):
    """g ~ N(0, sigma_t) given that g <= th sigma_t on every weight (TRICE, Sec. III-D (c))."""

    kind: ClassVar[str] = "rt-gaussian"
    title: ClassVar[str] = "right-truncated Gaussian noise of fixed strength (TRICE, Sec. III-D)"
    law = RightTruncated


class LtGaussian(CutGaussian):
    """g ~ N(0, sigma_t) given that g >= -th sigma_t on every weight (TRICE, Sec. III-D (d))."""

    kind: ClassVar[str] = "lt-gaussian"
    title: ClassVar[str] = "left-truncated Gaussian noise of fixed strength (TRICE, Sec. III-D)"
    law = RightTruncated
    left: ClassVar[bool] = True
