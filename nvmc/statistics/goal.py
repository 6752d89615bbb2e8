"""The yield at a goal: the share of chips that reach a value, with its exact interval."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from nvmc.errors import OptionError
from nvmc.statistics.kpp import Values, accuracy_interval

__all__ = ["Yield", "parse_share", "yield_at"]


@dataclass(frozen=True)
class Yield:
    """The share of chips that reach a goal on the images they were run on.

    Attributes:
        goal: The value that a chip must have at least, in the unit of the chips' values; at most
            where less is better.
        reached: Chips that are known to reach it.
        unknown: Chips that were dropped early, of which it is not known.
        runs: Number of all chips.
        low: Lower end of the interval of the share among all chips that could be made.
        high: Its upper end.
        confidence: That the interval holds that share, at least.
        less_is_better: Whether a chip reaches the goal from above.
    """

    goal: float
    reached: int
    unknown: int
    runs: int
    low: float
    high: float
    confidence: float
    less_is_better: bool = False

    @property
    def value(self) -> float | None:
        """The share of the chips that reach the goal; None where some are not known."""
        return None if self.unknown else self.reached / self.runs

    def to_json(self) -> dict[str, Any]:
        """The keys of `yield` in `--json`; docs/simulate.md names them."""
        return {
            "goal": self.goal,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "reached": self.reached,
            "unknown": self.unknown,
            "confidence": self.confidence,
            "covers": "chips",
        }


def yield_at(
    values: Values,
    goal: float,
    confidence: float = 0.95,
    *,
    least: float | None = None,
    looks: int = 1,
    less_is_better: bool = False,
) -> Yield:
    """The share of chips whose value is at least `goal`, with the interval of Clopper and Pearson.

    The chips that reach the goal are Binomial(N, yield), so the interval is exact whatever the
    chips' values follow (Biometrika 26, 1934). It is of chips alone: of their values on these
    images.

    Args:
        values: One value per chip, shape (runs,); NaN where a chip was dropped early.
        goal: What a chip must reach, in the unit of the values.
        confidence: In (0, 1).
        least: What chips that were dropped are known to reach; None where nothing is known.
        looks: How many times the chips may have been looked at before one stopped: each look has
            1 - (1 - confidence) / looks, so that all hold at once (Bonferroni).
        less_is_better: Whether a chip reaches the goal with a value of at most that; then nothing
            can be known of dropped ones.

    Raises:
        OptionError: There are no values, or an argument is out of range.
    """
    array = np.asarray(values, dtype=np.float64)
    if looks < 1:
        raise OptionError(f"looks is {looks}; expected at least 1")
    dropped = int(np.count_nonzero(np.isnan(array)))
    reached = int(np.count_nonzero(array <= goal if less_is_better else array >= goal))
    if least is not None and least >= goal and not less_is_better:
        reached, dropped = reached + dropped, 0
    shared = 1 - (1 - confidence) / looks
    low = accuracy_interval(reached, array.size, shared).low
    high = accuracy_interval(reached + dropped, array.size, shared).high
    return Yield(goal, reached, dropped, array.size, low, high, confidence, less_is_better)


def parse_share(name: str, text: str) -> float:
    """The share that `97%` or `0.97` stands for, as the nearest number to it.

    Args:
        name: Of the option, for people.
        text: What was given.

    Raises:
        OptionError: It is no share, is above 1, or a whole number of which nobody can say whether
            it is meant in percent.
    """
    number = text.strip()
    percent = number.endswith("%")
    try:
        share = Decimal(number.removesuffix("%").strip()) / (100 if percent else 1)
    except InvalidOperation as error:
        raise OptionError(f"{name} is {text!r}; expected a share such as 97% or 0.97") from error
    if not share.is_finite() or share > 1 or (share < -1 and not percent):
        raise OptionError(f"{name} is {text!r}; expected a share of at most 1, such as 97% or 0.97")
    return float(share)
