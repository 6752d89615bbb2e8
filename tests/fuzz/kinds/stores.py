"""Stores of results with other values, rows, tables and pages: of this user, or of another one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import struct
from pathlib import Path
from random import Random
from typing import Any

from fuzz.case import Commands, Kind
from fuzz.made import compile_networks, succeed
from fuzz.mutations import FLOATS, INTEGERS, TEXTS, changed_bytes, changed_tree
from nvmc.store.origin import own_identity

__all__ = ["KIND"]


def prepare(folder: Path) -> None:
    compile_networks(folder, "dense")
    store = ["--store", str(folder / "store.sqlite")]
    for sigma in ("0.1", "0.2"):
        words = ["simulate", str(folder / "dense.nvmc"), "--runs", "3", "--sigma", sigma]
        succeed(*words, *store)


def make(draw: Random, valid: Path, here: Path) -> Commands:
    shutil.copy(valid / "store.sqlite", here / "in.sqlite")
    if draw.random() < 0.75:
        _change_values(draw, here / "in.sqlite")
        _change_codes(draw, here / "in.sqlite")
    else:
        content = (here / "in.sqlite").read_bytes()
        changed = changed_bytes(draw, content, 4, kept=draw.random() < 0.8)
        (here / "in.sqlite").write_bytes(changed)
    shutil.copy(here / "in.sqlite", here / "out.sqlite")
    shutil.copy(here / "in.sqlite", here / "kept.sqlite")
    shutil.copy(valid / "store.sqlite", here / "out-whole.sqlite")
    some = draw.choice((["--elsewhere"], ["--chip", str(draw.randrange(4))], []))
    delete = ["results", "delete", draw.choice(_ids(valid)), *some, "--yes", "--store"]
    simulate = ["simulate", str(valid / "dense.nvmc"), "--runs", "4", "--store", "kept.sqlite"]
    return draw.choice(
        (
            [["results", "list", "in.sqlite"]],
            [["results", "list", "in.sqlite", "--json"]],
            [["results", "show", draw.choice("0123456789abcdef"), "--store", "in.sqlite"]],
            [["results", "export", "--all", "--store", "in.sqlite", "-o", "out.csv"]],
            [["results", "merge", "out-whole.sqlite", "in.sqlite"]],
            [["results", "merge", "out.sqlite", str(valid / "store.sqlite")]],
            [
                ["results", "merge", "out-new.sqlite", "in.sqlite"],
                ["results", "list", "out-new.sqlite"],
            ],
            [[*delete, "kept.sqlite"], ["results", "list", "kept.sqlite"]],
            [[*simulate, "--sigma", "0.1"]],
            [[*simulate, "--sigma", "0.2", "--json"]],
            [[*simulate, "--sigma", "0.1", "--trust-store"]],
        )
    )


def _ids(valid: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(valid / "store.sqlite")) as connection:
        return [key for (key,) in connection.execute("SELECT id FROM experiment ORDER BY number")]


def _change_values(draw: Random, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = _text
        for _ in range(draw.randint(1, 3)):
            with contextlib.suppress(sqlite3.Error, OverflowError):  # no such value, or forbidden
                _change(draw, connection)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _change_codes(draw: Random, path: Path) -> None:
    """Give rows the codes of this user, or none, and experiments the ids of their keys."""
    ids, codes = draw.random() < 0.5, draw.choice(("own", "own", "none", "old"))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.text_factory = _text
        with contextlib.suppress(sqlite3.Error):  # tables and columns may be gone
            if ids:
                connection.create_function("own_id", 1, _id)
                connection.execute("UPDATE experiment SET id = own_id(key)")
            if codes == "own":
                _sign(connection)
            elif codes == "none":
                for table in ("experiment", "chip", "part"):
                    connection.execute(f"UPDATE {table} SET code = NULL")


def _id(key: object) -> str:
    return hashlib.sha256(str(key).encode(errors="surrogatepass")).hexdigest()


def _sign(connection: sqlite3.Connection) -> None:
    """What is not of a row's types stays as it is: it has no code."""

    def code(identifier: Any, chip: Any, images: Any, total: Any, value: Any) -> bytes | None:
        try:
            return own_identity().codes(str(identifier)).here(chip, images, total, value)
        except (TypeError, ValueError, ArithmeticError, struct.error):
            return None

    connection.create_function("own_code", 5, code)
    for table, value in (("chip", "value"), ("part", "NULL")):
        connection.execute(
            f"UPDATE {table} SET code = own_code((SELECT id FROM experiment WHERE number = "
            f"{table}.experiment), chip, images, total, {value})"
        )
    for number, identifier, info in connection.execute("SELECT number, id, info FROM experiment"):
        own = own_identity().codes(str(identifier)).of_text(str(info))
        connection.execute("UPDATE experiment SET code = ? WHERE number = ?", (own, number))


def _change(draw: Random, connection: sqlite3.Connection) -> None:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    tables = [name for (name,) in connection.execute(query) if not name.startswith("sqlite_")]
    table = draw.choice(tables)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    column = draw.randrange(len(columns))
    chance = draw.random()
    if chance < 0.75 and rows:
        row = draw.choice(rows)
        where = " AND ".join(f"{name} IS ?" for name in columns)
        set_ = f"UPDATE {table} SET {columns[column]} = ? WHERE {where}"
        connection.execute(set_, (_other(draw, row[column]), *row))
    elif chance < 0.8:
        connection.execute(f"DELETE FROM {table}")
    else:
        connection.execute(_statement(draw, table, columns[column]))


def _statement(draw: Random, table: str, column: str) -> str:
    return draw.choice(
        (
            f"DROP TABLE {table}",
            f"ALTER TABLE {table} RENAME COLUMN {column} TO other",
            f"ALTER TABLE {table} RENAME TO other",
            f"ALTER TABLE {table} DROP COLUMN {column}",
            f"ALTER TABLE {table} ADD COLUMN more DEFAULT 1",
            f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
            f"CREATE TABLE spare AS SELECT * FROM {table}",
            f"PRAGMA user_version = {draw.choice((0, 1, 2, 3, 2**31 - 1))}",
            f"PRAGMA application_id = {draw.choice((0, 1))}",
            "PRAGMA journal_mode = WAL",
            "PRAGMA encoding = 'UTF-16'",
            f"UPDATE {table} SET {column} = {column} || ''",
        )
    )


def _other(draw: Random, value: Any) -> Any:
    """Another value of a cell; what is JSON mostly stays so."""
    if isinstance(value, str) and value.startswith(("{", "[")) and draw.random() < 0.7:
        return json.dumps(changed_tree(draw, json.loads(value)))
    if isinstance(value, int) and draw.random() < 0.5:
        return value + draw.choice((-1, 1))
    texts = [text for text in TEXTS if "\udcff" not in text]
    return draw.choice((None, b"\xff\x00", draw.choice(texts), *INTEGERS, *FLOATS))


KIND = Kind(prepare, make)
