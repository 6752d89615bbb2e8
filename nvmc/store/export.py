"""Chips as a table in a file, one row per chip: CSV, or Parquet where pyarrow is there."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from nvmc.errors import OptionError
from nvmc.store.plausible import Expected
from nvmc.store.store import Entry, Store

__all__ = ["COLUMNS", "check_format", "export"]

COLUMNS = {
    "experiment": "string",
    "nvmc": "string",
    "network": "string",
    "network_sha256": "string",
    "mapped_share": "double",
    "clip": "string",
    "activation_bits": "int64",
    "source_agreement": "double",
    "source_r2": "double",
    "source_data": "string",
    "device": "string",
    "sigma": "double",
    "time_s": "double",
    "noise": "string",
    "compensate": "string",
    "calibration_data": "string",
    "calibration_sha256": "string",
    "verified_data": "string",
    "verified_sha256": "string",
    "periphery": "string",
    "weight_bits": "int64",
    "bits": "string",
    "layer_cell_bits": "string",
    "layers": "string",
    "cell_bits": "int64",
    "encoding": "string",
    "per_channel": "bool",
    "tile": "string",
    "fidelity": "string",
    "mc_passes": "int64",
    "output": "string",
    "metric": "string",
    "data": "string",
    "data_sha256": "string",
    "limit": "int64",
    "seed": "string",
    "chip": "int64",
    "images": "int64",
    "total": "double",
    "sums": "string",
    "value": "double",
    "origin": "string",
}
"""Column -> its type in Parquet. A seed may have more bits than a number there, so it is text;
lists and objects are JSON texts. Of a metric with several sums `total` is empty and `sums` has
them. `origin` is that of `nvmc.store.Origin`."""

BATCH = 50_000
"""Rows that are written to Parquet at once."""


def check_format(path: Path) -> None:
    """Complain about a name whose ending is neither .csv nor .parquet, or that lacks its library.

    Raises:
        OptionError: It is one.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise OptionError(f"output is {str(path)!r}; expected a name that ends in .csv or .parquet")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise OptionError(
            "Parquet needs pyarrow, which is not here: `pip install pyarrow`, or write .csv"
        )


def export(
    store: Store,
    entries: Sequence[Entry],
    path: Path,
    expected: Callable[[Entry], Expected] = lambda entry: Expected(),
) -> int:
    """Write the chips of some experiments, in the order of `entries` and then of the chips.

    An empty cell (null in Parquet) is a value that is not complete, or what a network does not
    have. Numbers are written so that reading them gives the same binary64.

    Args:
        store: What holds them.
        entries: The experiments.
        path: The file, which is overwritten; .csv or .parquet.
        expected: What the rows of an experiment can be.

    Returns:
        The number of rows.

    Raises:
        OptionError: As for `check_format`.
        StoreError: The store is damaged, or holds what cannot be.
        OSError: The file cannot be written.
    """
    check_format(path)
    rows = _rows(store, entries, expected)
    return _write_csv(rows, path) if path.suffix == ".csv" else _write_parquet(rows, path)


def _rows(
    store: Store, entries: Sequence[Entry], expected: Callable[[Entry], Expected]
) -> Iterator[tuple[Any, ...]]:
    """Rows as `COLUMNS` names them."""
    for entry in entries:
        facts = {**entry.facts, "experiment": entry.id}
        seed = facts.get("seed")
        facts["seed"] = None if seed is None else str(seed)
        same = tuple(_cell(facts.get(name)) for name in list(COLUMNS)[:-6])
        for row, origin in store.chips(entry.id, expected(entry)):
            chip, images, total, value = row
            several = isinstance(total, tuple)
            sums = (None, _cell(list(total))) if several else (total, None)
            yield *same, chip, images, *sums, value, origin.name.lower()


def _cell(value: Any) -> Any:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, list | dict) else value


def _write_csv(rows: Iterator[tuple[Any, ...]], path: Path) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _write_parquet(rows: Iterator[tuple[Any, ...]], path: Path) -> int:
    import pyarrow
    from pyarrow import parquet

    arrow: Any = pyarrow
    make_writer: Any = parquet.ParquetWriter
    types = {"string": arrow.string(), "double": arrow.float64(), "int64": arrow.int64()}
    types["bool"] = arrow.bool_()
    schema = arrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    count = 0
    with make_writer(path, schema) as writer:
        while batch := list(islice(rows, BATCH)):
            columns = zip(zip(*batch, strict=True), schema, strict=True)
            arrays = [arrow.array(column, field.type) for column, field in columns]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count
