"""Chips out of the file: those of some numbers, or those that others wrote."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Any

from nvmc.errors import StoreError
from nvmc.store.origin import Codes, Identity, Origin
from nvmc.store.reading import Beside, number_in
from nvmc.store.records import Database
from nvmc.store.schema import reason

__all__ = ["forget", "from_elsewhere", "numbers_of", "shrinking"]

_TABLES = ("chip", "part", "mark")


@contextmanager
def shrinking(database: Database) -> Generator[sqlite3.Connection]:
    """A transaction; the file gets smaller by what the block deletes.

    Raises:
        StoreError: It could not be written.
    """
    try:
        with database.writing() as connection:
            yield connection
        with database.lock:
            # `execute` would take a single step of it, which frees one page.
            database.connection.executescript("PRAGMA incremental_vacuum")
    except sqlite3.Error as error:
        raise StoreError(f"cannot write {str(database.path)!r}: {reason(error)}") from error


def numbers_of(connection: sqlite3.Connection, identifier: str) -> set[Any]:
    """The numbers of all chips of an experiment, or what stands in their place.

    Those of which only a sum on the way is there are among them.
    """
    number = number_in(connection, identifier)
    query = "SELECT chip FROM {} WHERE experiment = ?"
    found = (connection.execute(query.format(table), (number,)) for table in ("chip", "part"))
    return {chip for rows in found for (chip,) in rows}


def from_elsewhere(connection: sqlite3.Connection, identity: Identity, identifier: str) -> set[Any]:
    """The numbers of the chips that this user's nvmc did not write, as a whole or in part.

    Rows need not be possible: a stranger's may hold anything.
    """
    number, codes = number_in(connection, identifier), identity.codes(identifier)
    beside = Beside.read(connection, number)
    query = "SELECT chip, images, total, value, code FROM chip WHERE experiment = ?"
    chips = [(row[:4], row[4]) for row in connection.execute(query, (number,))]
    parts = [((*row[:3], None), row[3]) for row in beside.parts]
    known = {row[0] for row, _ in chips}
    alone = {row[0] for row, _ in parts} - known
    return alone | {
        row[0] for row, code in (*chips, *parts) if _origin(beside, codes, row, code) < Origin.HERE
    }


def _origin(beside: Beside, codes: Codes, row: Any, code: Any) -> Origin:
    try:
        return beside.origin(codes, row, code)
    except (ArithmeticError, TypeError, ValueError, struct.error):  # no code is of such a row
        return Origin.ELSEWHERE


def forget(connection: sqlite3.Connection, identifier: str, chips: Collection[Any]) -> int:
    """Delete chips within a transaction, and the experiment where none is left.

    Returns:
        How many chips are left.
    """
    number = number_in(connection, identifier)
    for table in _TABLES:
        query = f"DELETE FROM {table} WHERE experiment = ? AND chip = ?"
        connection.executemany(query, ((number, chip) for chip in chips))
    left = len(numbers_of(connection, identifier))
    if not left:
        connection.execute("DELETE FROM experiment WHERE number = ?", (number,))
    return left
