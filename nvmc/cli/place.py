"""`nvmc place`: where the tiles of a compiled network lie on a chip, and when each works."""

from __future__ import annotations

import re
from pathlib import Path

import click

from nvmc.cli.console import memory_option, out, print_json
from nvmc.cli.figures import figures
from nvmc.compiled.artifact import find_compiled, open_compiled
from nvmc.errors import OptionError
from nvmc.report.figure import Sheet
from nvmc.report.table import check_file, write_csv

__all__ = ["place_command"]


@click.command("place")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option(
    "--hardware",
    required=True,
    metavar="NAME|FILE",
    help="Hardware with a mesh: a name of `nvmc hardware`, or a TOML file.",
)
@click.option(
    "--tiles",
    type=int,
    metavar="N",
    help="Crossbars for copies of layers.  [default: one copy of every layer]",
)
@click.option(
    "--pipeline",
    is_flag=True,
    help=(
        "Layers start with the first rows of their inputs, and several inputs are "
        "processed at once."
    ),
)
@click.option(
    "--chiplets",
    metavar="COLUMNSxROWS",
    help="Number of chiplets.  [default: that of the hardware]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the schedule, for `nvmc cost --schedule`.",
)
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write a row per node.")
@figures("Draw the cores and the times.")
@memory_option
@click.option("--json", "as_json", is_flag=True, help="Print the schedule as JSON.")
def place_command(
    compiled: Path | None,
    hardware: str,
    tiles: int | None,
    pipeline: bool,
    chiplets: str | None,
    output: Path | None,
    csv_file: Path | None,
    figure: Sheet | None,
    as_json: bool,
) -> None:
    """Copy the slowest layers, place tiles on the cores of a mesh, and schedule an inference.

    Prints latency, interval and hops with their causes, and how much of the chip is used.
    """
    from nvmc.cost.schedule import write_schedule
    from nvmc.place.place import place_network
    from nvmc.place.table import rows_of

    for path in (output, csv_file):
        if path is not None:
            check_file(path)
    found = place_network(
        find_compiled() if compiled is None else open_compiled(compiled),
        hardware,
        tiles=tiles,
        pipeline=pipeline,
        chiplets=None if chiplets is None else _pair(chiplets),
    )
    if output is not None:
        write_schedule(found, output)
    if csv_file is not None:
        write_csv(csv_file, rows_of(found))
    if figure is not None:
        from nvmc.report.mesh_picture import draw_mesh

        draw_mesh(found.model_dump(mode="json"), figure)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    from nvmc.cli.place_report import print_schedule

    print_schedule(found, hardware)
    if output is not None:
        out().print(f"Wrote {output}", soft_wrap=True)


def _pair(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if found is None:
        raise OptionError(f"chiplets are {text!r}; expected COLUMNSxROWS, such as 2x1")
    return int(found[1]), int(found[2])
