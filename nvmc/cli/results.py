"""`nvmc results`: what has been found so far, in a store."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from nvmc.cli.console import (
    count,
    interval_rows,
    note,
    note_percentile,
    ordinal,
    out,
    passes_text,
    percent,
    print_json,
    worst_text,
)
from nvmc.cli.heading import noise_text, periphery_text
from nvmc.compiled.artifact import RESULTS_FILE, check_folder, newest_folder, replacing_file
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import duration_text
from nvmc.metrics import METRICS
from nvmc.statistics import (
    Images,
    Kpp,
    Summary,
    percentile_index,
    percentile_performance,
    summarize,
)
from nvmc.store import Entry, Store
from nvmc.store.export import check_format, export

__all__ = ["results_command"]

FORMAT = "nvmc.results/1"
SHORT = 8
"""Digits of an id that are shown."""

_where = click.option(
    "--store",
    "where",
    type=click.Path(path_type=Path),
    metavar="WHERE",
    help="A compiled folder or a file.  [default: the newest *.nvmc here]",
)
_percentile = click.option("--percentile", default=1.0, show_default=True, help="k of the KPP.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("results", invoke_without_command=True)
@click.pass_context
def results_command(context: click.Context) -> None:
    """What has been simulated so far; without a command, list it.

    `nvmc simulate` keeps every chip in the compiled folder, or in the file of --store.
    """
    if context.invoked_subcommand is None:
        context.invoke(_list)


@results_command.command("list")
@click.argument("where", required=False, type=click.Path(path_type=Path))
@_percentile
@_json
def _list(where: Path | None = None, percentile: float = 1.0, as_json: bool = False) -> None:
    """List the experiments in WHERE: a compiled folder or a file.

    By default that is the newest *.nvmc here.
    """
    path = _place(where)
    with Store.open(path, readonly=True) as store:
        entries = store.experiments()
        found = [_worth(store, entry, percentile) for entry in entries]
    if as_json:
        pairs = zip(entries, found, strict=True)
        said = [{**_entry_json(entry), **_statistics_json(each)} for entry, each in pairs]
        print_json({"format": FORMAT, "store": str(path), "experiments": said})
        return
    note_percentile(percentile)
    total = sum(entry.complete + entry.begun for entry in entries)
    names = {str(entry.facts.get("network")) for entry in entries}
    of = f" of {names.pop()}" if len(names) == 1 and path.parent.name not in names else ""
    out().print(f"{path}: {count(len(entries), 'experiment')}, {count(total, 'chip')}{of}")
    if entries:
        out().print(_table(entries, found))


@results_command.command("show")
@click.argument("identifier", metavar="ID")
@_where
@_percentile
@_json
def _show(identifier: str, where: Path | None, percentile: float, as_json: bool) -> None:
    """Show one experiment; the beginning of its ID will do."""
    with Store.open(_place(where), readonly=True) as store:
        entry = store.find(identifier)
        found = _worth(store, entry, percentile)
    if as_json:
        print_json({"format": FORMAT, **_entry_json(entry), **_statistics_json(found)})
        return
    note_percentile(percentile)
    table = Table(box=None, show_header=False, pad_edge=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in [*_facts(entry), *_statistics(entry, found)]:
        table.add_row(*row)
    out().print(table)


@results_command.command("export")
@click.argument("identifiers", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All experiments.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The file: .csv, or .parquet where pyarrow is installed.",
)
@_where
def _export(
    identifiers: tuple[str, ...], everything: bool, output: Path, where: Path | None
) -> None:
    """Write a row a chip of some experiments to a CSV or Parquet file."""
    if everything == bool(identifiers):
        raise OptionError("expected either the IDs of experiments or --all")
    check_format(output)
    with Store.open(_place(where), readonly=True) as store:
        entries = store.experiments() if everything else _chosen(store, identifiers)
        with replacing_file(output) as temporary:
            rows = export(store, entries, temporary)
    said = f"{count(rows, 'chip')} of {count(len(entries), 'experiment')}"
    out().print(f"Wrote {output}: {said}", soft_wrap=True)


@results_command.command("delete")
@click.argument("identifiers", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_where
def _delete(identifiers: tuple[str, ...], yes: bool, where: Path | None) -> None:
    """Forget experiments and their chips."""
    with Store.open(_place(where), create=False) as store:
        entries = _chosen(store, identifiers)
        chips = sum(entry.complete + entry.begun for entry in entries)
        what = f"{count(len(entries), 'experiment')} with {count(chips, 'chip')}"
        if not yes:
            if not sys.stdin.isatty():
                raise OptionError(f"nothing was deleted: add --yes to forget {what}")
            click.echo(f"{store.path}: {', '.join(entry.id[:SHORT] for entry in entries)}")
            if not click.confirm(f"Forget {what}?"):
                out().print("Nothing was deleted")
                return
        for entry in entries:
            store.delete(entry.id)
    out().print(f"Deleted {what}")


@results_command.command("merge")
@click.argument("into", type=click.Path(path_type=Path))
@click.argument("sources", metavar="FROM...", nargs=-1, required=True, type=click.Path())
def _merge(into: Path, sources: tuple[str, ...]) -> None:
    """Put the chips of other stores into one: compiled folders, or files.

    INTO is made where it is not there, as a file. The others stay as they are.
    """
    if into.suffix == ".nvmc" and not into.exists():
        raise OptionError(
            f"there is no compiled folder {str(into)!r} to merge into; make it with "
            "`nvmc compile`, or name a file such as all.sqlite"
        )
    path, others = _place(into), [_place(Path(source)) for source in sources]
    for other in others:
        if other.resolve() == path.resolve():
            raise OptionError(f"{str(other)!r} is what is merged into; name others")
        Store.open(other, readonly=True).close()  # before anything is written
    with Store.open(path) as store:
        found = store.merge(others)
        entries = store.experiments()
    new = f"{count(found.experiments, 'new experiment')}, {count(found.chips, 'new chip')}"
    out().print(f"Merged {count(len(others), 'store')} into {path}: {new}", soft_wrap=True)
    if found.chips:
        _note_namesakes(entries)


def _note_namesakes(entries: Iterable[Entry]) -> None:
    """Say which names stand for several networks: the chips of one do not count for another."""
    networks: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        if "network" in entry.key:
            named = str(entry.facts["network"]), str(entry.facts["device"])
            networks.setdefault(named, set()).add(entry.key["network"])
    for (name, device), found in networks.items():
        if len(found) > 1:
            note(
                f"{name} is the name of {len(found)} different networks on {device}, whose "
                "experiments stay apart; chips add up where all runs used one compiled network"
            )


def _place(where: Path | None) -> Path:
    """The file of a compiled folder, or the file itself."""
    if where is None:
        return newest_folder(Path()) / RESULTS_FILE
    return check_folder(where) / RESULTS_FILE if where.is_dir() else where


def _chosen(store: Store, identifiers: Iterable[str]) -> list[Entry]:
    """The experiments that are named, each once."""
    found = [store.find(identifier) for identifier in identifiers]
    return list({entry.id: entry for entry in found}.values())


Worth = tuple[Summary, Kpp]


def _worth(store: Store, entry: Entry, percentile: float) -> Worth | None:
    """Mean, KPP and the like of an experiment; None while chips of it ran in part only."""
    percentile_index(1, percentile)
    if entry.begun or not entry.complete:
        return None
    chips = [(total, value) for *_, total, value in store.rows(entry.id) if value is not None]
    values = [value for _, value in chips]
    kpp = percentile_performance(values, percentile, images=_sampled(entry, chips))
    return summarize(values), kpp


def _sampled(entry: Entry, chips: Iterable[tuple[float, float]]) -> Images | None:
    """What the values of an experiment are shares of; older stores say it by hits and values."""
    images, metric = entry.facts.get("images"), entry.facts.get("metric")
    if not images or metric not in METRICS or not METRICS[metric].counts:
        return None
    if "decisions" in entry.facts:
        decisions = entry.facts["decisions"]
        return None if decisions is None else Images(images, decisions)
    for total, value in chips:
        if value > 0:
            return Images(images, round(total / (value * images)))
    return Images(images, 2)  # all at 0: its ends hold for any number of decisions


def _table(entries: Sequence[Entry], found: Sequence[Worth | None]) -> Table:
    """One row an experiment, with the columns in which any of them has something to say."""
    networks = {entry.facts.get("network") for entry in entries}
    pairs = zip(entries, found, strict=True)
    rows = [_row(entry, each, len(networks) > 1) for entry, each in pairs]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    for name in names:
        free = name in ("network", "device", "images", "also")
        right = name in ("sigma", "time", "chips", "begun", "mean", "KPP")
        table.add_column(
            name,
            no_wrap=not free,
            overflow="fold" if free else "ellipsis",
            justify="right" if right else "left",
        )
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def _row(entry: Entry, found: Worth | None, named: bool) -> dict[str, str]:
    facts = entry.facts
    sigma, time_s = facts.get("sigma"), facts.get("time_s")
    images = f"{facts['images']:,}" if "images" in facts else ""
    return {
        "id": entry.id[:SHORT],
        "network": str(facts.get("network", "")).removesuffix(".nvmc") if named else "",
        "device": str(facts.get("device", "")),
        "sigma": "" if sigma is None else f"{sigma:g}",
        "time": "" if time_s is None else duration_text(time_s),
        "images": f"{images} {facts.get('data', '')}".strip(),
        "also": ", ".join(_also(entry)),
        "chips": f"{entry.complete:,}",
        "begun": f"{entry.begun:,}" if entry.begun else "",
        "mean": f"{100 * found[0].mean:.2f}" if found else "",
        "KPP": f"{100 * found[1].value:.2f}" + " (worst)" * found[1].is_worst if found else "",
        "written": _moment(entry.written),
    }


def _also(entry: Entry) -> list[str]:
    """What is not as it is by default, and tells alike experiments apart."""
    facts = entry.facts
    seed, passes = facts.get("seed"), facts.get("mc_passes")
    said = ["circuit"] if facts.get("fidelity") == "circuit" else []
    if seed:
        number = str(seed)
        said.append(f"seed {number}" if len(number) <= SHORT else f"seed {number[:SHORT]}…")
    return said + ([f"{passes} passes"] if passes and passes > 1 else [])


def _moment(when: datetime | None) -> str:
    """Local time today, or the date."""
    if when is None:
        return ""
    local = when.astimezone()
    today = local.date() == datetime.now(local.tzinfo).date()
    return f"{local:%H:%M}" if today else f"{local:%Y-%m-%d}"


def _facts(entry: Entry) -> list[tuple[str, str]]:
    facts = entry.facts
    sigma, time_s, passes = facts.get("sigma"), facts.get("time_s"), facts.get("mc_passes")
    metric = facts.get("metric", "")
    rows = [
        ("experiment", entry.id),
        ("network", f"{facts.get('network', '-')}, model {entry.key.get('network', '-')}"),
        ("device", str(facts.get("device", "-"))),
        ("sigma", "" if sigma is None else f"{sigma:g}"),
        ("noise", " ".join(map(noise_text, facts.get("noise", facts.get("sources", ()))))),
        ("periphery", periphery_text(facts["periphery"]) if "periphery" in facts else ""),
        ("time", "" if time_s is None else f"{duration_text(time_s)} since programming"),
        ("data", f"{facts.get('data', '-')}, {count(facts.get('images', 0), 'image')}"),
        ("limit", "" if facts.get("limit") is None else f"{facts['limit']:,}"),
        ("output", str(facts.get("output") or "")),
        ("fidelity", str(facts.get("fidelity", "-"))),
        ("stochastic", "" if passes is None else passes_text(passes)),
        ("metric", f"{metric}: {METRICS[metric].title}" if metric in METRICS else str(metric)),
        ("seed", str(facts.get("seed", "-"))),
        ("engine", str(facts.get("engine", "-"))),
        ("nvmc", str(facts.get("nvmc", ""))),
        ("begun", str(facts.get("created", "-"))),
        ("last written", "" if entry.written is None else entry.written.isoformat()),
        ("ideal chip", percent(facts["ideal"]) if "ideal" in facts else ""),
    ]
    return [row for row in rows if row[1]]


def _statistics(entry: Entry, found: Worth | None) -> list[tuple[str, str]]:
    chips = f"{entry.complete:,}"
    if entry.first is not None:
        chips += f", of numbers {entry.first:,} to {entry.last:,}"
    if found is None:
        if not entry.begun:
            return [("chips", chips)]
        stopped = f"{count(entry.begun, 'other')} ran on some of the images only"
        return [
            ("chips", f"{chips}; {stopped}"),
            ("", "their mean and KPP: give the same `nvmc simulate` command again"),
        ]
    summary, kpp = found
    spread = "" if summary.std is None else f" ± {100 * summary.std:.2f} over chips"
    images, metric = entry.facts.get("images"), str(entry.facts.get("metric", ""))
    intervals = interval_rows(kpp, images, metric)
    return [
        ("chips", chips),
        ("mean", f"{percent(summary.mean)}{spread}"),
        ("worst chip", percent(summary.min)),
        (
            f"{ordinal(kpp.k)} percentile (KPP)",
            percent(kpp.value) + (f", {worst_text(kpp)}" if kpp.is_worst else ""),
        ),
        *((name, f"{ends}, {of}") for name, ends, of in intervals),
    ]


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "key": entry.key,
        "info": entry.info,
        "complete": entry.complete,
        "begun": entry.begun,
        "first": entry.first,
        "last": entry.last,
        "evaluations": entry.evaluations,
        "written": None if entry.written is None else entry.written.isoformat(),
    }


def _statistics_json(found: Worth | None) -> dict[str, Any]:
    if found is None:
        return {"mean": None, "std": None, "min": None, "percentile": None}
    summary, kpp = found
    return {
        "mean": summary.mean,
        "std": summary.std,
        "min": summary.min,
        "percentile": kpp.to_json(),
    }
