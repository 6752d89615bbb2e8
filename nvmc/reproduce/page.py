"""What was found beside what the paper has: a table, CSV, a page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from nvmc.reproduce.experiment import Arm, Point
from nvmc.reproduce.plan import Plan

__all__ = [
    "Result",
    "csv_rows",
    "is_share",
    "legend_of",
    "long_rows",
    "measure_of",
    "page_of",
    "results_of",
    "table_rows",
    "untrained",
]

_SHARES = ("accuracy", "miou", "map", "dice")


@dataclass(frozen=True)
class Result:
    """One cell of the table: an arm at a point, over all trainings.

    Attributes:
        arm: The arm.
        point: The point.
        values: Of each training that was found.
        spread: Over chips, the mean over trainings.
        paper: The paper's printed value, or None.
        ideal: Of chips without noise, the mean over trainings; None where none was found.
        guess: What one can reach without having learned anything; 0 where nobody knows.
    """

    arm: Arm
    point: Point
    values: tuple[float, ...]
    spread: float
    paper: float | None
    ideal: float | None = None
    guess: float = 0.0

    @property
    def mean(self) -> float | None:
        """Over trainings; None where none was found."""
        return statistics.mean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Over trainings; None of fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def results_of(plan: Plan) -> list[Result]:
    """What is there so far, point by point, in the order of the arms."""
    found: list[Result] = []
    every = plan.experiment.points
    for point in plan.points:
        for arm in plan.experiment.arms:
            cells = [c for c in plan.cells if c.arm == arm and c.point == point]
            own = [cell.result() for cell in cells if cell.found.exists()]
            place = every.index(point)
            paper = arm.paper[place] if place < len(arm.paper) else None
            values = tuple(each["value"] for each in own)
            spread = statistics.mean(each["spread"] for each in own) if own else 0.0
            ideal = statistics.mean(each["ideal"] for each in own) if own else None
            guess = max((each["guess"] for each in own), default=0.0)
            found.append(Result(arm, point, values, spread, paper, ideal, guess))
    return found


def table_rows(plan: Plan, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: a point a row; of each arm the own value, and the paper's if it prints any.

    An own value of several trainings is their mean with their standard deviation. Behind `chips`
    stands the standard deviation over chips.
    """
    mark = "quick" if plan.quick else "own"
    heading = ["noise"]
    for arm in plan.experiment.arms:
        heading += [f"{arm.name}, {mark}"] + ([f"{arm.name}, paper"] if arm.paper else [])
    rows: list[list[str]] = []
    for point in plan.points:
        row = [point.text]
        for result in (r for r in results if r.point == point):
            row.append(_own(plan, result))
            if result.arm.paper:
                row.append("" if result.paper is None else _number(plan, result.paper))
        rows.append(row)
    return heading, rows


def long_rows(plan: Plan, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of a narrow table: an arm at a point a row; `paper` where it prints any."""
    printed = any(result.paper is not None for result in results)
    heading = ["noise", "method", "quick" if plan.quick else "own", *["paper"] * printed]
    rows: list[list[str]] = []
    for result in results:
        first = not rows or result.arm == plan.experiment.arms[0]
        paper = "" if result.paper is None else _number(plan, result.paper)
        noise = result.point.text if first else ""
        rows.append([noise, result.arm.name, _own(plan, result), *[paper] * printed])
    return heading, rows


def csv_rows(plan: Plan, results: Sequence[Result]) -> list[dict[str, str | int | float | None]]:
    """A row for each arm at each point, with what it was run with."""
    budget = plan.budget
    return [
        {
            "experiment": plan.experiment.name,
            "quick": int(plan.quick),
            "data": budget.stated,
            "network": budget.network,
            "epochs": budget.epochs,
            "chips": budget.chips,
            "images": budget.images or None,
            "arm": result.arm.name,
            "noise": result.point.kind,
            "at": result.point.at,
            "measure": plan.experiment.measure,
            "metric": plan.experiment.metric,
            "trainings": len(result.values),
            "own": result.mean,
            "own_std_over_trainings": result.deviation,
            "own_std_over_chips": result.spread if result.values else None,
            "paper": result.paper,
        }
        for result in results
    ]


def page_of(
    plan: Plan, results: Sequence[Result], figure: str | None = None, command: str = ""
) -> str:
    """The page, in Markdown.

    Args:
        plan: What was done.
        results: What was found.
        figure: Where the picture is, seen from the page; None for none.
        command: What was typed; the experiment's own command by default.
    """
    experiment = plan.experiment
    heading, rows = table_rows(plan, results)
    lines = [f"# {experiment.paper}, {experiment.place}: {experiment.title}", ""]
    if plan.quick:
        lines += [
            "**Quick: these are not the paper's figures, and say nothing about them.** Changed: "
            f"{'; '.join(plan.changed)}.",
            "",
        ]
    elif plan.changed:
        lines += [f"Changed: {'; '.join(plan.changed)}.", ""]
    lines += [f"Every own number: {plan.budget.text}. {legend_of(plan)}", ""]
    lines += [f"| {' | '.join(heading)} |", f"| --- |{' ---: |' * (len(heading) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += [part for warning in untrained(plan, results) for part in ("", f"**{warning}**")]
    lines += ["", f"The paper: {'; '.join(experiment.told)}." if experiment.told else ""]
    if experiment.differs:
        lines += ["", f"Not as in the paper, in full too: {'; '.join(experiment.differs)}."]
    if figure:
        lines += ["", f"![{experiment.title}]({quote(figure)})"]
    command = command or f"nvmc reproduce {experiment.name}{' --quick' if plan.quick else ''}"
    lines += ["", f"`{command}`", ""]
    return "\n".join(lines)


def untrained(plan: Plan, results: Sequence[Result]) -> list[str]:
    """A line for arms that have not learned the task: nothing can be said of them.

    Without noise they are no better than a guess, or at most half as far above a guess as the best
    arm. Only values that are shares are judged.
    """
    if not is_share(plan) or plan.experiment.measure == "detected":
        return []
    known = [(r, r.ideal) for r in results if r.ideal is not None]
    if not known:
        return []
    best, most = max(known, key=lambda each: each[1])
    guess = max(result.guess for result, _ in known)
    least = max(guess, (guess + most) / 2)
    poor = {arm.name: _poor(plan, arm, known, least) for arm in plan.experiment.arms}
    values = ", ".join(f"{name} {text}" for name, text in poor.items() if text)
    if not values:
        return []
    than = f"{best.arm.name} has {_number(plan, most)}"
    if guess >= most:
        than = f"guessing reaches up to {_number(plan, guess)}"
    return [
        f"Not trained well enough to compare: {values} without noise, where {than}. Their values "
        f"under noise say nothing about the methods; more --epochs than {plan.budget.epochs} may "
        "help."
    ]


def _poor(plan: Plan, arm: Arm, known: Sequence[tuple[Result, float]], least: float) -> str:
    """What an arm reaches without noise, where that is at most `least`; which of its trainings."""
    own = [(result, ideal) for result, ideal in known if result.arm == arm]
    poor = [(result, ideal) for result, ideal in own if ideal <= least]
    if len({ideal for _, ideal in own}) == 1:
        return _number(plan, poor[0][1]) if poor else ""
    return ", ".join(f"{_number(plan, ideal)} (at {r.point.text})" for r, ideal in poor)


def legend_of(plan: Plan) -> str:
    """What a number is, in a line."""
    experiment = plan.experiment
    unit = " in %" if is_share(plan) else ""
    what = {
        "kpp": f"KPP (k = {experiment.percentile:g}) of {experiment.metric}{unit} over chips",
        "mean": f"mean of {experiment.metric}{unit} over chips",
        "detected": "share of shifted images seen to be unusual, in %",
    }[experiment.measure]
    over = "; ± over trainings" if plan.budget.seeds > 1 else ""
    few = experiment.measure == "kpp" and plan.budget.chips * experiment.percentile < 100
    worst = f" With {plan.budget.chips} chips the KPP is the worst chip." if few else ""
    return f"Numbers are the {what}, in brackets the standard deviation over chips{over}.{worst}"


def measure_of(plan: Plan) -> str:
    """What a number is, in a few words for an axis."""
    experiment = plan.experiment
    return {
        "kpp": f"KPP (k = {experiment.percentile:g}) of {experiment.metric}",
        "mean": f"mean {experiment.metric}",
        "detected": "unusual images detected",
    }[experiment.measure] + (" [%]" if is_share(plan) else "")


def is_share(plan: Plan) -> bool:
    """Whether numbers are shares of one, shown in percent."""
    name = plan.experiment.metric.partition(":")[0]
    return name in _SHARES or plan.experiment.measure == "detected"


def _number(plan: Plan, value: float) -> str:
    return f"{100 * value:.2f}" if is_share(plan) else f"{value:.4f}"


def _own(plan: Plan, result: Result) -> str:
    if result.mean is None:
        return "not run"
    over = "" if result.deviation is None else f" ± {_number(plan, result.deviation)}"
    return f"{_number(plan, result.mean)}{over} ({_number(plan, result.spread)})"
