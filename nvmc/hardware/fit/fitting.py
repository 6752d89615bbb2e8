"""From measured cells to a device: spread and mean error of every level, and retention.

Two laws of the spread: one factor per level (`levels`), where cells are programmed to a few levels,
or a polynomial sigma(g) (`polynomial`) otherwise. What the data cannot support is refused. The
estimates are in `nvmc.hardware.fit.estimation`, the file that is written in
`nvmc.hardware.fit.device_file`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nvmc.errors import DeviceError
from nvmc.hardware.fit.estimation import (
    FittedSpread,
    choose_mean,
    choose_spread,
    equal_spreads,
    normality,
    spread_chi_square,
    spread_error,
)
from nvmc.hardware.fit.measurements import Measurements
from nvmc.hardware.fit.retention import Retained, fit_retention
from nvmc.hardware.fit.targets import MIN_READINGS, earliest, evenness, targets_of

__all__ = ["LAWS", "DeviceFit", "Group", "fit_device"]

Float = NDArray[np.floating[Any]]
Law = Literal["auto", "levels", "polynomial"]

LAWS: tuple[Law, ...] = ("auto", "levels", "polynomial")
MAX_LEVELS = 64  # with more distinct targets than this, they are taken for continuous
MAX_GROUPS = 16
MAX_DEGREE = 4
MIN_LEVELS = 3  # distinct targets that a polynomial needs
EXACT = 1e-9  # spread over conductance below which readings lie on their mean
UNEVEN = 0.02  # of a step, by which evenly spaced targets may miss their places
WEIGHT_BITS = 4  # as TRICE uses its cells with levels (Sec. IV-C)


@dataclass(frozen=True)
class Group:
    """The readings of one level, or of neighbouring targets; conductances in µS.

    Attributes:
        level: The level, or None for neighbouring targets.
        target: What was aimed for; the mean of neighbouring targets.
        count: Readings.
        bias: Mean error, measured - target.
        spread: Standard deviation of the error about its mean.
        spread_error: Its standard error, whatever the law of the errors.
        law: Standard deviation under the fitted law, at `target`.
        normal: P-value that the errors are normal (Anderson-Darling).
    """

    level: int | None
    target: float
    count: int
    bias: float
    spread: float
    spread_error: float
    law: float
    normal: float

    @property
    def bias_error(self) -> float:
        """Standard error of the bias."""
        return self.spread / np.sqrt(self.count)


@dataclass(frozen=True)
class DeviceFit:
    """What a file of measurements says of its cells; conductances in µS.

    Attributes:
        read: The measurements.
        law: `levels` or `polynomial`.
        even: Whether levels are evenly spaced; True for `polynomial`.
        min_us: Conductance of level 0, or the lowest target.
        max_us: Conductance of the top level, or the highest target.
        groups: One for each level, or for neighbouring targets, from the lowest.
        used: Readings that spread and bias come from: those at the earliest time.
        polynomial: The spread over x = g / max_us, where that is the law.
        bias: Polynomial of the mean error over x; a number a group for `levels`.
        biased: Whether some mean error is more than chance (p < 0.01 over all groups).
        quality: (chi-square, degrees of freedom, p-value) of the polynomial over the groups.
        equal: P-value of one spread for all levels (Levene), for `levels`.
        standard: Standardised residuals, (error - bias) / sigma, one a used reading.
        retention: What was found in the times, if there are any.
    """

    read: Measurements
    law: Literal["levels", "polynomial"]
    even: bool
    min_us: float
    max_us: float
    groups: tuple[Group, ...]
    used: int
    polynomial: FittedSpread | None
    bias: Float
    biased: bool
    quality: tuple[float, int, float] | None
    equal: float | None
    standard: Float
    retention: Retained | None = None

    @property
    def step_us(self) -> float:
        """µS in one level step; the whole range for a polynomial."""
        top = len(self.groups) - 1 if self.law == "levels" else 1
        return (self.max_us - self.min_us) / top

    @property
    def cell_bits(self) -> int | None:
        """Whole bits that the levels hold; None for `polynomial`."""
        return len(self.groups).bit_length() - 1 if self.law == "levels" else None

    @property
    def weight_bits(self) -> int | None:
        """Bits of a weight that are proposed: 4, or one cell's where it holds more."""
        return None if self.cell_bits is None else max(WEIGHT_BITS, self.cell_bits)

    @property
    def unevenness(self) -> float:
        """Largest distance of a level from even spacing, in level steps."""
        return evenness(np.array([g.target for g in self.groups]))


def fit_device(read: Measurements, law: Law = "auto") -> DeviceFit:
    """Fit a device to measurements.

    Args:
        read: The measurements.
        law: `auto` takes `levels` where there are levels, or few and evenly spaced targets.

    Raises:
        DeviceError: The data are too few for the law, or contradict each other.
    """
    first = earliest(read)
    target = targets_of(first, first)
    chosen = _law_of(first, target) if law == "auto" else law
    fit = _fit_levels(first, target) if chosen == "levels" else _fit_polynomial(first, target)
    if read.time is None:
        return replace(fit, read=read)
    return replace(fit, read=read, retention=fit_retention(read, targets_of(read, first)))


def _law_of(read: Measurements, target: Float) -> Literal["levels", "polynomial"]:
    if read.level is not None:
        return "levels"
    distinct, counts = np.unique(target, return_counts=True)
    few = 2 <= len(distinct) <= MAX_LEVELS and counts.min() >= MIN_READINGS
    return "levels" if few and evenness(distinct) <= UNEVEN else "polynomial"


# --- levels ------------------------------------------------------------------------------------


def _fit_levels(read: Measurements, target: Float) -> DeviceFit:
    level = read.level
    if level is None:
        level = np.unique(target, return_inverse=True)[1].astype(np.int64)
    members = [np.flatnonzero(level == i) for i in range(int(level.max()) + 1)]
    aims = _check_levels(read, target, members)
    errors = [read.measured[rows] - target[rows] for rows in members]
    groups = tuple(
        _group(i, aim, e, float(np.std(e, ddof=1)))
        for i, (aim, e) in enumerate(zip(aims, errors, strict=True))
    )
    _check_monotone(read, groups)
    for g, step in zip(groups, _least_steps(aims), strict=True):
        if abs(g.bias) > step / 2:
            raise DeviceError(
                f"{read.file}: the mean of level {g.level} is {g.target + g.bias:.4g} µS, more "
                f"than half a step from its place at {g.target:.4g} µS, so it reads as another "
                "level; correct the targets, or fit --law polynomial to target_us"
            )
        if g.spread == 0:
            raise DeviceError(
                f"{read.file}: all {g.count} readings of level {g.level} are the same; expected "
                "readings of several cells at full resolution"
            )
    bias = np.array([g.bias for g in groups])
    return DeviceFit(
        read=read,
        law="levels",
        even=evenness(np.array(aims)) <= (UNEVEN if read.target is not None else EXACT),
        min_us=float(aims[0]),
        max_us=float(aims[-1]),
        groups=groups,
        used=len(target),
        polynomial=None,
        bias=bias,
        biased=_is_biased(groups),
        quality=None,
        equal=equal_spreads(errors),
        standard=np.concatenate(
            [(e - g.bias) / g.spread for e, g in zip(errors, groups, strict=True)]
        ),
    )


def _check_levels(
    read: Measurements, target: Float, members: list[NDArray[np.int64]]
) -> list[float]:
    """The target of every level.

    Raises:
        DeviceError: There are fewer than two levels, one has too few readings, or their targets
            do not rise.
    """
    if len(members) < 2:
        raise DeviceError(f"{read.file}: there is one level; expected two or more")
    for i, rows in enumerate(members):
        if len(rows) < MIN_READINGS:
            when = "" if read.time is None else f" at the earliest time, {read.time[0]:g} s"
            raise DeviceError(
                f"{read.file}: level {i} has {len(rows)} readings{when}; expected "
                f"{MIN_READINGS} or more of every level from 0 to {len(members) - 1}"
            )
    aims = [float(target[rows[0]]) for rows in members]
    if np.any(np.diff(aims) <= 0):
        raise DeviceError(
            f"{read.file}: the conductance of the levels does not rise from one to the next "
            f"({', '.join(f'{aim:g}' for aim in aims)} µS); number them by conductance"
        )
    return aims


def _least_steps(aims: list[float]) -> list[float]:
    """From each level to its nearer neighbour."""
    steps = np.diff(aims)
    return np.minimum(np.append(steps[0], steps), np.append(steps, steps[-1])).tolist()


def _group(level: int | None, target: float, errors: Float, law: float) -> Group:
    bias = float(np.mean(errors))
    return Group(
        level=level,
        target=target,
        count=len(errors),
        bias=bias if abs(bias) > EXACT * target else 0.0,
        spread=float(np.std(errors, ddof=1)),
        spread_error=spread_error(errors),
        law=law,
        normal=normality(errors),
    )


def _check_monotone(read: Measurements, groups: tuple[Group, ...]) -> None:
    for below, above in zip(groups, groups[1:], strict=False):
        if above.target + above.bias <= below.target + below.bias:
            raise DeviceError(
                f"{read.file}: the mean of level {above.level} "
                f"({above.target + above.bias:.4g} µS) is not above that of level {below.level} "
                f"({below.target + below.bias:.4g} µS); mend the data, or use fewer levels"
            )


def _is_biased(groups: tuple[Group, ...]) -> bool:
    """Whether some mean error is more than chance: Student's t, at p < 0.01 over all groups."""
    chances = [
        2 * float(stats.t.sf(abs(g.bias) / g.bias_error, g.count - 1))
        for g in groups
        if g.bias_error > 0
    ]
    return min(chances, default=1.0) < 0.01 / len(groups)


# --- polynomial --------------------------------------------------------------------------------


def _fit_polynomial(read: Measurements, target: Float) -> DeviceFit:
    members = _neighbours(read, target)
    _check_slope(read, target)
    errors = read.measured - target
    top = float(target.max())
    x = target / top
    bias, law = _bias_and_spread(read, x, errors)
    sigma = law(x)
    standard = (errors - np.vander(x, len(bias), increasing=True) @ bias) / sigma
    groups = tuple(
        _group(None, aim, errors[rows], float(law(np.array([aim / top]))[0]))
        for rows in members
        for aim in [float(np.mean(target[rows]))]
    )
    return DeviceFit(
        read=read,
        law="polynomial",
        even=True,
        min_us=float(target.min()),
        max_us=top,
        groups=groups,
        used=len(target),
        polynomial=law,
        bias=bias,
        biased=_is_biased(groups),
        quality=spread_chi_square([standard[rows] for rows in members], law.degree + 1),
        equal=None,
        standard=standard,
    )


def _neighbours(read: Measurements, target: Float) -> list[NDArray[np.int64]]:
    """The rows of every distinct target, or of about equally many neighbouring ones.

    Raises:
        DeviceError: There are too few readings, or too few distinct targets.
    """
    distinct, counts = np.unique(target, return_counts=True)
    if len(distinct) < MIN_LEVELS:
        raise DeviceError(
            f"{read.file}: there are {len(distinct)} distinct targets; a polynomial needs "
            f"{MIN_LEVELS} or more"
        )
    if len(target) < MIN_LEVELS * MIN_READINGS:
        raise DeviceError(
            f"{read.file}: there are {len(target)} readings to fit; a polynomial needs "
            f"{MIN_LEVELS * MIN_READINGS} or more"
        )
    if len(distinct) <= MAX_LEVELS and counts.min() >= MIN_READINGS:
        return [np.flatnonzero(target == value) for value in distinct]
    order = np.argsort(target, kind="stable")
    return list(np.array_split(order, min(MAX_GROUPS, len(target) // MIN_READINGS)))


def _bias_and_spread(read: Measurements, x: Float, errors: Float) -> tuple[Float, FittedSpread]:
    """The mean error and the spread over x, in turns, as each is weighted by the other."""
    highest = min(MAX_DEGREE, len(np.unique(x)) - 1)
    sigma = np.ones(len(x))
    law = None
    bias = np.zeros(1)
    for _ in range(3):
        bias = choose_mean(x, errors, sigma, highest)
        rest = errors - np.vander(x, len(bias), increasing=True) @ bias
        if float(np.std(rest)) > EXACT * float(np.max(read.measured)):
            law = choose_spread(x, rest * np.sqrt(len(x) / (len(x) - len(bias))), highest)
        if law is None:
            raise DeviceError(
                f"{read.file}: no polynomial of degree 0 to {highest} gives a spread above 0 over "
                "the measured range; expected readings of several cells at full resolution"
            )
        sigma = law(x)
    assert law is not None
    return bias, law


def _check_slope(read: Measurements, target: Float) -> None:
    """Raise DeviceError unless what was measured rises with what was aimed for."""
    slope, _ = np.polyfit(target, read.measured, 1)
    if not 0.5 <= slope <= 2:
        raise DeviceError(
            f"{read.file}: measured_us changes by {slope:.3g} µS for each µS of target_us; "
            "expected about 1: check the columns and their units"
        )
