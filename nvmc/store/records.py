"""The chips of one experiment, and how they are written."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from nvmc.errors import StoreError
from nvmc.store.schema import connect, damaged, reason

__all__ = ["PART", "Database", "Experiment", "Row", "write_rows"]

Row = tuple[int, int, float, float | None]
"""Chip, images it has seen, the sum of its score over them, its value if these were all."""

RETRY_S = 1.0
"""How long a write that failed is not tried again."""


@dataclass
class Database:
    """A connection that several threads share, and what could not be written through it.

    Attributes:
        lock: Held while the connection is used.
        trouble: Why the last write failed; None while all is well.
        retry_at: Monotonic time before which no write is tried again.
    """

    path: Path
    connection: sqlite3.Connection
    timeout_s: float
    on_trouble: Callable[[str], None] | None
    lock: RLock = field(default_factory=RLock)
    trouble: str | None = None
    retry_at: float = 0.0
    told: bool = False

    def __post_init__(self) -> None:
        self._opened = _identity(self.path)

    def close(self) -> None:
        """Close the file for good: what is still added is kept nowhere but in memory."""
        with self.lock:
            self.retry_at = math.inf
            self.connection.close()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """The connection, for queries.

        Raises:
            StoreError: The file cannot be read.
        """
        with self.lock:
            try:
                yield self.connection
            except sqlite3.Error as error:
                raise damaged(self.path, error) from error

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """The connection in a transaction of its own: all of the block is written, or nothing.

        Raises:
            sqlite3.Error: It could not be written.
        """
        with self.lock:
            try:
                self._follow()
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def fails(self, error: sqlite3.Error) -> None:
        """Note a write that failed; says so the first time."""
        self.trouble = reason(error)
        self.retry_at = time.monotonic() + RETRY_S
        self.connection.execute("PRAGMA busy_timeout = 100")
        if self.on_trouble is not None and not self.told:
            self.told = True
            self.on_trouble(f"{str(self.path)!r}: {self.trouble}; trying again as chips are done")

    def _follow(self) -> None:
        """Open the file of that name where it is not the one that is open: SQLite does not look.

        People removed it, or moved its folder away, and what is written to it is lost for them.
        """
        if _identity(self.path) == self._opened:
            return
        try:
            found = connect(self.path, create=True, timeout_s=self.timeout_s)
        except StoreError as error:
            raise sqlite3.OperationalError("it was removed, or moved away") from error
        self.connection.close()
        self.connection, self._opened = found, _identity(self.path)

    def recovers(self) -> None:
        """Note a write that went well."""
        if self.trouble is not None:
            self.trouble, self.retry_at = None, 0.0
            self.connection.execute(f"PRAGMA busy_timeout = {round(1000 * self.timeout_s)}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file has that name; None for none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Experiment:
    """The chips of one question: which have been run, on how many images, with which score.

    Made by `Store.experiment`. Its methods may be called from any thread. What a process is told
    to add is in the file when `add` returns, so it survives the death of the process; only when
    the file cannot be written it is kept here, and written with what comes later.

    Attributes:
        id: Hash of the key, hexadecimal.
    """

    def __init__(self, database: Database, identifier: str, key: str, info: str) -> None:
        self.id = identifier
        self._database = database
        self._texts = (identifier, key, info)
        self._unsaved: dict[tuple[int, int], Row] = {}
        self._number = 0
        if not self._find(database.connection):
            with database.writing() as connection:
                self._enter(connection)

    @property
    def unsaved(self) -> int:
        """Chips that could not be written so far."""
        return len({chip for chip, _ in self._unsaved})

    def known(self) -> dict[int, tuple[int, float]]:
        """For every chip that was begun, by any process: images it has seen, and their sum.

        Raises:
            StoreError: The file is damaged.
        """
        with self._database.reading() as connection:
            self._find(connection)
            query = "SELECT chip, images, total FROM chip WHERE experiment = ?"
            rows = connection.execute(query, (self._number,))
            found = {chip: (images, _number(total)) for chip, images, total in rows}
            for chip, images, total, _ in self._unsaved.values():
                if chip not in found or found[chip][0] < images:
                    found[chip] = (images, total)
            return found

    def parts(self) -> list[tuple[int, int, float]]:
        """All sums of chips on some of the images only: (chip, images, sum), in that order.

        Raises:
            StoreError: The file is damaged.
        """
        with self._database.reading() as connection:
            self._find(connection)
            query = "SELECT chip, images, total FROM part WHERE experiment = ?"
            rows = connection.execute(query, (self._number,))
            found = {(chip, images): _number(total) for chip, images, total in rows}
            for chip, images, total, value in self._unsaved.values():
                if value is None:
                    found[chip, images] = total
            return [(chip, images, total) for (chip, images), total in sorted(found.items())]

    def add(self, chip: int, images: int, total: float, value: float | None = None) -> None:
        """Keep what one chip has come to.

        Args:
            chip: Index of the chip.
            images: How many images it has seen: the first of the experiment's order.
            total: Sum of the score over them.
            value: The chip's value, once these are all images.

        Raises:
            StoreError: The store holds another sum of the same images.
        """
        self.add_many([(chip, images, total, value)])

    def add_many(self, rows: Iterable[Row]) -> None:
        """Keep what several chips have come to, in one transaction; a row is as `add` takes it.

        Raises:
            StoreError: As for `add`; nothing of `rows` is kept then.
        """
        with self._database.lock:
            waiting = dict(self._unsaved)
            waiting |= {(row[0], row[1]): row for row in rows}
            if time.monotonic() < self._database.retry_at:
                self._unsaved = waiting
                return
            self._write(waiting)

    def flush(self) -> None:
        """Try once more to write what could not be written.

        Raises:
            StoreError: As for `add`.
        """
        with self._database.lock:
            if self._unsaved and self._database.retry_at < math.inf:
                self._write(self._unsaved)

    def _write(self, waiting: dict[tuple[int, int], Row]) -> None:
        try:
            with self._database.writing() as connection:
                self._enter(connection)
                now = int(time.time())
                rows = ((*row, now) for row in waiting.values())
                write_rows(connection, (self._number, self.id), rows)
        except sqlite3.Error as error:
            self._unsaved = waiting
            self._database.fails(error)
        else:
            self._unsaved = {}
            self._database.recovers()

    def _find(self, connection: sqlite3.Connection) -> bool:
        """Find this experiment's number; says whether there is one."""
        query = "SELECT number FROM experiment WHERE id = ?"
        row = connection.execute(query, (self.id,)).fetchone()
        if row is not None:
            self._number = row[0]
        return row is not None

    def _enter(self, connection: sqlite3.Connection) -> None:
        """Enter this experiment where there is none: another process may have deleted it."""
        if not self._find(connection):
            connection.execute(
                "INSERT INTO experiment (id, key, info) VALUES (?, ?, ?)", self._texts
            )
            self._find(connection)


def write_rows(
    connection: sqlite3.Connection,
    experiment: tuple[int, str],
    rows: Iterable[tuple[int, int, float, float | None, int]],
) -> int:
    """Write rows within a transaction; one that has seen more images replaces one with fewer.

    Args:
        connection: In a transaction.
        experiment: Number and id.
        rows: As `Experiment.add` takes them, and when each was run, in seconds since 1970.

    Returns:
        How many were new, or newer than what was there.

    Raises:
        StoreError: The same images of a chip have two sums that differ by more than rounding.
        sqlite3.Error: They cannot be written.
    """
    number, identifier = experiment
    changed = 0
    for chip, images, total, value, written in rows:
        row = (number, chip, images, total, value, written)
        if value is None:
            connection.execute(PART, (number, chip, images, total))
        if connection.execute(_UPSERT, row).rowcount > 0:
            changed += 1
            continue
        there, sum_there = connection.execute(_THERE, (number, chip)).fetchone()
        if there == images and not _same(_number(sum_there), total):
            raise StoreError(
                f"experiment {identifier[:12]} holds {_number(sum_there)!r} for chip {chip} on "
                f"{images} images, and now it is {total!r}: the same question has two answers; "
                f"`nvmc results delete {identifier[:12]}` forgets the old one"
            )
    return changed


_UPSERT = """
INSERT INTO chip VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (experiment, chip) DO UPDATE SET
    images = excluded.images, total = excluded.total, value = excluded.value,
    written = excluded.written
WHERE excluded.images > images
    OR (excluded.images = images AND excluded.total IS total
        AND value IS NULL AND excluded.value IS NOT NULL)
"""

PART = "INSERT INTO part VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"

_THERE = "SELECT images, total FROM chip WHERE experiment = ? AND chip = ?"


def _number(total: float | None) -> float:
    """SQLite has no NaN: it keeps null in its place."""
    return math.nan if total is None else float(total)


def _same(a: float, b: float) -> bool:
    """Whether two sums are one, up to how another processor rounds."""
    return math.isclose(a, b, rel_tol=1e-6) or (math.isnan(a) and math.isnan(b))
