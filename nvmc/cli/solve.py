"""`nvmc solve`: the least, or the most, of a parameter at which chips meet a goal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from nvmc.cli.codes import note_other_bits
from nvmc.cli.console import (
    count,
    note,
    note_data,
    note_kept,
    note_percentile,
    note_range,
    out,
    percent,
    print_json,
    print_metric,
    watching,
)
from nvmc.cli.goals import MISSED, yield_text
from nvmc.cli.heading import heading
from nvmc.cli.running import chosen_executor, opened, run_options
from nvmc.cli.simulate import DELTA
from nvmc.cli.stored import checked_text, opened_store
from nvmc.data.items import in_items
from nvmc.evaluation.description import in_common
from nvmc.evaluation.parameters import PARAMETERS
from nvmc.evaluation.records import Elsewhere
from nvmc.evaluation.solve import RUNS, Solution, TriedValue, solve
from nvmc.metrics.values import bound_text, value_text

__all__ = ["solve_command"]


@click.command("solve")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option(
    "--goal",
    required=True,
    metavar="SHARE",
    help=(
        "Value that the lower end of the KPP's interval must reach, such as 97%; with "
        "--require yield>=SHARE, the value that a chip must reach."
    ),
)
@click.option(
    "--over",
    required=True,
    metavar="NAME[=VALUES]",
    help=f"Parameter to find: {', '.join(PARAMETERS)}; with its values, in the form of sweep: "
    "sigma=0:0.5:0.01.",
)
@click.option(
    "--find",
    type=click.Choice(["least", "most"]),
    help=(
        "Find the least or the greatest value that meets the goal.  [default: least for bits,"
        " most for other parameters]"
    ),
)
@click.option(
    "--require",
    metavar="yield>=SHARE",
    help="Require that this share of the chips reach the goal, such as yield>=99%.",
)
@click.option("--runs", default=RUNS, show_default=True, help="Number of chips at every value.")
@run_options("data", "device", "sigma", "noise", "time", "temperature")
@run_options("compensate", "calibration-data", "percentile", "seed", "fidelity", "limit")
@run_options("output", "class-axis", "batch-axis", "metric", "batch", "mc-passes")
@click.option(
    "--adaptive",
    is_flag=True,
    help=(
        "Stop early on chips that cannot be among the worst; the risk of another answer is "
        "0.001 per value."
    ),
)
@run_options("jobs", "workers", "accelerator", "store", "trust-store")
@run_options("no-store", "max-memory", "json")
def solve_command(
    compiled: Path | None,
    device: str | None,
    noise: tuple[str, ...],
    as_json: bool,
    adaptive: bool,
    jobs: int | None,
    workers: str | None,
    accelerator: str,
    store: Path | None,
    trust_store: bool,
    no_store: bool,
    **options: Any,
) -> int:
    """Find the least bits, or the most noise or time, at which chips still meet a goal.

    The same chips are run at both ends of the values, then at the middle of the remaining values
    (bisection). Exits with 3 if no value meets the goal.
    """
    network = opened(compiled)
    with (
        chosen_executor(jobs, workers, accelerator) as executor,
        opened_store(network, store, no_store, trust_store) as kept,
        watching("chips at a value", shown=not as_json) as watch,
    ):
        result = solve(
            network,
            device=device,
            noise=noise,
            delta=DELTA if adaptive else None,
            jobs=jobs,
            executor=executor,
            store=kept,
            watch=watch,
            **options,
        )
    _notes(result, device=device, noise=noise, sigma=options["sigma"])
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, f"{network.folder}{' (the newest here)' if compiled is None else ''}")
    if kept is not None:
        kept.check()
    return 0 if result.met else MISSED


def _notes(result: Solution, **given: Any) -> None:
    """What the user should know of the options, and where what is assumed does not hold."""
    target = result.tried[0].description.setup.target
    numbers = [one.value.number for one in result.tried]
    if result.parameter != "time":  # the age of all cells
        given[result.parameter.replace("-", "_")] = numbers
    note_kept(target, **given)
    note_range(target.device, numbers if result.parameter == "sigma" else [given["sigma"]])
    note_percentile(result.tried[0].at.kpp.k)
    note_data(result.tried[0].description.to_json())
    if result.parameter in ("adc-bits", "dac-bits"):
        converter = result.parameter.removesuffix("-bits")
        note_other_bits(target.periphery, converter, numbers)
    for easy, hard in result.rises:
        note(
            f"chips are better at {result.parameter} {hard.text} than at {easy.text}, against what "
            "is assumed; nvmc sweep shows the curve"
        )


def _print(result: Solution, folder: str) -> None:
    console = out()
    for line in heading(in_common([one.description for one in result.tried]), folder):
        console.print(line)
    first = result.tried[0].description
    print_metric(first.metric, random=first.data_sha256 is None)
    console.print(_table(result))
    for line in (_answer(result), _assumed(result), _decided(result)):
        console.print(line)
    others = sum((one.elsewhere for one in result.tried), Elsewhere())
    if others.chips:
        console.print(f"From elsewhere: {count(others.chips, 'chip')}, {checked_text(others)}.")


def _table(result: Solution) -> Table:
    table = Table(box=None, pad_edge=True, padding=(0, 1, 0, 0))
    kpp, metric = result.tried[0].at.kpp, result.tried[0].description.metric
    reached = [] if result.goal is None else [f"reach {bound_text(metric, result.goal)}"]
    end = "upper end" if result.requirement.at_most else "lower end"
    for title in (result.parameter, "ideal", f"KPP {kpp.k:g}", *reached, end, ""):
        table.add_column(title, justify="right", no_wrap=True)
    for one in result.tried:
        shares = [value_text(metric, one.ideal), value_text(metric, one.at.kpp.value)]
        if result.goal is not None:
            shares.append(yield_text(one.at.yield_at(result.goal)))
        of_yield = result.requirement.of == "yield"
        end = percent(one.verdict.end) if of_yield else value_text(metric, one.verdict.end)
        table.add_row(one.value.text, *shares, end, "met" if one.verdict.met else "missed")
    return table


def _answer(result: Solution) -> str:
    """The value, or that there is none, in a sentence."""
    wanted = f"{result.requirement}"
    if result.goal is not None:
        wanted += f" at {bound_text(result.tried[0].description.metric, result.goal)}"
    ends = f"{result.values[0].text} to {result.values[-1].text}"
    if result.found is None:
        return f"No {result.parameter} of {ends} meets {wanted}."
    said = f"{result.find.capitalize()} {result.parameter} that meets {wanted}: "
    said += result.found.value.text
    if result.next is None:
        return f"{said}; every value from {ends} does, as both ends do."
    return f"{said} ({result.next.value.text} misses it)."


def _assumed(result: Solution) -> str:
    """What was looked among, and what is taken for granted between the values that were tried."""
    way = "higher" if result.find == "most" else "lower"
    usual = " (the usual ones; --over NAME=VALUES for others)" if result.assumed else ""
    return (
        f"Tried {len(result.tried)} of {count(len(result.values), 'value')}{usual}; between them, "
        f"chips are assumed to get no better at {way} values."
    )


def _decided(result: Solution) -> str:
    one: TriedValue = result.tried[0]
    basis = in_items(one.verdict.basis, one.description.data)
    return f"Decided by the {basis}, at each value by itself."
