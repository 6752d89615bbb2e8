"""`conductance`: what the cells of every tile conduct, in µS, as NPZ and CSV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.operators import PARAMETER
from nvmc.export.cells import (
    CellWarnings,
    arrays_by_name,
    cells_of_request,
    chosen_arrays,
)
from nvmc.export.request import Request, Written
from nvmc.export.tile_table import tile_table
from nvmc.hardware.chip import Array
from nvmc.hardware.tile_cells import ArrayCells, TileCells

__all__ = ["write"]

_NUMBERS = {"positive": 1, "negative": -1, "both": 0}


def write(request: Request, folder: Path) -> Written:
    """Write an NPZ for each array, a CSV for each tile, and the table `tiles.csv`.

    Raises:
        OptionError: Nobody says what levels conduct, or there is no such array.
        OutOfMemoryError: An array's cells would take more memory than there is.
    """
    arrays = arrays_by_name(request)
    cells = cells_of_request(request, arrays)
    told, found = dict[str, Any](), CellWarnings(request)
    with tile_table(folder) as table:
        for name, file in chosen_arrays(request, cells).items():
            held = cells.array(name)
            found.see(held)
            np.savez(folder / f"{file}.npz", allow_pickle=False, **_content(held))
            for tile in held.tiles:
                table.add(tile, path := folder / f"{file}-{tile.number}.csv")
                _matrix_csv(path, tile.conductance_us)
                if tile.reference_us is not None:
                    _matrix_csv(path.with_suffix(".reference.csv"), tile.reference_us)
            told[name] = _told(arrays[name], held, file)
    line = f"the conductances of {table.count} tiles, {cells.name},"
    return Written([line], found.assumptions, {"arrays": told})


def _matrix_csv(path: Path, matrix: NDArray[Any]) -> None:
    """Write a matrix, a line for each word line, in digits that give the same bits back.

    Raises:
        OSError: It cannot be written.
    """
    lines = (",".join(map(repr, row)) for row in matrix.tolist())
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _content(held: ArrayCells) -> dict[str, Any]:
    """What the NPZ of an array holds, by key."""
    tiles = held.tiles
    content: dict[str, Any] = {
        "tiles": np.int64(len(tiles)),
        "plane": _numbers(tile.plane for tile in tiles),
        "slice": _numbers(tile.slice for tile in tiles),
        "polarity": _numbers(_NUMBERS[tile.polarity] for tile in tiles),
        "coefficient": np.array([tile.coefficient for tile in tiles]),
        **{key: _spans(tiles, key) for key in ("groups", "rows", "cols")},
        "shape": _numbers([held.matrix.groups, held.matrix.rows, held.matrix.cols]),
        "min_us": np.float64(held.min_us),
        "step_us": np.float64(held.step_us),
        "shift": np.float64(held.shift),
        "unit": held.unit,
    }
    if held.sign is not None:
        content["sign"] = held.sign
    for tile in tiles:
        content[f"conductance_us/{tile.number}"] = tile.conductance_us
        content[f"formed/{tile.number}"] = tile.formed
        if tile.reference_us is not None:
            content[f"reference_us/{tile.number}"] = tile.reference_us
    return content


def _numbers(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), np.int64)


def _spans(tiles: Iterable[TileCells], key: str) -> NDArray[np.int64]:
    """First and one past the last of each tile, shape (tiles, 2)."""
    return np.array([getattr(tile, key) for tile in tiles], np.int64).reshape(-1, 2)


def _told(array: Array, held: ArrayCells, file: str) -> dict[str, Any]:
    """What `export.json` says of an array."""
    target, place = array.target, array.place
    wires = target.periphery.wire_ohm
    return {
        "file": f"{file}.npz",
        "encoding": target.encoding,
        "weight_bits": target.weight_bits,
        "cell_bits": None if target.weight_bits is None else target.cell_bits,
        "slices": target.layout.slices,
        "shape": [held.matrix.groups, held.matrix.rows, held.matrix.cols],
        "parameter": place is not None and place.op == PARAMETER,
        "tile": [target.rows, target.cols],
        "rows_on": target.periphery.rows_on,
        "min_us": held.min_us,
        "step_us": held.step_us,
        "shift": held.shift,
        "tiles": len(held.tiles),
        "wire_ohm": None if wires is None else wires.model_dump(),
    }
