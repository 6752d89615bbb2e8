"""`nvmc transform`: graph passes alone."""

from __future__ import annotations

from pathlib import Path

import click

from nvmc.cli.console import memory_option, out
from nvmc.compiler import transform_model
from nvmc.models import resolve_model
from nvmc.passes import PASSES

__all__ = ["transform_command"]


@click.command(
    "transform", epilog=f"Passes: {', '.join(sorted(PASSES))}. docs/passes.md has their options."
)
@click.argument("model")
@click.option(
    "--pass",
    "passes",
    multiple=True,
    required=True,
    metavar="NAME:K=V,…",
    help="A pass and its options. May be repeated; passes run in the given order.",
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The ONNX file to write."
)
@memory_option
def transform_command(model: str, passes: tuple[str, ...], output: Path) -> None:
    """Run passes on MODEL, an ONNX file or zoo:NAME, and write the result."""
    changed = transform_model(resolve_model(model), passes, output)
    for text, did in zip(passes, changed, strict=True):
        out().print(f"{text}: {'changed the graph' if did else 'changed nothing'}")
    out().print(f"Wrote {output}")
