"""`nvmc results`: what has been found so far, in a store."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import click
from rich.table import Table

from nvmc.cli.console import (
    count,
    note,
    note_percentile,
    out,
    print_json,
)
from nvmc.cli.goals import goal_option
from nvmc.cli.results_report import (
    SHORT,
    entry_json,
    facts_of,
    statistics_json,
    statistics_of,
    table_of,
    worth_of,
)
from nvmc.cli.stored import expected_in
from nvmc.cli.suggest import Group
from nvmc.compiled.artifact import RESULTS_FILE, check_folder, newest_folder, replacing_file
from nvmc.errors import OptionError
from nvmc.evaluation.goals import as_goal
from nvmc.metrics import find_metric
from nvmc.store import Entry, Merged, Store
from nvmc.store.export import check_format, export

__all__ = ["results_command"]

FORMAT = "nvmc.results/1"


_where = click.option(
    "--store",
    "where",
    type=click.Path(path_type=Path),
    metavar="WHERE",
    help="A compiled folder or a file.  [default: the newest *.nvmc here]",
)
_percentile = click.option(
    "--percentile",
    default=1.0,
    show_default=True,
    help="Share of the worst chips left out, in %; 1: 99 of 100 chips reach the KPP.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("results", cls=Group, invoke_without_command=True)
@click.pass_context
def results_command(context: click.Context) -> None:
    """List, show, export and delete what has been simulated; without a command, list it.

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
        found = [worth_of(store, entry, percentile) for entry in entries]
    if as_json:
        pairs = zip(entries, found, strict=True)
        said = [{**entry_json(entry, each), **statistics_json(each)} for entry, each in pairs]
        print_json({"format": FORMAT, "store": str(path), "experiments": said})
        return
    note_percentile(percentile)
    total = sum(entry.complete + entry.begun for entry in entries)
    names = {str(entry.facts.get("network")) for entry in entries}
    of = f" of {names.pop()}" if len(names) == 1 and path.parent.name not in names else ""
    out().print(f"{path}: {count(len(entries), 'experiment')}, {count(total, 'chip')}{of}")
    if entries:
        out().print(table_of(entries, found, out().width))


@results_command.command("show")
@click.argument("identifier", metavar="ID")
@_where
@_percentile
@goal_option
@_json
def _show(
    identifier: str, where: Path | None, percentile: float, goal: str | None, as_json: bool
) -> None:
    """Show one experiment; the beginning of its ID is enough."""
    with Store.open(_place(where), readonly=True) as store:
        entry = store.find(identifier)
        found = worth_of(
            store, entry, percentile, as_goal(goal, find_metric(entry.facts.get("metric")))
        )
    if as_json:
        print_json({"format": FORMAT, **entry_json(entry, found), **statistics_json(found)})
        return
    note_percentile(percentile)
    table = Table(box=None, show_header=False, pad_edge=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in [*facts_of(entry), *statistics_of(entry, found)]:
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
    """Write one row per chip of some experiments to a CSV or Parquet file."""
    if everything == bool(identifiers):
        raise OptionError("expected either the IDs of experiments or --all")
    check_format(output)
    with Store.open(_place(where), readonly=True) as store:
        entries = store.experiments() if everything else _chosen(store, identifiers)
        with replacing_file(output) as temporary:
            rows = export(store, entries, temporary, expected_in)
    said = f"{count(rows, 'chip')} of {count(len(entries), 'experiment')}"
    out().print(f"Wrote {output}: {said}", soft_wrap=True)


@results_command.command("delete")
@click.argument("identifiers", metavar="ID...", nargs=-1, required=True)
@click.option("--chip", "chips", type=int, multiple=True, help="Only this chip; repeatable.")
@click.option("--elsewhere", is_flag=True, help="Only chips that other users or machines wrote.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_where
def _delete(
    identifiers: tuple[str, ...],
    chips: tuple[int, ...],
    elsewhere: bool,
    yes: bool,
    where: Path | None,
) -> None:
    """Forget experiments and their chips, or some chips of them.

    An experiment whose last chip goes is forgotten too.
    """
    if chips and elsewhere:
        raise OptionError("--chip is given beside --elsewhere; give one of the two")
    if chips and len(identifiers) > 1:
        raise OptionError(f"--chip is given with {len(identifiers)} experiments; expected one")
    with Store.open(_place(where), create=False) as store:
        entries = _chosen(store, identifiers, faulty=True)
        if chips or elsewhere:
            _forget(store, entries, chips, yes)
            return
        total = sum(entry.complete + entry.begun for entry in entries)
        what = f"{count(len(entries), 'experiment')} with {count(total, 'chip')}"
        if _agreed(store, entries, what, yes):
            for entry in entries:
                store.delete(entry.id)
            out().print(f"Deleted {what}")


def _forget(store: Store, entries: Sequence[Entry], chips: Collection[int], yes: bool) -> None:
    """Forget these chips of an experiment, or with none given those from elsewhere of all."""
    found = {entry.id: set(chips) or store.numbers(entry.id, elsewhere=True) for entry in entries}
    for entry in entries if chips else ():
        there = store.numbers(entry.id)
        if unknown := sorted(set(chips) - there):
            raise OptionError(
                f"experiment {entry.id[:12]} has no chip {unknown[0]}; nothing was deleted "
                f"(its {count(len(there), 'chip')} are {entry.first} to {entry.last})"
            )
    total = sum(map(len, found.values()))
    what = count(total, "chip") + ("" if chips else " from elsewhere")
    if not total:
        out().print("Nothing was deleted: no chip is from elsewhere")
    elif _agreed(store, entries, what, yes):
        left = sum(store.forget(identifier, some) for identifier, some in found.items() if some)
        stay = sum(entry.complete + entry.begun for entry in entries if not found[entry.id])
        out().print(f"Deleted {what}; {count(left + stay, 'chip')} left")


def _agreed(store: Store, entries: Sequence[Entry], what: str, yes: bool) -> bool:
    """Whether `what` of these experiments is to be forgotten.

    Raises:
        OptionError: Nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise OptionError(f"nothing was deleted: add --yes to forget {what}")
    click.echo(f"{store.path}: {', '.join(entry.id[:SHORT] for entry in entries)}")
    agreed = click.confirm(f"Forget {what}?")
    if not agreed:
        out().print("Nothing was deleted")
    return agreed


@results_command.command("merge")
@click.argument("into", type=click.Path(path_type=Path))
@click.argument("sources", metavar="FROM...", nargs=-1, required=True, type=click.Path())
def _merge(into: Path, sources: tuple[str, ...]) -> None:
    """Put the chips of other stores into one: compiled folders, or files.

    If INTO does not exist, it is created as a file. The other stores do not change.
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
    found, entries = _merged(path, others)
    new = f"{count(found.experiments, 'new experiment')}, {count(found.chips, 'new chip')}"
    out().print(f"Merged {count(len(others), 'store')} into {path}: {new}", soft_wrap=True)
    if found.chips:
        _note_namesakes(entries)


def _merged(path: Path, others: Sequence[Path]) -> tuple[Merged, list[Entry]]:
    """What a merge brought, and all that is there now; a file that it made for nothing is gone."""
    made, empty = not path.exists(), False
    try:
        with Store.open(path) as store:
            try:
                found = store.merge(others, expected_in)
            except BaseException:
                empty = not store.experiments(faulty=True)
                raise
            return found, store.experiments()
    except BaseException:
        if made and empty:
            path.unlink()
        raise


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


def _chosen(store: Store, identifiers: Iterable[str], faulty: bool = False) -> list[Entry]:
    """The experiments that are named, each once; `faulty` as for `Store.find`."""
    found = [store.find(identifier, faulty) for identifier in identifiers]
    return list({entry.id: entry for entry in found}.values())
