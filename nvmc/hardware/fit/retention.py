"""Retention from cells that were read at several times: g(t) = g(t0) (t/t0)^-nu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nvmc.errors import DeviceError
from nvmc.hardware.fit.estimation import (
    drift_of_cells,
    drift_of_means,
    growth_of_spread,
    normality,
)
from nvmc.hardware.fit.measurements import Measurements

__all__ = ["Drift", "Retained", "fit_retention"]

Float = NDArray[np.floating[Any]]

MIN_CELLS = 20  # cells read twice, or readings of a level at one time
ROUNDS = 4  # of weights that follow from the spread, and the spread that follows from weights


@dataclass(frozen=True)
class Drift:
    """Exponent nu of one level, or of neighbouring targets, as its own cells say.

    Attributes:
        target: µS; the mean of the group.
        count: Cells, or readings where cells are not told apart.
        mean: Mean of nu.
        spread: Its standard deviation between cells.
        error: Standard error of the mean.
    """

    target: float
    count: int
    mean: float
    spread: float
    error: float


@dataclass(frozen=True)
class Retained:
    """The exponent nu of cells.

    Attributes:
        t0_s: The earliest time.
        times: Number of distinct times.
        mean: Mean of nu over the groups, each weighted by how well it is known.
        spread: Its standard deviation between cells, the error of measuring it taken off; of the
            groups, each weighted by how well its own is known, with what sets the groups apart
            where that is more than chance.
        error: Standard error of the mean.
        corrected: Whether the error of measuring nu is known: some cells were read three times.
        by_cell: Whether cells were told apart.
        normal: P-value that nu is normal between cells, if they were told apart.
        drifts: By level or neighbouring targets.
        skipped: Readings left out because a reading of their level (or cell) is 0.
    """

    t0_s: float
    times: int
    mean: float
    spread: float
    error: float
    corrected: bool
    by_cell: bool
    normal: float | None
    drifts: tuple[Drift, ...]
    skipped: int

    @property
    def uneven(self) -> bool:
        """Whether nu differs between the groups by more than chance (p < 0.01)."""
        return _differ(self.drifts)


def fit_retention(read: Measurements, target: Float) -> Retained:
    """The exponents of all levels.

    Args:
        read: Measurements with times.
        target: The target of each reading in µS.

    Raises:
        DeviceError: Too few cells were read twice, or conductance grows with time.
    """
    found = _by_cell(read, target) if read.cell is not None else _by_level(read, target)
    if found.mean < -3 * found.error:
        raise DeviceError(
            f"{read.file}: conductance grows with time (nu = {found.mean:.4g} ± "
            f"{found.error:.2g}); retention expects it to decay: check time_s, or leave it out"
        )
    return found


def _by_cell(read: Measurements, target: Float) -> Retained:
    assert read.cell is not None and read.time is not None
    zero = np.zeros(int(read.cell.max()) + 1, bool)
    zero[read.cell[read.measured == 0]] = True
    kept = ~zero[read.cell]
    names, cell = np.unique(read.cell[kept], return_inverse=True)
    aim = np.zeros(len(names))
    aim[cell] = target[kept]
    found = drift_of_cells(cell.astype(np.int64), read.time[kept], read.measured[kept])
    several = ~np.isnan(found.nu)
    found, aim = found.of(several), aim[several]
    if len(aim) < MIN_CELLS:
        raise DeviceError(
            f"{read.file}: {len(aim)} cells were read at two times or more, above 0 µS; expected "
            f"{MIN_CELLS} or more for their retention"
        )
    distinct, counts = np.unique(aim, return_counts=True)
    parts = (
        [np.flatnonzero(aim == value) for value in distinct]
        if len(distinct) <= 16 and counts.min() >= MIN_CELLS
        else np.array_split(np.argsort(aim, kind="stable"), min(8, len(aim) // MIN_CELLS))
    )
    corrected = not np.isnan(found.noise)
    groups = [found.of(rows) for rows in parts]
    total = np.array([np.var(group.nu, ddof=1) for group in groups])
    cells = np.array([len(rows) for rows in parts])
    noise = np.zeros(len(parts))
    if corrected:
        noise = np.array([found.noise if np.isnan(g.noise) else g.noise for g in groups])
    drifts = tuple(
        Drift(
            target=float(np.mean(aim[rows])),
            count=len(rows),
            mean=float(np.mean(group.nu)),
            spread=float(np.sqrt(max(0.0, variance - taken_off))),
            error=float(np.sqrt(variance / len(rows))),
        )
        for rows, group, variance, taken_off in zip(parts, groups, total, noise, strict=True)
    )
    # Where no cell was read three times, what a group spreads by more than most is taken for noise.
    own = noise if corrected else np.maximum(total - np.median(total), 0.0)
    common = float(np.median(total - noise))
    for _ in range(ROUNDS):
        expected = max(common, 0.0) + own
        weights = (cells - 1) / np.where(expected > 0, expected, 1.0) ** 2
        common = float(np.average(total - noise, weights=weights))
    errors = np.sqrt((max(common, 0.0) + own) / cells)
    skipped = int(np.sum(~kept))
    return _retained(read, drifts, errors, common, skipped, corrected, normality(found.nu))


def _retained(
    read: Measurements,
    drifts: tuple[Drift, ...],
    errors: Float,
    variance: float,
    skipped: int,
    corrected: bool = True,
    normal: float | None = None,
) -> Retained:
    """All groups together, given the errors of their means and the variance of nu within each."""
    assert read.time is not None
    means = np.array([d.mean for d in drifts])
    weights = 1 / np.where(errors > 0, errors, 1.0) ** 2
    mean = float(np.average(means, weights=weights))
    error = 1 / np.sqrt(np.sum(weights)) if np.all(errors > 0) else 0.0
    if _differ(drifts):  # DerSimonian and Laird, Controlled Clinical Trials 7, 1986
        excess = float(np.sum(weights * (means - mean) ** 2)) - (len(drifts) - 1)
        scale = float(np.sum(weights) - np.sum(weights**2) / np.sum(weights))
        variance = max(variance, 0.0) + max(excess / scale, 0.0)
        mean = float(np.mean(means))
        error = float(np.std(means, ddof=1) / np.sqrt(len(drifts)))
    return Retained(
        t0_s=float(read.time.min()),
        times=len(np.unique(read.time)),
        mean=mean,
        spread=float(np.sqrt(max(0.0, variance))),
        error=float(error),
        corrected=corrected,
        by_cell=read.cell is not None,
        normal=normal,
        drifts=drifts,
        skipped=skipped,
    )


def _differ(drifts: tuple[Drift, ...]) -> bool:
    """Whether means differ by more than chance (p < 0.01): Welch's test (Biometrika 38, 1951)."""
    free = len(drifts) - 1
    if free < 1 or any(d.error == 0 for d in drifts):
        return False
    weights = np.array([1 / d.error**2 for d in drifts])
    means = np.array([d.mean for d in drifts])
    mean = np.average(means, weights=weights)
    lost = np.sum((1 - weights / np.sum(weights)) ** 2 / (np.array([d.count for d in drifts]) - 1))
    several = free * (free + 2)  # groups squared, less 1
    statistic = np.sum(weights * (means - mean) ** 2) / free
    statistic /= 1 + 2 * (free - 1) / several * lost
    return float(stats.f.sf(statistic, free, several / (3 * lost))) < 0.01


def _check_spread(read: Measurements, rows: NDArray[np.bool_], key: float) -> None:
    """Raise DeviceError where all readings of a target at one time are the same."""
    assert read.time is not None
    for time in np.unique(read.time[rows]):
        if np.ptp(read.measured[rows & (read.time == time)]) == 0:
            raise DeviceError(
                f"{read.file}: all readings of target {key:g} at {time:g} s are the same; expected "
                "readings of several cells at full resolution"
            )


def _by_level(read: Measurements, target: Float) -> Retained:
    assert read.time is not None
    levels: list[tuple[float, Float, list[Float]]] = []
    skipped = 0
    keys = target if read.level is None else read.level
    for key in np.unique(keys):
        rows = keys == key
        if np.any(read.measured[rows] == 0):
            skipped += int(np.sum(rows))
            continue
        counts = np.unique(read.time[rows], return_counts=True)[1]
        if len(counts) < 2 or counts.min() < MIN_CELLS:
            raise DeviceError(
                f"{read.file}: target {key:g} has {counts.min()} readings at one of its "
                f"{len(counts)} times; expected {MIN_CELLS} or more at each of two times or more, "
                "or a column that names the cell"
            )
        _check_spread(read, rows, float(key))
        times, index = np.unique(read.time[rows], return_inverse=True)
        length, measured = np.log(times / times[0]), np.log(read.measured[rows])
        logs = [measured[index == i] for i in range(len(times))]
        levels.append((float(np.mean(target[rows])), length, logs))
    if not levels:
        raise DeviceError(
            f"{read.file}: every level has a reading of 0 µS, of which there is no retention; "
            "leave time_s out"
        )
    common, growths = 0.0, list[tuple[float, float]]()
    for _ in range(ROUNDS):
        growths = [growth_of_spread(length, logs, common) for _, length, logs in levels]
        weights = [1 / error**2 for _, error in growths]
        common = max(0.0, float(np.average([growth for growth, _ in growths], weights=weights)))
    drifts: list[Drift] = []
    for (aim, length, logs), (growth, _) in zip(levels, growths, strict=True):
        nu, error = drift_of_means(length, logs, common)
        spread = float(np.sqrt(max(0.0, growth)))
        drifts.append(Drift(aim, sum(map(len, logs)), nu, spread, error))
    errors = np.array([d.error for d in drifts])
    return _retained(read, tuple(drifts), errors, common, skipped)
