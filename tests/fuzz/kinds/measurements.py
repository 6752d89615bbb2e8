"""Files of measured cells: fitted, and the device that comes out shown."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from random import Random

from fuzz.case import Commands, Kind
from fuzz.made import succeed
from fuzz.mutations import FLOATS, INTEGERS, changed_bytes, changed_text, how_often
from source_tree import ROOT

__all__ = ["KIND"]

FILES = ("four-levels.csv", "drifting.csv")


def prepare(folder: Path) -> None:
    for name in FILES:
        out = str(folder / name.replace(".csv", ".toml"))
        succeed("devices", "fit", str(ROOT / "tests/files" / name), "-o", out, "--no-figure")


def make(draw: Random, valid: Path, here: Path) -> Commands:
    text = (ROOT / "tests/files" / draw.choice(FILES)).read_text()
    table = list(csv.reader(text.splitlines()))
    header, rows = table[0], table[1:]
    if draw.random() < 0.15:
        rows = draw.sample(rows, draw.choice((1, 3, 20, 60, len(rows))))
    for _ in range(how_often(draw, 2)):
        _change(draw, header, rows)
    file = io.StringIO()
    csv.writer(file, lineterminator=draw.choice(("\n", "\r\n", "\n"))).writerows([header, *rows])
    content = file.getvalue().encode("utf-8", "surrogateescape")
    if draw.random() < 0.1:
        content = changed_bytes(draw, content)
    (here / "cells.csv").write_bytes(content)
    law = draw.choice(([], [], ["--law", "levels"], ["--law", "polynomial"]))
    fit = ["devices", "fit", "cells.csv", "-o", "out.toml", "--no-figure", *law]
    return [[*fit, *draw.choice(([], ["--json"]))], ["devices", "show", "out.toml"]]


def _change(draw: Random, header: list[str], rows: list[list[str]]) -> None:
    row = draw.randrange(len(rows))
    column = draw.randrange(min(len(header), len(rows[row])) or 1)
    if not column < min(len(header), *map(len, rows)):
        return
    match draw.randrange(32):
        case 0:
            header[column] = draw.choice(
                (
                    "level",
                    "measured_us",
                    "measured_s",
                    "target_ns",
                    "time_s",
                    "cell",
                    "",
                    "x\x1b[1m",
                )
            )
        case 1:
            header[column] = changed_text(draw, header[column])
        case 2:  # a scale
            factor = draw.choice((0.0, 1e-9, 1e-6, 1e3, 1e300, -1.0))
            for line in rows:
                line[column] = _scaled(line[column], factor)
        case 3:  # one value everywhere
            for line in rows:
                line[column] = rows[row][column]
        case 4 if len(header) > 1:
            for line in (header, *rows):
                del line[column]
        case 5:
            rows.insert(row, list(rows[row]))
        case 6:
            rows[row] = rows[row][: draw.randrange(len(header))]
        case 7:
            rows[row][column] = changed_text(draw, rows[row][column])
        case 8 | 9:
            special = draw.choice((*FLOATS, *INTEGERS, "1_0", "0x1", " 3 ", "1e", "١"))
            rows[row][column] = str(special)
        case 10:  # a tiny or a huge spread
            for line in rows:
                line[column] = _scaled(line[column], draw.choice((1, 1.0000001, 1e-5, 30)))
        case _:
            if draw.random() < 0.6 and "measured_us" in header:
                column = header.index("measured_us")
            factor = draw.choice((0, 0.1, 0.9, 1.1, 3, 1e-12, 100))
            rows[row][column] = _scaled(rows[row][column], factor)


def _scaled(text: str, factor: float) -> str:
    try:
        return repr(float(text) * factor)
    except ValueError:
        return text


KIND = Kind(prepare, make)
