"""Sources that act on recombined weights, in the network's units."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from array_api_compat import array_namespace

from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.devices.numbers import Positive
from nvmc.hardware.devices.sources.base import Draws, GaussianSource, NoiseSource, Stage

__all__ = ["Additive", "LogNormalDrift", "Multiplicative", "Uniform"]


class LogNormalDrift(GaussianSource, frozen=True):
    """Drift of a weight by a log-normal factor: W e^lambda, lambda ~ N(0, sigma^2).

    Source: Ye et al., BayesFT, Eq. 1. Sigma is in natural-log units.
    """

    stage: ClassVar[Stage] = "weight"
    type: Literal["lognormal-drift"] = "lognormal-drift"
    basis: Literal["log"] = "log"

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Drifted weights."""
        xp = array_namespace(weights)
        logarithms = self.strength * draws.normal(tuple(weights.shape))
        with np.errstate(over="ignore", invalid="ignore"):  # a weight beyond all numbers: inf, NaN
            return weights * xp.exp(logarithms)


class Additive(GaussianSource, frozen=True):
    """W + N(0, sigma) max|W| (inverted normalization, IV-A2): a fraction of the full range."""

    stage: ClassVar[Stage] = "weight"
    type: Literal["additive"] = "additive"
    basis: Literal["full_range"] = "full_range"

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise added."""
        return weights + self.strength * cells.full_range * draws.normal(tuple(weights.shape))


class Multiplicative(GaussianSource, frozen=True):
    """W (1 + N(0, sigma)) (inverted normalization, IV-A2): a fraction of the value."""

    stage: ClassVar[Stage] = "weight"
    type: Literal["multiplicative"] = "multiplicative"
    basis: Literal["value"] = "value"

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise multiplied in."""
        return weights * (1 + self.strength * draws.normal(tuple(weights.shape)))


class Uniform(NoiseSource, frozen=True):
    """W + U(-a, a) max|W| (inverted normalization, IV-A2).

    Attributes:
        amplitude: a, a fraction of the full range; none means the device's sigma.
    """

    stage: ClassVar[Stage] = "weight"
    type: Literal["uniform"] = "uniform"
    basis: Literal["full_range"] = "full_range"
    amplitude: Positive | None = None

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.amplitude != 0

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source with the device's sigma as its amplitude, unless it states one."""
        return self if self.amplitude is not None else self.model_copy(update={"amplitude": sigma})

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise added."""
        if self.amplitude is None:
            raise ValueError("noise source 'uniform' has no amplitude yet; use Device.sources()")
        u = array_namespace(weights).astype(draws.uniform(tuple(weights.shape)), weights.dtype)
        return weights + self.amplitude * cells.full_range * (2 * u - 1)
