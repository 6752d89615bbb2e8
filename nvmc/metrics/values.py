"""Values of a metric as people read them: in percent, or in the metric's own unit."""

from __future__ import annotations

from nvmc.metrics import find_metric
from nvmc.statistics import Ends

__all__ = ["bare_text", "bound_text", "ends_text", "in_percent", "short_of", "value_text"]


def in_percent(metric: str) -> bool:
    """Whether values are shares; so are those of a metric that this version does not know."""
    known = find_metric(metric)
    return known is None or known.percent


def short_of(metric: str) -> str:
    """A metric's name in a table."""
    known = find_metric(metric)
    return metric if known is None else known.short


def value_text(metric: str, value: float | None) -> str:
    """A value with its unit, or `open` for an end of an interval that is not known."""
    if value is None:
        return "open"
    return f"{bare_text(metric, value)} %" if in_percent(metric) else bare_text(metric, value)


def bare_text(metric: str, value: float) -> str:
    """A value without its unit."""
    return f"{100 * value:.2f}" if in_percent(metric) else f"{value:.4g}"


def bound_text(metric: str, value: float) -> str:
    """What somebody asked for, as it was written."""
    return f"{100 * value:.6g} %" if in_percent(metric) else f"{value:.6g}"


def ends_text(metric: str, ends: Ends) -> str:
    """An interval without the unit: `93.00 to 97.27`, or `at most 97.27`."""
    if ends.low is None:
        return "open" if ends.high is None else f"at most {bare_text(metric, ends.high)}"
    high = "" if ends.high is None else f" to {bare_text(metric, ends.high)}"
    return f"{'' if high else 'at least '}{bare_text(metric, ends.low)}{high}"
