"""The noise of training: a Gaussian, and four with one tail cut (TRICE, Sec. III-D, Fig. 3).

Every law is standard: a sample is in units of sigma_t, and so is the threshold. Yan et al.,
*Improving Realistic Worst-Case Performance of NVCiM DNN Accelerators through Training with
Right-Censored Gaussian Noise*, ICCAD 2023 (arXiv:2307.15853), give Eq. 10 for RC-Gaussian only and
say that the others work "similarly". A left threshold is here the mirror image, -th: with th = 2
taken literally, LC-Gaussian would be the constant 2 but for one draw in fifty.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Law", "Mirrored", "RightCensored", "RightTruncated"]


class Law(ABC):
    """A law of standard noise, in units of sigma."""

    @abstractmethod
    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Independent draws.

        Args:
            shape: Shape of the result.
            generator: Where the numbers come from; its device is the result's.

        Returns:
            float32 draws in units of sigma, without gradient.
        """

    @property
    @abstractmethod
    def mean(self) -> float:
        """Expected value, in units of sigma."""

    @property
    @abstractmethod
    def variance(self) -> float:
        """Variance, in units of sigma squared."""


@dataclass(frozen=True)
class _Cut(Law):
    """A Gaussian with one tail cut at th >= 0 standard deviations."""

    th: float = 2.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.th) and self.th >= 0):
            raise ValueError(f"th is {self.th}; it must be a finite number of at least 0")


class RightCensored(_Cut):
    """min(z, th): what exceeds th becomes th (TRICE, Eq. 10).

    The mean is below 0: -0.0085 at th = 2, -0.083 at 1, -0.399 at 0.
    """

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Independent draws; see `Law.sample`."""
        return _normal(shape, generator).clamp_(max=self.th)

    @property
    def mean(self) -> float:
        """Expected value: th Q(th) - phi(th)."""
        return self.th * _above(self.th) - _density(self.th)

    @property
    def variance(self) -> float:
        """Variance: Phi(th) - th phi(th) + th^2 Q(th), less the mean squared."""
        th, above = self.th, _above(self.th)
        return (1 - above) - th * _density(th) + th**2 * above - self.mean**2


class RightTruncated(_Cut):
    """z given that z <= th: what exceeds th is drawn again.

    Exact, by rejection: at th = 2 one draw in 44 is repeated, at th = 0 one in 2.
    """

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Independent draws; see `Law.sample`."""
        drawn = _normal(shape, generator).view(-1)
        (over,) = torch.where(drawn > self.th)
        while over.numel():
            drawn[over] = _normal((over.numel(),), generator)
            over = over[drawn[over] > self.th]
        return drawn.view(shape)

    @property
    def mean(self) -> float:
        """Expected value: -phi(th) / Phi(th)."""
        return -_density(self.th) / (1 - _above(self.th))

    @property
    def variance(self) -> float:
        """Variance: 1 + th mean - mean^2."""
        return 1 + self.th * self.mean - self.mean**2


@dataclass(frozen=True)
class Mirrored(Law):
    """-z where z follows `law`: makes a left-censored or left-truncated Gaussian of a right one."""

    law: Law

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Independent draws; see `Law.sample`."""
        return self.law.sample(shape, generator).neg_()

    @property
    def mean(self) -> float:
        """Expected value."""
        return -self.law.mean

    @property
    def variance(self) -> float:
        """Variance."""
        return self.law.variance


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)


def _density(z: float) -> float:
    return math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _above(z: float) -> float:
    """P(Z > z), accurate where it is small."""
    return math.erfc(z / math.sqrt(2)) / 2
