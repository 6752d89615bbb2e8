"""Tables as CSV files, for spreadsheets and scripts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from nvmc.compiled.artifact import replacing_file
from nvmc.errors import ArtifactError

__all__ = ["check_file", "write_csv"]

Cell = str | int | float | None


def check_file(path: Path) -> None:
    """Complain now, rather than after the runs, that no file can be written to `path`.

    Raises:
        ArtifactError: There is no such folder, or `path` is one.
    """
    if path.is_dir():
        raise ArtifactError(f"cannot write {str(path)!r}: it is a folder; give a file's name")
    if not path.absolute().parent.is_dir():
        raise ArtifactError(
            f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}; make it first"
        )


def write_csv(path: Path, rows: Iterable[Mapping[str, Cell]]) -> None:
    """Write rows with the keys of the first as heading (RFC 4180; a cell of None is empty).

    Numbers are written so that reading them gives the same float64.

    Raises:
        ArtifactError: `path` cannot be written.
    """
    lines = list(rows)
    with replacing_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, fieldnames=list(lines[0]) if lines else [])
        writer.writeheader()
        writer.writerows(lines)
