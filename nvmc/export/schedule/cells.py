"""The physical tiles of arrays, and what their cells hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import ModelError
from nvmc.export.schedule.format import Tile
from nvmc.hardware.chip import Array, Chip, Programmed
from nvmc.hardware.rows import tile_of
from nvmc.hardware.tiling import Tile as Place
from nvmc.hardware.tiling import matrices, matrix_of, tiles_of
from nvmc.runtime.crossbar.array import View, levels_of

__all__ = ["Board", "Crossbar", "Held"]

Real = NDArray[Any]
Polarity = Literal["+", "-"] | None


@dataclass(frozen=True)
class Crossbar:
    """One tile that was listed.

    Attributes:
        index: Its number among all.
        slice, polarity: Which cells of a weight it holds.
        place: What of the array's matrices lies on it.
    """

    index: int
    slice: int
    polarity: Polarity
    place: Place


@dataclass(frozen=True)
class Held:
    """One array on its tiles."""

    array: Array
    programmed: Programmed
    crossbars: tuple[Crossbar, ...]


@dataclass(frozen=True)
class _Plane:
    """One cell of every weight; NaN where there is none. Levels are (groups, rows, cols)."""

    slice: int
    polarity: Polarity
    levels: Real

    def on(self, place: Place) -> Real:
        """The levels of a tile; groups lie along its diagonal."""
        (g0, g1), (r0, r1), (c0, c1) = place.groups, place.rows, place.cols
        rows, cols = r1 - r0, c1 - c0
        found = np.full(((g1 - g0) * rows, (g1 - g0) * cols), np.nan, np.float32)
        for n, group in enumerate(range(g0, g1)):
            part = self.levels[group, r0:r1, c0:c1]
            found[n * rows : (n + 1) * rows, n * cols : (n + 1) * cols] = part
        return found


class Board:
    """All tiles of a network, each array's listed once.

    Args:
        chip: Whose cells they are.
        cores: By array, for each of its copies the core of every tile; None where nobody knows.

    Attributes:
        tiles: Rows of the file.
        stored: Arrays of tiles.npz.
    """

    def __init__(self, chip: Chip, cores: Mapping[str, list[list[int]]] | None = None) -> None:
        self.tiles: list[Tile] = []
        self.stored: dict[str, Real] = {}
        self._chip = chip
        self._cores = cores
        self._held: dict[str, Held] = {}

    def held(self, array: Array) -> Held:
        """The tiles of an array.

        Raises:
            ModelError: Another node uses the same array in another way.
        """
        found = self._held.get(array.name)
        if found is None:
            programmed = self._chip.program(array)
            found = Held(array, programmed, tuple(self._laid(array, programmed)))
            self._held[array.name] = found
        elif found.array.place != array.place:
            raise ModelError(
                f"array {array.name!r} is used in two ways by two nodes, but has one layout here; "
                "give each a weight of its own"
            )
        return found

    def _laid(self, array: Array, programmed: Programmed) -> Iterator[Crossbar]:
        """A row of the file for each tile, plane by plane."""
        assert array.place is not None
        view, layout = partial(matrices, array.place), array.layout
        aimed = _planes(array, view, layout.levels(array.steps), array.sign)
        reached: list[_Plane] = []
        if self._chip.index is not None:
            sources = self._chip.on(array.target.device).sources
            moved = any(source.acts_in == "weight" and source.active for source in sources)
            levels = levels_of(array, programmed, moved)
            reached = _planes(array, view, levels, programmed.sign)
        matrix = matrix_of(array.place, array.codes.shape)
        places = list(tiles_of(matrix, 1, *tile_of(array.target)))
        for number, plane in enumerate(aimed):
            for nth, place in enumerate(places):
                index = len(self.tiles)
                self._store(index, "codes", _small(plane.on(place), layout.weight_bits is not None))
                if reached:
                    self._store(index, "levels", reached[number].on(place))
                count = place.groups[1] - place.groups[0]
                (r0, r1), (c0, c1) = place.rows, place.cols
                in_array = number * len(places) + nth
                self.tiles.append(
                    Tile(
                        array=array.name,
                        number=in_array,
                        slice=plane.slice,
                        polarity=plane.polarity,
                        groups=place.groups,
                        rows=place.rows,
                        columns=place.cols,
                        shape=(count * (r1 - r0), count * (c1 - c0)),
                        off=float(array.target.off_at_adc),
                        codes=f"tile{index}.codes",
                        levels=f"tile{index}.levels" if reached else None,
                        cores=self._cores_of(array.name, in_array),
                    )
                )
                yield Crossbar(index, plane.slice, plane.polarity, place)

    def _cores_of(self, array: str, tile: int) -> tuple[int, ...] | None:
        """The core of every copy of a tile."""
        if self._cores is None:
            return None
        return tuple(copy[tile] for copy in self._cores[array])

    def _store(self, tile: int, what: str, values: Real) -> None:
        self.stored[f"tile{tile}.{what}"] = values


def _planes(array: Array, view: View, levels: Real, sign: Real) -> list[_Plane]:
    """The planes of an array, slice by slice, the positive one first."""
    layout = array.layout
    if layout.encoding == "offset":
        return [_Plane(number, None, view(plane)) for number, plane in enumerate(levels)]
    if layout.paired:
        return [
            _Plane(number // 2, "-" if number % 2 else "+", view(plane))
            for number, plane in enumerate(levels)
        ]
    signs = view(sign)
    found: list[_Plane] = []
    for number, plane in enumerate(levels):
        cells = view(plane)
        found.append(_Plane(number, "+", np.where(signs > 0, cells, np.nan)))
        found.append(_Plane(number, "-", np.where(signs < 0, cells, np.nan)))
    return found


def _small(levels: Real, whole: bool) -> Real:
    """Whole levels in the smallest signed type, -1 where there is no cell; others as they are."""
    if not whole:
        return levels
    found = np.where(np.isnan(levels), -1, levels).astype(np.int32)
    top = int(found.max(initial=0))
    return found.astype(np.int8 if top <= 127 else np.int16 if top <= 32767 else np.int32)
