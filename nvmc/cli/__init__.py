"""The command line. One file per command; click and rich live only here.

`COMMANDS` names every command; a new one is a file here, a row there, an example in `EXAMPLES`,
and its options in `GROUPS`.
Results go to standard output, everything else (progress, notes, errors) to standard error.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

import nvmc
from nvmc import interruption
from nvmc.arguments import check_text, typed_options
from nvmc.budget import allocation_failed
from nvmc.cli.examples import add_examples
from nvmc.cli.groups import add_groups
from nvmc.cli.loudness import add_loudness
from nvmc.cli.plain import one_line
from nvmc.cli.suggest import Group, usage_text
from nvmc.errors import NvmcError, OutOfMemoryError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "compile": ("nvmc.cli.compile:compile_command", "Map an ONNX model onto crossbars."),
    "train": ("nvmc.cli.train:train_command", "Train better weights for noisy chips."),
    "simulate": ("nvmc.cli.simulate:simulate_command", "Simulate chips and print their KPP."),
    "sweep": ("nvmc.cli.sweep:sweep_command", "Draw curves over sigma, time, bits."),
    "solve": ("nvmc.cli.solve:solve_command", "Find the least bits or most noise for a goal."),
    "compare": (
        "nvmc.cli.compare:compare_command",
        "Compare networks or devices on the same chips.",
    ),
    "report": ("nvmc.cli.report:report_command", "Write one HTML file to send and to print."),
    "sensitivity": (
        "nvmc.cli.sensitivity:sensitivity_command",
        "Find how much KPP each layer and source costs.",
    ),
    "uncertainty": (
        "nvmc.cli.uncertainty:uncertainty_command",
        "Measure calibration and the detection of unusual images.",
    ),
    "inspect": ("nvmc.cli.inspect:inspect_command", "Show one chip's currents, codes and errors."),
    "program": ("nvmc.cli.program:program_command", "Write one chip as standard ONNX."),
    "export": ("nvmc.cli.export:export_command", "Write a network for compilers, SPICE, …"),
    "transform": ("nvmc.cli.transform:transform_command", "Run only graph passes."),
    "results": ("nvmc.cli.results:results_command", "List, show, export, delete, merge results."),
    "devices": ("nvmc.cli.devices:devices_command", "List, show and fit devices."),
    "targets": ("nvmc.cli.targets:targets_command", "List and show targets."),
    "models": ("nvmc.cli.models:models_command", "List and export the papers' networks."),
    "reproduce": ("nvmc.cli.reproduce:reproduce_command", "Repeat the tables of the papers."),
    "cost": ("nvmc.cli.cost:cost_command", "Estimate energy, time and area."),
    "explore": ("nvmc.cli.explore:explore_command", "Find the cheapest designs for a goal."),
    "place": ("nvmc.cli.place:place_command", "Place a network on a chip's cores."),
    "hardware": ("nvmc.cli.hardware:hardware_command", "List, show and fit hardware for cost."),
    "doctor": ("nvmc.cli.doctor:doctor_command", "Show what is installed, and test it."),
}
"""Command -> (`module:function`, one line of help). The module is loaded when it is called."""


_OUT_OF_MEMORY = (
    "out of memory; try fewer --jobs, a smaller --batch or --limit, a smaller network, or a "
    "machine with more memory"
)


_FUNCTION = re.compile(r"^(compile|train|transform|[a-z]+_[a-z]+|simulate|sweep|solve|compare): ")
"""The name of a function of Python at the front of an error, which no command has."""


class _Interrupted(Exception):
    """Ctrl-C, and what is kept: click would print an empty line for a KeyboardInterrupt."""


class _Commands(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        with interruption.Loading():
            command = getattr(importlib.import_module(module), name)
        add_examples(cmd_name, command)
        add_groups(cmd_name, command)
        add_loudness(command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        interruption.begin()
        try:
            return super().invoke(ctx)
        except BaseException as error:
            if not interruption.interrupted(error):
                raise
            said = str(error) if isinstance(error, KeyboardInterrupt) else ""
            raise _Interrupted(said or interruption.NOTHING_HALF) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(nvmc.__version__, prog_name="nvmc")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def _nvmc(context: click.Context, debug: bool) -> None:
    """Deploy neural networks on non-volatile-memory crossbars: ONNX in, ONNX out."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    That is 0, 1 for bad input, 2 for wrong usage, 3 where chips miss what is required, 130 after
    Ctrl-C.

    Args:
        arguments: What stands behind `nvmc`; the process's own arguments by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every encoding has ± or a name's letters
    if "--debug" not in words:  # what libraries log is no message of nvmc
        logging.lastResort = logging.NullHandler()
    try:
        for word in words:
            check_text("an argument", word)
        with typed_options():
            result: Any = _nvmc.main(words, prog_name="nvmc", standalone_mode=False, obj=words)
        if sys.stdout:  # None where the caller closed it
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except NvmcError as error:
        if "--debug" in words:
            raise
        lacking = allocation_failed(error) and not isinstance(error, OutOfMemoryError)
        return _fail(_OUT_OF_MEMORY if lacking else _FUNCTION.sub("", str(error)), 1)
    except click.UsageError as error:
        return _fail(usage_text(error), 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except _Interrupted as error:
        return _fail(f"interrupted; {error}", interruption.EXIT_CODE)
    except (KeyboardInterrupt, click.Abort):
        return _fail(f"interrupted; {interruption.NOTHING_HALF}", interruption.EXIT_CODE)
    except BrokenPipeError:
        _drop_output()
        return 0
    except Exception as error:
        if "--debug" in words:
            raise
        return _fail(_OUT_OF_MEMORY, 1) if allocation_failed(error) else _unexpected(error)


def _unexpected(error: Exception) -> int:
    """One line also for what nobody foresaw, the output's own troubles among them."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        _drop_output()
    if isinstance(error, OSError):
        return _fail(f"{error.strerror or error}; nothing was left half-written", 1)
    what = f"{type(error).__name__}: {error}"
    return _fail(f"a fault of nvmc itself ({what}); `nvmc --debug …` shows where: report it", 1)


def _drop_output() -> None:
    """Let what is still to be written to standard output go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    click.echo(f"nvmc: error: {one_line(message)}", err=True)
    return code
