"""`nvmc reproduce`: the papers' tables and figures, done again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import click
from click.core import ParameterSource
from rich.table import Table

from nvmc.cli.console import err, note, out, print_json, typed
from nvmc.cli.loudness import is_quiet
from nvmc.compiled.artifact import replacing_file
from nvmc.errors import OptionError
from nvmc.report.figure import check_figure
from nvmc.report.study_picture import StudyLine, draw_study
from nvmc.report.table import check_file, write_csv
from nvmc.reproduce.experiment import DEVICE
from nvmc.reproduce.page import (
    Result,
    csv_rows,
    is_share,
    legend_of,
    long_rows,
    measure_of,
    page_of,
    results_of,
    untrained,
)
from nvmc.reproduce.plan import Cell, Plan, make_plan
from nvmc.reproduce.run import run_plan
from nvmc.reproduce.table import EXPERIMENTS, experiment_named

__all__ = ["reproduce_command"]


@click.command("reproduce")
@click.argument("name", required=False)
@click.option(
    "--quick", is_flag=True, help="Use available data, for some minutes: not the paper's data."
)
@click.option(
    "--data",
    multiple=True,
    metavar="SPEC",
    help="Your copy of a data set, such as mnist:DIR. May be repeated.",
)
@click.option("--jobs", default=1, show_default=True, help="Number of processes.")
@click.option(
    "--epochs", type=click.IntRange(1), help="Epochs of training, instead of the table's."
)
@click.option(
    "--chips", type=click.IntRange(1), help="Chips at each point, instead of the table's."
)
@click.option(
    "--seeds", type=click.IntRange(1), help="Number of trainings, instead of the table's."
)
@click.option("--images", type=click.IntRange(1), help="Number of test images, instead of all.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reproduce"),
    show_default=True,
    help="Folder that keeps results, a folder inside for each experiment and budget: the same "
    "command continues from them.",
)
@click.option("--csv", type=Path, help="CSV to write.  [default: beside the results]")
@click.option("--page", type=Path, help="Markdown page to write.  [default: beside the results]")
@click.option("--figure", type=Path, help="Figure to write, .png, .pdf or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def reproduce_command(
    context: click.Context,
    name: str | None,
    quick: bool,
    data: tuple[str, ...],
    jobs: int,
    epochs: int | None,
    chips: int | None,
    seeds: int | None,
    images: int | None,
    folder: Path,
    csv: Path | None,
    page: Path | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Repeat a table or figure of the three papers; without a name, list them.

    Results are stored cell by cell: after an interruption the same command continues, with the
    same numbers. With --quick, data, networks and effort are not those of the paper, and the
    results are marked as quick.
    """
    if name is None:
        _check_alone(context)
        _list_all(as_json)
        return
    if figure is not None:
        check_figure(figure)
    experiment = experiment_named(name)
    folder.mkdir(parents=True, exist_ok=True)
    own = {"epochs": epochs, "chips": chips, "seeds": seeds, "images": images}
    plan = make_plan(experiment, data, folder, quick, **own)
    for path in filter(None, (csv, page)):
        check_file(path)
    csv, page = csv or plan.folder / f"{plan.stem}.csv", page or plan.folder / f"{plan.stem}.md"
    missing = sum(not cell.found.exists() for cell in plan.cells)
    if missing < len(plan.cells):
        rest = "missing ones are found now" if missing else "nothing is run again"
        note(f"{len(plan.cells) - missing} of {len(plan.cells)} numbers are there; {rest}")
    try:
        run_plan(plan, jobs, _teller(len(plan.cells) - missing, len(plan.cells)))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("the numbers so far are kept; the same command goes on") from error
    results = results_of(plan)
    write_csv(csv, csv_rows(plan, results))
    if figure is not None:
        _draw(plan, results, figure)
    shown = None if figure is None else _seen_from(page, figure)
    with replacing_file(page) as temporary:
        temporary.write_text(page_of(plan, results, shown, typed(context)))
    if as_json:
        print_json({"changed": list(plan.changed), "rows": csv_rows(plan, results)})
        return
    _print(plan, results)
    written = [str(csv), str(page), *([] if figure is None else [str(figure)])]
    out().print(f"Wrote {', '.join(written)}", soft_wrap=True)


def _seen_from(page: Path, figure: Path) -> str:
    """The figure's path from the page's folder, as Markdown links it."""
    return Path(os.path.relpath(figure.absolute(), page.absolute().parent)).as_posix()


def _check_alone(context: click.Context) -> None:
    """Complain of an option that only an experiment can have.

    Raises:
        OptionError: There is one.
    """
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name != "as_json":
            raise OptionError(
                f"{option.opts[0]} is given without an experiment; name one, such as `nvmc "
                "reproduce trice-table1 --quick`, or leave it out to list all"
            )


def _teller(done: int, cells: int) -> Callable[[Cell], None]:
    """What says of each number that it is there, and how many of them are."""
    counted = itertools.count(done + 1)

    def tell(cell: Cell) -> None:
        number = next(counted)
        if not is_quiet():
            which = f"{cell.arm.name}, seed {cell.seed}, {cell.point.text}"
            err().print(f"{number} of {cells} done: {which}", soft_wrap=True)

    return tell


def _print(plan: Plan, results: list[Result]) -> None:
    """The table, and what has to be known of it."""
    experiment, console = plan.experiment, out()
    console.print(f"{experiment.paper}, {experiment.place}: {experiment.title}")
    if plan.quick:
        console.print(f"QUICK, not the paper's experiment. Changed: {'; '.join(plan.changed)}")
    elif plan.changed:
        console.print(f"Changed: {'; '.join(plan.changed)}")
    heading, rows = long_rows(plan, results)
    table = Table(box=None, pad_edge=False)
    for place, column in enumerate(heading):
        table.add_column(column, justify="right" if place > 1 else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(legend_of(plan))
    for warning in untrained(plan, results):
        console.print(warning)
    for told in experiment.told:
        console.print(f"The paper: {told}")
    for differs in experiment.differs:
        console.print(f"Not as in the paper: {differs}")


def _draw(plan: Plan, results: list[Result], path: Path) -> None:
    """The figure: a panel for each noise."""
    panels: list[tuple[str, list[StudyLine]]] = []
    for kind in dict.fromkeys(point.kind for point in plan.points if point.kind != "none"):
        lines: list[StudyLine] = []
        for arm in plan.experiment.arms:
            own = [r for r in results if r.arm == arm and r.point.kind == kind and r.values]
            means = [0.0 if r.mean is None else r.mean for r in own]
            strengths, spreads = [r.point.at for r in own], [r.spread for r in own]
            lines.append(StudyLine(arm.name, strengths, means, spreads, [r.paper for r in own]))
        panels.append((_strength(kind), lines))
    experiment = plan.experiment
    told = [f"{experiment.paper}, {experiment.place}: {experiment.title}", plan.budget.text]
    if plan.quick:
        told.insert(1, "QUICK: not the paper's experiment")
    draw_study(path, told, measure_of(plan), panels, percent=is_share(plan))


def _strength(kind: str) -> str:
    """What is along x: `sigma` is the strength of the device's own noise."""
    if kind == DEVICE:
        return "noise strength σ"
    source, _, parameter = kind.partition(":")
    return f"{source}: {'σ' if parameter == 'sigma' else parameter}" if parameter else source


def _list_all(as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "name": e.name,
                "paper": e.paper,
                "place": e.place,
                "title": e.title,
                "network": e.network,
                "data": e.data,
                "quick": e.quick.data,
                "methods": [arm.name for arm in e.arms],
                "points": len(e.points),
                "chips": e.chips,
                "trainings": e.seeds,
            }
            for e in EXPERIMENTS.values()
        ]
        print_json({"experiments": rows})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("experiment", "what it shows", "data", "--quick on"):
        table.add_column(column, no_wrap=column != "what it shows")  # names to type stay whole
    for e in EXPERIMENTS.values():
        table.add_row(e.name, f"{e.paper}, {e.place}: {e.title}", e.data, e.quick.data)
    console = out()
    console.print(table)
    console.print(
        "Run one: `nvmc reproduce NAME --quick`, which takes minutes and needs no download, or "
        "`nvmc reproduce NAME --data KIND:DIR` with your copy of its data."
    )
