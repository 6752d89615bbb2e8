"""`conductance`: what the cells of every tile conduct, in uS, as NPZ and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.compiled.chip_cells import ChipCells
from nvmc.compiled.operators import PARAMETER
from nvmc.export.cells import arrays_by_name, cells_of_request
from nvmc.export.folder import file_names
from nvmc.export.request import Request, Written
from nvmc.hardware.chip import Array
from nvmc.hardware.tile_cells import ArrayCells, TileCells

__all__ = ["TABLE_FILE", "CellWarnings", "chosen_arrays", "matrix_csv", "tile_file", "write"]

TABLE_FILE = "tiles.csv"
_COLUMNS = (
    "array,tile,file,plane,slice,polarity,coefficient,group_begin,group_end,row_begin,row_end,"
    "col_begin,col_end,word_lines,bit_lines,reference_columns"
).split(",")
_NUMBERS = {"positive": 1, "negative": -1, "both": 0}
_BYTES = 60
"""Of memory for a cell while an array is written, in both files."""


def write(request: Request, folder: Path) -> Written:
    """Write an NPZ for each array, a CSV for each tile, and the table `tiles.csv`.

    Raises:
        OptionError: Nobody says what levels conduct, or there is no such array.
        OutOfMemoryError: An array's cells would take more memory than there is.
    """
    arrays = arrays_by_name(request)
    cells = cells_of_request(request, arrays)
    names, told = chosen_arrays(request, cells), dict[str, Any]()
    files, found, count = file_names(names), CellWarnings(request), 0
    with (folder / TABLE_FILE).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(_COLUMNS)
        for name in names:
            array = arrays[name]
            size = array.layout.crossbars * array.codes.size * _BYTES
            check_room(f"the cells of array {name!r}", size)
            held = cells.array(name)
            found.see(held)
            np.savez(folder / f"{files[name]}.npz", allow_pickle=False, **_content(held))
            for tile in held.tiles:
                file = tile_file(files[name], tile)
                table.writerow(_row(tile, file))
                matrix_csv(folder / file, tile.conductance_us)
                if tile.reference_us is not None:
                    matrix_csv(folder / f"{file[:-4]}.reference.csv", tile.reference_us)
            told[name] = _told(array, held, files[name])
            count += len(held.tiles)
    line = f"the conductances of {count} tiles, {cells.name},"
    return Written([line], found.assumptions, {"arrays": told})


def chosen_arrays(request: Request, cells: ChipCells) -> list[str]:
    """The arrays that are to be written, in the order of the manifest.

    Raises:
        OptionError: There is no such array.
    """
    wanted = {cells.named(name) for name in request.options.get("array") or ()}
    return [name for name in cells.arrays if not wanted or name in wanted]


def tile_file(array: str, tile: TileCells) -> str:
    """The CSV file of a tile, `array` being the array's name for files."""
    return f"{array}-{tile.number}.csv"


def matrix_csv(path: Path, matrix: NDArray[Any]) -> None:
    """Write a matrix, a line for each word line, in digits that give the same bits back.

    Raises:
        OSError: It cannot be written.
    """
    lines = (",".join(map(repr, row)) for row in matrix.tolist())
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


class CellWarnings:
    """What the conductances of a chip leave out, collected array by array."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._negative, self._lowest, self._cells = 0, 0.0, 0

    def see(self, held: ArrayCells) -> None:
        """Count what conducts less than nothing."""
        for tile in held.tiles:
            below = tile.conductance_us[tile.conductance_us < 0]
            self._negative += below.size
            self._lowest = min(self._lowest, float(below.min(initial=0.0)))
            self._cells += int(np.count_nonzero(tile.formed))

    @property
    def assumptions(self) -> list[str]:
        """A sentence each."""
        return list(self._all())

    def _all(self) -> Iterator[str]:
        request, target = self._request, self._request.target
        chip, range_us = request.chip, request.options.get("range_us")
        if range_us is not None:
            low, high = range_us
            text = f"level 0 is taken for {low:g} uS and the highest for {high:g} uS (--range-us)"
            yield text + "; the chip's errors are in level steps and do not depend on it"
        if self._negative:
            yield (
                f"{self._negative:,} of {self._cells:,} cells conduct less than nothing, down to "
                f"{self._lowest:.3g} uS: the device does not clip, and the simulator computes so"
            )
        if chip.needs_circuit:
            yield "every read of this chip is noisy; the files have its cells without that"
        sources = [source for own in target.devices for source in chip.on(own).sources]
        if request.index is not None and any(s.acts_in == "weight" and s.active for s in sources):
            yield (
                "noise that acts on whole weights is on the cells of the highest slice, as in the "
                "simulator's circuit"
            )
        if request.index is None and any(part.places is not None for part in target.variants):
            yield "levels are not evenly spaced: targets are the conductances that the device lists"


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


def _row(tile: TileCells, file: str) -> list[Any]:
    """A tile's row of the table."""
    spans = [*tile.groups, *tile.rows, *tile.cols]
    beside = 0 if tile.reference_us is None else tile.reference_us.shape[1]
    own = [tile.array, tile.number, file, tile.plane, tile.slice, tile.polarity, tile.coefficient]
    return [*own, *spans, *tile.conductance_us.shape, beside]


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
