"""`nvmc simulate`: the k-th percentile performance of a population of chips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from nvmc.cli.console import (
    count,
    interval_rows,
    limits_text,
    note,
    note_data,
    note_kept,
    note_percentile,
    note_range,
    ordinal,
    out,
    percent,
    print_json,
    print_metric,
    quantity_text,
    watching,
    worst_text,
)
from nvmc.cli.goals import exit_code, goal_option, required_rows, yield_row, yield_text
from nvmc.cli.heading import heading, needs_text
from nvmc.cli.running import chosen_executor, opened, run_options
from nvmc.cli.stored import checked_text, opened_store
from nvmc.data.items import in_items, these_items
from nvmc.errors import OptionError
from nvmc.evaluation.goals import parse_value
from nvmc.evaluation.parameters import duration_text, parse_values
from nvmc.evaluation.result import Simulation
from nvmc.evaluation.simulation import simulate
from nvmc.metrics import as_metric, find_metric
from nvmc.metrics.determination import LOWEST
from nvmc.metrics.values import bare_text, bound_text, ends_text, in_percent, short_of, value_text
from nvmc.report.figure import Sheet

__all__ = ["simulate_command"]


DELTA = 1e-3
"""Of an adaptive run, when nobody says."""


@click.command("simulate")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option("--runs", default=300, show_default=True, help="Number of chips.")
@run_options("data", "device", "sigma", "noise")
@click.option(
    "--time",
    metavar="T,…",
    help="Times since programming, such as 1h,1d,30d: the same chips at each.",
)
@run_options("temperature", "compensate", "calibration-data")
@run_options("percentile", "seed", "fidelity", "limit", "output", "class-axis", "batch-axis")
@run_options("metric", "batch", "mc-passes")
@click.option(
    "--first", default=0, show_default=True, help="Number of the first chip, for array jobs."
)
@click.option(
    "--adaptive",
    is_flag=True,
    help="Stop early on chips that cannot be among the worst. Saves time with thousands of images.",
)
@click.option(
    "--delta",
    type=float,
    metavar="D",
    help="With --adaptive: risk that the KPP differs from a full run's.  [default: 0.001]",
)
@click.option(
    "--precision",
    metavar="Wpp",
    help=(
        "Add chips in rounds until the KPP's interval on these images is no wider than this: "
        "0.5pp, or a number in the metric's own unit."
    ),
)
@click.option(
    "--max-runs",
    type=int,
    metavar="N",
    help="With --precision: the largest number of chips.  [default: 10000, or 2 x runs]",
)
@goal_option
@click.option(
    "--require",
    multiple=True,
    metavar="kpp|yield>=SHARE",
    help=(
        "Exit with code 3 if the lower end of the interval is below this value, such as "
        "kpp>=95% or (with --goal) yield>=99%; where less is better, if the upper end is "
        "above it: kpp<=0.3. May be repeated."
    ),
)
@run_options("jobs", "workers", "accelerator", "store", "trust-store")
@run_options("no-store", "max-memory", "figure", "json")
def simulate_command(
    compiled: Path | None,
    device: str | None,
    noise: tuple[str, ...],
    time: str | None,
    figure: Sheet | None,
    as_json: bool,
    runs: int,
    jobs: int | None,
    workers: str | None,
    accelerator: str,
    adaptive: bool,
    delta: float | None,
    precision: str | None,
    store: Path | None,
    trust_store: bool,
    no_store: bool,
    **options: Any,
) -> int:
    """Simulate chips of a compiled network; the newest *.nvmc here by default.

    Every finished chip is stored: after an interruption the same command continues, and with more
    --runs it runs only the new chips.
    """
    _check_figure(figure, adaptive)
    network = opened(compiled)
    ages = [] if time is None else parse_values("time", time)
    with (
        chosen_executor(jobs, workers, accelerator) as executor,
        opened_store(network, store, no_store, trust_store) as kept,
        watching("chips", shown=not as_json) as watch,
    ):
        result = simulate(
            network,
            runs=runs,
            device=device,
            noise=noise,
            times_s=[float(age.number or 0) for age in ages],
            delta=_delta(adaptive, delta),
            precision=None if precision is None else _width(precision, options["metric"]),
            jobs=jobs,
            executor=executor,
            store=kept,
            watch=watch,
            **options,
        )
    _notes(result, precision, device=device, sigma=options["sigma"], noise=noise)
    if figure is not None:
        result.figure(figure)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, str(network.folder), newest=compiled is None)
    if kept is not None:
        kept.check()
    return exit_code(result.verdicts)


def _check_figure(figure: Sheet | None, adaptive: bool) -> None:
    if figure is not None and adaptive:
        raise OptionError(
            "a histogram shows all chips, but --adaptive drops most; leave one of the two out"
        )


def _delta(adaptive: bool, delta: float | None) -> float | None:
    if delta is not None and not adaptive:
        raise OptionError(f"delta is {delta:g} without --adaptive; give both, or neither")
    return DELTA if adaptive and delta is None else delta


def _width(text: str, metric: str | None) -> float:
    """`0.5pp` as 0.005; a number as it is, in a metric's own unit."""
    known = as_metric(metric)
    if known is not None and not known.percent:
        return parse_value("precision", text)
    number, unit = text[:-2], text[-2:]
    try:
        if unit == "pp":
            return float(number) / 100
    except ValueError:
        pass
    raise OptionError(f"precision is {text!r}; expected percentage points, such as 0.5pp")


def _notes(result: Simulation, precision: str | None, **given: Any) -> None:
    """What the user should know beside the result."""
    setup = result.description.setup
    note_kept(setup.target, **given)
    note_range(setup.target.device, [setup.sigma])
    note_percentile(result.kpp.k)
    note_data(result.description.to_json())
    if precision is not None:
        _note_width(result, _width(precision, result.metric))


def _note_width(result: Simulation, width: float) -> None:
    """Say where rounds ended before the interval was narrow enough."""
    wide = [at for at in result.times if not at.is_within(width)]
    if wide:
        low, high = wide[0].kpp.chips_alone.low, wide[0].kpp.chips_alone.high
        pp = "pp" if in_percent(result.metric) else ""
        scale = 100 if pp else 1
        wider = "" if low is None or high is None else bare_text(result.metric, high - low)
        found = f"{wider}{pp} wide" if wider else "open"
        note(
            f"the interval of chips alone is {found} after "
            f"{count(len(wide[0].values), 'chip')}, not {scale * width:g}{pp}; give more --max-runs"
        )


def _heading(result: Simulation, name: str | None = None) -> list[str]:
    """What the result is of; the times of several stand beside their values."""
    facts = result.description.to_json()
    if len(result.times) > 1:
        del facts["time_s"]
    return heading(facts, name)


def _print(result: Simulation, folder: str, newest: bool) -> None:
    console = out()
    for line in _heading(result, f"{folder}{' (the newest here)' if newest else ''}"):
        console.print(line)
    print_metric(result.metric, random=result.description.data_sha256 is None)
    table = Table(box=None, show_header=False, pad_edge=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for row in _rows(result):
        table.add_row(*row)
    if len(result.times) > 1:
        console.print(_times(result))
        missing = next(filter(None, (limits_text(at.kpp.interval) for at in result.times)), "")
        if missing:
            console.print(f"{missing.capitalize()}.")
    console.print(table)


def _against_ideal(result: Simulation) -> str:
    """The metric beside every value that is no accuracy: without labels."""
    metric = find_metric(result.metric)
    against = metric is not None and metric.reference.startswith("ideal")
    return short_of(result.metric) if against else ""


def _times(result: Simulation) -> Table:
    """One row a time since programming."""
    table = Table(box=None, pad_edge=True)
    kpp, metric = "KPP (worst chip)" if result.kpp.is_worst else "KPP", _against_ideal(result)
    both = result.kpp.covers == "chips and images"
    told = result.description
    images = f"on {these_items(told.images, told.data)}"
    own = [f"its {result.kpp.confidence:.0%} interval"] if both else []
    of, shown = find_metric(result.metric), result.metric
    known = [f"its {of.quantity}"] if of is not None and of.quantity else []
    for name in ("time", "mean", "worst", kpp, *known, *own, images):
        table.add_column(name, justify="right", no_wrap=True)
    if result.goal is not None:
        table.add_column(f"reach {bound_text(shown, result.goal)}", justify="right", no_wrap=True)
    if metric:
        table.add_column("of")
    for at in result.times:
        kpp, summary = at.kpp, at.summary
        table.add_row(
            "" if at.time_s is None else duration_text(at.time_s),
            value_text(shown, summary.mean),
            value_text(shown, summary.worst),
            value_text(shown, kpp.value),
            *([f"{of.quantity_of(kpp.value):.4g}"] if of is not None and known else []),
            *([ends_text(shown, kpp.interval)] if both else []),
            ends_text(shown, kpp.chips_alone),
            *([] if result.goal is None else [yield_text(at.yield_at(result.goal))]),
            *([metric] if metric else []),
        )
    return table


def _meaning(result: Simulation, value: float) -> str:
    """What a value means: a perplexity, or an error in the unit of the targets; or nothing."""
    known = find_metric(result.metric)
    if known is not None and known.quantity:
        return quantity_text(result.metric, value)
    if result.metric != "r2":
        return ""
    rmse = result.rmse(value)
    floored = "at least " if value <= LOWEST else ""
    return "" if rmse is None else f"RMSE {floored}{rmse:.4g}"


def _rows(result: Simulation) -> list[tuple[str, str, str]]:
    metric = _against_ideal(result)
    name = "ideal chip" if metric else f"ideal chip {short_of(result.metric)}"
    ideal = (name, value_text(result.metric, result.ideal), _meaning(result, result.ideal))
    values = [ideal] if len(result.times) > 1 else [ideal, *_values(result)]
    named = [
        (label, value, "; ".join(filter(None, (metric if label else "", said))))
        for label, value, said in values
    ]
    if metric and result.ideal == 1:
        named[0] = (*ideal[:2], "the reference of all chips")
    needs = [(one.by.type, "", f"needs {needs_text(one)}") for one in result.compensation]
    return [*named, *needs, *_required(result), *_effort(result)]


def _values(result: Simulation) -> list[tuple[str, str, str]]:
    kpp, summary, metric, told = result.kpp, result.summary, result.metric, result.description
    spread = "" if summary.std is None else f"± {bare_text(metric, summary.std)} over chips"
    if summary.mean_bound:
        bound = f"{100 * summary.mean_bound:.2f}"
        spread = f"estimated, with an error (deviation, bias included) of at most {bound}"
    return [
        ("mean", value_text(metric, summary.mean), spread),
        ("worst chip", value_text(metric, summary.worst), _meaning(result, summary.worst)),
        (
            f"{ordinal(kpp.k)} percentile (KPP)",
            value_text(metric, kpp.value),
            "; ".join(filter(None, (_meaning(result, kpp.value), worst_text(kpp)))),
        ),
        *interval_rows(kpp, told.images, metric, told.data),
        *([] if result.goal is None else [_yield(result, result.goal)]),
    ]


def _yield(result: Simulation, goal: float) -> tuple[str, str, str]:
    told = result.description
    return yield_row(result.times[0].yield_at(goal), told.images, result.metric, told.data)


def _required(result: Simulation) -> list[tuple[str, str, str]]:
    return required_rows(result.verdicts, result.metric, result.description.data)


def _effort(result: Simulation) -> list[tuple[str, str, str]]:
    """The time that it took, and what did not have to be done again."""
    run = len(result.values) * len(result.times) - result.recorded
    pace = f"{result.seconds / run:.2g} s per chip, {result.executor}" if run else ""
    rows = [("wall time", f"{result.seconds:.1f} s", pace)]
    share = sum(at.share for at in result.times) / len(result.times)
    dropped = sum(at.dropped for at in result.times)
    if dropped:
        risk = max(at.delta for at in result.times)
        note = f"{count(dropped, 'chip')} dropped; KPP exact but for a chance of {risk:g}"
        run_of = in_items("images run", result.description.data)
        rows.append((run_of, percent(share, 1), note))
    if result.recorded:
        rows.append(("from the store", count(result.recorded, "chip"), "not run again"))
    if result.elsewhere.chips:
        found = count(result.elsewhere.chips, "chip")
        rows.append(("from elsewhere", found, checked_text(result.elsewhere)))
    return rows
