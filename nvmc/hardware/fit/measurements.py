"""Measured cells, as `nvmc devices fit` reads them: one CSV file, one reading a line."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import DataError
from nvmc.hardware.devices.numbers import LARGEST
from nvmc.hardware.devices.units import implausible

__all__ = ["COLUMNS", "UNITS", "Measurements", "read_measurements"]

Float = NDArray[np.floating[Any]]

COLUMNS = {
    "level": "level the cell was programmed to, a whole number from 0",
    "target_us": "conductance the cell was programmed to, in microsiemens",
    "measured_us": "conductance that was read, in microsiemens",
    "time_s": "time since programming, in seconds, above 0",
    "cell": "name of the cell, where one cell is read at several times",
}
"""Every column per file may have, conductances in any of `UNITS`; it must have `measured_us`, and
`level` or `target_us`."""

UNITS = {"us": 1.0, "s": 1e6, "ms": 1e3, "ns": 1e-3}
"""Endings of `measured_` and `target_`: siemens with their prefix, and microsiemens in one."""
CONDUCTANCES = ("measured", "target")
LARGEST_LEVEL = 2**16 - 1


@dataclass(frozen=True)
class Measurements:
    """The readings of one file, a row each; every array has shape (rows,).

    Attributes:
        file: Name of the file, without its folder.
        digest: SHA-256 of its bytes, in hexadecimal.
        measured: Conductances in µS, at least 0.
        level: Levels as whole numbers, or None.
        target: Target conductances in µS, or None. `level` or `target` is there.
        time: Seconds since programming, above 0, or None.
        cell: Which cell each row is of, numbered in order of appearance, or None.
    """

    file: str
    digest: str
    measured: Float
    level: NDArray[np.int64] | None = None
    target: Float | None = None
    time: Float | None = None
    cell: NDArray[np.int64] | None = None

    def rows(self, chosen: NDArray[np.bool_]) -> Measurements:
        """The readings that `chosen` picks; cells keep their numbers."""
        level, target, time, cell = (
            None if column is None else column[chosen]
            for column in (self.level, self.target, self.time, self.cell)
        )
        return replace(
            self, measured=self.measured[chosen], level=level, target=target, time=time, cell=cell
        )


def read_measurements(path: Path) -> Measurements:
    """Read a file of measurements.

    Raises:
        DataError: The file cannot be read, or a header, number or row of it is wrong; the message
            names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read measurements {str(path)!r}: {error.strerror or error}; give a CSV file"
        ) from error
    where = repr(path.name)
    header, lines, rows = _table(content, where)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    numbers = {
        name: _numbers(name, texts, lines, where)
        for name, texts in columns.items()
        if name != "cell"
    }
    level = numbers.get("level")
    measured, target = (_conductance(kind, numbers, where) for kind in CONDUCTANCES)
    assert measured is not None  # _check_header
    read = Measurements(
        file=path.name,
        digest=hashlib.sha256(content).hexdigest(),
        measured=measured,
        level=None if level is None else level.astype(np.int64),
        target=target,
        time=numbers.get("time_s"),
        cell=_labels(columns["cell"]) if "cell" in columns else None,
    )
    _check_agreement(read, lines, where)
    return read


def _conductance(kind: str, numbers: dict[str, Float], where: str) -> Float | None:
    """The column of measured or of target conductances in µS; None where there is none.

    Raises:
        DataError: Its full scale is no cell's, so its unit is another.
    """
    for unit, factor in UNITS.items():
        name = f"{kind}_{unit}"
        if name not in numbers:
            continue
        highest = float(numbers[name].max())
        if highest > 0 and (expected := implausible(highest * factor)):
            others = ", ".join(f"{kind}_{other}" for other in UNITS if other != unit)
            raise DataError(
                f"{where}: {name} goes up to {highest:g}, which is {highest * factor:g} µS; "
                f"expected {expected}: name the column by its unit ({others})"
            )
        return numbers[name] * factor if unit != "us" else numbers[name]
    return None


def _table(content: bytes, where: str) -> tuple[list[str], list[int], list[list[str]]]:
    """The header, and the line number and fields of every row below it; blank lines are skipped."""
    try:
        reader = csv.reader(content.decode("utf-8-sig").splitlines())
        table = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is not CSV: {error}; save it as plain UTF-8 CSV") from error
    if not table:
        raise DataError(f"{where} is empty; expected a header and a reading a line")
    header = [name.strip() for name in table[0][1]]
    _check_header(header, f"{where} line {table[0][0]}")
    if len(table) == 1:
        raise DataError(f"{where} has no readings below its header")
    for line, row in table[1:]:
        if len(row) != len(header):
            raise DataError(
                f"{where} line {line}: there are {len(row)} fields; expected {len(header)}, as in "
                "the header"
            )
    return header, [line for line, _ in table[1:]], [row for _, row in table[1:]]


def _check_header(names: list[str], where: str) -> None:
    expected = (
        f"expected columns among {', '.join(COLUMNS)}, separated by commas (conductances in other "
        "units end in _s, _ms or _ns)"
    )
    seen: list[str] = []
    for name in names:
        kind, _, unit = name.rpartition("_")
        plain = f"{kind}_us" if kind in CONDUCTANCES and unit in UNITS else name
        if plain not in COLUMNS:
            raise DataError(f"{where}: column {name!r} is unknown; {expected}")
        if plain in seen:
            raise DataError(f"{where}: column {name!r} is given twice; drop one")
        seen.append(plain)
    if "measured_us" not in seen:
        raise DataError(f"{where}: there is no column measured_us; {expected}")
    if "level" not in seen and "target_us" not in seen:
        raise DataError(f"{where}: there is neither level nor target_us; add one of them")


def _numbers(name: str, texts: Iterable[str], lines: list[int], where: str) -> Float:
    """A column as numbers that mean something.

    Raises:
        DataError: One is no finite number, or out of its column's range.
    """
    values: list[float] = []
    for line, text in zip(lines, texts, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        problem = _problem(name, value)
        if problem:
            raise DataError(f"{where} line {line}: {name} is {text.strip()!r}; expected {problem}")
        values.append(value)
    return np.array(values)


def _problem(name: str, value: float) -> str | None:
    """What was expected of `value` instead, if it is not as it should be."""
    if not math.isfinite(value):
        return "a finite number"
    if value > LARGEST:
        return f"at most {LARGEST:g}"
    if name == "level" and not (value.is_integer() and 0 <= value <= LARGEST_LEVEL):
        return f"a whole number from 0 to {LARGEST_LEVEL}"
    if name == "time_s" and value <= 0:
        return "a time above 0"
    return "at least 0: conductances are not negative" if value < 0 else None


def _labels(texts: Iterable[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text.strip(), len(numbers)) for text in texts], np.int64)


def _check_agreement(read: Measurements, lines: list[int], where: str) -> None:
    """Raise DataError where two rows contradict each other."""
    if read.level is not None and read.target is not None:
        _check_function(read.level, read.target, "level", "target_us", lines, where)
    if read.cell is None:
        return
    if read.level is not None:
        _check_function(read.cell, read.level.astype(np.float64), "cell", "level", lines, where)
    elif read.target is not None:
        _check_function(read.cell, read.target, "cell", "target_us", lines, where)
    time = np.zeros(read.cell.shape) if read.time is None else read.time
    seen: set[tuple[int, float]] = set()
    for i, line in enumerate(lines):
        key = (int(read.cell[i]), float(time[i]))
        if key in seen:
            at = "" if read.time is None else f" at time_s {key[1]:g}"
            raise DataError(
                f"{where} line {line}: the cell is read twice{at}; keep one reading (its mean)"
            )
        seen.add(key)


def _check_function(
    keys: NDArray[np.int64], values: Float, key: str, value: str, lines: list[int], where: str
) -> None:
    """Raise DataError where one key stands beside two values."""
    first: dict[int, tuple[float, int]] = {}
    for line, k, v in zip(lines, keys.tolist(), values.tolist(), strict=True):
        known, at = first.setdefault(k, (v, line))
        if known != v:
            name = f"{key} {k}" if key == "level" else f"the {key}"
            raise DataError(
                f"{where} line {line}: {name} has {value} {v:g}, but {known:g} on line {at}; "
                f"one {key} has one {value}"
            )
