"""The folder that `nvmc export` writes: whole, with `export.json` that lists its files.

It is written in a hidden folder beside it, and takes its place by a rename. A folder is replaced
only where an export of nvmc is all that is in it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from nvmc.compiled.digests import FileEntry
from nvmc.compiled.generations import is_compiled
from nvmc.compiled.staging import LOCK_FILE, hidden_folder, sync_files, sync_folder, writing
from nvmc.errors import ArtifactError

__all__ = [
    "EXPORT_FILE",
    "FORMAT",
    "check_free",
    "file_names",
    "replacing_export",
    "write_export",
]

EXPORT_FILE = "export.json"
FORMAT = "nvmc.export/1"
"""Of export.json; every kind has a format of its own beside it."""


@contextmanager
def replacing_export(folder: Path) -> Generator[Path]:
    """A new folder that takes the place of `folder` when the block ends well.

    Raises:
        ArtifactError: There is something else than an export of nvmc, or it cannot be written.
    """
    check_free(folder)
    with writing(folder), hidden_folder(folder.parent, folder.name) as staged:
        yield staged
        sync_files(staged)
        check_free(folder)  # something may have come meanwhile
        if folder.exists():
            with hidden_folder(folder.parent, f"{folder.name}.old") as old:
                os.rename(folder, old / folder.name)
                os.rename(staged, folder)
        else:
            os.rename(staged, folder)
        with suppress(FileNotFoundError):
            (folder / LOCK_FILE).unlink()
        sync_folder(folder.parent)


def check_free(folder: Path) -> None:
    """Complain about a folder that is not nvmc's to replace.

    Raises:
        ArtifactError: It is a file, a compiled network, or holds files that no export wrote.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ArtifactError(f"{str(folder)!r} is no folder; choose another -o")
    if is_compiled(folder):
        raise ArtifactError(f"{str(folder)!r} is a compiled network; choose another -o")
    with writing(folder):
        found = set(os.listdir(folder))
    foreign = sorted(found - _own(folder))
    if foreign:
        raise ArtifactError(
            f"{str(folder)!r} holds {foreign[0]!r}, which no export of nvmc wrote; move it away, "
            "or choose another -o"
        )


def _own(folder: Path) -> set[str]:
    """Names of the files that an export wrote there."""
    try:
        content: Any = json.loads((folder / EXPORT_FILE).read_bytes())
        if content["format"] == FORMAT:
            return {EXPORT_FILE, *cast(dict[str, Any], content["files"])}
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        pass
    return set()


def write_export(folder: Path, content: dict[str, Any]) -> None:
    """Write `export.json`: `content` behind its format, and before the files that are there.

    Raises:
        OSError: It cannot be written.
    """
    paths = sorted(path for path in folder.iterdir() if path.name != LOCK_FILE)
    entries = {path.name: FileEntry.of_file(path) for path in paths}
    files = {name: entry.model_dump() for name, entry in entries.items() if entry is not None}
    told = {"format": FORMAT, **content, "files": files}
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / EXPORT_FILE).write_text(text + "\n", encoding="utf-8")


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A name for the files of each array: letters, digits, `.`, `_` and `-`, each once.

    Names that differ in case only get a number, too: not every file system tells them apart.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".-") or "array"
        plain = plain[:100]
        number, chosen = 1, plain
        while chosen.lower() in taken:
            number += 1
            chosen = f"{plain}~{number}"
        taken.add(chosen.lower())
        found[name] = chosen
    return found
