"""How a cell's spread and its mean error depend on its conductance and on time.

A law is a factor on a source's sigma, in the source's basis: one number per level (`profile`), a
polynomial in x = g/g_max, or a curve that saturates with g. A `table` holds one law for each of
several times since programming.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any

from array_api_compat import array_namespace
from pydantic import Field, model_validator

from nvmc.hardware.devices.numbers import Above, Finite, Positive
from nvmc.hardware.devices.units import implausible
from nvmc.hardware.options import CheckedModel

__all__ = [
    "MOST_KEPT",
    "PER_CELL",
    "Bias",
    "Cells",
    "Conductance",
    "LogLaw",
    "OneOverF",
    "Row",
    "Saturating",
    "SpreadLaw",
    "Strict",
    "check_rows",
    "rows_at",
]

Polynomial = Annotated[tuple[Finite, ...], Field(min_length=1, max_length=12)]

_BLOCK = 1 << 16  # cells whose index stays in a core's own cache
MOST_KEPT = 1 << 20
"""Cells of an array for which what follows from its codes is kept from one chip to the next."""
PER_CELL = ("value", "inverse")
"""Bases whose unit differs from cell to cell."""
_TINY = 1e-7  # the smallest x of which a logarithm or a negative power is taken


class Strict(CheckedModel, extra="forbid", frozen=True):
    """What people write, such as a part of a device file: unknown keys are errors."""


class Conductance(Strict, frozen=True):
    """What a cell conducts, in microsiemens.

    Attributes:
        min_us: At level 0.
        max_us: At the device's top level.
        levels_us: At every level, from `min_us` to `max_us`, where levels are not evenly spaced;
            None where they are.
    """

    min_us: Positive
    max_us: Above
    levels_us: Annotated[tuple[Positive, ...], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Conductance:
        if self.min_us >= self.max_us:
            raise ValueError(f"min_us is {self.min_us}; expected less than max_us {self.max_us}")
        if expected := implausible(self.max_us):
            raise ValueError(
                f"max_us is {self.max_us:g}; expected {expected}: give conductances in microsiemens"
            )
        if self.levels_us is None:
            return self
        for below, above in pairwise(self.levels_us):
            if above <= below:
                raise ValueError(
                    f"levels_us has {above} behind {below}; expected conductances that rise from "
                    "level to level"
                )
        if (self.levels_us[0], self.levels_us[-1]) != (self.min_us, self.max_us):
            raise ValueError(
                f"levels_us goes from {self.levels_us[0]} to {self.levels_us[-1]}; expected "
                f"min_us {self.min_us} to max_us {self.max_us}"
            )
        return self


@dataclass(frozen=True)
class Cells:
    """What a source may know of the array it acts on.

    Attributes:
        targets: Target levels, shape (planes, *shape), in level steps; see `placed`.
        highest_level: Level of a cell at its highest conductance, in level steps.
        plane_bits: Bits each plane uses; empty when the weights are analog.
        full_range: max|W| the array can represent, in the network's units; a scalar, or one value
            a channel that broadcasts against the weights.
        signed: Whether a digital sign is stored beside the cells.
        conductance: What levels 0 and `highest_level` conduct; None where the device does not say.
        time_s: Seconds since programming; None where no time was given.
        tiles: Number of the tile that holds each weight, whole numbers of shape `shape`; plane p
            has tiles of its own. None unless a source asks for them.
        lines: Where in its tile each weight's cells sit (`tiling.Lines`); None as `tiles`.
        places: Where each level of the device lies, in level steps; None where level l lies at l.
        verification: A `Verification` of some of the cells; None where the chip does none.
        found: What sources found out of these targets, kept for the next chip (`once`), or None.
    """

    targets: Any
    highest_level: float
    plane_bits: tuple[int, ...]
    full_range: Any
    signed: bool = True
    conductance: Conductance | None = None
    time_s: float | None = None
    tiles: Any = None
    lines: Any = None
    places: tuple[float, ...] | None = None
    verification: Any = None
    found: dict[str, tuple[Any, Any]] | None = field(default=None, compare=False, repr=False)

    def once(self, source: CheckedModel, find: Callable[[], Any]) -> Any:
        """`find()`, which depends on `source` and these cells only: chip after chip the same.

        Of every class of sources the latest is kept, so what is kept does not grow. Large arrays
        find it again: it would take as much memory as their targets.
        """
        if self.found is None or math.prod(self.targets.shape) > MOST_KEPT:
            return find()
        name, key = type(source).__name__, (source, self.time_s)
        known = self.found.get(name)
        if known is None or known[0] != key:
            known = self.found[name] = (key, find())
        return known[1]

    def placed(self) -> Cells:
        """These cells with targets where the device's levels lie: itself where they are even.

        Sources on codes see whole targets; those on cells, and reads, see placed ones.
        """
        if self.places is None:
            return self
        xp = array_namespace(self.targets)
        table = xp.asarray(self.places, dtype=self.targets.dtype, device=self.targets.device)
        return replace(self, targets=_stepwise(xp, table, self.targets))

    @property
    def step_us(self) -> float:
        """Microsiemens in one level step.

        Raises:
            ValueError: The device states no conductance.
        """
        if self.conductance is None:
            raise ValueError("the device states no conductance; give it min_us and max_us")
        return (self.conductance.max_us - self.conductance.min_us) / self.highest_level

    @property
    def off_level(self) -> float:
        """What a cell at level 0 conducts, in level steps; 0 without `conductance`."""
        return 0.0 if self.conductance is None else self.conductance.min_us / self.step_us

    def conducted(self, levels: Any) -> Any:
        """Conductance in level steps: levels counted from zero conductance."""
        return levels + self.off_level if self.off_level else levels

    def relative(self, levels: Any) -> Any:
        """Conductance x = g/g_max, as a fraction of the device's highest."""
        return self.conducted(levels) / (self.highest_level + self.off_level)

    def unit(self, basis: str, levels: Any) -> Any:
        """Level steps in one unit of `basis`: a float, or an array like `levels` (`PER_CELL`)."""
        match basis:
            case "full_range":
                return self.highest_level
            case "us":
                return 1 / self.step_us
            case "value":
                return self.conducted(levels)
            case "inverse":  # of the highest conductance where x = 1, 1/x as much below, none at 0
                xp, x = array_namespace(levels), self.relative(levels)
                top = self.highest_level + self.off_level
                return xp.where(x == 0, 0 * x, top / xp.where(x == 0, 1 + 0 * x, xp.abs(x)))
            case _:  # a level step of the device file, of all its levels
                return 1.0 if self.places is None else self.highest_level / (len(self.places) - 1)


class Saturating(Strict, frozen=True):
    """a (1 - exp(-g/b)): a in the source's basis, b in microsiemens, or levels without them."""

    a: Positive
    b: Above

    def at(self, levels: Any, cells: Cells) -> Any:
        """The law's value at every level."""
        b = self.b if cells.conductance is None else self.b / cells.step_us
        xp = array_namespace(levels)
        return self.a - self.a * xp.exp(xp.clip(cells.conducted(levels), 0, None) / -b)


class SpreadLaw(Strict, frozen=True):
    """One law of the spread, or none: the same at every level.

    Attributes:
        profile: One factor for each level 0 ... levels - 1, linear in the conductance between.
        polynomial: c_0, c_1, ... of sum c_i x^i with x = g/g_max, clipped at 0 from below.
        saturating: a and b of a (1 - exp(-g/b)).
    """

    profile: Annotated[tuple[Positive, ...], Field(min_length=2)] | None = None
    polynomial: Polynomial | None = None
    saturating: Saturating | None = None

    @model_validator(mode="after")
    def _one_law(self) -> SpreadLaw:
        if len(self.laws) > 1:
            raise ValueError(f"{' and '.join(self.laws)} are both given; keep one law")
        return self

    @property
    def laws(self) -> list[str]:
        """The names of the laws that are given."""
        names = ("profile", "polynomial", "saturating")
        return [name for name in names if getattr(self, name) is not None]

    def factor(self, scale: float, levels: Any, cells: Cells) -> Any:
        """The law times `scale`, an array like `levels`; `scale` itself without a law."""
        if self.profile is not None:
            return _profiled([scale * factor for factor in self.profile], levels, cells)
        if self.polynomial is not None:
            xp = array_namespace(levels)
            x = cells.relative(levels)
            return xp.clip(_horner([scale * c for c in self.polynomial], x), 0, None)
        if self.saturating is not None:
            return scale * self.saturating.at(levels, cells)
        return scale


class Bias(Strict, frozen=True):
    """Mean error of a programmed cell, in the source's basis; exactly one law.

    Attributes:
        profile: One error for each level 0 ... levels - 1, linear in between.
        polynomial: c_0, c_1, ... of sum c_i x^i with x = g/g_max.
    """

    profile: Annotated[tuple[Finite, ...], Field(min_length=2)] | None = None
    polynomial: Polynomial | None = None

    @model_validator(mode="after")
    def _one_law(self) -> Bias:
        if (self.profile is None) == (self.polynomial is None):
            raise ValueError("bias needs one of profile and polynomial")
        return self

    def at(self, levels: Any, cells: Cells) -> Any:
        """The mean error at every level, an array like `levels`."""
        if self.profile is not None:
            return _profiled(list(self.profile), levels, cells)
        return _horner(list(self.polynomial or ()), cells.relative(levels))


class Row(SpreadLaw, frozen=True):
    """The laws at one time since programming."""

    time_s: Above
    bias: Bias | None = None

    @model_validator(mode="after")
    def _a_law(self) -> Row:
        if not self.laws:
            raise ValueError("a row of table needs profile, polynomial or saturating")
        return self


def check_rows(rows: Sequence[Row]) -> None:
    """Raise ValueError unless there are two rows or more, in the order of their times."""
    if len(rows) < 2 or any(a.time_s >= b.time_s for a, b in pairwise(rows)):
        raise ValueError("table needs two rows or more, their time_s rising")


def rows_at(rows: Sequence[Row], time_s: float | None) -> list[tuple[Row, float]]:
    """The rows to add up at `time_s`, each with its weight: linear in log t between two rows.

    Before the first time and without a time the first row holds, after the last the last.
    """
    if time_s is None or time_s <= rows[0].time_s:
        return [(rows[0], 1.0)]
    for early, late in pairwise(rows):
        if time_s < late.time_s:
            share = math.log(time_s / early.time_s) / math.log(late.time_s / early.time_s)
            return [(row, w) for row, w in ((early, 1 - share), (late, share)) if w]
    return [(rows[-1], 1.0)]


class LogLaw(Strict, frozen=True):
    """clip(slope ln x + intercept, min, max) with x = g/g_max."""

    slope: Finite
    intercept: Finite
    min: Positive
    max: Positive

    @model_validator(mode="after")
    def _ordered(self) -> LogLaw:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, above max {self.max}")
        return self

    def at(self, levels: Any, cells: Cells) -> Any:
        """The law's value at every level, an array like `levels`."""
        xp = array_namespace(levels)
        x = xp.clip(cells.relative(levels), _TINY, None)
        return xp.clip(self.slope * xp.log(x) + self.intercept, self.min, self.max)


class OneOverF(Strict, frozen=True):
    """1/f noise seen by a read at time t: min(q/x^p, q_max) sqrt(ln((t + t_r)/(2 t_r))).

    A factor on g(t), x that of the target. Source: Nandakumar et al., ICECS 2019, as used by Joshi
    et al., Nature Communications 2020.

    Attributes:
        q: Noise at g = g_max.
        exponent: p, how it grows towards small conductances; with more than 5, `_TINY` to that
            power is no number in float32.
        q_max: Its largest value.
        t_read_s: t_r, seconds that one read integrates.
    """

    q: Positive
    exponent: Annotated[Positive, Field(le=5)]
    q_max: Positive
    t_read_s: Above

    def at(self, levels: Any, cells: Cells) -> Any:
        """The law's value at every level, an array like `levels`.

        Raises:
            ValueError: No time was given.
        """
        if cells.time_s is None:
            raise ValueError("one_over_f needs the time since programming; give time_s")
        xp = array_namespace(levels)
        ratio = (cells.time_s + self.t_read_s) / (2 * self.t_read_s)
        grown = math.sqrt(max(0.0, math.log(ratio)))
        x = xp.clip(cells.relative(levels), _TINY, None)
        return xp.clip(self.q * grown * x**-self.exponent, 0, self.q_max * grown)


def _horner(coefficients: list[float], x: Any) -> Any:
    value = 0 * x + coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _profiled(factors: list[float], levels: Any, cells: Cells) -> Any:
    xp = array_namespace(levels)
    table = xp.asarray(factors, dtype=levels.dtype, device=levels.device)
    planes = [levels[i, ...] for i in range(levels.shape[0])]  # one at a time: less memory
    if cells.places is not None:
        places = xp.asarray(cells.places, dtype=levels.dtype, device=levels.device)
        return xp.stack([_between(xp, table, places, plane) for plane in planes])
    whole = bool(cells.plane_bits) and levels is cells.targets
    law = _stepwise if whole else _linear
    return xp.stack([law(xp, table, plane) for plane in planes])


def _stepwise(xp: Any, table: Any, levels: Any) -> Any:
    """The table's value at whole levels of any shape (the standard's `take` has one dimension)."""
    flat = xp.reshape(levels, (-1,))
    parts = [
        xp.take(table, xp.astype(flat[first : first + _BLOCK], xp.int64), axis=0)
        for first in range(0, max(1, flat.shape[0]), _BLOCK)
    ]
    return xp.reshape(parts[0] if len(parts) == 1 else xp.concat(parts), levels.shape)


def _linear(xp: Any, table: Any, levels: Any) -> Any:
    """The table's value at levels between whole ones; its ends' beyond them."""
    last = table.shape[0] - 1
    inside = xp.clip(levels, 0, last)
    below = xp.floor(xp.clip(inside, 0, last - 1))
    low, high = _stepwise(xp, table, below), _stepwise(xp, table, below + 1)
    return low + (high - low) * (inside - below)


def _between(xp: Any, table: Any, places: Any, levels: Any) -> Any:
    """As `_linear`, where level l lies at places[l]."""
    flat = xp.reshape(xp.clip(levels, places[0], places[-1]), (-1,))
    below = xp.clip(xp.searchsorted(places, flat, side="right") - 1, 0, places.shape[0] - 2)
    low, high = xp.take(table, below, axis=0), xp.take(table, below + 1, axis=0)
    start, end = xp.take(places, below, axis=0), xp.take(places, below + 1, axis=0)
    share = (flat - start) / (end - start)
    return xp.reshape(low * (1 - share) + high * share, levels.shape)  # exact at both ends
