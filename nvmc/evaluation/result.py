"""What a simulation found."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.errors import OptionError
from nvmc.evaluation.description import Compensated, Description
from nvmc.evaluation.goals import Requirement, Verdict
from nvmc.evaluation.records import Elsewhere
from nvmc.evaluation.reported import WithReport
from nvmc.statistics import Ends, Kpp, Summary, Yield, yield_at

__all__ = ["FORMAT", "AtTime", "Simulation"]

FORMAT = "nvmc.evaluation.simulation/1"


@dataclass(frozen=True)
class AtTime:
    """The chips of a simulation at one time since programming.

    Attributes:
        time_s: Seconds; None for the device's own time, or where nothing depends on it.
        values: One value per chip, in chip order, shape (runs,); NaN where a chip was dropped.
        kpp: K-th percentile performance and its intervals.
        summary: Mean, standard deviation, minimum.
        share: Images that were run, of all images on all chips.
        delta: How likely KPP and interval are others than those of all chips on all images, at
            most.
        precision: Width of the interval for chips alone that was asked for; None where none was.
        looks: How many times the chips may have been looked at before this was said.
    """

    time_s: float | None
    values: NDArray[np.float64]
    kpp: Kpp
    summary: Summary
    share: float = 1.0
    delta: float = 0.0
    precision: float | None = None
    looks: int = 1

    @property
    def dropped(self) -> int:
        """Chips that were not run on all images, as they cannot matter."""
        return int(np.count_nonzero(np.isnan(self.values)))

    def is_within(self, width: float | None) -> bool:
        """Whether the KPP's interval for chips alone is closed and no wider than that."""
        low, high = self.kpp.chips_alone.low, self.kpp.chips_alone.high
        if low is None or high is None or width is None:
            return False
        return high - low <= width + 1e-12  # both are rounded

    def yield_at(self, goal: float) -> Yield:
        """The share of chips that reach a goal.

        A dropped chip is known to be no lower than what the KPP and its interval are made of.
        """
        high = self.kpp.chips_alone.high
        least = self.kpp.value if high is None else max(self.kpp.value, high)
        confidence = self.kpp.confidence
        less = self.kpp.less_is_better
        return yield_at(
            self.values, goal, confidence, least=least, looks=self.looks, less_is_better=less
        )

    def to_json(self, goal: float | None = None) -> dict[str, Any]:
        """The keys of one time, the yield at a goal among them."""
        return {
            "time_s": self.time_s,
            "mean": self.summary.mean,
            "mean_bound": self.summary.mean_bound,
            "std": self.summary.std,
            "min": self.summary.min,
            "max": self.summary.max,
            "percentile": self.kpp.to_json(),
            "yield": None if goal is None else self.yield_at(goal).to_json(),
            "share": self.share,
            "delta": self.delta,
            "precision": self.precision,
            "met": self.precision is None or self.is_within(self.precision),
            "values": [None if np.isnan(value) else value for value in self.values.tolist()],
        }


@checked
@dataclass(frozen=True)
class Simulation(WithReport):
    """What a population of chips is worth.

    Attributes:
        description: Network, chips, images, and how they were run; its time is the first one's.
        ideal: Value of the chip whose every cell is on target.
        executor: Where the chips were run.
        times: The same chips at each time asked for; without any, at the device's own.
        seconds: Wall time of the runs.
        recorded: Chips, at all times together, that were not run again: a store had them.
        elsewhere: Chips, at all times together, that others had found.
        compensation: What the chips do against their noise, and what that needs.
        deviation: Standard deviation of the values to be met; None where there are none.
        goal: What a chip must reach, in the unit of values; None where nobody said.
        require: What the chips must have, at every time.
    """

    description: Description
    executor: str
    ideal: float
    times: tuple[AtTime, ...]
    seconds: float
    recorded: int = 0
    elsewhere: Elsewhere = Elsewhere()
    deviation: float | None = None
    compensation: tuple[Compensated, ...] = ()
    goal: float | None = None
    require: tuple[Requirement, ...] = ()

    @property
    def metric(self) -> str:
        """What values are; see `Description`."""
        return self.description.metric

    @property
    def values(self) -> NDArray[np.float64]:
        """One value per chip at the first time, in chip order, shape (runs,)."""
        return self.times[0].values

    @property
    def kpp(self) -> Kpp:
        """The k-th percentile performance at the first time."""
        return self.times[0].kpp

    @property
    def interval(self) -> Ends:
        """The KPP's interval at the first time; `kpp.covers` says what it is certain over."""
        return self.kpp.interval

    @property
    def summary(self) -> Summary:
        """Mean, standard deviation and minimum at the first time."""
        return self.times[0].summary

    def yield_at(self, goal: float) -> Yield:
        """The share of chips that reach a goal at the first time, with its interval."""
        return self.times[0].yield_at(goal)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each chip and time: `chip`, `time_s`, the metric.

        A dropped chip's value is NaN.

        Raises:
            OptionError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise OptionError(
                "to_pandas needs pandas, which is not installed; pip install pandas"
            ) from error
        first, metric = self.description.first, self.metric
        parts = [
            {"chip": first + chip, "time_s": at.time_s, metric: float(value)}
            for at in self.times
            for chip, value in enumerate(at.values)
        ]
        return pandas.DataFrame(parts, columns=["chip", "time_s", metric])

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Whether each requirement is met, at each time."""
        return tuple(
            one.judge(at.kpp, None if self.goal is None else at.yield_at(self.goal), at.time_s)
            for one in self.require
            for at in self.times
        )

    def rmse(self, value: float) -> float | None:
        """The root mean square error that a value R^2 stands for: deviation * sqrt(1 - R^2).

        None where no values are to be met; the least that it may be where R^2 is the lowest.
        """
        return None if self.deviation is None else self.deviation * (1 - value) ** 0.5

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc simulate --json` prints it; docs/simulate.md names the keys."""
        return {
            "format": FORMAT,
            "description": self.description.to_json(),
            "ideal": self.ideal,
            **self.times[0].to_json(self.goal),
            "times": [time.to_json(self.goal) for time in self.times],
            "seconds": self.seconds,
            "recorded": self.recorded,
            "elsewhere": self.elsewhere.to_json(),
            "deviation": self.deviation,
            "compensation": [one.to_json() for one in self.compensation],
            "required": [verdict.to_json() for verdict in self.verdicts],
        }
