"""The chips of one experiment, and how they are written."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from nvmc.errors import StoreError
from nvmc.store.origin import Identity, Numbers, Origin
from nvmc.store.plausible import Expected, Plausible, Total, implausible, object_of
from nvmc.store.reading import Beside, chip_rows, snapshot
from nvmc.store.schema import connect, damaged, one, reason
from nvmc.store.writing import ENTER, MARK, near, number_of, same, write_rows

__all__ = ["Database", "Experiment", "Found", "Row"]

Row = tuple[int, int, Total, float | None]
"""Chip, images it has seen, the sums of its score over them, its value if these were all."""

RETRY_S = 1.0
"""How long a write that failed is not tried again."""


@dataclass
class Database:
    """A connection that several threads share, and what could not be written through it.

    Attributes:
        identity: Whose codes rows get.
        trusted: Whether what others wrote is used as it is.
        lock: Held while the connection is used.
        trouble: Why the last write failed; None while all is well.
        retry_at: Monotonic time before which no write is tried again.
    """

    path: Path
    connection: sqlite3.Connection
    timeout_s: float
    on_trouble: Callable[[str], None] | None
    identity: Identity
    trusted: bool = False
    lock: RLock = field(default_factory=RLock)
    trouble: str | None = None
    retry_at: float = 0.0
    told: bool = False

    def __post_init__(self) -> None:
        self._opened = _file_of(self.path)

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
        if _file_of(self.path) == self._opened:
            return
        try:
            found = connect(self.path, create=True, timeout_s=self.timeout_s)
        except StoreError as error:
            raise sqlite3.OperationalError("it was removed, or moved away") from error
        self.connection.close()
        self.connection, self._opened = found, _file_of(self.path)

    def recovers(self) -> None:
        """Note a write that went well."""
        if self.trouble is not None:
            self.trouble, self.retry_at = None, 0.0
            self.connection.execute(f"PRAGMA busy_timeout = {round(1000 * self.timeout_s)}")


def _file_of(path: Path) -> tuple[int, int] | None:
    """Which file has that name; None for none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class Found:
    """What an experiment holds at one moment.

    Attributes:
        known: Chip -> images that it has seen, and their sum.
        parts: Chip -> images -> sum over so many of them only.
        origins: Where chips come from that were not found here, by the least founded of their sums.
    """

    known: dict[int, tuple[int, Total]] = field(default_factory=dict[int, tuple[int, Total]])
    parts: dict[int, dict[int, Total]] = field(default_factory=dict[int, dict[int, Total]])
    origins: dict[int, Origin] = field(default_factory=dict[int, Origin])


class Experiment:
    """The chips of one question: which have been run, on how many images, with which score.

    Made by `Store.experiment`. Its methods may be called from any thread. What a process is told
    to add is in the file when `add` returns, so it survives the death of the process; only when
    the file cannot be written it is kept here, and written with what comes later.

    Attributes:
        id: Hash of the key, hexadecimal.
        trusted: Whether what others wrote is used as it is.
    """

    def __init__(
        self,
        database: Database,
        identifier: str,
        texts: tuple[str, str],
        expected: Expected,
    ) -> None:
        self.id = identifier
        self._database = database
        self._texts = texts
        self._expected = expected
        self._codes = database.identity.codes(identifier)
        self._origins: dict[int, Origin] = {}
        self._foreign: dict[int, list[Numbers]] = {}
        self._unsaved: dict[tuple[int, int], Row] = {}
        self._number = 0
        if self._find(database.connection):
            self._describe()
            return
        with database.writing() as connection:
            self._enter(connection)

    @property
    def trusted(self) -> bool:
        """Whether what others wrote is used as it is."""
        return self._database.trusted

    @property
    def unsaved(self) -> int:
        """Chips that could not be written so far."""
        return len({chip for chip, _ in self._unsaved})

    def known(self) -> dict[int, tuple[int, Total]]:
        """For every chip that was begun, by any process: images it has seen, and their sum.

        Raises:
            StoreError: As for `read`.
        """
        return self.read().known

    def parts(self) -> list[tuple[int, int, Total]]:
        """All sums of chips on some of the images only: (chip, images, sum), in that order.

        Raises:
            StoreError: As for `read`.
        """
        parts = self.read().parts
        return [(chip, *part) for chip in sorted(parts) for part in sorted(parts[chip].items())]

    def read(self) -> Found:
        """What is there, from any process.

        What is then added of a chip from elsewhere is no better founded than what it had come to.

        Raises:
            StoreError: The file is damaged, or holds what cannot be.
        """
        check = Plausible(self._database.path, self.id, self._expected)
        found, here = Found(), self._codes.here
        self._foreign = {}
        with self._database.reading() as connection, snapshot(connection):
            self._find(connection)
            beside = Beside.read(connection, self._number)
            for chip, images, total, value, _, code in chip_rows(connection, self._number):
                check.chip(chip, images, total, value)
                found.known[chip] = images, number_of(total)
                if code != here(chip, images, total, value):
                    self._judge(found, beside, (chip, images, total, value), code)
            for chip, images, total, code in beside.parts:
                check.part(chip, images, total, found.known.get(chip, (0, 0.0)))
                found.parts.setdefault(chip, {})[images] = number_of(total)
                if code != here(chip, images, total, None):
                    self._judge(found, beside, (chip, images, total, None), code)
            for chip, images, total, value in self._unsaved.values():
                if chip not in found.known or found.known[chip][0] < images:
                    found.known[chip] = images, total
                if value is None:
                    found.parts.setdefault(chip, {})[images] = total
            self._origins = dict(found.origins)
        return found

    def vouch(self, checked: Collection[int], others: Collection[int]) -> None:
        """Remember that chips from elsewhere may be used: some were run again and agreed.

        Where that cannot be written it is forgotten, and chips are run again another time.

        Args:
            checked: Those that were run again.
            others: Those that were not, and are used all the same.
        """
        with self._database.lock:
            founded = dict.fromkeys(others, Origin.VOUCHED)
            founded |= dict.fromkeys(checked, Origin.CHECKED)
            self._origins |= founded
            # Of what was read: what somebody has put in its place since is none of this.
            marks = [
                (chip, row[1], self._codes.code(row, origin))
                for chip, origin in founded.items()
                for row in self._foreign.get(chip, ())
            ]
            with suppress(sqlite3.Error), self._database.writing() as connection:
                if self._find(connection):
                    connection.executemany(MARK, ((self._number, *mark) for mark in marks))

    def confirm(self, chip: int, images: int, here: Total) -> None:
        """Complain of a chip from elsewhere, of those last read, that comes out differently here.

        Raises:
            StoreError: It does.
        """
        sums = (number_of(row[2]) for row in self._foreign.get(chip, ()) if row[1] == images)
        there = next((total for total in sums if not same(total, here)), None)
        if there is None:
            return
        short, path = self.id[:12], self._database.path
        close = near(there, here)
        processor = (
            " (another kind of processor may round a close decision to the other side; if that is "
            "why, --trust-store takes the results as they are)"
        )
        raise StoreError(
            f"{str(path)!r} has results from elsewhere that are not those of this machine: "
            f"experiment {short} holds {there!r} for chip {chip} on {images} images, and here it "
            f"is {here!r}{processor * close}; nothing was changed: `nvmc results delete {short} "
            f"--elsewhere --store {path}` deletes them; --store FILE and --no-store do not use them"
        )

    def _judge(self, found: Found, beside: Beside, row: Numbers, code: bytes | None) -> None:
        """Note where a row comes from that does not carry one's own code."""
        origin = beside.origin(self._codes, row, code)
        if origin is not Origin.HERE:
            self._foreign.setdefault(row[0], []).append(row)
            found.origins[row[0]] = min(origin, found.origins.get(row[0], origin))

    def add(self, chip: int, images: int, total: Total, value: float | None = None) -> None:
        """Keep what one chip has come to.

        Args:
            chip: Index of the chip.
            images: How many images it has seen: the first of the experiment's order.
            total: Sum of the score over them, or several.
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
                rows = ((*row, now, self._code(row)) for row in waiting.values())
                write_rows(connection, (self._number, self.id), rows)
        except sqlite3.Error as error:
            self._unsaved = waiting
            self._database.fails(error)
        else:
            self._unsaved = {}
            self._database.recovers()

    def _code(self, row: Row) -> bytes | None:
        """What is made of a sum from elsewhere is no better founded than that."""
        chip, images, total, value = row
        nan = not isinstance(total, tuple) and math.isnan(total)
        row_there = chip, images, None if nan else total, value
        return self._codes.code(row_there, self._origins.get(chip, Origin.HERE))

    def _find(self, connection: sqlite3.Connection) -> bool:
        """Find this experiment's number; says whether there is one.

        Raises:
            StoreError: Something else has its id.
        """
        query = "SELECT number, key FROM experiment WHERE id = ?"
        row = connection.execute(query, (self.id,)).fetchone()
        if row is None:
            return False
        self._number, key = row
        if key != self._texts[0]:
            path = self._database.path
            raise implausible(path, self.id, "the hash of its key is not its id")
        return True

    def _describe(self) -> None:
        """Put one's own description in the place of another's, which nobody vouches for."""
        there, code = one(self._database.connection.execute(_INFO, (self._number,)))
        if code == self._codes.of_text(str(there)):
            return
        before = object_of(self._database.path, self.id, "description", there)
        begun = {name: before[name] for name in ("nvmc", "created") if name in before}
        info = json.dumps({**json.loads(self._texts[1]), **begun})
        with suppress(sqlite3.Error), self._database.writing() as connection:
            connection.execute(_DESCRIBE, (info, self._codes.of_text(info), self._number))

    def _enter(self, connection: sqlite3.Connection) -> None:
        """Enter this experiment where there is none: another process may have deleted it."""
        if not self._find(connection):
            key, info = self._texts
            connection.execute(ENTER, (self.id, key, info, self._codes.of_text(info)))
            self._find(connection)


_INFO = "SELECT info, code FROM experiment WHERE number = ?"

_DESCRIBE = "UPDATE experiment SET info = ?, code = ? WHERE number = ?"
