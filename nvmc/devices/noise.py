"""Noise sources: what happens to codes, cells and weights when a chip is made.

Each source is a small model whose fields are its options, and one `apply` written once against
the Python array API, so that it serves the simulator (NumPy), training (torch) and the tests'
slow loops alike. Sources act in one of three places:

| place    | `apply` receives and returns                                      |
| -------- | ----------------------------------------------------------------- |
| `code`   | target levels (planes, *shape) as whole numbers, and the sign      |
| `cell`   | programmed levels (planes, *shape), in level steps                 |
| `weight` | weights (*shape), in the network's units                          |

`SOURCES` names them all; a new source is a class here and a row there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, cast

from array_api_compat import array_namespace
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny

__all__ = [
    "SOURCES",
    "Additive",
    "BitFlip",
    "Cells",
    "Draws",
    "LogNormalDrift",
    "Multiplicative",
    "NoiseSource",
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
        """Uniforms in [0, 1)."""
        ...


@dataclass(frozen=True)
class Cells:
    """What a source may know of the array it acts on.

    Attributes:
        targets: Target levels, shape (planes, *shape), in level steps.
        top: Largest level of a cell, in level steps.
        plane_bits: Bits each plane uses; empty when the weights are analog.
        full_range: max|W| the array can represent, in the network's units.
    """

    targets: Any
    top: float
    plane_bits: tuple[int, ...]
    full_range: Any


class NoiseSource(BaseModel):
    """Base of all sources. Fields are the options a device file may set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: ClassVar[Place]
    quantized_only: ClassVar[bool] = False
    type: str

    @property
    def silent(self) -> bool:
        """Whether this source changes nothing at its present strength."""
        raise NotImplementedError

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source at the device's sigma, unless it states one of its own."""
        if "sigma" in type(self).model_fields and getattr(self, "sigma") is None:
            return self.model_copy(update={"sigma": sigma})
        return self


Sigma = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Gaussian(NoiseSource):
    """A source whose strength is a standard deviation; none means the device's sigma."""

    sigma: Sigma = None

    @property
    def strength(self) -> float:
        """Sigma, which `with_sigma` must have settled."""
        if self.sigma is None:
            raise ValueError(f"noise source {self.type!r} has no sigma yet; use Device.sources()")
        return self.sigma

    @property
    def silent(self) -> bool:
        return self.strength == 0


class Programming(_Gaussian):
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
    profile: (
        Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(min_length=2)]
        | None
    ) = None

    def spread(self, cells: Cells) -> Any:
        """Standard deviation of every cell in level steps: an array like targets, or a float."""
        scale = self.strength * (cells.top if self.basis == "full_range" else 1.0)
        if self.basis == "value":
            return cells.targets * scale
        if self.profile is None:
            return scale
        xp = array_namespace(cells.targets)
        table = xp.asarray([scale * p for p in self.profile], dtype=cells.targets.dtype)
        if cells.plane_bits:
            return _look_up(xp, table, xp.astype(cells.targets, xp.int32))
        below = xp.astype(xp.clip(cells.targets, 0, len(self.profile) - 2), xp.int32)
        low, high = _look_up(xp, table, below), _look_up(xp, table, below + 1)
        return low + (high - low) * (cells.targets - xp.astype(below, cells.targets.dtype))

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels with their programming error added."""
        return levels + self.spread(cells) * draws.normal(tuple(levels.shape))


def _look_up(xp: Any, table: Any, index: Any) -> Any:
    """table[index] for an index array of any rank, which the array API's `take` does not take."""
    return xp.reshape(xp.take(table, xp.reshape(index, (-1,)), axis=0), index.shape)


class StuckAt(NoiseSource):
    """A cell that reads level 0 with probability p_low, or its top level with p_high."""

    place: ClassVar[Place] = "cell"
    type: Literal["stuck-at"] = "stuck-at"
    p_low: Probability = 0.0
    p_high: Probability = 0.0

    @property
    def silent(self) -> bool:
        return self.p_low == 0 and self.p_high == 0

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels with stuck cells replaced."""
        xp = array_namespace(levels)
        u = draws.uniform(tuple(levels.shape))
        low = xp.asarray(0.0, dtype=levels.dtype)
        high = xp.asarray(cells.top, dtype=levels.dtype)
        return xp.where(u < self.p_low, low, xp.where(u >= 1 - self.p_high, high, levels))


class BitFlip(NoiseSource):
    """Each stored bit flips with probability p (inverted normalization, IV-A2).

    Attributes:
        p: Probability that a bit flips.
        bits: `cells` flips the bits held in cells; `sign` the digital sign of sign-magnitude
            codes; `all` both.
    """

    place: ClassVar[Place] = "code"
    quantized_only: ClassVar[bool] = True
    type: Literal["bitflip"] = "bitflip"
    p: Probability
    bits: Literal["cells", "sign", "all"] = "all"

    @property
    def silent(self) -> bool:
        return self.p == 0

    def apply(self, levels: Any, sign: Any, cells: Cells, draws: Draws) -> tuple[Any, Any]:
        """Target levels and signs with flipped bits."""
        xp = array_namespace(levels)
        shape = tuple(levels.shape)
        planes = [levels[i, ...] for i in range(shape[0])]
        for plane, bits in enumerate(cells.plane_bits):
            for bit in range(bits):
                flip = draws.uniform(shape[1:]) < self.p
                if self.bits == "sign":
                    continue
                weight = 2.0**bit
                held = xp.remainder(xp.floor(planes[plane] / weight), 2.0)
                planes[plane] = planes[plane] + xp.where(flip, (1 - 2 * held) * weight, 0.0 * held)
        flip = draws.uniform(shape[1:]) < self.p
        if self.bits != "cells":
            sign = xp.where(flip, -sign, sign)
        return xp.stack(planes), sign


class LogNormalDrift(_Gaussian):
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


class Additive(_Gaussian):
    """W + N(0, sigma) max|W| (inverted normalization, IV-A2): a fraction of the full range."""

    place: ClassVar[Place] = "weight"
    type: Literal["additive"] = "additive"
    basis: Literal["full_range"] = "full_range"

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise added."""
        return weights + self.strength * cells.full_range * draws.normal(tuple(weights.shape))


class Multiplicative(_Gaussian):
    """W (1 + N(0, sigma)) (inverted normalization, IV-A2): a fraction of the value."""

    place: ClassVar[Place] = "weight"
    type: Literal["multiplicative"] = "multiplicative"
    basis: Literal["value"] = "value"

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise multiplied in."""
        return weights * (1 + self.strength * draws.normal(tuple(weights.shape)))


class Uniform(NoiseSource):
    """W + U(-a, a) max|W| (inverted normalization, IV-A2).

    Attributes:
        amplitude: a, a fraction of the full range; none means the device's sigma.
    """

    place: ClassVar[Place] = "weight"
    type: Literal["uniform"] = "uniform"
    basis: Literal["full_range"] = "full_range"
    amplitude: Sigma = None

    @property
    def silent(self) -> bool:
        return self.amplitude == 0

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source with the device's sigma as its amplitude, unless it states one."""
        return self if self.amplitude is not None else self.model_copy(update={"amplitude": sigma})

    def apply(self, weights: Any, cells: Cells, draws: Draws) -> Any:
        """Weights with noise added."""
        if self.amplitude is None:
            raise ValueError("noise source 'uniform' has no amplitude yet; use Device.sources()")
        u = 2 * draws.uniform(tuple(weights.shape)) - 1
        return weights + self.amplitude * cells.full_range * u


SOURCES: dict[str, type[NoiseSource]] = {
    "programming": Programming,
    "stuck-at": StuckAt,
    "bitflip": BitFlip,
    "lognormal-drift": LogNormalDrift,
    "additive": Additive,
    "multiplicative": Multiplicative,
    "uniform": Uniform,
}


def _parse(value: object) -> object:
    """The source that a mapping with a `type` describes; pydantic reports what is wrong with it."""
    if isinstance(value, NoiseSource):
        return value
    kind = cast("dict[str, object]", value).get("type") if isinstance(value, dict) else None
    if kind not in SOURCES:
        raise ValueError(f"noise type {kind!r} is unknown; expected one of {', '.join(SOURCES)}")
    return SOURCES[cast(str, kind)].model_validate(value)


Source = Annotated[SerializeAsAny[NoiseSource], BeforeValidator(_parse)]
