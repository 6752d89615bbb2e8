"""Doubts about values: does a chip that predicts numbers know how far off it may be?

Every chip gives each value a normal predictive distribution: the mean over stochastic passes, and
the variance over passes plus one constant, the noise of observations (Gal and Ghahramani, Dropout
as a Bayesian approximation, ICML 2016: their 1 / tau). Where the network draws nothing the constant
is all. It is found by the greatest likelihood on the first half of the images, run on the ideal
chip, so that one number goes with the network to all chips; chips are judged on the other half.

Whether the distribution holds is told by its central intervals: of p of them the values should lie
in a share p (Kuleshov et al., Accurate uncertainties for deep learning using calibrated regression,
ICML 2018).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import NormalDist
from threading import Event
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.data import Dataset, load_data
from nvmc.data.items import counted_items
from nvmc.data.shifts import Shift, shifted, shifts_for
from nvmc.errors import DataError, OptionError
from nvmc.evaluation.captions import of_text
from nvmc.evaluation.description import Description
from nvmc.evaluation.doubts import Row, ready
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.population import Workload
from nvmc.evaluation.tabulated import shift_records, shift_table
from nvmc.evaluation.workload import Options, check_options
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Device, NoiseSource
from nvmc.progress import Progress
from nvmc.runtime.montecarlo import ChipSession, Feed, default_jobs, in_parallel
from nvmc.tables import Cell, Shown, Table

__all__ = [
    "FORMAT",
    "ValueMeasures",
    "ValueUncertainty",
    "noise_of",
    "value_measures",
    "value_shifts",
    "value_uncertainty",
]

FORMAT = "nvmc.evaluation.value-uncertainty/1"
LEVELS = tuple(step / 20 for step in range(1, 20))
"""Central intervals whose coverage is compared with what they claim."""
FEWEST = 20
"""Images, at least: half of them calibrate."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ValueMeasures:
    """One chip on one set of images.

    Attributes:
        rmse: Root mean square error of the mean prediction, in the values' unit.
        nll: Mean negative log-likelihood of the values, nats.
        coverage: Share of the values within their central 90 % intervals.
        calibration_error: Mean distance of the coverage of 19 central intervals, 5 to 95 %, from
            what they claim.
        deviation: Mean predicted standard deviation, in the values' unit (sharpness).
        spread: Its part that is the spread over passes: the root of their mean variance.
    """

    rmse: float
    nll: float
    coverage: float
    calibration_error: float
    deviation: float
    spread: float


NAMES = tuple(field.name for field in fields(ValueMeasures))


@dataclass(frozen=True, repr=False)
class ValueUncertainty(Shown):
    """What a population of chips knows of its errors.

    Attributes:
        rows: The data as they are first.
        noise: Standard deviation of the observations' noise, in the values' unit.
        calibrated: Images that it was found on; chips were judged on the others.
        description: Network, chips, unshifted images, and how they were run.
        seconds: Wall time of the runs.
    """

    rows: tuple[Row[ValueMeasures], ...]
    noise: float
    calibrated: int
    description: Description
    seconds: float

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        worth = f"RMSE {self.rows[0].values('rmse').mean():.4g} unshifted"
        return f"Uncertainty of {of_text(self.description)}: {worth}, {len(self.rows) - 1} shifts"

    def shown(self) -> Table:
        """A row for each shift: means over chips."""
        return shift_table(self.rows, NAMES, self.description)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each shift: mean and standard deviation over chips of every measure."""
        return shift_records(self.rows, NAMES)

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc uncertainty --json` prints it; docs/uncertainty.md names the keys."""
        return {
            "format": FORMAT,
            "description": self.description.to_json(),
            "noise": self.noise,
            "calibrated": self.calibrated,
            "rows": [row.to_json() for row in self.rows],
            "seconds": self.seconds,
        }


@checked
def value_uncertainty(
    compiled: Compiled,
    *,
    runs: int = 20,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    time_s: float | None = None,
    temperature_c: float | None = None,
    shifts: Sequence[str] | None = None,
    seed: int = 0,
    jobs: int | None = None,
    on_chip: Callable[[], None] | None = None,
    **options: Unpack[Options],
) -> ValueUncertainty:
    """Evaluate what chips 0 … runs - 1 of population `seed` know of their errors.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        runs: Number of chips.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources behind the device's own: sources, or texts as after `--noise`.
        sigma: Strength of the device's noise instead of its default.
        time_s: Seconds since programming; the device's own time by default.
        temperature_c: Of the cells, degrees Celsius; what their noise sources say by default.
        shifts: `noise` only, since what turning an image does to a value is not known; that by
            default.
        seed: Population of chips, and the noise on images.
        jobs: Chips in parallel.
        on_chip: Called as each chip of a row is done, from its thread.
        **options: As `Options`; the data must have target values, and the stochastic passes are
            10 by default, 1 where the network draws nothing.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    check_options(runs, jobs, 1.0)
    setup = Setup.of(
        compiled.manifest.target, device, noise, sigma, time_s, temperature_c=temperature_c
    )
    dataset = _images(compiled, options)
    wanted = value_shifts(dataset, shifts)
    chips = [setup.chip(seed, index) for index in range(runs)]
    workload = ready(compiled, setup.target, dataset, options)
    targets = dataset.shuffled().targets_for(workload.network.shape or ()).astype(np.float64)
    judge, started = _Judge(workload, targets, seed), time.perf_counter()
    at_once = min(jobs or default_jobs(), runs)
    told = on_chip or Progress("chips", runs * len(wanted)).one
    rows = tuple(judge.row(chips, shift, at_once, told) for shift in wanted)
    described, seconds = workload.describe(setup, seed, runs), time.perf_counter() - started
    return ValueUncertainty(rows, judge.noise, judge.half, described, seconds)


def value_shifts(dataset: Dataset, kinds: Sequence[str] | None) -> list[Shift]:
    """How images with values are shifted: by noise.

    Raises:
        DataError: They are to be turned.
    """
    if "rotation" in (kinds or ()):
        raise DataError(
            f"{dataset.name} has values, and their right values for turned images are not known; "
            "leave the rotation out"
        )
    return shifts_for(dataset.x, kinds or ["noise"])


def _images(compiled: Compiled, options: Options) -> Dataset:
    """The images with values, for the one input of real numbers."""
    entries, data = compiled.manifest.inputs, options.get("data")
    if options.get("metric") is not None:
        raise OptionError("a metric is given, but uncertainty has its own measures; leave it out")
    dataset = None if data is None else load_data(data, limit=options.get("limit"))
    if dataset is None or dataset.targets is None:
        raise DataError("doubts about values need target values; give --data with y as float32")
    if len(entries) > 1 or np.dtype(entries[0].dtype).kind != "f":
        found = ", ".join(f"{entry.name} ({entry.dtype})" for entry in entries)
        raise DataError(
            f"the network has inputs {found}; images can be made noisy for one input of real "
            "numbers only"
        )
    if len(dataset.x) < FEWEST:
        raise DataError(
            f"{dataset.name} has {counted_items(len(dataset.x), dataset.name)}, half of which "
            f"calibrate; expected at least {FEWEST}"
        )
    return dataset.for_network([entries[0].name])


class _Judge:
    """Knows what was found on the first half of the images, and judges chips on the other."""

    def __init__(self, workload: Workload, targets: Floats, seed: int) -> None:
        self._workload = workload
        self._targets = targets
        self._seed = seed
        self.half = len(targets) // 2
        first: list[tuple[Floats, Floats]] = []
        in_parallel(lambda number, stop: first.append(self._predict(Chip.ideal())), 1, 1)
        mean, variance = (part[: self.half] for part in first[0])
        self.noise = noise_of(mean, variance, targets[: self.half])

    def row(
        self, chips: list[Chip], shift: Shift, jobs: int, on_chip: Callable[[], None] | None
    ) -> Row[ValueMeasures]:
        """All chips on the second half of the images, shifted."""
        found: dict[int, ValueMeasures] = {}

        def work(number: int, stop: Event) -> None:
            mean, variance = self._predict(chips[number], shift)
            if stop.is_set():
                return
            mean, variance = mean[self.half :], variance[self.half :]
            found[number] = value_measures(mean, variance, self._targets[self.half :], self.noise)
            if on_chip is not None:
                on_chip()

        in_parallel(work, len(chips), jobs)
        return Row(shift, tuple(found[number] for number in range(len(chips))))

    def _predict(self, chip: Chip, shift: Shift | None = None) -> tuple[Floats, Floats]:
        """Mean and variance over the passes of a chip, in the targets' shape."""
        feed = self._workload.feed
        if shift is not None:
            feed = Feed({name: shifted(x, shift, self._seed) for name, x in feed.inputs.items()})
        session = ChipSession(self._workload.network, chip)
        passes = np.stack([one.astype(np.float64) for one in session.passes(feed)])
        return passes.mean(axis=0), passes.var(axis=0)


def noise_of(mean: Floats, variance: Floats, targets: Floats) -> float:
    """Standard deviation of the noise under which the values are likeliest.

    The likelihood may have several maxima, so 400 variances are tried, from a millionth of the mean
    square error to four times it, none among them, and the best is refined between its neighbours.

    Args:
        mean: Predicted values.
        variance: Their variances over passes, of the same shape.
        targets: What they should be, likewise.

    Raises:
        DataError: The predictions are not finite.
    """
    square = np.square(targets - mean)
    if not (np.isfinite(square).all() and np.isfinite(variance).all()):
        raise DataError("the ideal chip puts out NaN or infinity, so nothing calibrates on it")
    error = float(square.mean())
    if error == 0:
        return 0.0
    tried = [0.0, *(error * float(share) for share in np.geomspace(1e-6, 4, 400))]
    for _ in range(3):
        costs = [_likelihood(square, variance + extra) for extra in tried]
        best = int(np.argmin(costs))
        low, high = tried[max(0, best - 1)], tried[min(len(tried) - 1, best + 1)]
        tried = [low + (high - low) * step / 99 for step in range(100)] + [tried[best]]
    costs = [_likelihood(square, variance + extra) for extra in tried]
    return tried[int(np.argmin(costs))] ** 0.5


def _likelihood(square: Floats, variance: Floats) -> float:
    """Mean negative log-likelihood, nats; infinite where a variance is 0."""
    if not np.all(variance > 0):
        return np.inf
    return float(np.mean(np.log(2 * np.pi * variance) + square / variance) / 2)


def value_measures(mean: Floats, variance: Floats, targets: Floats, noise: float) -> ValueMeasures:
    """What normal predictions are worth.

    A chip's NaN counts as a value that lies outside of every interval, with an error and an NLL
    that are the greatest finite numbers.

    Args:
        mean: Predicted values.
        variance: Their variances over passes, of the same shape.
        targets: What they should be, likewise.
        noise: Standard deviation of the noise of observations.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        whole = np.maximum(variance + noise**2, np.finfo(np.float64).tiny)
        square = np.square(targets - mean)
        away = np.sqrt(square / whole)
        nll = np.mean(np.log(2 * np.pi * whole) + square / whole) / 2
        away = np.where(np.isnan(away), np.inf, away)
    covered = [float(np.mean(away <= NormalDist().inv_cdf((1 + level) / 2))) for level in LEVELS]
    ninety = float(np.mean(away <= NormalDist().inv_cdf(0.95)))
    return ValueMeasures(
        rmse=_finite(np.sqrt(square.mean())),
        nll=_finite(nll),
        coverage=ninety,
        calibration_error=sum(abs(a - b) for a, b in zip(covered, LEVELS, strict=True))
        / len(LEVELS),
        deviation=_finite(np.sqrt(whole).mean()),
        spread=_finite(np.sqrt(variance.mean())),
    )


def _finite(value: Any) -> float:
    """The number, or the greatest that there is."""
    return float(np.nan_to_num(value, nan=np.finfo(np.float64).max))
