"""What commands say of the yield at a goal, and of what is required; `--goal` and `--require`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from nvmc.cli.console import count, percent, quantity_text
from nvmc.data.items import in_items, these_items
from nvmc.evaluation.goals import Verdict
from nvmc.evaluation.parameters import duration_text
from nvmc.metrics.values import bound_text, value_text
from nvmc.statistics import Yield

__all__ = ["MISSED", "exit_code", "goal_option", "required_rows", "yield_row", "yield_text"]

MISSED = 3
"""Exit code of a command whose chips miss what is required."""

F = TypeVar("F", bound=Callable[..., Any])


def goal_option(command: F) -> F:
    """The option that asks for the yield."""
    return click.option(
        "--goal",
        metavar="VALUE",
        help=(
            "Print the yield: the share of chips that reach this value, such as 97%; where less "
            "is better, the share that stay at or below it."
        ),
    )(command)


def yield_text(found: Yield) -> str:
    """The yield in percent and its interval: `96.2 % (93.4 to 98.0)`."""
    ends = f"{100 * found.low:.1f} to {100 * found.high:.1f}"
    if found.value is None:
        return f"open ({ends})"
    return f"{100 * found.value:.1f} % ({ends})"


def yield_row(found: Yield, images: int | None, metric: str, data: object) -> tuple[str, str, str]:
    """A row of a table: the share of chips that reach the goal, and what its interval covers."""
    reach = "stay within" if found.less_is_better else "reach"
    name = f"chips that {reach} {bound_text(metric, found.goal)}"
    known = quantity_text(metric, found.goal) if found.goal > 0 else ""
    here = in_items("these images", data) if images is None else these_items(images, data)
    said = [
        known,
        f"{found.confidence:.0%} interval {_ends(found)}, of chips alone, on {here}",
    ]
    if found.unknown:
        dropped = count(found.unknown, "dropped chip")
        said.append(f"of {dropped} it is not known: leave --adaptive out")
    return name, percent(found.value, 1), "; ".join(filter(None, said))


def _share(value: float) -> str:
    return f"{100 * value:.6g} %"


def _ends(found: Yield) -> str:
    return f"{100 * found.low:.1f} to {100 * found.high:.1f} %"


def required_rows(
    verdicts: Iterable[Verdict], metric: str, data: object
) -> list[tuple[str, str, str]]:
    """Rows of a table: what is required, whether it is met, and by what that was decided."""
    rows: list[tuple[str, str, str]] = []
    for one in verdicts:
        at = "" if one.time_s is None else f" after {duration_text(one.time_s)}"
        of_yield = one.requirement.of == "yield"
        bound = one.requirement.bound
        text = _share(bound) if of_yield else bound_text(metric, bound)
        sign = "<=" if one.requirement.at_most else ">="
        name = f"required {one.requirement.of} {sign} {text}{at}"
        shown = percent(one.end) if of_yield else value_text(metric, one.end)
        end = "is open" if one.end is None else shown
        rows.append((name, "met" if one.met else "missed", f"{in_items(one.basis, data)}: {end}"))
    return rows


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0, or 3 where something that is required is missed."""
    return 0 if all(one.met for one in verdicts) else MISSED
