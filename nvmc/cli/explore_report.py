"""What `nvmc explore` prints: the front, each figure with its band, and what is open."""

from __future__ import annotations

from rich.table import Table

from nvmc.cli.console import count, note, out, percent, print_metric
from nvmc.cli.cost_report import figure_text
from nvmc.cli.heading import heading
from nvmc.explore.choices import text_of
from nvmc.explore.front import QUANTITIES, Candidate, Quantity
from nvmc.explore.result import Exploration

__all__ = ["print_exploration"]

SHOWN = 10
"""Designs of the front whose figures under all hardware are printed; the file has all."""


def print_exploration(found: Exploration, model: str, file: str) -> None:
    """Everything, for people.

    Args:
        found: The exploration.
        model: What was explored, as typed.
        file: The table of the front that was written.
    """
    console = out()
    for line in heading(found.shared, model):
        console.print(line)
    print_metric(str(found.shared.get("metric", "accuracy")))
    console.print(_counts(found), soft_wrap=False)
    _print_refused(found)
    if not found.met:
        console.print(f"No design reaches {_wanted(found)}; the nearest ones:")
        console.print(_missed(found))
        return
    console.print()
    console.print(_front(found))
    console.print()
    console.print(_figures(found))
    _print_open(found)
    for sentence in found.assumptions:
        console.print(sentence)
    console.print(f"Wrote {file}; the first of the front is built by", soft_wrap=True)
    console.print(f"  nvmc compile {model} --from {file}#1", soft_wrap=True)


def _wanted(found: Exploration) -> str:
    at = "" if found.goal is None else f" at {100 * found.goal:.6g} %"
    return f"{found.requirement}{at}"


def _counts(found: Exploration) -> str:
    """How many designs there were, what became of them, and what that took."""
    tried = found.judged + len(found.refused)
    searched = f", of which a search proposed {tried:,}" if found.searched else ""
    return (
        f"{count(found.combinations, 'combination')}{searched}: {len(found.refused):,} cannot be, "
        f"{len(found.missed):,} miss {_wanted(found)}, {len(found.beaten):,} are beaten by a "
        f"design that costs no more, {len(found.front):,} are on the front. Ran "
        f"{100 * found.share:.1f} % of the images of {count(found.runs, 'chip')} of "
        f"{count(found.judged, 'design')}."
    )


def _print_refused(found: Exploration) -> None:
    reasons: dict[str, int] = {}
    for one in found.refused:
        reasons[one.why] = reasons.get(one.why, 0) + 1
    for why, times in list(reasons.items())[:SHOWN]:
        note(f"{count(times, 'combination')} cannot be: {why}")


def _front(found: Exploration) -> Table:
    """Choices and KPPs of the front, and what is minimised under the deciding hardware."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    (at,) = {one.raced.at.kpp.k for one in found.front if one.raced.at is not None}
    titles = ["#", *(name.replace("_", " ") for name in found.varied), f"KPP {at:g}", "lower end"]
    for title in (*titles, *(f"{quantity} (band)" for quantity in found.minimise)):
        table.add_column(title, justify="right", overflow="fold")
    for place, one in enumerate(found.front, start=1):
        kpp = None if one.raced.at is None else one.raced.at.kpp.value
        choices = [text_of(one.design.choices[name]) for name in found.varied]
        shares = [f"{percent(kpp)}", f"{percent(one.raced.end)}"]
        figures = [_text(one, found.hardware[0], quantity) for quantity in found.minimise]
        table.add_row(str(place), *choices, *shares, *figures)
    return table


def _figures(found: Exploration) -> Table:
    """Energy, and what is minimised first, under every hardware, with the rank there."""
    shown: list[Quantity] = list(dict.fromkeys(["energy", found.minimise[0]]))
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("hardware", no_wrap=True)
    for quantity in shown:
        table.add_column(f"{quantity} (band)", justify="right", no_wrap=True)
    table.add_column(f"rank by {found.minimise[0]}", justify="right", no_wrap=True)
    for place, one in enumerate(found.front[:SHOWN], start=1):
        ranks, depends = found.ranks(one), found.depends(one)
        for name in found.hardware:
            first = name == found.hardware[0]
            rank = "-" if ranks[name] is None else str(ranks[name])
            flag = " (depends on the hardware)" if depends and first else ""
            texts = [_text(one, name, quantity) for quantity in shown]
            table.add_row(str(place) if first else "", name, *texts, rank + flag)
    return table


def _text(one: Candidate, hardware: str, quantity: Quantity) -> str:
    figures = one.costs[hardware]
    if figures is None:
        return "not known"
    value, band = figure_text(figures[quantity], QUANTITIES[quantity][1])
    return f"{value} ({band})"


def _print_open(found: Exploration) -> None:
    """What may be otherwise under other hardware, and how sure the answer is."""
    console = out()
    console.print(f"The front is that by {found.hardware[0]} (--hardware).")
    if len(found.front) > SHOWN:
        console.print(f"{len(found.front) - SHOWN} more designs of the front are in the file.")
    several = [str(i) for i, one in enumerate(found.front, start=1) if found.depends(one)]
    if several:
        console.print(f"The rank of {', '.join(several)} depends on the hardware.")
    for name, number in found.open_elsewhere.items():
        if number:
            console.print(
                f"By {name}, {count(number, 'beaten design')} would cost less than the one that "
                f"beats it: --hardware {name} judges them."
            )
    ends = {one.raced.at.kpp.covers for one in found.front if one.raced.at is not None}
    covers = "chips alone" if found.requirement.of == "yield" else " or ".join(sorted(ends))
    console.print(
        f"Lower ends are those of 95 % intervals of {covers}, each design by itself: that of the "
        "best of many flatters it a little."
    )


def _missed(found: Exploration) -> Table:
    """The designs that came nearest to the goal, as far as they were run."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for title in ("design", *(name.replace("_", " ") for name in found.varied), "lower end"):
        table.add_column(title, justify="right", overflow="fold")
    nearest = sorted(found.missed, key=lambda one: -(one.raced.end or 0.0))
    for one in nearest[:SHOWN]:
        choices = [text_of(one.design.choices[name]) for name in found.varied]
        end = percent(one.raced.end)
        table.add_row(str(one.design.number), *choices, end if one.raced.at else f"at most {end}")
    return table
