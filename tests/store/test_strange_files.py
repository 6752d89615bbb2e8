"""Files made to mislead: tables that are not nvmc's, and things that are no regular files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from nvmc.errors import StoreError
from nvmc.store import Store
from store_writer import INFO, KEY, row_of

ENDLESS = """
DROP TABLE chip;
CREATE VIEW chip AS
    WITH RECURSIVE r (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r)
    SELECT 1 AS experiment, n AS chip, 200 AS images, 200.0 AS total, 1.0 AS value, 0 AS written,
        NULL AS code FROM r
"""

LOOSE = """
DROP TABLE chip;
CREATE TABLE chip (experiment INTEGER, chip INTEGER, images INTEGER, total REAL, value REAL,
    written INTEGER, code BLOB)
"""

GENERATED = """
DROP TABLE chip;
CREATE TABLE chip (
    experiment INTEGER NOT NULL REFERENCES experiment (number) ON DELETE CASCADE,
    chip INTEGER NOT NULL, images INTEGER NOT NULL, total REAL,
    value REAL GENERATED ALWAYS AS (1.0), written INTEGER NOT NULL, code BLOB,
    PRIMARY KEY (experiment, chip)
) WITHOUT ROWID
"""

REPLACING = """
DROP TABLE chip;
CREATE TABLE chip (
    experiment INTEGER NOT NULL REFERENCES experiment (number) ON DELETE CASCADE,
    chip INTEGER NOT NULL, images INTEGER NOT NULL, total REAL,
    value REAL, written INTEGER NOT NULL, code BLOB,
    PRIMARY KEY (experiment, chip) ON CONFLICT IGNORE
) WITHOUT ROWID
"""


def stored(path: Path) -> Path:
    with Store.open(path) as store:
        store.experiment(KEY, INFO).add_many(map(row_of, range(20)))
    return path


def edited(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(stored(path))) as connection:
        connection.executescript(script)
    return path


def refused(path: Path, readonly: bool) -> str:
    with pytest.raises(StoreError) as caught:
        Store.open(path, readonly=readonly).close()
    text = str(caught.value)
    assert str(path) in text and len(text.splitlines()) == 1
    return text


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize(
    ("script", "named"),
    [
        (ENDLESS, "view 'chip'"),
        (LOOSE, "table 'chip'"),
        (GENERATED, "table 'chip'"),
        (REPLACING, "table 'chip'"),
        ("CREATE VIEW v AS SELECT 1", "view 'v'"),
        ("CREATE TABLE spare (x)", "table 'spare'"),
        ("CREATE INDEX i ON chip (total)", "index 'i'"),
        ("CREATE UNIQUE INDEX i ON chip (total)", "index 'i'"),
        ("ALTER TABLE chip ADD COLUMN more TEXT", "table 'chip'"),
        ("ALTER TABLE experiment ADD COLUMN more TEXT CHECK (1)", "table 'experiment'"),
        ("DROP TABLE mark", "table 'mark'"),
        ("DROP TABLE chip", "table 'chip'"),
        ("PRAGMA user_version = 1", "user_version"),
        *(
            (f"CREATE TRIGGER t {when} ON chip BEGIN {what}; END", "trigger 't'")
            for when, what in (
                ("BEFORE INSERT", "SELECT RAISE(IGNORE)"),
                ("AFTER INSERT", "DELETE FROM chip WHERE chip = NEW.chip"),
                ("AFTER INSERT", "UPDATE chip SET total = 200, value = 1"),
                ("AFTER UPDATE", "SELECT RAISE(ROLLBACK, 'x')"),
            )
        ),
        ("CREATE TRIGGER 'a\n\x1b[2J' AFTER INSERT ON chip BEGIN SELECT 1; END", "trigger 'a"),
        (f"CREATE TABLE {'x' * 10000} (x)", "table 'x"),
    ],
)
def test_a_schema_that_is_not_nvmcs(
    tmp_path: Path, script: str, named: str, readonly: bool
) -> None:
    path = edited(tmp_path / "results.sqlite", script)
    before = path.read_bytes()
    text = refused(path, readonly)
    assert path.read_bytes() == before
    assert "simulate again" in text and len(text) < 1000
    assert named in text or named == "user_version" and "table" in text


def test_what_sqlite_itself_adds_is_no_fault(tmp_path: Path) -> None:
    path = edited(tmp_path / "results.sqlite", "ANALYZE; VACUUM; REINDEX")
    with Store.open(path) as store:
        assert store.experiments()[0].complete == 20


def test_tables_written_out_otherwise_are_the_same_tables(tmp_path: Path) -> None:
    """A store of version 2 as nvmc made it at first: in one step, with other line breaks."""
    script = REPLACING.replace(" ON CONFLICT IGNORE", "").strip()
    path = edited(tmp_path / "results.sqlite", f"{script}; PRAGMA user_version = 2")
    Store.open(path).close()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere.sqlite")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (fifo, "pipe"),
        (device, "device"),
        (Path.mkdir, "folder"),
        (link_to_nothing, "link"),
        (link_to_itself, "link"),
    ],
)
def test_no_regular_file(
    tmp_path: Path, make: Callable[[Path], None], phrase: str, readonly: bool
) -> None:
    path = tmp_path / "results.sqlite"
    make(path)
    text = refused(path, readonly)
    assert phrase in text and "--store FILE" in text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("make", [fifo, link_to_nothing])
def test_no_regular_file_beside_it(
    tmp_path: Path, suffix: str, make: Callable[[Path], None], readonly: bool
) -> None:
    path = stored(tmp_path / "results.sqlite")
    make(tmp_path / f"results.sqlite{suffix}")
    text = refused(path, readonly)
    assert f"results.sqlite{suffix}" in text


def test_a_link_to_a_store_is_one(tmp_path: Path) -> None:
    path = stored(tmp_path / "real.sqlite")
    link = tmp_path / "results.sqlite"
    link.symlink_to(path)
    with Store.open(link) as store:
        assert store.experiments()[0].complete == 20


@pytest.mark.parametrize("column", ["total = '['", "images = 'many'", "total = x'00ff'"])
def test_a_store_that_is_damaged_takes_no_chip_twice(tmp_path: Path, column: str) -> None:
    """Adding a chip that is there already reads the row that is there."""
    path = edited(tmp_path / "results.sqlite", f"UPDATE chip SET {column} WHERE chip = 3")
    with Store.open(path) as store, pytest.raises(StoreError) as caught:
        store.experiment(KEY, INFO).add_many(map(row_of, range(20)))
    text = str(caught.value)
    assert "chip 3 has the sum" in text and "--chip 3" in text and len(text.splitlines()) == 1


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
@pytest.mark.parametrize("column", ["key", "info"])
def test_json_has_no_infinite_numbers(tmp_path: Path, column: str, number: str) -> None:
    script = f"UPDATE experiment SET {column} = '{{\"sigma\": [{number}]}}'"
    path = edited(tmp_path / "results.sqlite", script)
    with Store.open(path, readonly=True) as store:
        with pytest.raises(StoreError, match=r"its (key|description) is no JSON object"):
            store.experiments()
