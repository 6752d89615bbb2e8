"""What a sensitivity is called in words: one text for its tables, pages and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nvmc.data.items import item_of
from nvmc.evaluation.captions import of_text
from nvmc.metrics.values import bare_text, in_percent, short_of, value_text
from nvmc.tables import Table

if TYPE_CHECKING:
    from nvmc.evaluation.sensitivity import Difference, PartCost, Sensitivity

__all__ = [
    "COLUMNS",
    "GAIN",
    "KINDS_OF_PARTS",
    "LOSS",
    "PERCENTILE",
    "part_cells",
    "sensitivity_notes",
    "sensitivity_table",
]

PERCENTILE = 5.0
"""k by default: the standard errors of 100 chips hold for it, and not for the 1st percentile
(docs/sensitivity.md#standard-errors)."""
KINDS_OF_PARTS = {
    "layer": "layer (array)",
    "slice": "slice (0: least significant)",
    "source": "noise source",
}
"""Kind of a part -> what a heading calls it."""
GAIN, LOSS = "gain if perfect", "loss alone"
COLUMNS = ("without", GAIN, "alone", LOSS)
"""Headings of a part's columns; `sensitivity_notes` says what they are."""


def part_cells(metric: str, cost: PartCost) -> tuple[str, ...]:
    """What is written of a part, in the order of `COLUMNS`."""
    return (
        bare_text(metric, cost.kpp_without),
        _difference(metric, cost.cost),
        bare_text(metric, cost.kpp_alone),
        _difference(metric, cost.cost_alone),
    )


def sensitivity_notes(result: Sensitivity) -> str:
    """What the columns are, in sentences."""
    told, k = result.description, result.kpp.k
    why = (
        f" k is {k:g} here, where nvmc simulate has 1: with 100 chips, ± is right for the 5th "
        "percentile, but too small for the 1st."
    )
    return (
        f"KPP{' in %' * in_percent(told.metric)}: without = with this part perfect; alone = with "
        "only this part noisy. ± is one standard error of the difference (paired bootstrap), of "
        f"chips alone, on these {item_of(told.data)}s.{why * (k == PERCENTILE)}"
    )


def sensitivity_table(result: Sensitivity) -> Table:
    """A row for each part."""
    told, kpp = result.description, result.kpp
    rows = tuple(
        (f"{one.part.kind} {one.part.name}", *part_cells(told.metric, one)) for one in result.costs
    )
    worth = f"KPP (k = {kpp.k:g}) of {short_of(told.metric)} {value_text(told.metric, kpp.value)}"
    caption = f"{of_text(told)}: {worth}"
    return Table(("part", *COLUMNS), rows, caption, (sensitivity_notes(result), *told.notes))


def _difference(metric: str, difference: Difference) -> str:
    return f"{bare_text(metric, difference.kpp)} ± {bare_text(metric, difference.kpp_error)}"
