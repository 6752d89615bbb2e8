"""Values of a metric on the page: in percent, or in the metric's own unit."""

from __future__ import annotations

from dataclasses import dataclass

from nvmc.arguments import as_called
from nvmc.metrics import find_metric
from nvmc.statistics import Ends

__all__ = ["Unit", "counted", "missing_text", "share_text"]


@dataclass(frozen=True)
class Unit:
    """How values of a metric are written.

    Attributes:
        name: The metric's name in a table.
        title: What a value is, in a sentence.
        percent: Whether values are shares, written in percent.
        against_ideal: Whether chips are compared with the ideal chip instead of labels.
        less_is_better: Whether a lower value is a better chip.
        counts: Whether values are whole numbers over the number of images.
        bounds: Least and greatest value that a chip can have.
    """

    name: str
    title: str
    percent: bool
    against_ideal: bool
    less_is_better: bool
    counts: bool
    bounds: tuple[float, float]

    @classmethod
    def of(cls, metric: str) -> Unit:
        """Of a metric's name in results; shares where this version does not know it."""
        known = find_metric(metric)
        if known is None:
            return cls(metric, metric, True, False, False, False, (0.0, 1.0))
        against = known.reference.startswith("ideal")
        told = (known.percent, against, known.less_is_better, known.counts, known.range)
        return cls(known.short, known.title, *told)

    @property
    def scale(self) -> float:
        """What a value is multiplied by to be written."""
        return 100.0 if self.percent else 1.0

    @property
    def axis(self) -> str:
        """The title of an axis of values."""
        return f"{self.name} [%]" if self.percent else self.name

    def bare(self, value: float | None) -> str:
        """A value without its unit; nothing for None."""
        if value is None:
            return ""
        return f"{100 * value:.2f}" if self.percent else f"{value:.4g}"

    def text(self, value: float) -> str:
        """A value with its unit."""
        return f"{self.bare(value)} %" if self.percent else self.bare(value)

    def asked(self, value: float) -> str:
        """What somebody asked for, as it was written."""
        return f"{100 * value:.6g} %" if self.percent else f"{value:.6g}"

    def ends(self, ends: Ends) -> str:
        """An interval with its unit: `93.00 to 97.27 %`, `at most 97.27 %`, or `not known`."""
        low, high, sign = self.bare(ends.low), self.bare(ends.high), " %" if self.percent else ""
        if not low and not high:
            return "not known"
        if low and high:
            return f"{low} to {high}{sign}"
        return f"at most {high}{sign}" if high else f"at least {low}{sign}"

    @property
    def reach(self) -> str:
        """What good chips do with a value."""
        return "stay at or below" if self.less_is_better else "reach"

    @property
    def reaches(self) -> str:
        """What one good chip does with a value."""
        return "stays at or below" if self.less_is_better else "reaches"


def missing_text(ends: Ends) -> str:
    """What an interval lacks, and how many chips give it; nothing where it has both ends."""
    if ends.closed:
        return ""
    lacks = "lower limit" if ends.low is None else "upper limit"
    if ends.low is None and ends.high is None:
        lacks = "limits"
    needed = ends.runs_needed
    return as_called(f"no {lacks} yet: {needed:,} chips are needed (--runs {needed})")


def share_text(value: float, digits: int = 1) -> str:
    """A share in percent."""
    return f"{100 * value:.{digits}f} %"


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 chip`, `1,000 chips`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
