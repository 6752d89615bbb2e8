"""How `nvmc compile` replaces the network in a folder, whole, whatever ends it when.

The folder NAME.nvmc itself never moves, and nor does the store of results in it, which is never
touched. A *generation* is the files of one compilation. A new one is written into a hidden folder
(`nvmc.compiled.staging`) inside NAME.nvmc, or beside it where there is none yet:

1. `NAME.nvmc/.generation.xxxxxxxx/` is written, checked and synced.
2. Under the lock `NAME.nvmc/.lock`: large weights move into NAME.nvmc under names of their own.
3. The hidden folder becomes `NAME.nvmc/.commit` by one rename. **This is the moment** from which
   the new generation is the network.
4. Its files replace the old ones, the manifest last; large weights that the new manifest does not
   name are removed, then `.commit`.

A first compilation ends with one rename too: the hidden folder becomes NAME.nvmc.

What a kill leaves, and what becomes of it:

| killed in | what is there | who finishes |
| --- | --- | --- |
| 1 | the old network, a hidden folder | the next compilation removes the folder |
| 2 | as 1, and large weights that no model names | the next compilation removes both |
| 3, 4 | `.commit`, with what is not yet in place | whoever opens the folder next moves it |

A reader without the right to write takes each file from `.commit` where it is there, and else from
the folder (`current`), which is the new generation too. A program that only knows `model.onnx`
finds the old model or the new one, each with its own weights.

Where the file system has no locks, compilations into one folder must come one after another;
hidden folders are not removed there, as nobody can know whether their process lives.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from nvmc.compiled.staging import (
    LOCK_FILE,
    hidden_folder,
    is_data,
    locked,
    replacing_files,
    sweep,
    sync_files,
    sync_folder,
    writing,
)
from nvmc.errors import ArtifactError

__all__ = [
    "MANIFEST_FILE",
    "MODEL_FILE",
    "RESULTS_FILE",
    "TILES_FILE",
    "current",
    "finish",
    "is_compiled",
    "replacing_file",
    "replacing_folder",
    "steadily",
    "written",
]

_log = logging.getLogger(__name__)

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
TILES_FILE = "tiles.json"
RESULTS_FILE = "results.sqlite"
COMMIT = ".commit"
_INSIDE = "generation"
"""What hidden folders in a compiled folder are called after, which may be renamed."""
_FORMAT = re.compile(rb'"format"\s*:\s*"nvmc\.compiled/')
_HEAD = 1 << 12
"""Bytes of a manifest in which its format is."""
_Found = TypeVar("_Found")
_TRIES = 1000
"""How often a folder is read again that is replaced again and again."""


def current(folder: Path, name: str) -> Path:
    """Where a file of the network is, also while its generation is put in place."""
    waiting = folder / COMMIT / name
    return waiting if waiting.exists() and _is_committed(folder) else folder / name


def is_compiled(folder: Path) -> bool:
    """Whether there is a compiled network in `folder`."""
    # In this order: a manifest that is put in place meanwhile replaces one that is there.
    return any((place / MANIFEST_FILE).is_file() for place in (folder, folder / COMMIT))


def written(folder: Path) -> int:
    """When the network in `folder` was compiled, in nanoseconds since 1970; 0 for none."""
    times = [0]
    for place in (folder / COMMIT, folder):
        with suppress(OSError):
            times.append((place / MANIFEST_FILE).stat().st_mtime_ns)
    return max(times)


def finish(folder: Path) -> None:
    """Put a generation in place that was committed by a process which was killed then.

    Nothing is done where it cannot be: `current` finds its files all the same.
    """
    if _is_committed(folder):
        with suppress(OSError), locked(folder / LOCK_FILE, wait=False) as alone:
            _put_in_place(folder, alone)


def steadily(folder: Path, read: Callable[[], _Found]) -> _Found:
    """What `read` finds in a folder, which it reads again where the network was replaced meanwhile.

    Raises:
        ArtifactError: Of `read`, while nothing was replaced.
    """
    _log.debug("reading %s", folder)
    for _ in range(_TRIES):
        finish(folder)
        seen = _traces(folder)
        with suppress(ArtifactError):
            found = read()
            if _traces(folder) == seen:
                return found
        if _traces(folder) == seen:
            break
    return read()


@contextmanager
def replacing_folder(folder: Path) -> Generator[Path]:
    """A new folder whose files become the network in `folder` when the block ends well.

    Raises:
        ArtifactError: `folder` exists and is not a compiled network, or cannot be written.
    """
    _log.debug("writing %s", folder)
    if folder.exists():
        _check(folder)
        sweep(folder.parent, folder.name)  # of first compilations
    with writing(folder):
        place = (folder, _INSIDE) if folder.is_dir() else (folder.parent, folder.name)
        with hidden_folder(*place) as staged:
            yield staged
            sync_files(staged)
            if not _becomes(staged, folder):
                _check(folder)  # it may have come meanwhile
                _commit(staged, folder)


@contextmanager
def replacing_file(path: Path) -> Generator[Path]:
    """A temporary path that takes `path`'s place when the block ends well, and is gone otherwise.

    The temporary file lies in a hidden folder beside `path`; further files that the block leaves
    in that folder (external data) move along with it.

    Raises:
        ArtifactError: `path` lies in a compiled network, is a device or the like, or cannot be
            written.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ArtifactError(f"{str(path)!r} is no regular file, so none is put in its place")
    if _is_ours(path.parent):
        raise ArtifactError(f"{str(path)!r} lies in a compiled network; choose another -o")
    with writing(path), hidden_folder(path.parent, path.name) as holder:
        yield holder / path.name
        replacing_files(holder, path)
    _log.debug("wrote %s", path)


def _traces(folder: Path) -> set[tuple[str, int, int, int]]:
    """What differs when a network was replaced, or is being."""
    found: set[tuple[str, int, int, int]] = set()
    for place in (folder / COMMIT, folder):
        with suppress(OSError):
            for file in place.iterdir():
                if file.name.startswith(MODEL_FILE) or file.suffix == ".json":
                    status = file.stat()
                    key = status.st_ino, status.st_size, status.st_mtime_ns
                    found.add((str(file), *key))
    return found


def _check(folder: Path) -> None:
    """Complain about a folder whose files are not nvmc's to replace."""
    if not (_is_ours(folder) or _is_remains(folder)):
        raise ArtifactError(
            f"{str(folder)!r} exists and is not a compiled network; move it away, or choose "
            "another -o"
        )
    if _committed(folder) is False:
        raise ArtifactError(
            f"{str(folder / COMMIT)!r} is in the way, and nvmc did not make it; remove it, or "
            "choose another -o"
        )


def _is_ours(folder: Path) -> bool:
    """Whether nvmc wrote the network in `folder`: other programs have a manifest.json too.

    One whose manifest is damaged counts where the other two files are there.
    """
    if all((folder / name).is_file() for name in (MANIFEST_FILE, MODEL_FILE, TILES_FILE)):
        return True
    for place in (folder, folder / COMMIT):
        with suppress(OSError), (place / MANIFEST_FILE).open("rb") as file:
            if _FORMAT.search(file.read(_HEAD)):
                return True
    return False


def _is_remains(folder: Path) -> bool:
    """Whether `folder` is empty, or holds nothing but parts of a network that lost its manifest."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    hidden = (f".{_INSIDE}.", LOCK_FILE)  # of this compilation, and of others
    own = (MODEL_FILE, TILES_FILE, RESULTS_FILE)
    return all(
        name in own or name.startswith((*hidden, f"{RESULTS_FILE}-")) or is_data(name, MODEL_FILE)
        for name in names
    )


def _is_committed(folder: Path) -> bool:
    """Whether there is a committed generation."""
    return _committed(folder) is True


def _committed(folder: Path) -> bool | None:
    """Whether `.commit` is a generation: a folder, no link to one, with a network's files only.

    Folders come from strangers, and what is in `.commit` is moved. None where there is none, or it
    goes away meanwhile, as another process puts it in place.
    """
    commit = folder / COMMIT
    try:
        if not stat.S_ISDIR(commit.lstat().st_mode):
            return False
        with os.scandir(commit) as found:
            foreign = [entry.path for entry in found if not _is_part(entry)]
        return not any(map(os.path.lexists, foreign))
    except OSError:
        return None


def _is_part(entry: os.DirEntry[str]) -> bool:
    fixed = entry.name in (MANIFEST_FILE, MODEL_FILE, TILES_FILE, LOCK_FILE)
    return entry.is_file(follow_symlinks=False) and (fixed or is_data(entry.name, MODEL_FILE))


def _becomes(staged: Path, folder: Path) -> bool:
    """Let the hidden folder be the network, where there is none yet; says whether it is."""
    if folder.exists():
        return False
    try:
        os.rename(staged, folder)
    except OSError:
        if folder.exists():  # another compilation was quicker
            return False
        raise
    sync_folder(folder.parent)
    with suppress(FileNotFoundError):
        (folder / LOCK_FILE).unlink()
    return True


def _commit(staged: Path, folder: Path) -> None:
    with locked(folder / LOCK_FILE) as alone:
        _put_in_place(folder, alone)  # what an earlier compilation was killed in
        for name in os.listdir(staged):
            if is_data(name, MODEL_FILE):
                os.replace(staged / name, folder / name)
        sync_folder(folder)
        os.rename(staged, folder / COMMIT)
        try:
            sync_folder(folder)
            _put_in_place(folder, alone)
        except OSError as error:
            raise ArtifactError(
                f"the network in {str(folder)!r} is compiled, but not all of its files are in "
                f"place: {error.strerror or error}; the next command on it puts them there"
            ) from error


def _put_in_place(folder: Path, alone: bool) -> None:
    """Step 4; `alone` says whether no other process can be at it."""
    commit = folder / COMMIT
    if not _is_committed(folder):
        return
    names = [name for name in os.listdir(commit) if name != LOCK_FILE]
    for name in sorted(names, key=lambda name: (name == MANIFEST_FILE, name)):
        with suppress(FileNotFoundError):  # where there are no locks, another may be at it
            os.replace(commit / name, folder / name)
    sync_folder(folder)
    if alone:
        _remove_old_data(folder)
    (commit / LOCK_FILE).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        commit.rmdir()
    sync_folder(folder)


def _remove_old_data(folder: Path) -> None:
    """Remove large weights that are no part of the network, of format 2 too."""
    try:
        manifest: Any = json.loads((folder / MANIFEST_FILE).read_bytes())
        named = set(manifest["files"])
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return  # another's: better to leave them
    for name in set(os.listdir(folder)) - named:
        if is_data(name, MODEL_FILE) or name == f"{MODEL_FILE}.data":
            (folder / name).unlink(missing_ok=True)
