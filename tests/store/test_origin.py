"""Whose results these are: the identity of a user, and files of before there was one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.errors import StoreError
from nvmc.store import Identity, Origin, Store
from nvmc.store.origin import own_identity
from nvmc.store.tables import VERSION
from store_writer import INFO, KEY, row_of, whole

SOMEONE = Identity(b"someone else's secret of 32 bytes")


def origins(path: Path, identity: Identity | None = None) -> list[Origin]:
    """Where each chip comes from, as a user sees it."""
    with Store.open(path, readonly=True, identity=identity) as store:
        (entry,) = store.experiments()
        return [origin for _, origin in store.chips(entry.id)]


def stored(path: Path, chips: int = 5, identity: Identity | None = None) -> Path:
    with Store.open(path, identity=identity) as store:
        store.experiment(KEY, INFO).add_many(map(row_of, range(chips)))
    return path


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the identity, which is not there yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "nvmc" / "identity"


def test_an_identity_is_made_once(state: Path) -> None:
    identity = own_identity()
    assert identity.trouble is None and state.read_bytes() == identity.secret
    assert len(identity.secret) == 32 and state.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in state.parent.iterdir()] == ["identity"]
    assert own_identity() is identity
    assert identity.secret.hex() not in repr(identity) and str(identity.secret) not in repr(
        identity
    )


WHO = """
import sys
from nvmc.store.origin import own_identity
sys.stdin.read(1)
identity = own_identity()
print(identity.secret.hex(), identity.trouble)
"""


def test_first_processes_agree(state: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WHO],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("!")
        process.stdin.flush()
    said = {process.communicate()[0] for process in processes}
    assert said == {f"{state.read_bytes().hex()} None\n"}
    assert [path.name for path in state.parent.iterdir()] == ["identity"]


def no_folder(state: Path) -> None:
    state.parent.parent.touch()


def short(state: Path) -> None:
    state.parent.mkdir(parents=True)
    state.write_bytes(b"short")
    state.chmod(0o600)


def open_to_others(state: Path) -> None:
    state.parent.mkdir(parents=True)
    state.write_bytes(bytes(32))
    state.chmod(0o644)


@pytest.mark.parametrize(
    ("make", "phrase"),
    [(no_folder, "identity"), (short, "it has 5 bytes"), (open_to_others, "chmod 600")],
)
def test_an_identity_that_cannot_be_kept(state: Path, make: object, phrase: str) -> None:
    """It lives for the process, which says so where it writes; nothing there is changed."""
    assert callable(make)
    make(state)
    identity = own_identity()
    assert identity.trouble is not None and phrase in identity.trouble
    assert str(state) in identity.trouble and own_identity() is identity
    assert identity.secret != bytes(32)
    said: list[str] = []
    path = state.parents[2] / "results.sqlite"
    with Store.open(path, on_trouble=said.append) as store:
        store.experiment(KEY, INFO).add(*row_of(0))
    assert said == [identity.trouble]
    assert origins(path) == [Origin.HERE]
    assert origins(path, Identity(bytes(32))) == [Origin.ELSEWHERE]


def test_whose_rows_are_whose(tmp_path: Path) -> None:
    path = stored(tmp_path / "results.sqlite")
    assert origins(path) == [Origin.HERE] * 5
    assert origins(path, SOMEONE) == [Origin.ELSEWHERE] * 5
    stored(path, 8, SOMEONE)  # the first 5 are found there as well
    assert origins(path) == [Origin.HERE] * 5 + [Origin.ELSEWHERE] * 3
    assert origins(path, SOMEONE) == [Origin.HERE] * 8


@pytest.mark.parametrize(
    "change",
    [
        "total = total + 1e-9",
        "total = NULL",
        "value = NULL",
        "value = value / 2",
        "images = images - 1",
        "chip = 700",
        "code = NULL",
        "code = zeroblob(16)",
        "code = 'text'",
        "code = (SELECT code FROM chip WHERE chip = 1)",
    ],
)
def test_an_edited_row_is_no_longer_ones_own(tmp_path: Path, change: str) -> None:
    path = stored(tmp_path / "results.sqlite")
    edit(path, f"UPDATE chip SET {change} WHERE chip = 3")
    found = origins(path)
    assert found.count(Origin.ELSEWHERE) == 1 and found.count(Origin.HERE) == 4


def test_a_row_of_another_experiment_is_not_ones_own(tmp_path: Path) -> None:
    path = stored(tmp_path / "results.sqlite", 1)
    with Store.open(path) as store:
        store.experiment({**KEY, "sigma": 0.2}, INFO).add_many([(0, 1, 1.0, 1.0)])
    edit(path, "DELETE FROM chip WHERE experiment = 2")
    edit(path, "UPDATE chip SET experiment = 2 WHERE experiment = 1")
    with Store.open(path, readonly=True) as store:
        ((_, origin),) = store.chips(store.experiments()[1].id)
    assert origin is Origin.ELSEWHERE


def test_vouching(tmp_path: Path) -> None:
    """It holds for rows as they were read, for the user who vouches, and goes with merges."""
    path = stored(tmp_path / "results.sqlite", 6, SOMEONE)
    with Store.open(path) as store:
        experiment = store.experiment(KEY, INFO)
        assert set(experiment.read().origins.values()) == {Origin.ELSEWHERE}
        edit(path, "UPDATE chip SET total = total / 2 WHERE chip = 2")
        experiment.vouch([1, 2], [3, 4])
        experiment.vouch([], [77])
    seen = [Origin.ELSEWHERE, Origin.CHECKED, Origin.ELSEWHERE, *[Origin.VOUCHED] * 2]
    assert origins(path) == [*seen, Origin.ELSEWHERE]
    with Store.open(tmp_path / "merged.sqlite") as store:
        store.merge([path])
    assert origins(tmp_path / "merged.sqlite") == [*seen, Origin.ELSEWHERE]
    assert origins(path, Identity(bytes(32))) == [Origin.ELSEWHERE] * 6


def test_what_goes_on_from_a_sum_is_no_better_founded(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with Store.open(path, identity=SOMEONE) as store:
        store.experiment(KEY, INFO).add_many((chip, 10, 4.0, None) for chip in range(3))
    with Store.open(path) as store:
        experiment = store.experiment(KEY, INFO)
        experiment.read()
        experiment.vouch([0], [1])
        experiment.add_many((chip, 20, 8.0, 0.4) for chip in range(4))
    assert origins(path) == [Origin.CHECKED, Origin.VOUCHED, Origin.ELSEWHERE, Origin.HERE]


numbers = st.none() | st.floats(allow_nan=False).map(lambda x: x + 0.0)
rows = st.tuples(st.integers(0, 2**63 - 1), st.integers(1, 2**63 - 1), numbers, numbers)


@given(rows, rows)
def test_codes_tell_rows_apart(
    one: tuple[int, int, float | None, float | None],
    other: tuple[int, int, float | None, float | None],
) -> None:
    codes = SOMEONE.codes("experiment")
    assert (codes.here(*one) == codes.here(*other)) == (one == other)
    assert len(codes.here(*one)) == 16
    assert codes.here(0, 1, -0.0, None) == codes.here(0, 1, 0.0, None)  # as SQLite has it


VERSION_1 = """
CREATE TABLE experiment (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL,
    info TEXT NOT NULL
);
CREATE TABLE chip (
    experiment INTEGER NOT NULL REFERENCES experiment (number) ON DELETE CASCADE,
    chip INTEGER NOT NULL, images INTEGER NOT NULL, total REAL, value REAL,
    written INTEGER NOT NULL, PRIMARY KEY (experiment, chip)
) WITHOUT ROWID;
CREATE TABLE part (
    experiment INTEGER NOT NULL REFERENCES experiment (number) ON DELETE CASCADE,
    chip INTEGER NOT NULL, images INTEGER NOT NULL, total REAL,
    PRIMARY KEY (experiment, chip, images)
) WITHOUT ROWID;
"""


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A store as it was before rows had codes."""
    new, path = stored(tmp_path / "new.sqlite"), tmp_path / "results.sqlite"
    with Store.open(new) as store:
        store.experiment(KEY, INFO).add_many([(9, 3, 1.0, None), (9, 7, 2.0, None)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {0x4E564D43}")
        connection.execute("PRAGMA user_version = 1")
        connection.executescript(VERSION_1)
        connection.execute("ATTACH ? AS new", (str(new),))
        connection.execute(
            "INSERT INTO experiment SELECT number, id, key, info FROM new.experiment"
        )
        columns = "experiment, chip, images, total"
        connection.execute(f"INSERT INTO chip SELECT {columns}, value, written FROM new.chip")
        connection.execute(f"INSERT INTO part SELECT {columns} FROM new.part")
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")
    new.unlink()
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_an_older_store_is_read_as_it_is(older: Path) -> None:
    before = older.read_bytes()
    assert origins(older) == [Origin.ELSEWHERE] * 6
    with Store.open(older.with_name("merged.sqlite")) as store:
        store.merge([older])
    assert origins(older.with_name("merged.sqlite")) == [Origin.ELSEWHERE] * 6
    assert (version(older), older.read_bytes()) == (1, before)


def test_an_older_store_is_brought_up_where_it_is_written(older: Path) -> None:
    with closing(sqlite3.connect(older)) as connection:
        before = connection.execute("SELECT * FROM chip").fetchall()
    with Store.open(older) as store:
        experiment = store.experiment(KEY, INFO)
        found = experiment.read()
        assert found.known == {**whole(5), 9: (7, 2.0)} and found.parts == {9: {3: 1.0, 7: 2.0}}
        assert set(found.origins.values()) == {Origin.ELSEWHERE} and len(found.origins) == 6
        experiment.add(*row_of(5))
    assert version(older) == VERSION
    assert origins(older) == [*[Origin.ELSEWHERE] * 5, Origin.HERE, Origin.ELSEWHERE]
    with closing(sqlite3.connect(older)) as connection:
        after = connection.execute("SELECT * FROM chip WHERE chip <> 5").fetchall()
    assert [row[:-2] for row in after] == before  # without code and more


def test_an_older_store_is_brought_up_under_readers_and_once(older: Path) -> None:
    with Store.open(older, readonly=True) as reader:
        rows = list(reader.rows(reader.experiments()[0].id))
        code = "import sys; from nvmc.store import Store; Store.open(sys.argv[1]).close()"
        processes = [
            subprocess.Popen([sys.executable, "-c", code, str(older)], stderr=subprocess.PIPE)
            for _ in range(4)
        ]
        for process in processes:
            assert process.communicate()[1] == b"" and process.returncode == 0
        assert version(older) == VERSION
        assert list(reader.rows(reader.experiments()[0].id)) == rows


def test_a_store_that_somebody_writes_is_brought_up_later(older: Path) -> None:
    with closing(sqlite3.connect(older, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process"):
            Store.open(older, timeout_s=0.05)
        assert version(older) == 1
    Store.open(older).close()
    assert version(older) == VERSION


def test_a_migration_is_whole_or_not_at_all(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nvmc.store import schema

    steps = {**schema.STEPS, VERSION: (*schema.STEPS[VERSION], "SELECT * FROM absent")}
    monkeypatch.setattr(schema, "STEPS", steps)
    with pytest.raises(StoreError):
        Store.open(older)
    assert version(older) == 1
    monkeypatch.undo()
    Store.open(older).close()
    assert version(older) == VERSION


def test_tests_have_a_state_folder_of_their_own() -> None:
    assert "nvmc-state-" in os.environ["XDG_STATE_HOME"]
