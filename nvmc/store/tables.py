"""The tables of a store, version by version, and whether a file has these and nothing else.

A file may come from a stranger. A view in the place of a table may never end, and a trigger may
change or remove what is written.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from functools import cache

__all__ = ["STEPS", "VERSION", "strange"]

STEPS = {
    1: (
        """CREATE TABLE experiment (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            key TEXT NOT NULL,
            info TEXT NOT NULL
        )""",
        # total is null where it is NaN, value until the chip has seen all images; written is in
        # seconds since 1970.
        """CREATE TABLE chip (
            experiment INTEGER NOT NULL REFERENCES experiment (number) ON DELETE CASCADE,
            chip INTEGER NOT NULL,
            images INTEGER NOT NULL,
            total REAL,
            value REAL,
            written INTEGER NOT NULL,
            PRIMARY KEY (experiment, chip)
        ) WITHOUT ROWID""",
        # Sums on the way to those in `chip`: decisions that were made of them are made again
        # alike.
        """CREATE TABLE part (
            experiment INTEGER NOT NULL REFERENCES experiment (number) ON DELETE CASCADE,
            chip INTEGER NOT NULL,
            images INTEGER NOT NULL,
            total REAL,
            PRIMARY KEY (experiment, chip, images)
        ) WITHOUT ROWID""",
    ),
    2: (
        "ALTER TABLE experiment ADD COLUMN code BLOB",
        "ALTER TABLE chip ADD COLUMN code BLOB",
        "ALTER TABLE part ADD COLUMN code BLOB",
        # Codes by which a user vouches for rows of `chip` and `part` that another one wrote.
        """CREATE TABLE mark (
            experiment INTEGER NOT NULL REFERENCES experiment (number) ON DELETE CASCADE,
            chip INTEGER NOT NULL,
            images INTEGER NOT NULL,
            code BLOB NOT NULL,
            PRIMARY KEY (experiment, chip, images, code)
        ) WITHOUT ROWID""",
    ),
    # Of a metric with several sums, `total` is the first and `rest` the others: binary64,
    # little-endian; null where there is one.
    3: ("ALTER TABLE chip ADD COLUMN rest BLOB",),
}
"""Version -> what makes it of the one before; quick, whatever the size of the file."""

VERSION = max(STEPS)
"""SQLite's user version of the file: that of its tables."""

_STATISTICS = {
    ("table", "sqlite_stat1"): "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    ("table", "sqlite_stat4"): "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
}
"""What ANALYZE adds."""


def strange(connection: sqlite3.Connection, version: int) -> str | None:
    """What in the file is not as nvmc makes it in that version; None where all is.

    Only SQLite's list of its tables is read, none of the tables.
    """
    known = _definitions(version)
    missing = set(known)
    for kind, name, sql in connection.execute(_LIST):
        thing = f"{str(kind)[:20]} {str(name)[:60]!r}"
        expected = known.get((kind, name)) or _tokens(_STATISTICS.get((kind, name)))
        if (kind, name) not in known and expected is None:
            return f"it has a {thing}, which nvmc does not make"
        if _tokens(sql) != expected:
            return f"its {thing} is not the one that nvmc makes"
        missing.discard((kind, name))
    for kind, name in sorted(missing):
        return f"its {kind} {name!r} is missing"
    return None


_LIST = "SELECT type, name, sql FROM sqlite_master"


@cache
def _definitions(version: int) -> dict[tuple[str, str], tuple[str, ...] | None]:
    """Type and name of everything in a new file of that version -> its definition."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for step in range(1, version + 1):
            for statement in STEPS[step]:
                connection.execute(statement)
        rows = connection.execute(_LIST).fetchall()
    return {(kind, name): _tokens(sql) for kind, name, sql in rows}


def _tokens(sql: object) -> tuple[str, ...] | None:
    """A definition without its line breaks and blanks; SQLite has none for its own indices."""
    return None if sql is None else tuple(re.findall(r"\w+|[^\w\s]", str(sql)))
