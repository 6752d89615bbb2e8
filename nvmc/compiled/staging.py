"""Files that take the place of others: written whole in a hidden folder, then renamed.

A hidden folder `.NAME.xxxxxxxx` holds a file `.lock`, which its process keeps locked (`flock`) for
as long as it lives. So whoever gets the lock knows that the process is dead, and removes the
folder: the next one that writes NAME does. `flock` belongs to the open file; the kernel gives it
back however a process ends, and it follows a folder that is renamed.

Files and folders are synced before a rename and behind it, so that a power failure leaves the old
or the new file as a kill does.

Large weights lie in a file of their own, `NAME.onnx.xxxxxxxxxxxxxxxx.data`, which is named after
its content (`nvmc.passes.io.save`). It can be put in place before the model that needs it: no
other model looks for that name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nvmc.errors import ArtifactError

__all__ = [
    "LOCK_FILE",
    "hidden_folder",
    "is_data",
    "locked",
    "replacing_files",
    "sweep",
    "sync_files",
    "sync_folder",
    "writing",
]

LOCK_FILE = ".lock"

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What `flock` answers on a file system that has no locks."""
_NO_SYNC: set[int | None] = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What `fsync` answers for a folder on a file system that does not do that."""


@dataclass(frozen=True)
class _Held:
    """An open lock file; `alone` unless the file system has no locks."""

    descriptor: int
    alone: bool

    def release(self) -> None:
        with suppress(OSError):  # processes that were forked meanwhile have the same open file
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Generator[bool]:
    """Hold a lock while the block runs.

    Args:
        path: The lock file, which is made where there is none and gone afterwards.
        wait: Whether to wait for another that has it.

    Yields:
        Whether nobody else has it: false where the file system has no locks.

    Raises:
        BlockingIOError: Another has it, and `wait` is false.
        OSError: The file cannot be made.
    """
    held = _acquire(path, wait)
    try:
        yield held.alone
    finally:
        with suppress(OSError):
            if held.alone and _is_open(path, held.descriptor):
                path.unlink()
        held.release()


@contextmanager
def hidden_folder(parent: Path, name: str) -> Generator[Path]:
    """A new hidden folder in `parent` to write `name` in; gone afterwards if it is still there.

    Those that dead processes left for the same name are removed first.

    Raises:
        OSError: It cannot be made.
    """
    sweep(parent, name)
    held: _Held | None = None
    place = parent
    try:
        while held is None:
            place = parent / f".{name}.{secrets.token_hex(4)}"  # known before it is made
            place.mkdir()
            with suppress(FileNotFoundError):  # swept, before it was locked
                held = _acquire(place / LOCK_FILE, wait=True)
        yield place
    finally:
        if place != parent:
            _remove(place)
        if held is not None:
            held.release()


def sweep(parent: Path, name: str) -> None:
    """Remove hidden folders for `name` that dead processes left in `parent`.

    One without a lock is removed only where nothing is in it: it is none of ours, or its process
    has just made it, and makes another then.
    """
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}")
    for place in [parent / found for found in _names(parent) if pattern.fullmatch(found)]:
        with suppress(OSError):  # alive, another user's, or gone meanwhile
            if not (place / LOCK_FILE).exists():
                place.rmdir()
                continue
            held = _acquire(place / LOCK_FILE, wait=False)
            try:
                if held.alone:
                    _remove(place)
            finally:
                held.release()


def is_data(name: str, model: str) -> bool:
    """Whether `name` is that of large weights beside the ONNX file `model`."""
    return re.fullmatch(rf"{re.escape(model)}\.[0-9a-f]{{16}}\.data", name) is not None


def replacing_files(folder: Path, path: Path) -> None:
    """Move the files in `folder` to where `path` is: its data first, then the file itself.

    A process that is killed in between leaves the old file with the old data, or the new one with
    the new. Data of a file that was replaced are removed.

    Raises:
        OSError: They cannot be moved.
    """
    sync_files(folder)
    parent = path.parent
    names = {name for name in os.listdir(folder) if name not in (LOCK_FILE, path.name)}
    if not names and not _data_of(path):
        os.replace(folder / path.name, path)
        sync_folder(parent)
        return
    with locked(parent / f".{path.name}{LOCK_FILE}") as alone:
        for name in sorted(names):
            os.replace(folder / name, parent / name)
        sync_folder(parent)
        os.replace(folder / path.name, path)
        sync_folder(parent)
        for name in _data_of(path) - names if alone else ():
            (parent / name).unlink()


def sync_files(folder: Path) -> None:
    """Bring the files of a folder, and their names, to the disk."""
    for file in folder.iterdir():
        if file.is_file() and file.name != LOCK_FILE:
            _sync(file, ())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    _sync(folder, _NO_SYNC)


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Say in one line why `path` cannot be written.

    Raises:
        ArtifactError: For an OSError of the block.
    """
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"cannot write {str(path)!r}: {error.strerror or error}; nothing was changed there"
        ) from error


def _data_of(path: Path) -> set[str]:
    return {name for name in _names(path.parent) if is_data(name, path.name)}


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # not to be read, or not there, which whoever writes in it will find
        return []


def _sync(path: Path, ignored: Collection[int | None]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in ignored:
            raise
    finally:
        os.close(descriptor)


def _acquire(path: Path, wait: bool) -> _Held:
    """The lock of the file that is at `path` once it is held.

    Its last holder removes the file, so that the one that was waited for may be gone.
    """
    while True:
        descriptor = _opened(path)
        try:
            alone = _flock(descriptor, wait)
            if not alone or _is_open(path, descriptor):
                return _Held(descriptor, alone)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except PermissionError:  # another user's; reading is enough, but on network file systems
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def _flock(descriptor: int, wait: bool) -> bool:
    """Lock; says whether there are locks at all."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _is_open(path: Path, descriptor: int) -> bool:
    """Whether `path` is the file that is open."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(place: Path) -> None:
    """Remove a hidden folder, its lock last: until then it can be swept."""
    with suppress(OSError):
        for file in place.iterdir():
            if file.name != LOCK_FILE:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        (place / LOCK_FILE).unlink(missing_ok=True)
        place.rmdir()
