"""Noise sources: what happens to codes, cells and weights when a chip is made.

Each source is a small model whose fields are its options, and one `apply` written once against
the Python array API, so that it serves the simulator (NumPy), training (torch) and the tests'
slow loops alike. Sources act in one of three places:

| place    | `apply` receives and returns                                      |
| -------- | ----------------------------------------------------------------- |
| `code`   | target levels (planes, *shape) as whole numbers, and the sign      |
| `cell`   | programmed levels (planes, *shape), in level steps                 |
| `weight` | weights (*shape), in the network's units                          |

`SOURCES` names them all, and `Source` is the type of any of them in a file or a manifest; a new
source is a class here, a row in the one and a member of the other. An `apply` makes no array that
lives longer than it must: a chip of a large network is programmed array by array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

from array_api_compat import array_namespace
from pydantic import BaseModel, Field, model_validator

__all__ = [
    "SOURCES",
    "Additive",
    "BitFlip",
    "Cells",
    "Draws",
    "LogNormalDrift",
    "Multiplicative",
    "NoiseSource",
    "Positive",
    "Programming",
    "Source",
    "StuckAt",
    "Uniform",
]

Place = Literal["code", "cell", "weight"]


class Draws(Protocol):
    """Standard draws in the namespace of the arrays that noise is applied to."""

    def normal(self, shape: tuple[int, ...]) -> Any:
        """Standard normals."""
        ...

    def uniform(self, shape: tuple[int, ...]) -> Any:
        """Uniforms in [0, 1); a probability is met to within their resolution."""
        ...


@dataclass(frozen=True)
class Cells:
    """What a source may know of the array it acts on.

    Attributes:
        targets: Target levels, shape (planes, *shape), in level steps.
        top: Level of a cell at its highest conductance, in level steps.
        plane_bits: Bits each plane uses; empty when the weights are analog.
        full_range: max|W| the array can represent, in the network's units; a scalar, or one value
            a channel that broadcasts against the weights.
        signed: Whether a digital sign is stored beside the cells.
    """

    targets: Any
    top: float
    plane_bits: tuple[int, ...]
    full_range: Any
    signed: bool = True


class NoiseSource(BaseModel, extra="forbid", frozen=True):
    """Base of all sources. Fields are the options a device file may set."""

    place: ClassVar[Place]
    quantized_only: ClassVar[bool] = False
    type: str

    @property
    def silent(self) -> bool:
        """Whether this source changes nothing at its present strength."""
        raise NotImplementedError

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source at the device's sigma, unless it states one of its own."""
        return self


Positive = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]


class _Gaussian(NoiseSource, frozen=True):
    """A source whose strength is a standard deviation; none means the device's sigma."""

    sigma: Positive | None = None

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source at the device's sigma, unless it states one of its own."""
        return self if self.sigma is not None else self.model_copy(update={"sigma": sigma})

    @property
    def strength(self) -> float:
        """Sigma, which `with_sigma` must have settled."""
        if self.sigma is None:
            raise ValueError(f"noise source {self.type!r} has no sigma yet; use Device.sources()")
        return self.sigma

    @property
    def silent(self) -> bool:
        """Whether it changes nothing."""
        return self.strength == 0


class Programming(_Gaussian, frozen=True):
    """Spread of a programmed level: gp = g + N(0, sigma(g)) (TRICE, Eq. 13 and 15).

    Attributes:
        sigma: Standard deviation in units of `basis`.
        basis: `level` steps, fraction of the cell's `full_range`, or fraction of the `value` g.
        profile: Factors on sigma, one for each level 0 ... levels - 1 (Eq. 16 and 17), linear in
            between for analog levels; none for one sigma at every level.
    """

    place: ClassVar[Place] = "cell"
    type: Literal["programming"] = "programming"
    basis: Literal["level", "full_range", "value"]
    profile: Annotated[tuple[Positive, ...], Field(min_length=2)] | None = None

    def spread(self, cells: Cells) -> Any:
        """Standard deviation of every cell in level steps: an array like targets, or a float."""
        scale = self.strength * (cells.top if self.basis == "full_range" else 1.0)
        spread: Any = scale if self.profile is None else _profiled(self.profile, scale, cells)
        return spread * cells.targets if self.basis == "value" else spread

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels with their programming error added."""
        return levels + self.spread(cells) * draws.normal(tuple(levels.shape))


def _profiled(profile: tuple[float, ...], scale: float, cells: Cells) -> Any:
    xp = array_namespace(cells.targets)
    table = xp.asarray(
        [scale * factor for factor in profile],
        dtype=cells.targets.dtype,
        device=cells.targets.device,
    )
    law = _stepwise if cells.plane_bits else _linear
    planes = range(cells.targets.shape[0])  # one at a time: the index takes 8 bytes a cell
    return xp.stack([law(xp, table, cells.targets[i, ...]) for i in planes])


def _stepwise(xp: Any, table: Any, levels: Any) -> Any:
    """The table's value at whole levels of any shape (the standard's `take` has one dimension)."""
    index = xp.reshape(xp.astype(levels, xp.int64), (-1,))
    return xp.reshape(xp.take(table, index, axis=0), levels.shape)


def _linear(xp: Any, table: Any, levels: Any) -> Any:
    """The table's value at levels between whole ones."""
    below = xp.floor(xp.clip(levels, 0, table.shape[0] - 2))
    low, high = _stepwise(xp, table, below), _stepwise(xp, table, below + 1)
    return low + (high - low) * (levels - below)


class StuckAt(NoiseSource, frozen=True):
    """A cell that reads level 0 with probability p_low, or its top level with p_high.

    One uniform decides both, from its two ends, so that raising either probability only adds stuck
    cells to those a chip already has.
    """

    place: ClassVar[Place] = "cell"
    type: Literal["stuck-at"] = "stuck-at"
    p_low: Probability = 0.0
    p_high: Probability = 0.0

    @model_validator(mode="after")
    def _at_most_all(self) -> StuckAt:
        if self.p_low + self.p_high > 1:
            raise ValueError(f"p_low + p_high is {self.p_low + self.p_high}; expected at most 1")
        return self

    @property
    def silent(self) -> bool:
        """Whether it changes nothing."""
        return self.p_low == 0 and self.p_high == 0

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels with stuck cells replaced."""
        xp = array_namespace(levels)
        u = draws.uniform(tuple(levels.shape))
        low = xp.asarray(0.0, dtype=levels.dtype, device=levels.device)
        high = xp.asarray(cells.top, dtype=levels.dtype, device=levels.device)
        return xp.where(u < self.p_low, low, xp.where(1 - u <= self.p_high, high, levels))


class BitFlip(NoiseSource, frozen=True):
    """Each stored bit flips with probability p (inverted normalization, IV-A2).

    Attributes:
        p: Probability that a bit flips.
        bits: `cells` flips the bits held in cells; `sign` the digital sign of sign-magnitude
            codes; `all` both. All three draw the same flips: first the signs', then each plane's
            from its lowest bit up.
    """

    place: ClassVar[Place] = "code"
    quantized_only: ClassVar[bool] = True
    type: Literal["bitflip"] = "bitflip"
    p: Probability
    bits: Literal["cells", "sign", "all"] = "all"

    @property
    def silent(self) -> bool:
        """Whether it changes nothing."""
        return self.p == 0

    def apply(self, levels: Any, sign: Any, cells: Cells, draws: Draws) -> tuple[Any, Any]:
        """Target levels and signs with flipped bits."""
        xp = array_namespace(levels)
        shape = tuple(levels.shape)[1:]
        negated = draws.uniform(shape) < self.p
        if cells.signed and self.bits != "cells":
            sign = xp.where(negated, -sign, sign)
        if self.bits == "sign":
            return levels, sign
        planes: list[Any] = []
        for plane, bits in enumerate(cells.plane_bits):
            held = xp.astype(levels[plane, ...], xp.int32)
            flipped = held
            for bit in range(bits):
                flips = xp.astype(draws.uniform(shape) < self.p, xp.int32)
                flipped = xp.bitwise_xor(flipped, flips * 2**bit)
            planes.append(levels[plane, ...] + xp.astype(flipped - held, levels.dtype))
        return xp.stack(planes), sign


class LogNormalDrift(_Gaussian, frozen=True):
    """Drift of a weight by a log-normal factor: W e^lambda, lambda ~ N(0, sigma^2).

    Source: Ye et al., BayesFT, Eq. 1. Sigma is in natural-log units.
    """

    place: ClassVar[Place] = "weight"
    type: Literal["lognormal-drift"] = "lognormal-drift"
    basis: Literal["log"] = "log"

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Drifted weights."""
        xp = array_namespace(weights)
        return weights * xp.exp(self.strength * draws.normal(tuple(weights.shape)))


class Additive(_Gaussian, frozen=True):
    """W + N(0, sigma) max|W| (inverted normalization, IV-A2): a fraction of the full range."""

    place: ClassVar[Place] = "weight"
    type: Literal["additive"] = "additive"
    basis: Literal["full_range"] = "full_range"

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise added."""
        return weights + self.strength * cells.full_range * draws.normal(tuple(weights.shape))


class Multiplicative(_Gaussian, frozen=True):
    """W (1 + N(0, sigma)) (inverted normalization, IV-A2): a fraction of the value."""

    place: ClassVar[Place] = "weight"
    type: Literal["multiplicative"] = "multiplicative"
    basis: Literal["value"] = "value"

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise multiplied in."""
        return weights * (1 + self.strength * draws.normal(tuple(weights.shape)))


class Uniform(NoiseSource, frozen=True):
    """W + U(-a, a) max|W| (inverted normalization, IV-A2).

    Attributes:
        amplitude: a, a fraction of the full range; none means the device's sigma.
    """

    place: ClassVar[Place] = "weight"
    type: Literal["uniform"] = "uniform"
    basis: Literal["full_range"] = "full_range"
    amplitude: Positive | None = None

    @property
    def silent(self) -> bool:
        """Whether it changes nothing."""
        return self.amplitude == 0

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source with the device's sigma as its amplitude, unless it states one."""
        return self if self.amplitude is not None else self.model_copy(update={"amplitude": sigma})

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise added."""
        if self.amplitude is None:
            raise ValueError("noise source 'uniform' has no amplitude yet; use Device.sources()")
        u = array_namespace(weights).astype(draws.uniform(tuple(weights.shape)), weights.dtype)
        return weights + self.amplitude * cells.full_range * (2 * u - 1)


SOURCES: dict[str, type[NoiseSource]] = {
    "programming": Programming,
    "stuck-at": StuckAt,
    "bitflip": BitFlip,
    "lognormal-drift": LogNormalDrift,
    "additive": Additive,
    "multiplicative": Multiplicative,
    "uniform": Uniform,
}


Source = Annotated[
    Programming | StuckAt | BitFlip | LogNormalDrift | Additive | Multiplicative | Uniform,
    Field(discriminator="type"),
]
