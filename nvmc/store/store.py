"""A store of results: the experiments in one file."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from nvmc.errors import StoreError
from nvmc.store.forgetting import forget, from_elsewhere, numbers_of, shrinking
from nvmc.store.origin import Identity, Origin, own_identity
from nvmc.store.plausible import (
    LAST_MOMENT,
    Expected,
    Plausible,
    check_facts,
    implausible,
    key_of,
    object_of,
)
from nvmc.store.reading import Beside, chip_rows, code_column, entry_rows, number_in, snapshot
from nvmc.store.records import Database, Experiment, Row
from nvmc.store.schema import cannot_write, connect, one, reason
from nvmc.store.writing import ENTER, MARK, number_of, write_part, write_rows

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
        described_here: Whether this user's nvmc wrote `info`.
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
    described_here: bool = True

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
        trusted: bool = False,
        on_trouble: Callable[[str], None] | None = None,
        timeout_s: float = 60.0,
        identity: Identity | None = None,
    ) -> Self:
        """The store in `path`.

        Args:
            path: The file.
            create: Make it where there is none.
            readonly: Only read.
            trusted: Whether a run takes what others wrote as it is, and runs none of it again.
            on_trouble: Called once, with one line, when rows cannot be written: they are kept in
                memory then and tried again (`unsaved`). Told too where rows are written under an
                identity that cannot be kept.
            timeout_s: How long to wait for another process that is writing.
            identity: Whose rows are one's own; the user's by default.

        Raises:
            StoreError: It is no store, one of a newer version, damaged, or cannot be written.
        """
        place = Path(path)
        create = create and not readonly
        connection = connect(place, create=create, readonly=readonly, timeout_s=timeout_s)
        who = identity or own_identity()
        if who.trouble and on_trouble is not None and not readonly:
            on_trouble(who.trouble)
        return cls(Database(place, connection, timeout_s, on_trouble, who, trusted))

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

    def experiment(
        self, key: Mapping[str, Any], info: Mapping[str, Any], expected: Expected | None = None
    ) -> Experiment:
        """The experiment of `key`, entered with `info` where it is new.

        Args:
            key: Everything that decides the answer, as JSON values.
            info: What people want to know of it, as JSON values; `created` is added.
            expected: What its rows can be.

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
                    self._experiments[identifier] = Experiment(
                        self._database, identifier, (text, facts), expected or Expected()
                    )
                return self._experiments[identifier]
        except sqlite3.Error as error:
            raise cannot_write(self.path, reason(error)) from error

    def experiments(self, faulty: bool = False) -> list[Entry]:
        """What is in the store, in the order in which it was begun.

        Args:
            faulty: Whether experiments whose key or description cannot be are among them, as
                though they said nothing.

        Raises:
            StoreError: It is damaged, or an experiment is faulty.
        """
        with self._database.reading() as connection:
            return [self._entry(row, faulty) for row in entry_rows(connection)]

    def find(self, prefix: str, faulty: bool = False) -> Entry:
        """The experiment whose id begins with `prefix`; `faulty` is as in `experiments`.

        Raises:
            StoreError: There is none, or several; or the store is damaged.
        """
        with self._database.reading() as connection:
            rows = entry_rows(connection)
        ids = [row for row in rows if prefix and str(row[0]).startswith(prefix)]
        found = [self._entry(row, faulty or len(ids) > 1) for row in ids]
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

        Raises:
            StoreError: As for `chips`.
        """
        return (row for row, _ in self.chips(identifier))

    def chips(
        self, identifier: str, expected: Expected | None = None
    ) -> Iterator[tuple[Row, Origin]]:
        """The chips of an experiment, each with where it comes from.

        They are read piece by piece, and others may write meanwhile.

        Args:
            identifier: Of the experiment.
            expected: What its rows can be.

        Raises:
            StoreError: The store is damaged, or holds what cannot be.
        """
        for chip, images, total, value, *_, origin in self._chips(identifier, expected):
            yield (chip, images, number_of(total), value), origin

    def _chips(self, identifier: str, expected: Expected | None) -> Iterator[tuple[Any, ...]]:
        """Rows as they are in the file, when each was written, its code, and its origin."""
        check = Plausible(self.path, identifier, expected or Expected())
        codes = self._database.identity.codes(identifier)
        with self._database.reading() as connection, snapshot(connection):
            number = number_in(connection, identifier)
            beside = Beside.read(connection, number)
        parts: dict[int, list[tuple[int, float | None, bytes | None]]] = {}
        for chip, images, total, code in beside.parts:
            parts.setdefault(chip, []).append((images, total, code))
        last: float = -math.inf
        while number is not None:
            with self._database.reading() as connection:
                rows = list(chip_rows(connection, number, last, PIECE))
            for chip, images, total, value, written, code in rows:
                check.chip(chip, images, total, value)
                check.moment(chip, written)
                origin = beside.origin(codes, (chip, images, total, value), code)
                for before, way, own in parts.pop(chip, ()):
                    check.part(chip, before, way, (images, number_of(total)))
                    origin = min(origin, beside.origin(codes, (chip, before, way, None), own))
                yield chip, images, total, value, written, code, origin
                last = chip
            if len(rows) < PIECE:
                break
        with self._database.reading() as connection:
            if parts and number_in(connection, identifier) is not None:
                chip, ((images, total, _), *_) = parts.popitem()
                check.part(chip, images, total, (0, 0.0))

    def delete(self, identifier: str) -> None:
        """Forget an experiment and its chips; the file gets smaller.

        Raises:
            StoreError: It cannot be written.
        """
        with shrinking(self._database) as connection:
            connection.execute("DELETE FROM experiment WHERE id = ?", (identifier,))

    def numbers(self, identifier: str, elsewhere: bool = False) -> set[Any]:
        """The numbers of an experiment's chips, or of those that others wrote; none is checked.

        Raises:
            StoreError: The store is damaged.
        """
        with self._database.reading() as connection, snapshot(connection):
            if elsewhere:
                return from_elsewhere(connection, self._database.identity, identifier)
            return numbers_of(connection, identifier)

    def forget(self, identifier: str, chips: Collection[Any]) -> int:
        """Forget some chips of an experiment, and itself with the last; how many are left.

        Raises:
            StoreError: It cannot be written.
        """
        with shrinking(self._database) as connection:
            return forget(connection, identifier, chips)

    def merge(
        self,
        others: Sequence[str | Path],
        expected: Callable[[Entry], Expected] = lambda entry: Expected(),
    ) -> Merged:
        """Take over what other stores hold; each is taken as a whole or not at all.

        A chip keeps when it was run, and by whom.

        Args:
            others: The other stores.
            expected: What the rows of an experiment can be.

        Raises:
            StoreError: One is no store, or holds what cannot be, or two hold different sums of the
                same images of a chip.
        """
        experiments = chips = 0
        for path in others:
            with Store.open(path, readonly=True, timeout_s=self._database.timeout_s) as other:
                found = self._take(other, expected)
            experiments, chips = experiments + found.experiments, chips + found.chips
        return Merged(experiments, chips)

    def _take(self, other: Store, expected: Callable[[Entry], Expected]) -> Merged:
        experiments = chips = 0
        try:
            with self._database.writing() as connection:
                for entry in other.experiments():
                    texts, beside = other._beside(entry.id)
                    experiments += max(0, connection.execute(ENTER, (entry.id, *texts)).rowcount)
                    (number,) = one(connection.execute(_NUMBER, (entry.id,)))
                    rows = other._chips(entry.id, expected(entry))
                    place = number, entry.id
                    chips += write_rows(connection, place, (row[:6] for row in rows))
                    for part in beside.parts:
                        write_part(connection, (number, *part))
                    marks = ((key, code) for key, codes in beside.marks.items() for code in codes)
                    connection.executemany(MARK, ((number, *key, code) for key, code in marks))
                self._check({entry.id for entry in other.experiments()}, expected)
        except StoreError as error:
            raise StoreError(f"{str(other.path)!r} was not merged: {error}") from error
        except sqlite3.Error as error:
            raise StoreError(f"cannot write {str(self.path)!r}: {reason(error)}") from error
        return Merged(experiments, chips)

    def _beside(self, identifier: str) -> tuple[list[Any], Beside]:
        """The texts of an experiment and their code, and what is kept of it beside its chips."""
        with self._database.reading() as connection:
            code = code_column(connection, "experiment")
            query = f"SELECT number, key, info, {code} FROM experiment WHERE id = ?"
            number, *texts = one(connection.execute(query, (identifier,)))
            return texts, Beside.read(connection, number)

    def _check(self, identifiers: set[str], expected: Callable[[Entry], Expected]) -> None:
        """Complain of what cannot be in some experiments, as this store describes them."""
        for entry in self.experiments():
            if entry.id in identifiers:
                for _ in self._chips(entry.id, expected(entry)):
                    pass

    def _entry(self, row: tuple[Any, ...], faulty: bool) -> Entry:
        identifier, key, info, code, complete, begun, first, last, evaluations, written = row
        try:
            read = key_of(self.path, identifier, key)
            facts = object_of(self.path, identifier, "description", info)
            check_facts(self.path, identifier, read, facts)
            if not math.isfinite(evaluations):
                raise implausible(self.path, identifier, "its chips were run on infinite images")
        except StoreError:
            if not (faulty and isinstance(identifier, str)):
                raise
            read, facts = {}, {}
        known = isinstance(written, int) and 0 <= written < LAST_MOMENT
        when = datetime.fromtimestamp(written, UTC) if known else None
        described = code == self._database.identity.codes(identifier).of_text(str(info))
        counted = (
            complete,
            begun,
            first,
            last,
            int(evaluations) if math.isfinite(evaluations) else 0,
        )
        return Entry(identifier, read, facts, *counted, when, described)


_NUMBER = "SELECT number FROM experiment WHERE id = ?"
