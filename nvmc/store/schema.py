"""The file: its marks, and how it is opened without harming what is not ours."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvmc.errors import StoreError
from nvmc.store.tables import STEPS, VERSION, strange

__all__ = ["APPLICATION", "cannot_write", "connect", "damaged", "one", "reason", "version_of"]

APPLICATION = 0x4E564D43
"""`NVMC`: SQLite's application id of the file."""

_BESIDE = 64 * 1024
"""Bytes of SQLite's log and index beside a file that is read, rounded up."""

_MAGIC = b"SQLite format 3\0"


class _Connection(sqlite3.Connection):
    """Takes a message of SQLite that is no text, as it names what is in a damaged file, for that.

    Python raises UnicodeDecodeError for it.
    """

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """See `sqlite3.Connection`, as for all below."""
        with _decoded():
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        with _decoded():
            return super().executemany(*arguments)

    def executescript(self, *arguments: Any) -> sqlite3.Cursor:
        with _decoded():
            return super().executescript(*arguments)


@contextmanager
def _decoded() -> Generator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise _corrupt("names in it are no UTF-8") from error


def _corrupt(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def one(cursor: sqlite3.Cursor) -> tuple[Any, ...]:
    """The row of a query that finds one in every file whose indices are whole.

    Raises:
        sqlite3.DatabaseError: There is none.
    """
    row = cursor.fetchone()
    if row is None:
        raise _corrupt("an index contradicts its table")
    return row


def connect(
    path: Path, *, create: bool, readonly: bool = False, timeout_s: float
) -> sqlite3.Connection:
    """A connection to the store in `path`, which is made where `create` says so.

    Any thread may use it, one at a time. Each statement is its own transaction unless BEGIN is
    said.

    Args:
        path: The file.
        create: Make a store where there is no file, or an empty one.
        readonly: Only read; a file on a read-only file system will do.
        timeout_s: How long to wait for another process that is writing.

    Raises:
        StoreError: There is none, it is none, or it cannot be written.
    """
    _check_kind(path)
    empty = _is_empty(path)
    if empty and not create:
        raise StoreError(
            f"no results in {str(path)!r}; `nvmc simulate` puts them there as chips are done"
        )
    why = _why_closed(path)
    if why is not None and not readonly:
        raise cannot_write(path, why)
    made = not path.exists()
    try:
        connection = _opened(path, why is None, timeout_s)
    except sqlite3.Error as error:
        raise _refusal(path, error, readonly) from error
    try:
        connection.execute("PRAGMA trusted_schema = OFF")  # it may be a stranger's
        if readonly:
            connection.execute("PRAGMA query_only = ON")
            _check_tables(path, connection)
        else:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = NORMAL")
            _make(path, connection)
            _check_tables(path, connection)
            _bring_up(connection)
            _let_read(connection, timeout_s)
        return connection
    except BaseException as error:
        connection.close()
        if made and path.exists() and not path.stat().st_size:  # there was no room for the tables
            path.unlink()
        if isinstance(error, sqlite3.Error):
            raise _refusal(path, error, readonly) from error
        raise


def reason(error: sqlite3.Error) -> str:
    """Why SQLite refused, for people."""
    return _REASONS.get(_code(error) & 0xFF) or str(error)


def cannot_write(path: Path, why: str) -> StoreError:
    """The error of a place where no store can be."""
    return StoreError(
        f"cannot write {str(path)!r}: {why}; choose another place with --store FILE or go without "
        "one with --no-store"
    )


def damaged(path: Path, error: sqlite3.Error) -> StoreError:
    """The error of a store that cannot be read."""
    if _code(error) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"{str(path)!r} is damaged ({error}); nothing was changed in it: restore a backup, or "
            "move it away and simulate again"
        )
    return StoreError(f"cannot read {str(path)!r}: {reason(error)}")


_REASONS = {
    sqlite3.SQLITE_BUSY: "another process has held it for too long",
    sqlite3.SQLITE_CANTOPEN: "the folder is missing or closed to you",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written, or is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
}


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)


def _refusal(path: Path, error: sqlite3.Error, readonly: bool) -> StoreError:
    if readonly and _code(error) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        full = _free(path) < _BESIDE
        why = "the disk is full" if full else reason(error)
        return StoreError(
            f"cannot read {str(path)!r}: {why}; SQLite needs {_BESIDE // 1024} kB beside the file "
            "to read it: free space, or copy the file to another disk"
        )
    writing = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
    if _code(error) & 0xFF in (*writing, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY):
        return cannot_write(path, reason(error))
    return damaged(path, error)


def _free(path: Path) -> float:
    """Bytes that the disk has for what SQLite puts beside a file."""
    try:
        return shutil.disk_usage(path.absolute().parent).free
    except OSError:
        return math.inf


def _is_empty(path: Path) -> bool:
    """Whether there is nothing in `path` yet; only the header of the file is looked at.

    Raises:
        StoreError: Something else than a store is in it.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if not header:
        return True
    if len(header) < 100 or header[:16] != _MAGIC:
        raise StoreError(f"{str(path)!r} is no store of results (no SQLite file); nothing changed")
    if int.from_bytes(header[68:72], "big") != APPLICATION:
        raise _of_another(path)
    _check_version(path, int.from_bytes(header[60:64], "big"))
    return False


def _of_another(path: Path) -> StoreError:
    return StoreError(
        f"{str(path)!r} is another application's SQLite file; nothing was changed in it"
    )


def _check_kind(path: Path) -> None:
    """Complain of what is no regular file, or has one beside it: SQLite may wait for it for ever.

    Raises:
        StoreError: It is a pipe, a device, a folder, or a link that leads nowhere.
    """
    other = "choose another place with --store FILE"
    if os.path.islink(path) and not os.path.exists(path):
        raise StoreError(f"cannot use {str(path)!r}: it is a link that leads nowhere; {other}")
    real = Path(os.path.realpath(path))
    for suffix in ("", "-wal", "-shm", "-journal"):
        place = real.with_name(real.name + suffix)
        try:
            mode = place.lstat().st_mode
        except OSError:  # the one that is missing is made; others are said where it is opened
            continue
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
            named = path if not suffix else place
            raise StoreError(f"cannot use {str(named)!r}: it is {kind}; {other}")


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


def _check_tables(path: Path, connection: sqlite3.Connection) -> None:
    """Complain of a version that is not known, and of tables that are not those of its version.

    Raises:
        StoreError: So it is.
    """
    connection.execute("BEGIN")  # both are of one moment
    try:
        version = version_of(connection)
        _check_version(path, version)
        what = strange(connection, version)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if what is not None:
        raise StoreError(
            f"{str(path)!r} was altered: {what} (version {version}); nothing was changed in it: "
            "restore a backup, or move it away and simulate again"
        )


def _check_version(path: Path, found: int) -> None:
    if found < 1:
        raise StoreError(f"{str(path)!r} is damaged (version {found}); nothing was changed in it")
    if found > VERSION:
        raise StoreError(
            f"{str(path)!r} has version {found} and was written by a newer nvmc; this one reads "
            f"up to version {VERSION}: update nvmc"
        )


def _why_closed(path: Path) -> str | None:
    """Why the file, and those that SQLite puts beside it, cannot be written, if so."""
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r}"
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        return "it is read-only to you"
    return None


def _opened(path: Path, writable: bool, timeout_s: float) -> sqlite3.Connection:
    """Connected, and able to read.

    A read-only file is one that nobody writes, so that it may be read without the files that
    readers and writers share; where those are left beside it, it is read with them.
    """
    beside = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=rwc" if writable else "mode=ro" if beside else "mode=ro&immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables if there are none, in one transaction.

    Raises:
        StoreError: The file is another application's.
    """
    if _pragma(connection, "application_id") == APPLICATION:
        return
    # The first write of all, and it must come with the rest: a file with content that lacks the
    # application id is another's.
    connection.execute("BEGIN")
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if _pragma(connection, "application_id") != APPLICATION:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise _of_another(path)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            _step(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _let_read(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Let readers beside writers."""
    deadline = time.monotonic() + timeout_s
    while _pragma(connection, "journal_mode") == "delete":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # another process is at it: it does not wait
            if _code(error) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _bring_up(connection: sqlite3.Connection) -> None:
    """Make an older version this one, in one transaction."""
    if version_of(connection) >= VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _step(connection)  # from where another process may have left it
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _step(connection: sqlite3.Connection) -> None:
    for version in range(version_of(connection) + 1, VERSION + 1):
        for statement in STEPS[version]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the file as it is now."""
    return int(_pragma(connection, "user_version"))


def _pragma(connection: sqlite3.Connection, name: str) -> int | str:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
