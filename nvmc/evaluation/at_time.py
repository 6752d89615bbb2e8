"""The chips of a simulation at one time since programming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.evaluation.goals import read_goal
from nvmc.statistics import Kpp, Summary, Yield, yield_at

__all__ = ["AtTime"]


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
        percent: Whether values are shares, which people write in percent.
    """

    time_s: float | None
    values: NDArray[np.float64]
    kpp: Kpp
    summary: Summary
    share: float = 1.0
    delta: float = 0.0
    precision: float | None = None
    looks: int = 1
    percent: bool = True

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

    @checked
    def yield_at(self, goal: float | str) -> Yield:
        """The share of chips that reach a goal.

        A dropped chip is known to be no lower than what the KPP and its interval are made of.

        Args:
            goal: As after `--goal`: `0.95` or `"95%"`; of other metrics a value in their own unit.

        Raises:
            OptionError: No chip can reach it, or it is no such value.
        """
        found = read_goal(goal, self.percent)
        high = self.kpp.chips_alone.high
        least = self.kpp.value if high is None else max(self.kpp.value, high)
        confidence = self.kpp.confidence
        less = self.kpp.less_is_better
        return yield_at(
            self.values, found, confidence, least=least, looks=self.looks, less_is_better=less
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
