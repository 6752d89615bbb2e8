"""Networks, or devices, against the first one, on the same chips."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace

from nvmc.evaluation.comparison import Comparison
from nvmc.page.blocks import Block, DataTable, Paragraph
from nvmc.page.report import Report
from nvmc.page.values import share_text

__all__ = ["comparison"]


def comparison(report: Report) -> Iterator[Block]:
    """The table of `nvmc compare`."""
    for number, result in enumerate(report.of(Comparison), 1):
        first = result.networks[0]
        direction = "below" if first.kpp.less_is_better else "above"
        yield Paragraph(
            f"Each is compared with {first.label}, chip by chip: chip k has the same random "
            f"numbers in all of them. A difference {direction} 0 is better. Every interval holds "
            f"at {share_text(first.kpp.confidence, 0)} by itself."
        )
        for one in result.networks[1:]:
            if one.against is not None and not one.against.layers:
                yield Paragraph(
                    f"{one.label} has no array of the name and shape of one of {first.label}: "
                    "their chips have numbers in common, but no cells.",
                    "note",
                )
        yield _table(result, number)
        yield Paragraph(" ".join(result.notes))


def _table(result: Comparison, number: int) -> DataTable:
    shown = list(csv.reader(io.StringIO(result.table("csv"))))
    cells = tuple(tuple(row) for row in shown[1:])
    title = "Each network, and its differences from the first"
    table = replace(result.shown(), caption=title)
    return DataTable(f"comparison-{number}", title, table, tuple(shown[0]), cells, open=True)
