"""`nvmc report`: one HTML file about networks, to be sent and printed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from nvmc.cli.console import (
    count,
    note,
    note_data,
    note_kept,
    note_percentile,
    note_range,
    out,
    print_metric,
    progress,
    typed,
)
from nvmc.cli.goals import goal_option
from nvmc.cli.running import chosen_executor, compared_options, opened
from nvmc.cli.stored import opened_stores
from nvmc.errors import OptionError, unknown
from nvmc.evaluation.parameters import PARAMETERS
from nvmc.page.library import check_library
from nvmc.page.make import DOUBTING, PARTIAL, RUNS, make_report
from nvmc.page.report import Report, check_page

__all__ = ["report_command"]


@click.command("report")
@click.argument("compiled", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default="report.html",
    show_default=True,
    help="The HTML file to write.",
)
@click.option(
    "--runs",
    default=RUNS,
    show_default=True,
    help="Number of chips, for each network and each point.",
)
@goal_option
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="PARAMETER=VALUES",
    help=f"Curves over {', '.join(PARAMETERS)}, such as sigma=0:0.3:0.1. May be repeated.",
)
@click.option(
    "--sensitivity",
    "with_sensitivity",
    is_flag=True,
    help=f"Loss in KPP by layer, slice and noise source, with {PARTIAL} chips and k = 5.",
)
@click.option(
    "--uncertainty",
    "with_uncertainty",
    is_flag=True,
    help=f"Calibration, and detection of unusual images, with {DOUBTING} chips.",
)
@click.option(
    "--hardware",
    multiple=True,
    metavar="NAME|FILE",
    help="Cost on this hardware: a name of `nvmc hardware`, or a TOML file. May be repeated.",
)
@compared_options
@click.option("--chip", default=0, show_default=True, help="Chip whose cells the tile map shows.")
@click.option("--title", default="", metavar="TEXT", help="Heading of the page.")
@click.option(
    "--date",
    default="",
    metavar="TEXT",
    help="A date to print. Without one, the same command gives the same bytes.",
)
@click.pass_context
def report_command(
    context: click.Context,
    compiled: tuple[Path, ...],
    path: Path,
    sweeps: tuple[str, ...],
    devices: tuple[str, ...],
    jobs: int | None,
    workers: str | None,
    accelerator: str,
    store: Path | None,
    trust_store: bool,
    no_store: bool,
    **options: Any,
) -> None:
    """Write one HTML file about compiled networks; it works offline and prints well.

    Several networks, or one on several devices, are compared on the same chips. The newest *.nvmc
    here by default. Chips are kept and taken from the store as in `nvmc simulate`.
    """
    check_library()
    check_page(path)
    networks = [opened(folder) for folder in compiled or [None]]
    with ExitStack() as stack:
        executor = stack.enter_context(chosen_executor(jobs, workers, accelerator))
        stores = opened_stores(stack, networks, store, no_store, trust_store)
        made = make_report(
            *networks,
            devices=devices,
            sweeps=[_swept(text) for text in sweeps],
            jobs=jobs,
            executor=executor,
            stores=[stores[str(one.folder)] for one in networks] if stores else [],
            told=progress,
            command=typed(context),
            **options,
        )
        _notes(made, device=devices or None, sigma=options["sigma"], noise=options["noise"])
        made.write(path)
        _tell(made, path)
        for one in dict.fromkeys(stores.values()):
            one.check()


def _swept(text: str) -> dict[str, str]:
    """`sigma=0,0.1` as a parameter and its values.

    Raises:
        OptionError: It is no such text, or there is no such parameter.
    """
    name, equals, values = text.partition("=")
    if not equals:
        raise OptionError(
            f"sweep is {text!r}; expected a parameter and its values, such as sigma=0,0.1,0.2"
        )
    name = name.strip().lstrip("-")
    if name not in PARAMETERS:
        raise OptionError(unknown("parameter", name, PARAMETERS))
    return {name: values}


def _notes(made: Report, **given: Any) -> None:
    """What the user should know beside the page."""
    for one in made.populations:
        setup = one.description.setup
        note_kept(setup.target, **given)
        note_range(setup.target.device, [setup.sigma])
    note_percentile(made.populations[0].kpp.k)
    note_data(made.populations[0].description.to_json())
    for sentence in made.uncosted:
        note(sentence)


def _tell(made: Report, path: Path) -> None:
    """The verdict in a line for each population, and where the page is."""
    unit = made.unit
    for one in made.populations:
        kpp = one.kpp
        console = out()
        console.print(
            f"{one.label}: KPP {unit.text(kpp.value)} {unit.name} "
            f"(k = {kpp.k:g}, {count(kpp.runs, 'chip')}), "
            f"{kpp.confidence:.0%} interval {unit.ends(kpp.interval)}",
            soft_wrap=True,
        )
    random = any(one.description.data_sha256 is None for one in made.populations)
    print_metric(made.populations[0].description.metric, random=random)
    size = path.stat().st_size / 1e6
    out().print(f"Wrote {path} ({size:.1f} MB; open it in a browser)", soft_wrap=True)
