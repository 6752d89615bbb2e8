"""What `nvmc train` shows: progress, the result, and what to type next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from nvmc.cli.console import count, err, ordinal, out, percent, quantity_text
from nvmc.cli.heading import off_current_text, periphery_text
from nvmc.cli.target import target_words
from nvmc.cli.work import share_text
from nvmc.data import has_split
from nvmc.data.items import item_of
from nvmc.evaluation.parameters import duration_text
from nvmc.metrics.values import short_of
from nvmc.statistics import percentile_index

__all__ = ["FORMAT", "Report", "epoch_progress", "print_methods", "print_report"]

FORMAT = "nvmc.training/1"
PASSES = 10
"""Stochastic passes of the command that simulates a network which drops at inference."""
SHOWN = 8
"""Most entries of one finding that are shown; longer ones, and lists, are in `--json`."""


@dataclass(frozen=True)
class Report:
    """A finished run and how it was asked for.

    Attributes:
        source: The network that came in.
        output: The file that was written.
        task: The `nvmc.training.Task`.
        outcome: The `nvmc.training.Outcome`.
        options: The command's own options, by name.
    """

    source: Path
    output: Path
    task: Any
    outcome: Any
    options: Mapping[str, Any]

    @property
    def commands(self) -> list[str]:
        """What compiles the result for the cells it was trained for, and simulates its chips."""
        task, given = self.task, self.options
        compiling: list[object] = ["nvmc", "compile", self.output, *target_words(given)]
        if task.target.needs_data:
            compiling += ["--data", given["data"]]
        for glob in task.options.skip:
            compiling += ["--skip", glob]
        for text in task.options.shape:
            compiling += ["--shape", text]
        for text in () if self.outcome.canonical else task.options.inputs:
            compiling += ["--input", text]  # nvmc's form has them bound already
        simulating: list[object] = ["nvmc", "simulate", f"{self.output.stem}.nvmc"]
        simulating += ["--data", task.train.name]
        if task.judged_by is not None:
            simulating += ["--metric", task.judged_by]
        if task.output is not None:
            simulating += ["--output", task.output]
        if task.class_axis is not None:
            simulating += ["--class-axis", task.class_axis]
        if task.sigma is not None:
            simulating += ["--sigma", f"{task.sigma:g}"]
        for text in given["noise"]:
            simulating += ["--noise", text]
        if given["temperature_c"] is not None:
            simulating += ["--temperature", f"{given['temperature_c']:.10g}C"]
        if given["time"] is not None:
            simulating += ["--time", given["time"].rpartition(":")[2]]
        if task.settings.percentile != 1:
            simulating += ["--percentile", f"{task.settings.percentile:g}"]
        if self.outcome.dropout_off:
            simulating += ["--mc-passes", PASSES]
        return [shlex.join(map(str, words)) for words in (compiling, simulating)]

    @property
    def is_worst(self) -> bool:
        """Whether the KPPs are just the worst chips' values."""
        settings = self.task.settings
        return percentile_index(settings.chips, settings.percentile) == 0

    def to_json(self) -> dict[str, Any]:
        """The run as `nvmc train --json` prints it; docs/train.md names the keys."""
        task = self.task
        return {
            "format": FORMAT,
            "source": str(self.source),
            "output": str(self.output),
            "metric": task.metric,
            "data": task.train.name,
            "validation": task.validation.name,
            "images": len(task.train.x),
            "validation_images": len(task.validation.x),
            "held_out_images": task.held_out,
            "device": task.target.device.name,
            "sigma": task.strength,
            "target": task.target.model_dump(mode="json"),
            "skip": list(task.options.skip),
            "activation_bits": task.options.activation_bits,
            "shape": list(task.options.shape),
            "inputs": list(task.options.inputs),
            "times_s": None if task.times_s is None else list(task.times_s),
            "settings": task.settings.model_dump(mode="json"),
            "is_worst": self.is_worst,
            **self.outcome.to_json(),
            "next": self.commands,
        }


@contextmanager
def epoch_progress(epochs: int, shown: bool = True) -> Generator[Callable[[Any], None]]:
    """A bar of epochs with loss and KPP on standard error; a line per epoch if it is no terminal.

    Args:
        epochs: Of the whole run.
        shown: Whether to show it at all.

    Yields:
        What is told of each epoch that ends.
    """
    columns = (
        TextColumn("epochs"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    console = err()
    if shown and not console.is_terminal:
        yield _Lines(epochs)
        return
    with Progress(
        *columns, console=console, transient=True, disable=not (shown and console.is_terminal)
    ) as bar:
        task = bar.add_task("", total=epochs)
        kpp: list[str] = []

        def tell(epoch: Any) -> None:
            if epoch.kpp is not None:
                kpp[:] = [f"KPP {percent(epoch.kpp)}"]
            told = ", ".join([f"loss {epoch.loss:.4g}", *kpp])
            bar.update(task, completed=epoch.epoch, description=told)

        yield tell


class _Lines:
    """Says of each epoch that ends how it went, on a line of standard error."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._seconds: list[float] = []

    def __call__(self, epoch: Any) -> None:
        self._seconds.append(epoch.seconds)
        told = [f"loss {epoch.loss:.4g}"]
        if epoch.kpp is not None:
            told.append(f"KPP {percent(epoch.kpp)}")
        left = self._epochs - epoch.epoch
        if left:
            mean = sum(self._seconds) / len(self._seconds)
            told.append(f"about {_span(left * mean)} left")
        if sys.stderr:  # None where the caller closed it
            line = f"epoch {epoch.epoch} of {self._epochs}: {', '.join(told)}"
            print(line, file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    """How long something takes, roughly."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def print_methods(methods: Mapping[str, Any]) -> None:
    """Every method with its one line and its options."""
    table = Table(box=None, pad_edge=False)
    table.add_column("method", no_wrap=True)
    table.add_column("what it is, and its options")
    for kind, method in methods.items():
        table.add_row(kind, str(method.title))
        fields = method.model_fields.items()
        values = [f"{k}={_shown(f.get_default(call_default_factory=True))}" for k, f in fields]
        if values:
            table.add_row("", Padding(", ".join(values), (0, 0, 0, 2)))
    out().print(table)
    out().print("Options are given as --method-option K=V; docs/methods has a page a method.")


def print_report(report: Report) -> None:
    """The network before and after, what the method found, and what to type next."""
    console, task, outcome = out(), report.task, report.outcome
    sigma = "" if task.strength is None else f", sigma {task.strength:g}"
    console.print(
        f"{report.source.name}: {task.target.device.name}{sigma}, trained with {outcome.method} on "
        f"{count(len(task.train.x), item_of(task.train.name))} ({task.train.name})"
    )
    table = Table(box=None, pad_edge=True)
    table.add_column(no_wrap=True)
    for heading in ("before", "after"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, key in (
        (f"ideal chip {short_of(task.metric)}", "ideal"),
        (f"{ordinal(task.settings.percentile)} percentile (KPP)", "kpp"),
    ):
        pair = (getattr(outcome.before, key), getattr(outcome.after, key))
        table.add_row(name, *map(percent, pair))
        if any(texts := [quantity_text(task.metric, value) for value in pair]):
            table.add_row("", *texts)
    console.print(table)
    if outcome.after.kpp < outcome.before.kpp:
        console.print(
            "The KPP is lower than before training: try more --epochs, or another --rate."
        )
    _print_epochs(report)
    for line in _facts(report):
        console.print(line)
    console.print("Next:")
    for command in report.commands:
        console.print(f"  {command}", soft_wrap=True)
    data = report.options["data"]
    if isinstance(data, str) and not has_split(data, "test"):
        console.print(
            f"{data} has no splits, and all of it was trained on: simulate with other data."
        )


def _print_epochs(report: Report) -> None:
    """The KPPs in the course of training, where there are several; of many some."""
    outcome = report.outcome
    judged = [epoch for epoch in outcome.epochs if epoch.kpp is not None]
    if len(judged) < 2:
        return
    step = -(-len(judged) // SHOWN)
    last = judged[::-step]
    rows = [epoch for epoch in judged if epoch in last or epoch.epoch == outcome.kept]
    table = Table(box=None, pad_edge=True)
    for heading in ("epoch", "loss", "KPP"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for epoch in rows:
        kept = "kept" if epoch.epoch == outcome.kept else ""
        table.add_row(str(epoch.epoch), f"{epoch.loss:.4g}", percent(epoch.kpp), kept)
    out().print(table)
    if len(rows) < len(judged):
        out().print(f"{len(rows)} of {len(judged)} KPPs; --json has all")


def _facts(report: Report) -> list[str]:
    task, outcome = report.task, report.outcome
    ran = count(len(outcome.epochs), "epoch")
    stopped = f" of {task.settings.epochs} (no better KPP)" if outcome.stopped else ""
    resumed = f", {outcome.resumed} of them before it was resumed" if outcome.resumed else ""
    judged = len(task.validation.x)
    of_all = f"{judged:,} of " if task.held_out not in (None, judged) else ""
    held_out = count(task.held_out or judged, f"held-out {item_of(task.validation.name)}")
    lines = [
        f"KPP of {count(task.settings.chips, 'chip')} on {of_all}{held_out} "
        f"({task.validation.name})"
        f"{', nothing dropped' if outcome.dropout_off else ''}"
        f"{', too few for a percentile: this is the worst chip' if report.is_worst else ''}",
        f"{ran}{stopped} in {outcome.seconds:.1f} s{resumed}; the weights are those of epoch "
        f"{outcome.kept}",
        share_text(outcome.before.mapped_share),
    ]
    if outcome.clip is not None:
        width = outcome.clip
        told = "learned widths" if isinstance(width, str) else f"{width:g} standard deviations"
        whose = f", {outcome.method}'s default" if task.settings.clip == "auto" else ""
        lines.append(f"Weights clipped at {told}{whose} (--clip)")
    lines += _circuit(report)
    if outcome.reading.text:
        lines.append(f"Trained output: {outcome.reading.output} ({outcome.reading.text})")
    lines += _forms(report)
    if outcome.before.calibration is not None:
        lines.append(f"Before training: {outcome.before.calibration}")
    for name, value in outcome.summary.items():
        if _fits(value):
            lines.append(f"{outcome.method}: {name} = {_shown(value)}")
    form = " in nvmc's canonical form" if outcome.canonical else ""
    return [*lines, f"Wrote {report.output}{form}"]


def _circuit(report: Report) -> list[str]:
    """What stood around the arrays, and how old chips were, in training and for KPPs."""
    task, outcome, lines = report.task, report.outcome, list[str]()
    periphery = task.target.periphery
    if not task.target.ideal:
        seen = "trained through" if outcome.circuit else "in KPPs only"
        lines.append(f"Circuit, {seen}: {periphery_text(periphery.model_dump(mode='json'))}")
    if (told := off_current_text(task.target)) is not None:
        lines.append(told)
    if task.settings.ranges == "learned":
        lines.append(
            "Ranges of DACs were learned; the file rounds the layers' inputs to their codes"
        )
    if outcome.left_out:
        lines.append(f"KPPs have {' and '.join(outcome.left_out)}, but training did not see it")
    if task.times_s is not None:
        first, last = map(duration_text, task.times_s)
        same = first == last or not outcome.ages
        drawn = last if same else f"between {first} and {last}, drawn log-uniformly"
        lines.append(f"Chips in training were {drawn} old; those of KPPs {last}")
    return lines


def _forms(report: Report) -> list[str]:
    """How learned bounds, and weights that are computed or binary in the source, were trained."""
    outcome, lines = report.outcome, list[str]()
    if outcome.computed:
        told = ", ".join(dict.fromkeys(op for ops in outcome.computed.values() for op in ops))
        are = "weights are" if len(outcome.computed) > 1 else "weight is"
        lines.append(
            f"{len(outcome.computed)} {are} computed in the graph ({told}): latent weights are "
            f"trained, {report.task.settings.estimator}"
            + ("; the file holds what they give as numbers" if outcome.canonical else "")
        )
    for kind, what in (("PACT", "bound"), ("LSQ", "step")):
        names = [name for name, one in outcome.bounds.items() if one == kind]
        if names:
            are = f"{what}s are" if len(names) > 1 else f"{what} is"
            lines.append(f"{len(names)} {are} trained ({kind}): {', '.join(names)}")
    if outcome.bounds_apart:
        lines.append(
            f"Not trained: {', '.join(outcome.bounds_apart)}, the bounds of quantisers whose steps "
            "are numbers of their own; if they were learned, export without folding constants"
        )
    binary = [name for name in outcome.binary if name not in outcome.computed]
    if binary:
        lines.append(f"Binary in the source, and kept so by 1 bit: {', '.join(binary)}")
    real = [name for name in outcome.unbinarised if name not in outcome.computed]
    if real:
        lines.append(
            f"Binary in the source, but trained as real numbers: {', '.join(real)}; 1 bit keeps "
            f"them binary (--bits '{','.join(f'{name}=1' for name in real)}')"
        )
    return lines


def _fits(value: object) -> bool:
    """Whether a finding is for people; `--json` has them all."""
    if isinstance(value, Mapping):
        return len(cast(Mapping[str, object], value)) <= SHOWN
    return not isinstance(value, list | tuple)


def _shown(value: object) -> str:
    """A number, a text, or several, for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return ",".join(map(_shown, cast(tuple[object, ...], value)))
    if isinstance(value, Mapping):
        parts = cast(Mapping[str, object], value)
        return ", ".join(f"{key} {_shown(part)}" for key, part in parts.items())
    return str(value)
