"""What the commands share: the consoles, number formats and the options of a target."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

from nvmc.budget import memory_limit
from nvmc.cli.loudness import is_quiet
from nvmc.cli.plain import one_line, printable
from nvmc.data.items import in_items, these_items
from nvmc.hardware.devices import Device, Target
from nvmc.metrics import find_metric
from nvmc.metrics.values import ends_text, in_percent, short_of
from nvmc.statistics import Ends, Kpp

__all__ = [
    "count",
    "err",
    "input_options",
    "interval_rows",
    "limits_text",
    "memory_option",
    "note",
    "note_data",
    "note_kept",
    "note_percentile",
    "note_range",
    "note_scale",
    "ordinal",
    "out",
    "passes_text",
    "percent",
    "print_json",
    "print_metric",
    "progress",
    "quantity_text",
    "typed",
    "watching",
    "worst_text",
]

LINE_EVERY_S = 30.0
"""Seconds between lines of progress where standard error is no terminal."""

LOW_US = 0.01
"""Highest conductance in µS below which a device's file may well be in siemens."""

F = TypeVar("F", bound=Callable[..., Any])


class _PlainConsole(Console):
    """A console on which no text, whatever file it comes from, steers the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        segments = super().render(renderable, options)
        shown = (s if s.control else s._replace(text=printable(s.text)) for s in segments)
        return shown if self.is_terminal else _without_trailing_blanks(shown)


def _without_trailing_blanks(segments: Iterable[Segment]) -> Iterable[Segment]:
    """The same text without blanks in front of line breaks, which are noise in files and pipes."""
    blanks: list[Segment] = []
    for segment in segments:
        if segment.control:
            yield segment
            continue
        text = re.sub(" +\n", "\n", segment.text)
        visible = text.rstrip(" ")
        if visible:
            if not visible.startswith("\n"):
                yield from blanks
            blanks = []
            yield segment._replace(text=visible)
        if len(text) > len(visible):
            blanks.append(segment._replace(text=text[len(visible) :]))
    yield from blanks


def out() -> Console:
    """The console for results."""
    return _PlainConsole(highlight=False, markup=False, emoji=False)


def err() -> Console:
    """The console for progress and notes.

    Commands of a notebook (`!nvmc`) run on a terminal, but each redrawing of a bar stays in the
    notebook's file: there progress is told in lines, as in a log.
    """
    forced = False if "JPY_PARENT_PID" in os.environ else None  # jupyter_client gives it to kernels
    return _PlainConsole(
        stderr=True, highlight=False, markup=False, emoji=False, force_terminal=forced
    )


def note(message: str) -> None:
    """Say something beside the results, above a progress bar where one is shown."""
    if sys.stderr and not is_quiet():  # None where the caller closed it; a bar makes room
        print(f"nvmc: note: {one_line(message)}", file=sys.stderr)


def note_kept(target: Target, **given: Any) -> None:
    """Say which layers options do not reach, since these have their own of what is set.

    Args:
        target: The cells.
        **given: What was given of an option, by its name.
    """
    kept: dict[tuple[str, ...], list[str]] = {}
    for name in (name for name, value in given.items() if value not in (None, (), [])):
        of = "device" if name in ("sigma", "noise") else name
        globs = tuple(part.glob for part in target.layers if getattr(part, of) is not None)
        kept.setdefault(globs, []).append(f"--{name.replace('_', '-')}")
    for globs, options in kept.items():
        if globs:
            note(
                f"{', '.join(options)} for all layers but {', '.join(globs)}, which have their own"
            )


def note_range(device: Device, sigmas: Iterable[float | None]) -> None:
    """Say which strengths lie outside what the device's source vouches for."""
    if device.sigma_range is None:
        return
    low, high = device.sigma_range
    beyond = [f"{sigma:g}" for sigma in sigmas if sigma is not None and not low <= sigma <= high]
    if beyond:
        lie = "lies" if len(beyond) == 1 else "lie"
        note(
            f"sigma {', '.join(beyond)} {lie} outside {low:g} to {high:g}, the range of "
            f"{device.name}'s source"
        )


def note_scale(device: Device) -> None:
    """Say that a cell's highest conductance may be one in siemens, where it is very low."""
    conductance = device.conductance
    if conductance is not None and conductance.max_us < LOW_US:
        high = conductance.max_us
        note(
            f"cells of {device.name} conduct {high:g} µS at most, where most conduct 1 to 1,000: "
            f"if that is in siemens, write max_us = {high * 1e6:g}"
        )


def note_data(facts: Mapping[str, Any]) -> None:
    """Say what a description, as JSON, notes of how the data were taken."""
    if "data_note" in facts:
        note(facts["data_note"])


def note_percentile(k: float) -> None:
    """Say what a high k asks for, which is easily mistaken."""
    if k > 50:
        note(
            f"k = {k:g} is above 50, so this KPP describes the best chips: the KPP counts from "
            f"the worst; --percentile {100 - k:g} says what about {k:g} of 100 chips reach"
        )


def worst_text(kpp: Kpp) -> str:
    """That a KPP is just the worst chip's value, where it is; else nothing."""
    if not kpp.is_worst:
        return ""
    return f"the worst chip: fewer than {count(kpp.runs_beyond_worst, 'run')}"


def print_metric(metric: str, random: bool = False) -> None:
    """Say what values are, where they are no accuracy, and that inputs are random where they are.

    Args:
        metric: Its name.
        random: Whether chips ran on seeded inputs, for want of data.
    """
    known = find_metric(metric)
    if metric != "accuracy" and known is not None:
        missing = "No labels used: values" if known.reference.startswith("ideal") else "Values"
        out().print(f"{missing} are {known.title}, not accuracy.", style="yellow")
    if random:
        told = "Inputs are random: chips may do better or worse on real ones. Give --data SPEC."
        out().print(told, style="yellow")


def quantity_text(metric: str, value: float) -> str:
    """A value in the quantity that people know, such as `perplexity 5.31`; or nothing."""
    known = find_metric(metric)
    quantity = known.quantity if known else ""
    return f"{quantity} {known.quantity_of(value):.4g}" if known and quantity else ""


def count(number: int, noun: str) -> str:
    """A number and its noun: `1 chip`, `1,000 chips`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def passes_text(passes: int) -> str:
    """How many stochastic passes were averaged."""
    return "1 stochastic pass" if passes == 1 else f"mean of {passes:,} stochastic passes"


def percent(value: float | None, digits: int = 2) -> str:
    """A share as percent, or `open` for an end of an interval that is not known."""
    return "open" if value is None else f"{100 * value:.{digits}f} %"


def interval_rows(
    kpp: Kpp, images: int | None, metric: str, data: object
) -> list[tuple[str, str, str]]:
    """Rows of a table with a KPP's intervals: name, ends, and what each is certain over.

    A row without a name says which end there is not yet, and how many chips give it.

    Args:
        kpp: The KPP.
        images: How many images chips were run on; None where that is not known.
        metric: Name of the metric.
        data: Name of the data set, which says what its rows are called.
    """
    here = in_items("these images", data) if images is None else these_items(images, data)
    here = f"on {here}"
    own, unit = f"its {kpp.confidence:.0%} interval", " %" if in_percent(metric) else ""
    alone = kpp.chips_alone
    rows = [
        (own, kpp.interval, in_items("for all chips and images like these", data)),
        (here, alone, in_items("for all chips, these images", data)),
    ]
    if kpp.covers == "chips":
        covered = f"for {short_of(metric)} it covers no others"
        rows = [(own, alone, f"for all chips, {here}: {covered}")]
    shown: list[tuple[str, str, str]] = []
    for place, (name, ends, of) in enumerate(rows):
        known = ends.low is not None or ends.high is not None
        shown.append((name, f"{ends_text(metric, ends)}{unit}" if known else "not known", of))
        lacks = limits_text(ends)
        if lacks and lacks not in (limits_text(later) for _, later, _ in rows[place + 1 :]):
            missing, _, remedy = lacks.partition(", ")
            shown.append(("", missing, remedy))
    return shown


def limits_text(ends: Ends) -> str:
    """What an interval lacks and how many chips give it, in words; nothing where it is closed."""
    if ends.closed:
        return ""
    neither = ends.low is None and ends.high is None
    lacks = "limits" if neither else "lower limit" if ends.low is None else "upper limit"
    give = "give both" if neither else "give one"
    return f"no {lacks} yet, {ends.runs_needed:,} chips {give}: --runs {ends.runs_needed}"


def ordinal(number: float) -> str:
    """`1st`, `22nd`, `0.5th`."""
    if number != int(number):
        return f"{number:g}th"
    tens, ones = divmod(int(number) % 100, 10)
    suffix = "th" if tens == 1 else {1: "st", 2: "nd", 3: "rd"}.get(ones, "th")
    return f"{int(number)}{suffix}"


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


@contextmanager
def progress(label: str, total: int, shown: bool = True) -> Generator[Callable[[], None]]:
    """A progress bar on standard error; yields what advances it by one.

    Where that is no terminal, a line every `LINE_EVERY_S` seconds.
    """
    if _in_lines(shown):
        tell, done = _lines(label), itertools.count(1)
        yield lambda: tell(next(done), total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with _bar(columns, shown) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def watching(label: str, shown: bool = True) -> Generator[Callable[[float, float], None]]:
    """A progress bar as `progress`; yields what tells it how much is done, and of how much."""
    if _in_lines(shown):
        yield _lines(label)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeRemainingColumn(),
    )
    with _bar(columns, shown) as bar:
        task = bar.add_task(label, total=1)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _in_lines(shown: bool) -> bool:
    return shown and not is_quiet() and sys.stderr is not None and not err().is_terminal


def _lines(label: str) -> Callable[[float, float], None]:
    """Says on standard error how much is done, when the last time is long enough ago."""
    begun = time.monotonic()
    last = begun

    def tell(done: float, total: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_EVERY_S:
            return
        last = now
        so_far = f"{label}: {done:,.0f} of {total:,.0f} after {now - begun:,.0f} s"
        print(f"nvmc: {so_far}", file=sys.stderr, flush=True)

    return tell


def _bar(columns: tuple[ProgressColumn, ...], shown: bool) -> Progress:
    console = err()
    hidden = not (shown and console.is_terminal) or is_quiet()
    return Progress(*columns, console=console, transient=True, disable=hidden)


def memory_option(command: F) -> F:
    """The option that says how much memory what a command builds may take."""

    def limit(context: click.Context, option: click.Parameter, most: str | None) -> None:
        context.with_resource(memory_limit(most))

    return click.option(
        "--max-memory",
        metavar="SIZE",
        callback=limit,
        expose_value=False,
        is_eager=True,
        help=(
            "Refuse to run if more memory would be needed, such as 4G.  [default: the available "
            "memory]"
        ),
    )(command)


def typed(context: click.Context) -> str:
    """The command as it was typed; empty where no command line was."""
    words: Any = context.find_root().obj
    return "" if words is None else shlex.join(["nvmc", *words])


def input_options(command: F) -> F:
    """The options that say what a network's inputs are."""
    shape = click.option(
        "--shape",
        multiple=True,
        metavar="INPUT=NxSIZE…",
        help=(
            "Sizes of an input, such as ids=Nx128; a name in place of a number leaves the axis "
            "free. May be repeated."
        ),
    )
    constant = click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="INPUT=VALUE",
        help=(
            "Fixed value of an input for every image: zeros, ones, a number or FILE.npy. May be "
            "repeated."
        ),
    )
    return shape(constant(command))
