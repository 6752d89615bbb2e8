"""Rows into the file, within a transaction: nothing goes backwards, and nothing is contradicted."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import NoneType

from nvmc.errors import StoreError
from nvmc.store.plausible import implausible
from nvmc.store.schema import one

__all__ = ["ENTER", "MARK", "number_of", "same", "write_part", "write_rows"]


def write_rows(
    connection: sqlite3.Connection,
    experiment: tuple[int, str],
    rows: Iterable[tuple[int, int, float, float | None, int, bytes | None]],
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
        if value is None:
            write_part(connection, (number, chip, images, total, code))
        row = (number, chip, images, total, value, written, code)
        if connection.execute(_UPSERT, row).rowcount > 0:
            changed += 1
            continue
        there = one(connection.execute(_THERE, (number, chip)))
        if type(there[0]) is not int or type(there[1]) not in (float, NoneType):
            fault = f"chip {chip} has the sum {there[1]!r} of {there[0]!r} images; expected numbers"
            raise implausible(_path(connection), identifier, fault, chip)
        if there[0] == images and not same(number_of(there[1]), total):
            path = _path(connection)
            raise StoreError(
                f"experiment {identifier[:12]} holds {number_of(there[1])!r} for chip {chip} on "
                f"{images} images, and now it is {total!r}: the same question has two answers; "
                f"`nvmc results delete {identifier[:12]} --chip {chip} --store {path}` forgets the "
                "old one"
            )
        if there[0] == images and code not in (None, there[2]):
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
INSERT INTO chip VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (experiment, chip) DO UPDATE SET
    images = excluded.images, total = excluded.total, value = excluded.value,
    written = excluded.written, code = excluded.code
WHERE excluded.images > images
    OR (excluded.images = images AND excluded.total IS total
        AND value IS NULL AND excluded.value IS NOT NULL)
"""

ENTER = """
INSERT INTO experiment (id, key, info, code) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""

_PART = "INSERT INTO part VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"

MARK = "INSERT INTO mark VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"

_THERE = "SELECT images, total, code FROM chip WHERE experiment = ? AND chip = ?"

_PART_THERE = "SELECT code FROM part WHERE experiment = ? AND chip = ? AND images = ?"


def _path(connection: sqlite3.Connection) -> Path:
    """The file, for people."""
    return Path(one(connection.execute("PRAGMA database_list"))[2])


def number_of(total: float | None) -> float:
    """SQLite has no NaN: it keeps null in its place."""
    return math.nan if total is None else float(total)


def same(a: float, b: float) -> bool:
    """Whether two sums are one, up to how another processor rounds."""
    return math.isclose(a, b, rel_tol=1e-6) or (math.isnan(a) and math.isnan(b))
