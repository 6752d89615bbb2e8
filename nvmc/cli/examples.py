"""An example of every command, and the page that explains it, for the end of its `--help`."""

from __future__ import annotations

import click

__all__ = ["EXAMPLES", "add_examples"]

EXAMPLES = {
    "compile": ("model.onnx --device rram4 --data digits", "compile"),
    "train": ("model.onnx --device rram4 --data digits -o robust.onnx", "train"),
    "simulate": ("model.nvmc --data digits --runs 368", "simulate"),
    "compare": ("plain.nvmc robust.nvmc --data digits", "compare"),
    "report": ("model.nvmc --data digits --goal 97%", "report"),
    "sweep": ("model.nvmc --data digits --sigma 0:0.3:0.05", "sweep"),
    "solve": ("model.nvmc --data digits --goal 97% --over adc-bits", "solve"),
    "sensitivity": ("model.nvmc --data digits", "sensitivity"),
    "uncertainty": ("model.nvmc --data digits", "uncertainty"),
    "inspect": ("model.nvmc --data digits --chip 17", "inspect"),
    "program": ("model.nvmc --chip 17 -o chip17.onnx", "program"),
    "export": ("model.nvmc --to onnx -o exported", "export"),
    "transform": ("model.onnx --pass canonicalize -o plain.onnx", "passes"),
    "results": ("", "results"),
    "results list": ("model.nvmc", "results"),
    "results show": ("3fa2", "results"),
    "results export": ("--all -o results.csv", "results"),
    "results delete": ("3fa2", "results"),
    "results merge": ("all.sqlite model.nvmc", "results"),
    "devices": ("", "devices"),
    "devices list": ("", "devices"),
    "devices show": ("rram4", "devices"),
    "devices fit": ("measured.csv -o mine.toml", "fit"),
    "targets": ("", "targets"),
    "targets list": ("", "targets"),
    "targets show": ("isaac", "targets"),
    "models": ("", "zoo"),
    "models list": ("", "zoo"),
    "models export": ("vgg8 -o vgg8.onnx", "zoo"),
    "reproduce": ("trice-table1 --quick", "reproduce"),
    "cost": ("model.nvmc --hardware isaac-32nm", "cost"),
    "explore": ("model.onnx --space space.toml --goal 95% --data digits", "explore"),
    "place": ("model.nvmc --hardware isaac-32nm -o schedule.json", "place"),
    "hardware": ("", "cost"),
    "hardware list": ("", "cost"),
    "hardware show": ("isaac-32nm", "cost"),
    "hardware fit": ("macro.toml -o mine.toml", "cost"),
    "doctor": ("", "doctor"),
}
"""Command, with its subcommand -> (what stands behind it in an example, a page of docs/)."""


def add_examples(name: str, command: click.Command) -> None:
    """Let the help of a command and of its subcommands end with an example and the docs' page."""
    if name in EXAMPLES:
        words, page = EXAMPLES[name]
        command.epilog = f"\b\nExample: nvmc {name} {words}".rstrip() + f"\nMore: docs/{page}.md"
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            add_examples(f"{name} {inner}", each)
