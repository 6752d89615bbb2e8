"""What it costs to keep results: a chip, a million chips, and looking at them again.

Writing is compared with one bare INSERT a transaction into a table without index, by sqlite3 with
the same settings, and against a line appended to a file; each repeat runs all of them.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TextIO

from figures import machine
from measure import interleaved

from nvmc.store import Experiment, Store
from nvmc.store.export import export

CHIPS = 2000


def bare(connection: sqlite3.Connection) -> Callable[[], None]:
    """One row a transaction, nothing else."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE chip (chip INTEGER, images INTEGER, total REAL, value REAL)")

    def run() -> None:
        for chip in range(CHIPS):
            row = (chip, 531, 500.5 + chip, chip / 531)
            connection.execute("INSERT INTO chip VALUES (?, ?, ?, ?)", row)

    return run


def appended(file: TextIO) -> Callable[[], None]:
    """One line per chip, given to the operating system."""

    def run() -> None:
        for chip in range(CHIPS):
            file.write(f"{chip} 531 {500.5 + chip!r} {chip / 531!r}\n")
            file.flush()

    return run


def stored(experiment: Experiment, group: int) -> Callable[[], None]:
    """The store, with groups of chips in one transaction."""
    numbers = count()

    def run() -> None:
        for _ in range(0, CHIPS, group):
            first = next(numbers) * group
            chips = range(first, first + group)
            experiment.add_many((chip, 531, 500.5 + chip, chip / 531) for chip in chips)

    return run


def writing(folder: Path, repeats: int) -> None:
    with (
        Store.open(folder / "writing.sqlite") as store,
        closing(sqlite3.connect(folder / "bare.sqlite", isolation_level=None)) as connection,
        (folder / "lines.txt").open("a") as file,
    ):
        experiments = {n: store.experiment({"group": n}, {}) for n in (1, 10, 100)}
        seconds = interleaved(
            {
                "a line appended to a file": appended(file),
                "bare sqlite3, 1 a transaction": bare(connection),
                **{f"store, {n} a transaction": stored(e, n) for n, e in experiments.items()},
            },
            repeats,
        )
        for name, taken in seconds.items():
            chip, rate = 1e6 * taken / CHIPS, CHIPS / taken
            print(f"{name:32} {chip:8.1f} us per chip {rate:10,.0f} chips/s")
        alone = stored(store.experiment({"group": 0}, {}), 1)
        started = time.thread_time()
        alone()
        chip = 1e6 * (time.thread_time() - started) / CHIPS
        print(f"{'store, 1: of that, the processor':32} {chip:8.1f} us per chip")


def timed(name: str, run: Callable[[], object]) -> None:
    started = time.perf_counter()
    run()
    print(f"{name:32} {time.perf_counter() - started:8.2f} s")


def reading(folder: Path, chips: int) -> None:
    path = folder / "large.sqlite"
    with Store.open(path) as store:
        experiment = store.experiment({"large": 1}, {"network": "lenet5.nvmc"})
        rows = [
            (chip, 10_000, 9000.0 + chip % 997, (9000 + chip % 997) / 1e4) for chip in range(chips)
        ]
        timed("written at once", lambda: experiment.add_many(rows))
    size = path.stat().st_size
    print(f"{'size':32} {size / 2**20:8.1f} MiB {size / chips:8.1f} bytes per chip")
    with Store.open(path) as store:
        experiment = store.experiment({"large": 1}, {})
        timed("known()", experiment.known)
        timed("experiments()", store.experiments)
        timed("export to CSV", lambda: export(store, store.experiments(), folder / "all.csv"))
        timed(
            "export to Parquet", lambda: export(store, store.experiments(), folder / "all.parquet")
        )
    with Store.open(folder / "merged.sqlite") as merged:
        timed("merged into another", lambda: merged.merge([path]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print(f"{machine()}, SQLite {sqlite3.sqlite_version}")
    with tempfile.TemporaryDirectory() as folder:
        writing(Path(folder), options.repeats)
        print(f"-- {options.chips:,} chips")
        reading(Path(folder), options.chips)


if __name__ == "__main__":
    main()
