"""The options of a command in groups with a title, for its `--help` and the pages of the docs.

An option that `GROUPS` does not name stands under `UNGROUPED`, and a test complains.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import click

__all__ = ["FEW", "GROUPS", "UNGROUPED", "add_groups", "grouped"]

_HELP = "Help and messages"

GROUPS = {
    "What to do": "sweep:--sigma sweep:--time sweep:--temperature sweep:--adc-bits "
    "sweep:--dac-bits --over --find --space --minimise --to --layer --chip --runs --first "
    "--adaptive --delta --precision --max-runs --most --trials --sweep --sensitivity "
    "--uncertainty --shift --hardware --idle cost:--schedule --tiles --pipeline --chiplets "
    "--opset --array --range-us --volts --placement --law --base --pretrained --all "
    "--elsewhere --yes --quick reproduce:--epochs reproduce:--chips --seeds --images",
    "Training": "--method --method-option --methods --epochs train:--batch --rate --schedule "
    "--optimizer --decay --momentum train:--clip --augment --init --teacher --circuit --ranges "
    "--estimator train:--seed",
    "Data and metric": "--data --limit --goal --require --percentile --metric --output --scored "
    "--class-axis --batch-axis",
    "Validation": "--validation --validation-limit --every --chips train:--percentile --keep "
    "--patience",
    "Chips and noise": "--device --sigma --noise --time --temperature --compensate "
    "--calibration-data --seed --fidelity --mc-passes",
    "Model": "--shape --input --state --skip --pass --fold-batchnorm --activation-bits "
    "--require-mapped",
    "Cells and weights": "compile:--device train:--device --target --weight-bits --bits "
    "--cell-bits --encoding --per-channel --clip compile:--noise --bias compile:--store --read-v "
    "--from",
    "Converters": "--dac-bits --dac-mode --dac-slice-bits --dac-range --dac-inl --signed-inputs "
    "--adc-bits --adc-range --adc-range-of --adc-steps --adc --adc-share --adc-rounding "
    "--accumulate --subtract",
    "Tiles and wires": "--tile --rows --rows-on --waiting-rows --column-limit --reference "
    "--polarity --wire-ohm --wire-solution",
    "Speed and memory": "--jobs --batch --accelerator --workers --max-memory",
    "Output": "-o --name --title --date --cells --checkpoint --resume --tensorboard --store "
    "--trust-store --no-store --folder --csv --chips-csv --page --figure --style --no-figure "
    "--format --json",
    _HELP: "--quiet --verbose -h",
}
"""Title of a group -> its options by their first spelling, both in the order of a command's help.

`COMMAND:OPTION` is the option of that command alone, where it means something else than elsewhere.
"""

UNGROUPED = "Other options"
FEW = 6
"""Up to so many options of a command's own stay one list."""

_LEFT = 30
"""Most columns of an option's names, as click has it."""


_HYPHEN = "\N{NON-BREAKING HYPHEN}"
"""What stands for a hyphen while lines are broken, so that no word to type is broken at one."""


def grouped(name: str, options: Iterable[click.Parameter]) -> dict[str, list[click.Option]]:
    """Options of a command by the title of their group.

    Args:
        name: The command with its subcommand, as `devices fit`.
        options: Of it; arguments are left out.
    """
    left = {one.opts[0]: one for one in options if isinstance(one, click.Option)}
    own = {word for text in GROUPS.values() for word in text.split() if ":" in word}
    found: dict[str, list[click.Option]] = {}
    for title, text in GROUPS.items():
        for word in text.split():
            of, _, option = word.rpartition(":")
            if option in left and (of == name or (not of and f"{name}:{option}" not in own)):
                found.setdefault(title, []).append(left.pop(option))
    return found | ({UNGROUPED: list(left.values())} if left else {})


def add_groups(name: str, command: click.Command) -> None:
    """Let the help of a command, or of its subcommands, show its options in groups."""
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            add_groups(f"{name} {inner}", each)
        return
    groups = grouped(name, command.params)
    if sum(len(each) for title, each in groups.items() if title != _HELP) > FEW:
        command.format_options = partial(_write, name, command)


def _write(
    name: str, command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """A section for each group; the second column of all begins at the same place."""
    records = {
        title: [record for one in each if (record := one.get_help_record(ctx)) is not None]
        for title, each in grouped(name, command.get_params(ctx)).items()
    }
    width = min(_LEFT, max(len(left) for rows in records.values() for left, _ in rows))
    begin = len(formatter.buffer)
    for title, rows in records.items():
        with formatter.section(title):
            whole = [(left.ljust(width), right.replace("-", _HYPHEN)) for left, right in rows]
            formatter.write_dl(whole, _LEFT)
    formatter.buffer[begin:] = [text.replace(_HYPHEN, "-") for text in formatter.buffer[begin:]]
