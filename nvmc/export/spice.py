"""`spice`: a netlist for each tile, whose operating point is the currents of its bit lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.export.cells import (
    CellWarnings,
    arrays_by_name,
    cells_of_request,
    chosen_arrays,
)
from nvmc.export.netlist import Elements, elements_of
from nvmc.export.request import Request, Written
from nvmc.export.tile_table import tile_table
from nvmc.hardware.chip import Array
from nvmc.hardware.devices import Target
from nvmc.hardware.tile_cells import ArrayCells, TileCells

__all__ = ["write"]

Volts = NDArray[np.float64]
_DEFAULT_V = 1.0
_ON_A_LINE = 8


def write(request: Request, folder: Path) -> Written:
    """Write `ARRAY-N.cir` for each tile, and the table `tiles.csv`.

    Raises:
        OptionError: Nobody says what levels conduct, or voltages are wrong.
        OutOfMemoryError: An array's cells would take more memory than there is.
    """
    arrays = arrays_by_name(request)
    cells = cells_of_request(request, arrays)
    drive = _Drive(request, cells.named)
    found, told = CellWarnings(request), dict[str, Any]()
    with tile_table(folder) as table:
        for name, file in chosen_arrays(request, cells).items():
            array = arrays[name]
            array.target.check_reading()
            _check_polarity(name, array)
            held = cells.array(name)
            found.see(held)
            volts = drive.of(array, held)
            elements = elements_of(array.target)
            for tile in held.tiles:
                table.add(tile, path := folder / f"{file}-{tile.number}.cir")
                heading = _heading(request, array.target, tile)
                with path.open("w", encoding="utf-8", newline="\n") as stream:
                    _write(stream, heading, elements, tile, _of_tile(tile, volts))
            told[name] = {"read_v": array.target.periphery.read_v, "tiles": len(held.tiles)}
    line = f"netlists of {table.count} tiles, {cells.name},"
    assumptions = [*_assumed(request), *drive.assumed, *found.assumptions]
    return Written([line], assumptions, {"arrays": told})


def _check_polarity(name: str, array: Array) -> None:
    """Raise OptionError where both polarities share tiles with wires, which netlists do not."""
    periphery = array.target.periphery
    if periphery.wired and periphery.polarity != "separate":
        raise OptionError(
            f"polarities of array {name!r} lie {periphery.polarity} on one tile, and netlists are "
            "of one polarity each; compile it with --polarity separate"
        )


class _Drive:
    """What drives the word lines: one voltage, or a vector for each array that has one.

    Raises:
        OptionError: A vector is of no array, or the file is none.
    """

    def __init__(self, request: Request, named: Callable[[str], str]) -> None:
        given = request.options.get("volts")
        self._vectors: dict[str, Any] = {}
        self._level: float | None = None
        self._defaulted = False
        if isinstance(given, str | Path):
            level = _level(str(given))
            given = _vectors_in(given) if level is None else level
        if isinstance(given, Mapping):
            vectors = cast(Mapping[str, Any], given)
            self._vectors = {named(name): vector for name, vector in vectors.items()}
        elif given is not None:
            self._level = float(given)

    def of(self, array: Array, held: ArrayCells) -> Volts:
        """Volts of the rows of an array's matrices, shape (groups, rows).

        Raises:
            OptionError: They are not as many as rows, or none that the cells' law is for.
        """
        groups, rows = held.matrix.groups, held.matrix.rows
        name, read_v = array.name, array.target.periphery.read_v
        level = self._level
        if level is None:
            level = read_v or _DEFAULT_V
            self._defaulted |= read_v is None and name not in self._vectors
        given: Any = self._vectors.get(name, level)
        try:
            volts = np.asarray(given, np.float64)
            wrong = volts.shape not in ((), (rows,), (groups, rows))
        except (TypeError, ValueError) as error:
            raise OptionError(f"--volts of array {name!r} are no numbers; give volts") from error
        if wrong:
            raise OptionError(
                f"--volts of array {name!r} have shape {volts.shape}; expected ({rows},), or "
                f"({groups}, {rows}): one for each row of its {groups} matrices"
            )
        if not np.isfinite(volts).all():
            raise OptionError(f"--volts of array {name!r} are not all finite; give volts")
        if array.target.iv is not None and read_v is not None:
            low, high = float(volts.min(initial=0.0)), float(volts.max(initial=0.0))
            if low < 0 or high > read_v:
                raise OptionError(
                    f"--volts of array {name!r} are {low:g} to {high:g} V; its cells are not "
                    f"linear, and their law is for 0 to the read voltage, {read_v:g} V"
                )
        return np.broadcast_to(volts, (groups, rows))

    @property
    def assumed(self) -> list[str]:
        """Which voltage nobody stated."""
        if not self._defaulted:
            return []
        return [f"word lines are driven by {_DEFAULT_V:g} V, as no --volts and no read voltage say"]


def _level(text: str) -> float | None:
    """The voltage that a text is; None where it is a file."""
    try:
        return float(text)
    except ValueError:
        return None


def _vectors_in(path: str | Path) -> dict[str, Any]:
    """The vectors of a file, by array.

    Raises:
        OptionError: It is no NPZ.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise OptionError(
            f"--volts is {str(path)!r}; expected a voltage, or an NPZ file with a vector of volts "
            "for each array, by its name"
        ) from error


def _assumed(request: Request) -> Iterator[str]:
    yield "cells and wires are resistors: no transistors, no capacitances"
    yield "bit lines end in virtual grounds of 0 V; DAC and ADC are left out"
    targets = request.target.variants
    if any(part.device.iv is not None and part.iv is None for part in targets):
        yield "cells are linear, as the target states no read voltage (--read-v of nvmc compile)"
    if any(part.iv is not None for part in targets):
        yield "below 0 V, of which the device says nothing, the current of a cell is odd in V"
        rough = [part.periphery for part in targets if part.periphery.wire_solution != "exact"]
        if any(around.wired for around in rough):
            yield (
                "cells behind wires see the voltage that arrives, which nvmc simulate approximates "
                "where they are not linear, unless wire_solution is exact (docs/parasitics.md)"
            )


def _of_tile(tile: TileCells, volts: Volts) -> Volts:
    """The voltage of each word line of a tile."""
    return volts[slice(*tile.groups), slice(*tile.rows)].reshape(-1)


def _heading(request: Request, target: Target, tile: TileCells) -> list[str]:
    """Comments that say what the netlist is of; a title of SPICE is one of them."""
    about = "target conductances" if request.index is None else request.chip_text
    spans = ", ".join(f"{key} {list(getattr(tile, key))}" for key in ("groups", "rows", "cols"))
    lines = [
        f"* {' '.join(tile.array.split())} tile {tile.number}: nvmc.export.spice/1, {about}",
        f"* plane {tile.plane}, slice {tile.slice}, {tile.polarity}, {spans}",
        f"* a level step counts for {tile.coefficient:g} code steps",
    ]
    around = target.periphery
    if around.rows_on is not None:
        others = {"ground": "", "float": ", the others float", "off": ", the others are off"}
        waits = others[around.waiting_rows]
        lines.append(f"* at most {around.rows_on} rows are driven at a time{waits}")
    return [line.encode("ascii", "replace").decode() for line in lines]


def _write(
    stream: TextIO, heading: list[str], elements: Elements, tile: TileCells, volts: Volts
) -> None:
    """Write one netlist."""
    lines = [*heading, *(f".param v{r}={v!r}" for r, v in enumerate(volts.tolist()))]
    stream.writelines(f"{line}\n" for line in lines)
    senses: list[str] = []
    for line, sense in elements.lines(tile):
        stream.write(line + "\n")
        senses += [sense] if sense else []
    stream.write(".op\n")
    for first in range(0, len(senses), _ON_A_LINE):
        saved = " ".join(f"i({name})" for name in senses[first : first + _ON_A_LINE])
        stream.write(f".save {saved}\n")
    stream.write(".end\n")
