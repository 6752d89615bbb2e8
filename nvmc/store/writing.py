"""Rows into the file, within a transaction: nothing goes backwards, and nothing is contradicted."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from struct import pack
from types import NoneType

from nvmc.errors import StoreError
from nvmc.store.plausible import Total, implausible
from nvmc.store.reading import sums_of
from nvmc.store.schema import one

__all__ = ["ENTER", "MARK", "near", "number_of", "same", "write_part", "write_rows"]


def write_rows(
    connection: sqlite3.Connection,
    experiment: tuple[int, str],
    rows: Iterable[tuple[int, int, Total | None, float | None, int, bytes | None]],
) -> int:
    """Write rows within a transaction; one that has seen more images replaces one with fewer.

    Args:
        connection: In a transaction.
        experiment: Number and id.
        rows: As `Experiment.add` takes them, when each was run, in seconds since 1970, and its
            code. Where the same row is there with another code, both codes are kept.

    Returns:
        How many were new, or newer than what was there.

    Raises:
        StoreError: The same images of a chip have two sums that differ by more than rounding, or
            what is there is no number.
        sqlite3.Error: They cannot be written.
    """
    number, identifier = experiment
    changed = 0
    for chip, images, total, value, written, code in rows:
        if value is None and not isinstance(total, tuple):
            write_part(connection, (number, chip, images, total, code))
        row = (number, chip, images, *_columns(total), value, written, code)
        if connection.execute(_UPSERT, row).rowcount > 0:
            changed += 1
            continue
        there = one(connection.execute(_THERE, (number, chip)))
        sums = sums_of(*there[1:3])
        if type(there[0]) is not int or type(sums) not in (float, tuple, NoneType):
            fault = f"chip {chip} has the sum {sums!r} of {there[0]!r} images; expected numbers"
            raise implausible(_path(connection), identifier, fault, chip)
        if there[0] == images and not same(number_of(sums), number_of(total)):
            path = _path(connection)
            raise StoreError(
                f"experiment {identifier[:12]} holds {number_of(sums)!r} for chip {chip} on "
                f"{images} images, and now it is {number_of(total)!r}: the same question has two "
                f"answers; `nvmc results delete {identifier[:12]} --chip {chip} --store {path}` "
                "forgets the old one"
            )
        if there[0] == images and code not in (None, there[3]):
            connection.execute(MARK, (number, chip, images, code))
    return changed


def write_part(
    connection: sqlite3.Connection, row: tuple[int, int, int, float | None, bytes | None]
) -> None:
    """Write a sum on the way, where there is none: experiment, chip, images, sum, code."""
    if connection.execute(_PART, row).rowcount > 0 or row[4] is None:
        return
    (there,) = one(connection.execute(_PART_THERE, row[:3]))
    if there != row[4]:
        connection.execute(MARK, (*row[:3], row[4]))


_UPSERT = """
INSERT INTO chip (experiment, chip, images, total, rest, value, written, code)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (experiment, chip) DO UPDATE SET
    images = excluded.images, total = excluded.total, rest = excluded.rest,
    value = excluded.value, written = excluded.written, code = excluded.code
WHERE excluded.images > images
    OR (excluded.images = images AND excluded.total IS total AND excluded.rest IS rest
        AND value IS NULL AND excluded.value IS NOT NULL)
"""

ENTER = """
INSERT INTO experiment (id, key, info, code) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""

_PART = "INSERT INTO part VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"

MARK = "INSERT INTO mark VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"

_THERE = "SELECT images, total, rest, code FROM chip WHERE experiment = ? AND chip = ?"

_PART_THERE = "SELECT code FROM part WHERE experiment = ? AND chip = ? AND images = ?"


def _columns(total: Total | None) -> tuple[float | None, bytes | None]:
    """Sums as the columns `total` and `rest`."""
    if not isinstance(total, tuple):
        return total, None
    return total[0], pack(f"<{len(total) - 1}d", *total[1:])


def _path(connection: sqlite3.Connection) -> Path:
    """The file, for people."""
    return Path(one(connection.execute("PRAGMA database_list"))[2])


def number_of(total: Total | None) -> Total:
    """SQLite has no NaN: it keeps null in its place."""
    if isinstance(total, tuple):
        return total
    return math.nan if total is None else float(total)


def near(a: Total, b: Total, share: float = 0.01) -> bool:
    """Whether two sums, or several pairwise, differ by less than this share."""
    if isinstance(a, tuple) or isinstance(b, tuple):
        if not (isinstance(a, tuple) and isinstance(b, tuple)) or len(a) != len(b):
            return False
        return all(near(*pair, share) for pair in zip(a, b, strict=True))
    return math.isclose(a, b, rel_tol=share) or (math.isnan(a) and math.isnan(b))


def same(a: Total, b: Total) -> bool:
    """Whether two sums are one, up to how another processor rounds."""
    return near(a, b, 1e-6)
