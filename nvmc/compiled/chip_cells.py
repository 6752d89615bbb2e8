"""The cells of one chip of a compiled network, as `Compiled.chip` gives them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nvmc.arguments import checked
from nvmc.errors import OptionError, unknown
from nvmc.hardware.devices import Device, NoiseSource
from nvmc.hardware.tile_cells import ArrayCells, TileCells

__all__ = ["ChipCells", "WithChips"]

_READER = "nvmc.export.cells"
"""Reads the network's file, which is above this room: looked up when a chip is asked for."""


@checked
class ChipCells:
    """What the cells of one chip conduct, array by array; nothing is made before it is asked for.

    Arrays are asked for by their own name, by that of a layer that reads one array only, or by what
    stands before the last dot of one array's name: `fc1` for `fc1.weight`.

    Args:
        layers: The arrays that each layer reads.
        arrays: Names of all arrays, in the order of the manifest.
        make: From the name of an array to its cells.
        name: What the chip is called.

    Attributes:
        arrays: Names of all arrays.
        name: What the chip is called.
    """

    def __init__(
        self,
        layers: Mapping[str, Sequence[str]],
        arrays: Sequence[str],
        make: Callable[[str], ArrayCells],
        name: str,
    ) -> None:
        self._layers = layers
        self._make = make
        self._last: ArrayCells | None = None
        self.arrays = tuple(arrays)
        self.name = name

    def __repr__(self) -> str:
        return f"<ChipCells of {self.name}, {len(self.arrays)} arrays>"

    @checked
    def named(self, name: str) -> str:
        """The name of the array that `name` stands for.

        Raises:
            OptionError: There is none, or several.
        """
        read = list(self._layers.get(name, ()))
        if name in self.arrays:
            if read and read != [name]:
                raise OptionError(
                    f"{name!r} is both an array and a layer that reads {', '.join(map(repr, read))}"
                    "; rename one in the source"
                )
            return name
        read = read or [array for array in self.arrays if array.rpartition(".")[0] == name]
        if not read:
            raise OptionError(unknown("array or layer", name, [*self.arrays, *self._layers]))
        if len(read) > 1:
            raise OptionError(
                f"{name!r} stands for {len(read)} arrays; name one: {', '.join(map(repr, read))}"
            )
        return read[0]

    @checked
    def array(self, name: str) -> ArrayCells:
        """All cells of an array. Cost: programs it; the last one asked for is kept.

        Raises:
            OptionError: There is none of that name, or nobody says what its levels conduct.
        """
        found = self.named(name)
        last = self._last
        if last is None or last.name != found:
            self._last = last = None
            self._last = last = self._make(found)
        return last

    @checked
    def tiles(self, name: str) -> tuple[TileCells, ...]:
        """The tiles of an array, in the order of `tiles.json`; raises as `array`."""
        return self.array(name).tiles

    @checked
    def tile(self, name: str, number: int) -> TileCells:
        """One tile of an array, by its number in `tiles.json`.

        Raises:
            OptionError: As `array`; or it has no such tile.
        """
        tiles = self.tiles(name)
        if not 0 <= number < len(tiles):
            raise OptionError(
                f"array {self.named(name)!r} has no tile {number}; expected 0 to {len(tiles) - 1}"
            )
        return tiles[number]


class WithChips:
    """The part of `Compiled` that gives the cells of its chips."""

    @checked
    def chip(
        self,
        index: int | None = None,
        *,
        seed: int = 0,
        device: Device | str | Path | None = None,
        noise: Sequence[NoiseSource | str] = (),
        sigma: float | None = None,
        time_s: float | None = None,
        temperature_c: float | None = None,
        range_us: tuple[float, float] | None = None,
    ) -> ChipCells:
        """What the cells of one chip conduct, tile by tile, as `nvmc simulate` computes with them.

        Args:
            index: Number of the chip; None for target conductances.
            seed: Population of chips.
            device: Another device than the network was compiled for: one, its name, or its file.
            noise: More noise sources behind the device's own, or texts as behind `--noise`.
            sigma: Strength of the device's noise instead of its default.
            time_s: Seconds since programming; the device's default for None.
            temperature_c: Of the cells, degrees Celsius; what their noise sources say for None.
            range_us: What level 0 and the highest level conduct, in µS, where the device does not
                say.

        Returns:
            The chip's cells: `chip(17).tile("fc1.weight", 0).conductance_us`, shape (word lines,
            bit lines).

        Raises:
            OptionError, DeviceError, ArtifactError: By what is wrong.
        """
        reader: Any = importlib.import_module(_READER)
        settings = {"sigma": sigma, "time_s": time_s, "temperature_c": temperature_c}
        return reader.cells_of_chip(
            self, index, seed=seed, device=device, noise=noise, range_us=range_us, **settings
        )
