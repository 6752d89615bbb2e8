"""`nvmc explore`: the designs of a space that reach a goal, and what they cost."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from nvmc.cli.console import note_data, print_json, watching
from nvmc.cli.goals import MISSED
from nvmc.cli.running import chosen_executor, run_options
from nvmc.cli.simulate import DELTA
from nvmc.cli.stored import opened_store
from nvmc.errors import NvmcError, OptionError, unknown
from nvmc.evaluation.solve import RUNS
from nvmc.explore.explore import MOST, TRIALS, explore_designs
from nvmc.explore.front import QUANTITIES
from nvmc.models import resolve_model
from nvmc.report.figure import Sheet
from nvmc.report.table import write_csv

__all__ = ["explore_command"]

FRONT_FILE = "front.csv"


@click.command("explore")
@click.argument("model")
@click.option(
    "--space",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="The values that designs may have (docs/explore.md).",
)
@click.option(
    "--goal",
    required=True,
    metavar="[kpp>=]SHARE",
    help=(
        "Value that the lower end of the KPP's interval must reach, such as 95%; with "
        "--require yield>=SHARE, the value that a chip must reach."
    ),
)
@click.option(
    "--require",
    metavar="yield>=SHARE",
    help="Require that this share of the chips reach the goal, such as yield>=99%.",
)
@click.option(
    "--minimise",
    default="energy",
    show_default=True,
    metavar="NAME,…",
    help=f"Quantities to minimise: one or several of {', '.join(QUANTITIES)}.",
)
@click.option(
    "--hardware",
    default="generic",
    show_default=True,
    metavar="NAME|FILE",
    help="Hardware whose cost decides; the costs on all others are printed too.",
)
@click.option(
    "-o",
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for designs, chips and front.csv.  [default: NAME.explore]",
)
@click.option("--runs", default=RUNS, show_default=True, help="Number of chips per design.")
@click.option(
    "--most",
    default=MOST,
    show_default=True,
    help=(
        "Number of combinations up to which all are tried; if there are more, optuna proposes some."
    ),
)
@click.option(
    "--trials", default=TRIALS, show_default=True, help="Number of designs that optuna proposes."
)
@run_options("data", "sigma", "noise", "time", "temperature", "compensate")
@run_options("calibration-data", "percentile", "seed", "fidelity", "limit", "output")
@run_options("class-axis", "batch-axis", "metric", "batch", "mc-passes")
@click.option(
    "--adaptive",
    is_flag=True,
    help=(
        "Stop early on chips that cannot be among the worst; the risk of another answer is "
        "0.001 per design. Saves time with thousands of images."
    ),
)
@run_options("jobs", "workers", "accelerator", "trust-store", "max-memory", "figure", "json")
def explore_command(
    model: str,
    space: Path,
    minimise: str,
    folder: Path | None,
    adaptive: bool,
    jobs: int | None,
    workers: str | None,
    accelerator: str,
    trust_store: bool,
    figure: Sheet | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Find the designs of a space that reach a goal, and that no other design beats.

    Every design is compiled and its cost estimated; its chips are run only until it is clear
    whether the design is on the front. After an interruption the same command continues. Exits
    with 3 if no design reaches the goal.
    """
    source = resolve_model(model)
    folder = Path(f"{source.stem}.explore") if folder is None else folder
    quantities: Any = [name.strip() for name in minimise.split(",")]
    for name in quantities:
        if name not in QUANTITIES:
            raise OptionError(unknown("--minimise: quantity", name, QUANTITIES))
    with (
        _left_clean(folder),
        chosen_executor(jobs, workers, accelerator) as executor,
        opened_store(None, folder / "results.sqlite", False, trust_store) as kept,
        watching("designs", shown=not as_json) as watch,
    ):
        found = explore_designs(
            source,
            space,
            folder=folder,
            minimise=quantities,
            delta=DELTA if adaptive else None,
            jobs=jobs,
            executor=executor,
            store=kept,
            watch=watch,
            **options,
        )
    note_data(found.shared)
    if found.met:
        write_csv(folder / FRONT_FILE, found.rows())
    if figure is not None:
        from nvmc.report.front_picture import draw_front

        draw_front(found.to_json(), figure)
    if as_json:
        print_json(found.to_json())
    else:
        from nvmc.cli.explore_report import print_exploration

        print_exploration(found, model, str(folder / FRONT_FILE))
    if kept is not None:
        kept.check()
    return 0 if found.met else MISSED


@contextmanager
def _left_clean(folder: Path) -> Generator[None]:
    """Where the block is refused, empty folders that it made are gone."""
    made = not folder.exists()
    try:
        yield
    except NvmcError:
        if made and folder.is_dir():
            inside = [path for path in folder.rglob("*") if path.is_dir()]
            for path in [*sorted(inside, reverse=True), folder]:
                with suppress(OSError):
                    path.rmdir()
        raise
