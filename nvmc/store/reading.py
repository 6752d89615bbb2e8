"""The rows of one experiment as they are in the file, of this version or an older one."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from struct import unpack
from typing import Any

from nvmc.store.origin import Codes, Numbers, Origin
from nvmc.store.schema import version_of

__all__ = ["Beside", "chip_rows", "code_column", "entry_rows", "number_in", "snapshot", "sums_of"]


@dataclass(frozen=True)
class Beside:
    """What is kept of an experiment beside what its chips have come to.

    Attributes:
        parts: Sums on the way: chip, images, sum, code.
        marks: Chip and images -> codes that vouch for the sum.
    """

    parts: list[tuple[int, int, float | None, bytes | None]]
    marks: dict[tuple[int, int], set[bytes]]

    @classmethod
    def read(cls, connection: sqlite3.Connection, number: int | None) -> Beside:
        """That of experiment `number`."""
        code = code_column(connection, "part")
        query = f"SELECT chip, images, total, {code} FROM part WHERE experiment = ?"
        parts = connection.execute(query, (number,)).fetchall()
        marks: dict[tuple[int, int], set[bytes]] = {}
        if version_of(connection) > 1:
            query = "SELECT chip, images, code FROM mark WHERE experiment = ?"
            for chip, images, code in connection.execute(query, (number,)):
                marks.setdefault((chip, images), set()).add(code)
        return cls(parts, marks)

    def origin(self, codes: Codes, row: Numbers, code: bytes | None) -> Origin:
        """Where a row comes from, of chips or of parts (whose value is None)."""
        if code == codes.here(*row):
            return Origin.HERE
        return codes.origin(row, code, self.marks.get((row[0], row[1]), ()))


def chip_rows(
    connection: sqlite3.Connection, number: int, after: float = -math.inf, most: int = -1
) -> Iterator[tuple[Any, ...]]:
    """Chip, images, sums, value, when it was written, and code, of chips above `after`."""
    code = code_column(connection, "chip")
    rest = "rest" if version_of(connection) > 2 else "NULL"
    rows = connection.execute(
        f"SELECT chip, images, total, {rest}, value, written, {code} FROM chip "
        "WHERE experiment = ? AND chip > ? ORDER BY chip LIMIT ?",
        (number, after, most),
    )
    for chip, images, total, others, *rest in rows:
        yield chip, images, sums_of(total, others), *rest


def sums_of(total: Any, more: Any) -> Any:
    """The sums of a chip from its columns `total` and `rest`: a number, or a tuple of several.

    What can be neither is given as it is, or as text.
    """
    if more is None:
        return total
    if type(total) is not float or not isinstance(more, bytes) or not more or len(more) % 8:
        return f"{total!r}, {more!r}"
    return total, *unpack(f"<{len(more) // 8}d", more)


def number_in(connection: sqlite3.Connection, identifier: str) -> int | None:
    """The number of an experiment; None where there is none."""
    query = "SELECT number FROM experiment WHERE id = ?"
    row = connection.execute(query, (identifier,)).fetchone()
    return None if row is None else row[0]


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Generator[None]:
    """All that is read in the block is of one moment."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def code_column(connection: sqlite3.Connection, table: str) -> str:
    """A table's column of codes, which older files lack."""
    return f"{table}.code" if version_of(connection) > 1 else "NULL"


_ENTRIES = """
SELECT id, key, info, {}, count(value), count(chip) - count(value), min(chip), max(chip),
    total(images), max(written)
FROM experiment LEFT JOIN chip ON chip.experiment = experiment.number
GROUP BY number ORDER BY number
"""


def entry_rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Every experiment's row, and what its chips come to."""
    code = code_column(connection, "experiment")
    return connection.execute(_ENTRIES.format(code)).fetchall()
