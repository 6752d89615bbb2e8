"""Files that are no store, not ours, newer, damaged or out of reach: one line, and untouched."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nvmc.errors import StoreError
from nvmc.store import Store
from nvmc.store.tables import VERSION
from store_writer import INFO, KEY, row_of, whole

CHIPS = 2000


def sqlite_file(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def stored(path: Path, chips: int = CHIPS) -> Path:
    with Store.open(path) as store:
        store.experiment(KEY, INFO).add_many(map(row_of, range(chips)))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the table of locks that connections to one store share."""
    files = [p for p in folder.glob("*") if p.is_file() and not p.name.endswith("-shm")]
    return {p.name: p.read_bytes() for p in files}


def refused(path: Path, **options: bool) -> str:
    """The one line of the error; the file, and what lies beside it, stays as it was."""
    before = contents(path.parent)
    with pytest.raises(StoreError) as caught, Store.open(path, **options) as store:
        list(store.rows(store.experiments()[0].id))
    assert contents(path.parent) == before
    text = str(caught.value)
    assert str(path) in text and len(text.splitlines()) == 1
    return text


def text_file(path: Path) -> None:
    path.write_text("dear diary, " * 100)


def short_text_file(path: Path) -> None:
    path.write_text("dear diary")


def another_application(path: Path) -> None:
    sqlite_file(path, "PRAGMA application_id = 7", "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")


def another_application_without_an_id(path: Path) -> None:
    sqlite_file(path, "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)")


def newer(path: Path) -> None:
    sqlite_file(stored(path), f"PRAGMA user_version = {VERSION + 1}")


def truncated(path: Path) -> None:
    content = stored(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def overwritten(path: Path) -> None:
    """The pages behind the first hold something else."""
    content = stored(path).read_bytes()
    path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (text_file, "no SQLite file"),
        (short_text_file, "no SQLite file"),
        (another_application, "another application's"),
        (another_application_without_an_id, "another application's"),
        (newer, "update nvmc"),
        (truncated, "is damaged"),
        (overwritten, "is damaged"),
    ],
)
@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_no_store(
    tmp_path: Path, make: Callable[[Path], None], phrase: str, readonly: bool
) -> None:
    path = tmp_path / "results.sqlite"
    make(path)
    assert phrase in refused(path, readonly=readonly)


def test_a_version_that_came_while_the_file_was_open(tmp_path: Path) -> None:
    """It is in the write-ahead log only, which the header of the file does not know."""
    path = stored(tmp_path / "results.sqlite")
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {VERSION + 1}")
    try:
        assert "update nvmc" in refused(path)
    finally:
        other.close()


def test_there_is_none(tmp_path: Path) -> None:
    for options in ({"create": False}, {"readonly": True}):
        assert "nvmc simulate" in refused(tmp_path / "results.sqlite", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    path.touch()
    assert "nvmc simulate" in refused(path, create=False)
    stored(path)
    with Store.open(path, readonly=True) as store:
        assert store.experiments()[0].complete == CHIPS


@pytest.mark.parametrize("place", ["absent/results.sqlite", "folder", "file/results.sqlite"])
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    text = refused(tmp_path / place)
    assert "cannot" in text


READ_ONLY = """
import sys
from nvmc.errors import StoreError
from nvmc.store import Store
path = sys.argv[1]
with Store.open(path, readonly=True) as store:
    print(store.experiments()[0].complete)
try:
    Store.open(path)
except StoreError as error:
    print(error)
"""


def test_a_read_only_place(tmp_path: Path) -> None:
    """Bound read-only where a name space may be made, else by its modes (which root ignores)."""
    path = stored(tmp_path / "results.sqlite")
    here = str(tmp_path)
    bind = f"mount --bind {here} {here} && mount -o remount,ro,bind {here} && exec "
    spaces = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    closed = subprocess.run([*spaces, f"{bind} true"], capture_output=True).returncode == 0
    if not closed and os.geteuid() == 0:
        pytest.skip("no name space may be made here, and root may write everywhere")
    command = [sys.executable, "-c", READ_ONLY, str(path)]
    tmp_path.chmod(0o555)
    try:
        if closed:
            command = [*spaces, bind + '"$@"', "sh", *command]
        done = subprocess.run(command, capture_output=True, text=True)
    finally:
        tmp_path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    complete, refusal = done.stdout.splitlines()
    assert complete == str(CHIPS)
    assert "cannot write" in refusal and "--store FILE" in refusal and "--no-store" in refusal


def test_opening_while_another_process_is_writing(tmp_path: Path) -> None:
    """Reading needs no lock; what is added waits, stays in memory, and is written later."""
    path = stored(tmp_path / "results.sqlite", 3)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    said: list[str] = []
    with Store.open(path, on_trouble=said.append, timeout_s=0.05) as store:
        with pytest.raises(StoreError, match="another process"):
            store.experiment({"new": 1}, INFO)
        experiment = store.experiment(KEY, INFO)
        assert experiment.known() == whole(3)
        experiment.add(*row_of(3))
        experiment.add(*row_of(4))
        assert store.unsaved == 2 and experiment.known() == whole(5)
        assert store.trouble is not None and "another process" in store.trouble
        assert len(said) == 1 and "another process" in said[0]
        other.execute("ROLLBACK")
        store.flush()
        assert store.unsaved == 0 and store.trouble is None and len(said) == 1
    other.close()
    with Store.open(path, readonly=True) as store:
        assert store.experiments()[0].complete == 5


def test_many_processes_make_one_store(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from nvmc.store import Store
        sys.stdin.read(1)
        with Store.open(sys.argv[1]) as store:
            store.experiment({"key": 0}, {}).add(int(sys.argv[2]), 1, 0.5)
    """
    path = tmp_path / "results.sqlite"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(chip)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for chip in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("!")
        process.stdin.flush()
    for process in processes:
        _, error = process.communicate()
        assert process.returncode == 0, error
    with Store.open(path, readonly=True) as store:
        (entry,) = store.experiments()
        assert entry.begun == 6


def test_a_file_that_was_moved_is_found_again(tmp_path: Path) -> None:
    """What comes while its folder is elsewhere is kept in memory, and written once it is back."""
    path, said = tmp_path / "a" / "results.sqlite", list[str]()
    path.parent.mkdir()
    with Store.open(path, on_trouble=said.append) as store:
        experiment = store.experiment(KEY, INFO)
        experiment.add(*row_of(0))
        path.parent.rename(tmp_path / "b")
        experiment.add(*row_of(1))
        assert store.unsaved == 1 and not path.parent.exists()
        (tmp_path / "b").rename(path.parent)
        store._database.retry_at = 0
        experiment.add(*row_of(2))
        assert len(said) == 1 and store.unsaved == 0 and experiment.known() == whole(3)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """SQLite names the table that it cannot read; Python decodes that with a UnicodeDecodeError."""
    path = stored(tmp_path / "results.sqlite", 3)
    content = path.read_bytes()
    begun = content.index(b"CREATE TABLE mark")
    path.write_bytes(content[:begun] + b"CREATE TABL\xc7 mark" + content[begun + 17 :])
    assert "is damaged" in refused(path)
    assert "is damaged" in refused(path, readonly=True)


def test_an_index_that_contradicts_its_table(tmp_path: Path) -> None:
    """A row is there in a scan, and not where it is looked up."""
    path, other = stored(tmp_path / "results.sqlite", 3), stored(tmp_path / "other.sqlite", 3)
    with Store.open(path, readonly=True) as store:
        identifier = store.experiments()[0].id.encode()
    content = path.read_bytes()
    first = content.index(identifier)
    said: list[str] = []
    for place in (first, content.index(identifier, first + 1)):
        for into_it in (True, False):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            into, source = (path, other) if into_it else (other, path)
            try:
                with Store.open(into) as store:
                    store.merge([source])
            except StoreError as error:
                said.append(str(error))
    assert any("an index contradicts its table" in text for text in said)
