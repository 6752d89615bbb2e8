"""The German Traffic Sign Recognition Benchmark: its own folders and CSV files.

J. Stallkamp et al., Man vs. computer: benchmarking machine learning algorithms for traffic sign
recognition, Neural Networks 32 (2012).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nvmc.data.files import content
from nvmc.data.pictures import pictures
from nvmc.data.sources import Found, Source, mixed
from nvmc.errors import DataError

__all__ = ["read_gtsrb"]

CLASSES = 43
_TRAIN = "Final_Training/Images/*/GT-*.csv"
_TEST = ("Final_Test/Images/GT-final_test.csv", "GT-final_test.csv", "Final_Test/GT-final_test.csv")
HELD_OUT = 10
"""Of so many tracks of a class one is validation: the 30 images of a track show one sign."""


def read_gtsrb(source: Source) -> Found:
    """Images (N, channels, rows, columns) and classes (N,), 0 to 42; options size and colour.

    Whole tracks are held out for validation, those whose number leaves 9 when divided by 10.
    """
    root = source.folder / "GTSRB" if (source.folder / "GTSRB").is_dir() else source.folder
    rows = list(_test(root) if source.split == "test" else _train(root))
    if source.split != "test":
        held_out = source.split == "validation"
        rows = [row for row in rows if (_track(row[0]) % HELD_OUT == HELD_OUT - 1) == held_out]
    rows = [rows[index] for index in mixed(len(rows))[: source.limit]]
    x = pictures(source, [path for path, _ in rows])
    return Found(x, np.array([label for _, label in rows], np.int64))


def _train(root: Path) -> Iterator[tuple[Path, int]]:
    """Files and classes of the training set, as published or as one CSV file names them."""
    if (root / "Train.csv").is_file():
        yield from _rows(root / "Train.csv", root)
        return
    tables = sorted(root.glob(_TRAIN)) or sorted(root.glob(_TRAIN.replace("Final_", "")))
    if not tables:
        raise DataError(
            f"{root} has no {_TRAIN} and no Train.csv; download GTSRB's own files from "
            "https://benchmark.ini.rub.de"
        )
    for table in tables:
        yield from _rows(table, table.parent)


def _test(root: Path) -> Iterator[tuple[Path, int]]:
    """Files and classes of the test set."""
    if (root / "Test.csv").is_file():
        yield from _rows(root / "Test.csv", root)
        return
    for name in _TEST:
        if (root / name).is_file():
            yield from _rows(root / name, root / "Final_Test" / "Images")
            return
    raise DataError(
        f"{root} has no {_TEST[0]} (its classes come in GTSRB_Final_Test_GT.zip) and no Test.csv; "
        "download GTSRB's own files from https://benchmark.ini.rub.de"
    )


def _rows(table: Path, folder: Path) -> Iterator[tuple[Path, int]]:
    """Files and classes of one CSV file, whose columns are Filename or Path, and ClassId."""
    text = content(table).decode("utf-8", errors="replace")
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in text[:200] else ",")
    columns = reader.fieldnames or []
    named = next((name for name in ("Filename", "Path") if name in columns), None)
    if named is None or "ClassId" not in columns:
        raise DataError(
            f"{table} has the columns {', '.join(columns) or 'none'}; expected Filename or Path, "
            "and ClassId"
        )
    for row in reader:
        label, name = row["ClassId"] or "", row[named] or ""
        if not label.isascii() or not label.isdigit() or int(label) >= CLASSES:
            raise DataError(f"{table} has class {label!r}; expected 0 to {CLASSES - 1}")
        path = folder / name
        if not name or ".." in Path(name).parts or Path(name).is_absolute():
            raise DataError(f"{table} names the file {name!r}; expected one beside it")
        yield path, int(label)


def _track(path: Path) -> int:
    """The number of an image's track: files are TRACK_IMAGE.ppm, or CLASS_TRACK_IMAGE.png."""
    parts = path.stem.split("_")
    if len(parts) < 2 or not parts[-2].isdigit():
        raise DataError(f"{path} is not named TRACK_IMAGE, as GTSRB's training files are")
    return int(parts[-2])
