"""A store of results: the experiments in one file."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from nvmc.errors import StoreError
from nvmc.store.records import PART, Database, Experiment, Row, write_rows
from nvmc.store.schema import cannot_write, connect, reason

__all__ = ["Entry", "Merged", "Store"]

PIECE = 10_000
"""Rows that are read at once."""


@dataclass(frozen=True)
class Entry:
    """One experiment in a store.

    Attributes:
        id: Hash of the key, hexadecimal.
        key: Everything that decides the answer.
        info: What people want to know of it.
        complete: Chips that have seen all images.
        begun: Chips that have seen some.
        first: Lowest index of a chip; None where there is none.
        last: Highest index of a chip.
        evaluations: Images that all chips together have seen.
        written: When the last chip was written; None where there is none.
    """

    id: str
    key: dict[str, Any]
    info: dict[str, Any]
    complete: int
    begun: int
    first: int | None
    last: int | None
    evaluations: int
    written: datetime | None

    @property
    def facts(self) -> dict[str, Any]:
        """The key, with the names that people know in place of hashes, and the rest of `info`."""
        return {**self.key, **self.info}


@dataclass(frozen=True)
class Merged:
    """What a merge brought: experiments that were new, chips that were new or had seen more."""

    experiments: int
    chips: int


class Store:
    """Experiments in one SQLite file; a context manager, used by any thread.

    Several processes may have the same file open, on a local file system.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._experiments: dict[str, Experiment] = {}

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool = True,
        readonly: bool = False,
        on_trouble: Callable[[str], None] | None = None,
        timeout_s: float = 60.0,
    ) -> Self:
        """The store in `path`.

        Args:
            path: The file.
            create: Make it where there is none.
            readonly: Only read.
            on_trouble: Called once, with one line, when rows cannot be written: they are kept in
                memory then and tried again (`unsaved`).
            timeout_s: How long to wait for another process that is writing.

        Raises:
            StoreError: It is no store, one of a newer version, damaged, or cannot be written.
        """
        place = Path(path)
        create = create and not readonly
        connection = connect(place, create=create, readonly=readonly, timeout_s=timeout_s)
        return cls(Database(place, connection, timeout_s, on_trouble))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def unsaved(self) -> int:
        """Chips that could not be written so far."""
        return sum(experiment.unsaved for experiment in self._experiments.values())

    @property
    def trouble(self) -> str | None:
        """Why the last write failed, for people; None while all is well."""
        return self._database.trouble

    def flush(self) -> None:
        """Try once more to write what could not be written (`unsaved` says what is left).

        Raises:
            StoreError: The store holds another sum of the same images of a chip.
        """
        for experiment in self._experiments.values():
            experiment.flush()

    def close(self) -> None:
        """Close the file, after a last try to write what could not be written."""
        try:
            self.flush()
        finally:
            self._database.close()

    def experiment(self, key: Mapping[str, Any], info: Mapping[str, Any]) -> Experiment:
        """The experiment of `key`, entered with `info` where it is new.

        Args:
            key: Everything that decides the answer, as JSON values.
            info: What people want to know of it, as JSON values; `created` is added.

        Raises:
            StoreError: It cannot be written.
        """
        text = json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)
        identifier = hashlib.sha256(text.encode()).hexdigest()
        created = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with self._database.lock:
                if identifier not in self._experiments:
                    facts = json.dumps({"created": created, **info})
                    entered = Experiment(self._database, identifier, text, facts)
                    self._experiments[identifier] = entered
                return self._experiments[identifier]
        except sqlite3.Error as error:
            raise cannot_write(self.path, reason(error)) from error

    def experiments(self) -> list[Entry]:
        """What is in the store, in the order in which it was begun.

        Raises:
            StoreError: It is damaged.
        """
        with self._database.reading() as connection:
            return [_entry(row) for row in connection.execute(_ENTRIES)]

    def find(self, prefix: str) -> Entry:
        """The experiment whose id begins with `prefix`.

        Raises:
            StoreError: There is none, or several; or the store is damaged.
        """
        found = [entry for entry in self.experiments() if prefix and entry.id.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise StoreError(
                f"no experiment in {str(self.path)!r} begins with {prefix!r}; `nvmc results list` "
                "names those that are there"
            )
        some = ", ".join(entry.id[:12] for entry in found[:4])
        more = "" if len(found) <= 4 else f" and {len(found) - 4} more"
        raise StoreError(f"{prefix!r} is the beginning of {some}{more}; give more of it")

    def rows(self, identifier: str) -> Iterator[Row]:
        """The chips of an experiment in their order, as `Experiment.add` takes them.

        They are read piece by piece, and others may write meanwhile.

        Raises:
            StoreError: The store is damaged.
        """
        for chip, images, total, value, _ in self._rows(identifier):
            yield chip, images, total, value

    def _rows(self, identifier: str) -> Iterator[tuple[int, int, float, float | None, int]]:
        """`rows`, each with when it was written, in seconds since 1970."""
        last = -1
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(_ROWS, (identifier, last, PIECE)).fetchall()
            for chip, images, total, value, written in rows:
                yield chip, images, float("nan") if total is None else total, value, written
            if len(rows) < PIECE:
                return
            last = rows[-1][0]

    def parts(self, identifier: str) -> list[tuple[int, int, float | None]]:
        """The sums of an experiment's chips on some of the images only; see `Experiment.parts`.

        Raises:
            StoreError: The store is damaged.
        """
        with self._database.reading() as connection:
            return connection.execute(_PARTS, (identifier,)).fetchall()

    def delete(self, identifier: str) -> None:
        """Forget an experiment and its chips; the file gets smaller.

        Raises:
            StoreError: It cannot be written.
        """
        try:
            with self._database.writing() as connection:
                connection.execute("DELETE FROM experiment WHERE id = ?", (identifier,))
            with self._database.lock:
                # `execute` would take a single step of it, which frees one page.
                self._database.connection.executescript("PRAGMA incremental_vacuum")
        except sqlite3.Error as error:
            raise StoreError(f"cannot write {str(self.path)!r}: {reason(error)}") from error

    def merge(self, others: Sequence[str | Path]) -> Merged:
        """Take over what other stores hold; each is taken as a whole or not at all.

        A chip keeps when it was run.

        Raises:
            StoreError: One is no store, or two hold different sums of the same images of a chip.
        """
        experiments = chips = 0
        for path in others:
            with Store.open(path, readonly=True, timeout_s=self._database.timeout_s) as other:
                found = self._take(other)
            experiments, chips = experiments + found.experiments, chips + found.chips
        return Merged(experiments, chips)

    def _take(self, other: Store) -> Merged:
        experiments = chips = 0
        try:
            with self._database.writing() as connection, other._database.reading() as source:
                for identifier, key, info in source.execute("SELECT id, key, info FROM experiment"):
                    made = connection.execute(_ENTER, (identifier, key, info)).rowcount
                    experiments += max(0, made)
                    query = "SELECT number FROM experiment WHERE id = ?"
                    (number,) = connection.execute(query, (identifier,)).fetchone()
                    connection.executemany(
                        PART, [(number, *part) for part in other.parts(identifier)]
                    )
                    rows = other._rows(identifier)
                    chips += write_rows(connection, (number, identifier), rows)
        except StoreError as error:
            raise StoreError(f"{str(other.path)!r} was not merged: {error}") from error
        except sqlite3.Error as error:
            raise StoreError(f"cannot write {str(self.path)!r}: {reason(error)}") from error
        return Merged(experiments, chips)


_ENTER = "INSERT INTO experiment (id, key, info) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING"

_ROWS = """
SELECT chip, images, total, value, written FROM chip
WHERE experiment = (SELECT number FROM experiment WHERE id = ?) AND chip > ?
ORDER BY chip LIMIT ?
"""

_PARTS = """
SELECT chip, images, total FROM part
WHERE experiment = (SELECT number FROM experiment WHERE id = ?)
"""

_ENTRIES = """
SELECT id, key, info, count(value), count(chip) - count(value), min(chip), max(chip),
    coalesce(sum(images), 0), max(written)
FROM experiment LEFT JOIN chip ON chip.experiment = experiment.number
GROUP BY number ORDER BY number
"""


def _entry(row: tuple[Any, ...]) -> Entry:
    identifier, key, info, complete, begun, first, last, evaluations, written = row
    when = None if written is None else datetime.fromtimestamp(written, UTC)
    facts: dict[str, Any] = json.loads(info)
    return Entry(
        identifier, json.loads(key), facts, complete, begun, first, last, evaluations, when
    )
