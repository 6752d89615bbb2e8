"""`nvmc cost`: energy, time and area of a compiled network on some hardware.

It has its own `--figure` and `--json`: those of the commands that run chips load onnxruntime.
"""

from __future__ import annotations

from pathlib import Path

import click

from nvmc.cli.console import memory_option, print_json
from nvmc.cli.figures import figure_options
from nvmc.compiled.artifact import find_compiled, open_compiled
from nvmc.errors import OptionError
from nvmc.report.figure import Sheet
from nvmc.report.table import check_file, write_csv

__all__ = ["cost_command"]


@click.command("cost")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option(
    "--hardware",
    required=True,
    metavar="NAME|FILE",
    help="Hardware of the chip: a name of `nvmc hardware`, or a TOML file.",
)
@click.option(
    "--data",
    metavar="SPEC",
    help=(
        "Data whose inputs drive the rows, as for `nvmc simulate`; without data, inputs are "
        "assumed."
    ),
)
@click.option("--limit", type=int, metavar="N", help="Number of rows of the data.  [default: 32]")
@click.option(
    "--chip",
    type=int,
    metavar="K",
    help="Use the conductances of this chip's cells.  [default: ideal cells]",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the chip's population.")
@click.option(
    "--idle",
    type=click.Choice(["off", "on"]),
    default="off",
    show_default=True,
    help="Whether waiting tiles are switched off, or leak.",
)
@click.option(
    "--schedule",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Count the copies, hops and times that `nvmc place` wrote.",
)
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write one row per layer.")
@figure_options
@memory_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def cost_command(
    compiled: Path | None,
    hardware: str,
    data: str | None,
    limit: int | None,
    chip: int | None,
    seed: int,
    idle: str,
    schedule: Path | None,
    csv_file: Path | None,
    figure: Sheet | None,
    as_json: bool,
) -> None:
    """Energy, latency, throughput and area of a compiled network, per layer and component.

    Counts are those of the network. Each value has a band, within which published macros agree
    with the hardware file.
    """
    from nvmc.cost.estimate import estimate_cost
    from nvmc.cost.schedule import read_schedule

    if csv_file is not None:
        check_file(csv_file)
    if limit is not None and data is None:
        raise OptionError("--limit is given without --data; give the data, or leave it out")
    found = estimate_cost(
        find_compiled() if compiled is None else open_compiled(compiled),
        hardware,
        data=data,
        limit=limit,
        chip=chip,
        seed=seed,
        idle="on" if idle == "on" else "off",
        schedule=None if schedule is None else read_schedule(schedule),
    )
    if csv_file is not None:
        write_csv(csv_file, found.rows())
    if figure is not None:
        from nvmc.report.cost_picture import draw_cost

        draw_cost(found.to_json(), figure)
    if as_json:
        print_json(found.to_json())
        return
    from nvmc.cli.cost_report import print_cost

    print_cost(found)
