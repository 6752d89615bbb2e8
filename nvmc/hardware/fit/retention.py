"""Retention from cells that were read at several times: g(t) = g(t0) (t/t0)^-nu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nvmc.errors import DeviceError
from nvmc.hardware.fit.estimation import drift_of_cells, drift_of_means, normality
from nvmc.hardware.fit.measurements import Measurements

__all__ = ["Drift", "Retained", "fit_retention"]

Float = NDArray[np.floating[Any]]

MIN_CELLS = 20  # cells read twice, or readings of a level at one time


@dataclass(frozen=True)
class Drift:
    """Exponent nu of one level, or of neighbouring targets.

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
    """The exponent nu over all cells.

    Attributes:
        t0_s: The earliest time.
        times: Number of distinct times.
        mean: Mean of nu over all cells.
        spread: Its standard deviation between cells, the error of measuring it taken off.
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
        free = len(self.drifts) - 1
        excess = sum(((d.mean - self.mean) / d.error) ** 2 for d in self.drifts if d.error)
        return free > 0 and float(stats.chi2.sf(excess, free)) < 0.01


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
    nu, noise = (
        drift_of_cells(cell.astype(np.int64), read.time[kept], read.measured[kept])
        if len(names)
        else (np.zeros(0), np.nan)
    )
    aim = np.zeros(len(names))
    aim[cell] = target[kept]
    aim, nu = aim[~np.isnan(nu)], nu[~np.isnan(nu)]
    if len(nu) < MIN_CELLS:
        raise DeviceError(
            f"{read.file}: {len(nu)} cells were read at two times or more, above 0 uS; expected "
            f"{MIN_CELLS} or more for their retention"
        )
    corrected = not np.isnan(noise)
    taken_off = noise if corrected else 0.0
    order = np.argsort(aim, kind="stable")
    distinct, counts = np.unique(aim, return_counts=True)
    parts = (
        [np.flatnonzero(aim == value) for value in distinct]
        if len(distinct) <= 16 and counts.min() >= MIN_CELLS
        else np.array_split(order, min(8, len(nu) // MIN_CELLS))
    )
    drifts = tuple(_drift(aim[rows], nu[rows], taken_off) for rows in parts)
    whole = _drift(aim, nu, taken_off)
    return Retained(
        t0_s=float(read.time.min()),
        times=len(np.unique(read.time)),
        mean=whole.mean,
        spread=whole.spread,
        error=whole.error,
        corrected=corrected,
        by_cell=True,
        normal=normality(nu),
        drifts=drifts,
        skipped=int(np.sum(~kept)),
    )


def _drift(aim: Float, nu: Float, taken_off: float) -> Drift:
    variance = float(np.var(nu, ddof=1))
    return Drift(
        target=float(np.mean(aim)),
        count=len(nu),
        mean=float(np.mean(nu)),
        spread=float(np.sqrt(max(0.0, variance - taken_off))),
        error=float(np.sqrt(variance / len(nu))),
    )


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
    drifts: list[Drift] = []
    growths: list[float] = []
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
        nu, error, growth = drift_of_means(read.time[rows], read.measured[rows])
        growths.append(growth)
        drifts.append(
            Drift(
                target=float(np.mean(target[rows])),
                count=int(np.sum(rows)),
                mean=nu,
                spread=float(np.sqrt(max(0.0, growth))),
                error=error,
            )
        )
    if not drifts:
        raise DeviceError(
            f"{read.file}: every level has a reading of 0 uS, of which there is no retention; "
            "leave time_s out"
        )
    weights = np.array([1 / d.error**2 for d in drifts])
    return Retained(
        t0_s=float(read.time.min()),
        times=len(np.unique(read.time)),
        mean=float(np.average([d.mean for d in drifts], weights=weights)),
        spread=float(np.sqrt(max(0.0, float(np.mean(growths))))),
        error=float(1 / np.sqrt(np.sum(weights))),
        corrected=True,
        by_cell=False,
        normal=None,
        drifts=tuple(drifts),
        skipped=skipped,
    )
