"""Which converter reads which column, and what its errors are on a chip.

The columns of a tile are converted `share` neighbours at a time by one converter each. Every plane
has tiles of its own, and every row of tiles its own converters: one is drawn for each (row of
tiles, lane, tile, `share` columns), in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Periphery
from nvmc.hardware.devices.adc.base import AdcKind
from nvmc.hardware.devices.adc.ideal import Ideal
from nvmc.hardware.tiling import Matrix, tiles_of
from nvmc.rng import CountedDraw, Draw
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.curves import Curves, tabled
from nvmc.runtime.crossbar.fresh import Fresh

__all__ = ["Wiring", "erring", "fresh_of", "wiring_of"]


@dataclass(frozen=True)
class Wiring:
    """The converters of one row of tiles, and of one lane.

    Attributes:
        of_column: The converter of every column, shape (groups, cols).
        tiles: The tile of every converter, shape (converters,), ascending.
    """

    of_column: NDArray[np.intp]
    tiles: NDArray[np.intp]


def wiring_of(matrix: Matrix, size: tuple[int, int], share: int, first_row: int) -> Wiring:
    """How the columns of a row of tiles are wired.

    Args:
        matrix: The weight.
        size: Rows and columns of a tile.
        share: Columns of a converter.
        first_row: First row of the matrices on these tiles.
    """
    of_column = np.zeros((matrix.groups, matrix.cols), np.intp)
    of_tiles: list[int] = []
    here = (tile for tile in tiles_of(matrix, 1, *size) if tile.rows[0] == first_row)
    for number, tile in enumerate(here):
        groups, cols = slice(*tile.groups), slice(*tile.cols)
        part = of_column[groups, cols]
        line = np.arange(part.size).reshape(part.shape)  # groups lie along the diagonal
        part[...] = len(of_tiles) + line // share
        of_tiles += [number] * (-(-part.size // share))
    return Wiring(of_column, np.array(of_tiles, np.intp))


@dataclass
class _Streams:
    """A stream for every error, each made once."""

    make: Callable[[str], Draw]
    made: dict[str, Draw] = field(default_factory=dict[str, Draw])

    def __call__(self, name: str) -> Draw:
        if name not in self.made:
            self.made[name] = self.make(name)
        return self.made[name]


def erring(
    adcs: Sequence[Adc],
    first_rows: Sequence[int],
    matrix: Matrix,
    size: tuple[int, int],
    periphery: Periphery,
    chip: Chip,
    names: tuple[str, ...],
) -> list[Adc]:
    """The ADCs as they are on a chip: themselves where they are ideal there.

    Args:
        adcs: One for each row of tiles, or for each part of one that is read in turn.
        first_rows: First row of the matrices on each, where tiles are filled (`rows.first_rows`);
            parts of a row of tiles have the same converters.
        matrix: The weight.
        size: Rows and columns of a tile.
        periphery: Its ADCs.
        chip: The chip.
        names: What keys the streams.

    Raises:
        OutOfMemoryError: The tables have no room.
    """
    errs = periphery.adc_errs and periphery.adc_bits is not None and chip.index is not None
    index = chip.index or 0
    streams = _Streams(lambda name: Draw(chip.seed, index, *names, "adc", name))
    found, made = list[Adc](), dict[int, Any]()
    for adc, first in zip(adcs, first_rows, strict=True):
        if not errs and adc.even:
            found.append(adc)
            continue
        wiring = wiring_of(matrix, size, periphery.adc_share, first)
        kind = periphery.adc if errs else Ideal()
        if first not in made:
            made[first] = _drawn(adc, wiring, kind, streams)
        found.append(adc.bent(_curves(adc, wiring, kind, made[first])))
    return found


def _drawn(adc: Adc, wiring: Wiring, kind: AdcKind, streams: _Streams) -> Any:
    """The errors of the converters of a row of tiles."""
    if not kind.curved:
        return kind.own_curves(adc.high - adc.low, np.zeros(1, np.intp), streams)
    more = (wiring.tiles[-1] + 1) * np.arange(adc.lanes)
    tiles = (wiring.tiles + more[:, None]).ravel()
    check_room("The curves of the ADCs", 32 * len(tiles) << (adc.bits or 0))
    return kind.curves(adc.high - adc.low, -adc.low, tiles, streams)


def _curves(adc: Adc, wiring: Wiring, kind: AdcKind, drawn: Any) -> Curves:
    groups, cols = wiring.of_column.shape
    of_column = np.tile(wiring.of_column, (1, adc.lanes))
    if kind.curved:
        of_column += len(wiring.tiles) * np.arange(adc.lanes).repeat(cols)
    else:
        of_column[...] = 0
    levels = None if adc.levels is None else np.array(adc.levels) / adc.step
    thresholds, worths, codes = tabled(drawn, adc.low, levels)
    steps = adc.steps_of(groups, cols)
    return Curves(
        thresholds,
        worths,
        of_column.astype(np.uint32),
        1 / steps,
        None if adc.parts is None else steps / adc.step,
        kind.noise,
        codes,
    )


def fresh_of(periphery: Periphery, chip: Chip, names: tuple[str, ...], user: int) -> Fresh:
    """What the ADCs of an array draw anew at every conversion.

    Args:
        periphery: The ADCs.
        chip: The chip.
        names: What keys the streams.
        user: Number of the node among those that read the array.
    """
    if chip.index is None or periphery.adc_bits is None:
        return Fresh()

    def draws(kind: str, wanted: bool) -> CountedDraw | None:
        index = chip.index or 0
        name = f"adc {kind}"
        return CountedDraw(chip.seed, index, *names, name, f"node {user}") if wanted else None

    return Fresh(
        conversions=draws("noise", periphery.adc.noise > 0),
        rounding=draws("rounding", periphery.adc_rounding == "stochastic"),
    )
