"""A reader of `--to conductance` that shares nothing with nvmc: products in slow loops."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]


class TileFiles:
    """One array of an export, from `NAME.npz` alone."""

    def __init__(self, folder: Path, file: str) -> None:
        with np.load(folder / file) as content:
            self._content: dict[str, Any] = dict(content)

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    @property
    def count(self) -> int:
        return int(self["tiles"])

    def get(self, key: str) -> Any:
        return self._content.get(key)

    def level(self, tile: int, word: int, bit: int) -> float:
        """Level steps of the cell at a crossing of two lines; 0 where there is none."""
        if not self[f"formed/{tile}"][word, bit]:
            return 0.0
        return float((self[f"conductance_us/{tile}"][word, bit] - self["min_us"]) / self["step_us"])

    def lines(self, tile: int, group: int, row: int, col: int) -> tuple[int, int]:
        """Where on a tile a weight lies: packed groups follow each other along the diagonal."""
        (first, _), (top, bottom), (left, right) = (
            self[key][tile] for key in ("groups", "rows", "cols")
        )
        packed = group - first
        return packed * (bottom - top) + row - top, packed * (right - left) + col - left

    def unit(self, group: int, row: int, col: int) -> float:
        return float(np.broadcast_to(self["unit"], tuple(self["shape"]))[group, row, col])

    def places(self, tile: int) -> list[tuple[int, int, int, int, int]]:
        """Group, row, column, word line and bit line of every weight on a tile."""
        spans = [range(*self[key][tile]) for key in ("groups", "rows", "cols")]
        return [
            (g, r, c, *self.lines(tile, g, r, c))
            for g in spans[0]
            for r in spans[1]
            for c in spans[2]
        ]

    def weights(self) -> Real:
        """Network units, shape (groups, rows, cols)."""
        found = np.full(tuple(self["shape"]), -float(self["shift"]))
        for tile in range(self.count):
            for g, r, c, word, bit in self.places(tile):
                found[g, r, c] += self["coefficient"][tile] * self.level(tile, word, bit)
        for g, r, c in np.ndindex(*found.shape):
            found[g, r, c] *= self.unit(g, r, c)
            if self.get("sign") is not None:
                found[g, r, c] *= self["sign"][g, r, c]
        return found

    def product(self, x: Real) -> Real:
        """x of shape (groups, vectors, rows) times the cells, current by current."""
        groups, _, cols = self["shape"]
        y = np.zeros((groups, x.shape[1], cols))
        for tile in range(self.count):
            for g, r, c, word, bit in self.places(tile):
                for v in range(x.shape[1]):
                    current = x[g, v, r] * self.level(tile, word, bit)
                    y[g, v, c] += self["coefficient"][tile] * current * self.unit(g, r, c)
        for g, v, c in np.ndindex(*y.shape):
            for r in range(x.shape[2]):
                y[g, v, c] -= self["shift"] * x[g, v, r] * self.unit(g, r, c)
        return y


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "tiles.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def matrix_of(path: Path) -> Real:
    lines = path.read_text().splitlines()
    return np.array([[float(text) for text in line.split(",")] for line in lines])
