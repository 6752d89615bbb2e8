"""Where the weights of a network lie, and how far one chip's cells are off their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.evaluation.parameters import Setup
from nvmc.hardware.devices import Device, NoiseSource, as_noise, load_device
from nvmc.hardware.tile_cells import ArrayCells, TileCells
from nvmc.report.cell_maps import CellMap, draw_cells
from nvmc.report.drawn import Drawn
from nvmc.report.figure import Sheet, as_sheet
from nvmc.tables import Cell, Shown, Table

__all__ = ["LayerMap", "TileMap", "TileUse", "tile_map"]

Float = NDArray[np.float64]

FORMAT = "nvmc.page.tile_map/1"

SPOTS = 6_000
"""Most places that the maps of all layers have together."""
FINEST, COARSEST = 32, 8
"""Most and fewest places along a side of a layer's map."""


@dataclass(frozen=True)
class TileUse:
    """One tile.

    Attributes:
        number: Within its array, from 0, as `nvmc export` counts.
        slice: Which digit of the weights it holds, from the lowest.
        polarity: Which sign its cells stand for.
        rows, cols: Word lines and bit lines in use.
        cells: Cells that hold weights, as `nvmc compile` counts them.
        use: Their share of the cells of a whole tile: what `nvmc compile` calls used.
        formed: How many of them are formed; under sign-magnitude those of the other sign are not.
        error: Root mean square of (level of the chip - level on target) of the formed cells, as a
            share of the distance from level 0 to the highest level; None without any.
    """

    number: int
    slice: int
    polarity: str
    rows: int
    cols: int
    cells: int
    use: float
    formed: int
    error: float | None


@dataclass(frozen=True, eq=False, repr=False)
class LayerMap:
    """One array of weights.

    Attributes:
        name: Of the array.
        tile: Word lines and bit lines of a whole tile.
        tiles: In the order of their numbers.
        use: Share of the cells that hold weights, by place within a tile, all tiles of the array
            together, shape (n, n): from the first word line down, from the first bit line on.
        error: Root mean square error there, as in `TileUse`; NaN where no cell is formed.
    """

    name: str
    tile: tuple[int, int]
    tiles: tuple[TileUse, ...]
    use: Float
    error: Float

    def __repr__(self) -> str:
        return (
            f"<LayerMap of {self.name}: {len(self.tiles):,} tiles, {100 * self.share:.1f} % used>"
        )

    @property
    def cells(self) -> int:
        """Cells that hold weights."""
        return sum(tile.cells for tile in self.tiles)

    @property
    def formed(self) -> int:
        """How many of them are formed."""
        return sum(tile.formed for tile in self.tiles)

    @property
    def share(self) -> float:
        """Share of the cells of its tiles that hold weights."""
        return self.cells / (len(self.tiles) * self.tile[0] * self.tile[1])

    @property
    def rms(self) -> float | None:
        """Root mean square error over all formed cells; None without any."""
        if not self.formed:
            return None
        squares = sum(tile.formed * (tile.error or 0.0) ** 2 for tile in self.tiles)
        return float(np.sqrt(squares / self.formed))


@checked
@dataclass(frozen=True, repr=False)
class TileMap(Shown, Drawn):
    """The tiles of a network on one chip.

    Attributes:
        network: Name of the network.
        device: What the cells are.
        chip: Number of the chip, whose cells are programmed.
        seed: Population of the chip.
        layers: The arrays, in the order of the manifest.
    """

    network: str
    device: str
    chip: int
    seed: int
    layers: tuple[LayerMap, ...]

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        tiles = sum(len(layer.tiles) for layer in self.layers)
        places = sum(len(one.tiles) * one.tile[0] * one.tile[1] for one in self.layers)
        cells = sum(layer.cells for layer in self.layers)
        plural = "" if len(self.layers) == 1 else "s"
        use = f"{100 * cells / places:.1f} % used" if places else "none used"
        return (
            f"Tile map of {self.network} on {self.device}, chip {self.chip} of seed {self.seed}: "
            f"{len(self.layers):,} array{plural} on {tiles:,} tiles, {use}"
        )

    def shown(self) -> Table:
        """A row for each array, rounded."""
        columns = ("array", "tile", "tiles", "cells", "used [%]", "RMS error [% of levels]")
        rows = tuple(
            (
                one.name,
                f"{one.tile[0]} x {one.tile[1]}",
                f"{len(one.tiles):,}",
                f"{one.cells:,}",
                f"{100 * one.share:.1f}",
                "" if one.rms is None else f"{100 * one.rms:.2f}",
            )
            for one in self.layers
        )
        return Table(columns, rows)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each tile; `use` and `error` are shares."""
        for layer in self.layers:
            for tile in layer.tiles:
                yield {"array": layer.name, **vars(tile)}

    def _draw(self, sheet: Sheet) -> None:
        """Use and error by place within the tiles of each array."""
        told = {"network": self.network, "device": self.device}
        about = {**told, "chip": self.chip, "seed": self.seed}
        lines = (self.headline(), "Error: root mean square, of the distance between extreme levels")
        maps = [
            CellMap(m.name, len(m.tiles), m.tile, m.share, m.rms, m.use, m.error)
            for m in self.layers
        ]
        draw_cells(as_sheet(sheet, about=about), lines, maps)

    def to_json(self) -> dict[str, Any]:
        """The map as JSON: the rows of each array, and its maps, None where there is no cell."""
        layers = [
            {
                "name": one.name,
                "tile": list(one.tile),
                "tiles": [dict(vars(tile)) for tile in one.tiles],
                "use": one.use.tolist(),
                "error": [[None if x != x else x for x in row] for row in one.error.tolist()],
            }
            for one in self.layers
        ]
        told = {"network": self.network, "device": self.device}
        return {"format": FORMAT, **told, "chip": self.chip, "seed": self.seed, "layers": layers}


@checked
def tile_map(
    compiled: Compiled,
    *,
    chip: int = 0,
    seed: int = 0,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    time_s: float | None = None,
    temperature_c: float | None = None,
    on_array: Callable[[], None] | None = None,
) -> TileMap:
    """How full every tile is, and how far the cells of one chip are off their targets.

    Errors are of the cells as they are at that time since programming; read noise is not in them,
    nor noise of activations, which acts on no cell.

    Args:
        compiled: From `open_compiled` or `nvmc.compile`.
        chip: Number of the chip.
        seed: Population of the chip.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources behind the device's own.
        sigma: Strength of the device's noise instead of its default.
        time_s: Seconds since programming; the device's own time by default.
        temperature_c: Of the cells, degrees Celsius.
        on_array: Called as each array is done.

    Raises:
        OptionError, DeviceError, ArtifactError: By what is wrong.
    """
    manifest = compiled.manifest
    setup = Setup.of(manifest.target, device, noise, sigma, time_s, temperature_c=temperature_c)
    stated = all(one.conductance is not None for one in setup.target.devices)
    cells: Any = {"device": device, "range_us": None if stated else (0.0, 1.0)}
    if any(map(_of_activations, setup.target.device.noise)):
        cells["device"] = _of_cells(manifest.target.device if device is None else device)
    age: Any = {"time_s": time_s, "temperature_c": temperature_c, "sigma": sigma}
    age["noise"] = [one for one in map(as_noise, noise) if not _of_activations(one)]
    real = compiled.chip(chip, seed=seed, **age, **cells)
    target = compiled.chip(None, **cells)
    side = int(np.clip(np.sqrt(SPOTS / max(1, len(real.arrays))), COARSEST, FINEST))
    layers: list[LayerMap] = []
    for name in real.arrays:
        own = setup.target.of_array(name)
        size, highest = (own.rows, own.cols), float(own.highest_level)
        layers.append(_layer(real.array(name), target.array(name), size, highest, side))
        if on_array is not None:
            on_array()
    device_name = setup.target.device.name
    name = Path(compiled.folder).name.removesuffix(".nvmc")
    return TileMap(name, device_name, chip, seed, tuple(layers))


def _of_activations(source: NoiseSource) -> bool:
    return source.acts_in == "activation"


def _of_cells(device: Device | str | Path) -> Device:
    """A device without its noise of activations, which changes no draw of the cells."""
    chosen = load_device(device)
    kept = tuple(one for one in chosen.noise if not _of_activations(one))
    return chosen.model_copy(update={"noise": kept})


def _layer(
    real: ArrayCells, target: ArrayCells, size: tuple[int, int], highest: float, side: int
) -> LayerMap:
    sides = min(side, size[0]), min(side, size[1])
    held, known, squares = np.zeros(sides), np.zeros(sides), np.zeros(sides)
    tiles: list[TileUse] = []
    for one, aim in zip(real.tiles, target.tiles, strict=True):
        formed = one.formed
        off = (one.conductance_us - aim.conductance_us) / (real.step_us * highest)
        square = np.where(formed, off**2, 0.0)
        weights = _holding(one)
        cells, there = int(np.count_nonzero(weights)), int(np.count_nonzero(formed))
        error = float(np.sqrt(square.sum() / there)) if there else None
        told = formed.shape[0], formed.shape[1], cells, cells / (size[0] * size[1]), there, error
        tiles.append(TileUse(one.number, one.slice, one.polarity, *told))
        held += _spread(weights.astype(np.float64), size, sides)
        known += _spread(formed.astype(np.float64), size, sides)
        squares += _spread(square, size, sides)
    places = len(tiles) * _spread(np.ones(size), size, sides)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(squares / known)
    return LayerMap(real.name, size, tuple(tiles), held / places, error)


def _holding(tile: TileCells) -> NDArray[np.bool_]:
    """Where its cells hold weights, formed or not: each group's on lines of its own."""
    found = np.zeros(tile.formed.shape, dtype=np.bool_)
    for group in range(*tile.groups):
        found[tile.lines(group)] = True
    return found


def _spread(values: Float, size: tuple[int, int], sides: tuple[int, int]) -> Float:
    """Sums over places: a tile's lines in as many equal parts; the lines in use come first."""
    for axis in (0, 1):
        lines, parts = values.shape[axis], range(sides[axis])
        firsts = [
            first for part in parts if (first := -(-part * size[axis] // sides[axis])) < lines
        ]
        values = np.add.reduceat(values, firsts, axis=axis)
    return np.pad(values, [(0, n - m) for n, m in zip(sides, values.shape, strict=True)])
