"""What the commands share that run chips: their options, and where chips are run and kept.

`OPTIONS` names every shared option; a command lists those that it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click

from nvmc.cli.console import memory_option, note
from nvmc.cli.figures import figure_options
from nvmc.compiled.artifact import Compiled, find_compiled, open_compiled
from nvmc.data import NAMED
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import parse_temperature, parse_time
from nvmc.evaluation.population import Executor, Threads
from nvmc.executors import WORKERS, parse_accelerator, parse_workers
from nvmc.hardware.compensation import COMPENSATIONS
from nvmc.metrics import METRICS
from nvmc.runtime.missing import slow_text

__all__ = ["OPTIONS", "chosen_executor", "compared_options", "opened", "run_options"]

Command = Callable[..., Any]
F = TypeVar("F", bound=Command)


def _by(parse: Callable[[str], float]) -> Callable[..., float | None]:
    """What makes a number of an option's text; None where the option is not given."""

    def parsed(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
        return None if text is None else parse(text)

    return parsed


OPTIONS: dict[str, Callable[[Command], Command]] = {
    "data": click.option(
        "--data",
        metavar="SPEC",
        help=f"{NAMED}. An .npz file holds x, or inputs by name, and y. Without data, chips are "
        "compared with the ideal chip on seeded inputs.",
    ),
    "device": click.option(
        "--device",
        metavar="NAME|FILE",
        help="Use another device than the one in the compiled network.",
    ),
    "sigma": click.option(
        "--sigma", type=float, help="Strength of the device's noise.  [default: the device's own]"
    ),
    "noise": click.option(
        "--noise",
        multiple=True,
        metavar="TYPE:K=V,…",
        help="One more noise source, such as stuck-at:p_low=0.01. May be repeated.",
    ),
    "compensate": click.option(
        "--compensate",
        multiple=True,
        metavar="NAME:K=V,…",
        help=f"Compensation of noise on every chip: {', '.join(COMPENSATIONS)}. Several act in "
        "this order.",
    ),
    "calibration-data": click.option(
        "--calibration-data",
        metavar="SPEC",
        help="Images for verify, batchnorm and affine.  [default: the training split of --data]",
    ),
    "time": click.option(
        "--time",
        "time_s",
        metavar="T",
        callback=_by(parse_time),
        help="Time since programming, such as 1h or 30d.",
    ),
    "temperature": click.option(
        "--temperature",
        "temperature_c",
        metavar="T",
        callback=_by(parse_temperature),
        help=(
            "Temperature of all cells since programming, such as 85C.  [default: that of the "
            "device's measurement]"
        ),
    ),
    "percentile": click.option(
        "--percentile",
        default=1.0,
        show_default=True,
        help="Share of the worst chips left out, in %; 1: 99 of 100 chips reach the KPP.",
    ),
    "seed": click.option(
        "--seed", default=0, show_default=True, help="Seed of the population of chips."
    ),
    "jobs": click.option(
        "--jobs",
        type=int,
        help="Number of chips in parallel.  [default: one per core, or fewer if memory is short]",
    ),
    "workers": click.option(
        "--workers",
        metavar="KIND:…",
        help=f"Where chips are run: {', '.join(form for form, _ in WORKERS.values())}.  "
        "[default: threads]",
    ),
    "accelerator": click.option(
        "--accelerator",
        metavar="DEVICE",
        default="cpu",
        show_default=True,
        help="cuda runs many chips at once in PyTorch.",
    ),
    "limit": click.option("--limit", type=int, metavar="N", help="Use the first N images only."),
    "output": click.option(
        "--output", metavar="NAME", help="The output to score.  [default: the first that fits]"
    ),
    "class-axis": click.option(
        "--class-axis",
        type=int,
        metavar="A",
        help="Axis of the classes in the scored output.  [default: detected]",
    ),
    "batch-axis": click.option(
        "--batch-axis",
        metavar="A|NAME=A,…|none",
        help=(
            "Batch axis of the output, or of inputs and outputs by name; none: the network takes "
            "one image at a time.  [default: detected]"
        ),
    ),
    "metric": click.option(
        "--metric",
        metavar="NAME",
        help=f"Metric of the chips: {', '.join(METRICS)}; or your own, package.module:name.  "
        "[default: what the data allow]",
    ),
    "fidelity": click.option(
        "--fidelity",
        type=click.Choice(["cells", "circuit"]),
        help=(
            "cells: ideal converters and reads; circuit: also simulate DAC, tiles, ADC and read "
            "noise.  [default: what the target needs]"
        ),
    ),
    "batch": click.option(
        "--batch",
        type=int,
        metavar="N",
        help="Images per run; fewer need less memory.  [default: automatic]",
    ),
    "mc-passes": click.option(
        "--mc-passes",
        type=int,
        metavar="T",
        help="For networks whose dropout stays active: average T predictions.  [default: 1]",
    ),
    "store": click.option(
        "--store",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File in which results are stored.  [default: results.sqlite in the compiled network]",
    ),
    "trust-store": click.option(
        "--trust-store",
        is_flag=True,
        help="Use results of other users without a check; otherwise some are run again first.",
    ),
    "no-store": click.option(
        "--no-store", is_flag=True, help="Neither store results nor use stored ones."
    ),
    "figure": figure_options,
    "max-memory": memory_option,
    "json": click.option("--json", "as_json", is_flag=True, help="Print everything as JSON."),
}
"""Name of a shared option -> what adds it to a command."""


def run_options(*names: str) -> Callable[[F], F]:
    """Add options of `OPTIONS` to a command, in that order."""

    def decorate(command: F) -> F:
        for name in reversed(names):
            OPTIONS[name](command)  # click notes it at the function, which it returns
        return command

    return decorate


def compared_options(command: F) -> F:
    """The options of commands that run chips of several networks, or of one on several devices."""
    devices = click.option(
        "--device",
        "devices",
        multiple=True,
        metavar="NAME|FILE",
        help=(
            "Use another device than the one in the compiled network. May be repeated with one "
            "network, to compare devices."
        ),
    )
    return devices(run_options(*_COMPARED)(command))


_COMPARED = (
    *("data", "sigma", "noise", "time", "temperature", "compensate", "calibration-data"),
    *("percentile", "seed", "fidelity", "limit", "output", "class-axis", "batch-axis", "metric"),
    *("batch", "mc-passes", "jobs", "workers", "accelerator", "store", "trust-store", "no-store"),
    "max-memory",
)


def opened(compiled: Path | None) -> Compiled:
    """The compiled network that a command was given; the newest here where it was given none.

    Where nvmc's own code is not compiled, a command says so once.

    Raises:
        ArtifactError: There is none, or it is damaged.
    """
    said = click.get_current_context().meta
    if "nvmc.slow" not in said:
        said["nvmc.slow"] = slow_text()
        if said["nvmc.slow"]:
            note(said["nvmc.slow"])
    return find_compiled() if compiled is None else open_compiled(compiled)


def chosen_executor(
    jobs: int | None, workers: str | None, accelerator: str
) -> AbstractContextManager[Executor]:
    """Where chips are run.

    Raises:
        OptionError: The options contradict each other, or name nothing that is there.
    """
    if accelerator != "cpu" and workers is not None:
        raise OptionError(
            f"accelerator is {accelerator!r} and workers are {workers!r}; expected one of the two"
        )
    if workers is not None and jobs is not None:
        raise OptionError(
            f"jobs is {jobs} and workers are {workers!r}; say how many behind the colon only"
        )
    if accelerator != "cpu":
        return nullcontext(parse_accelerator(accelerator, jobs))
    if workers is not None:
        return parse_workers(workers)
    return nullcontext(Threads(jobs))
