"""What a compiled network shows of itself: a line, and a table of its arrays."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nvmc.arguments import checked
from nvmc.tables import Cell, Shown, Table

__all__ = ["ShownNetwork"]

_PICTURE = "nvmc.report.tile_map"
"""Looked up when it is called, since it lies in a higher room."""


class ShownNetwork(Shown):
    """The part of `Compiled` that shows it."""

    folder: Any
    manifest: Any

    def headline(self) -> str:
        """What it is, in one line."""
        told, target = self.manifest, self.manifest.target
        arrays, tiles = len(told.arrays), sum(array.tiles for array in told.arrays)
        bits = "analog" if target.weight_bits is None else f"{target.weight_bits}-bit"
        of = f"{arrays} array{'s' * (arrays != 1)} of {bits} weights"
        cells = f"{tiles:,} tile{'s' * (tiles != 1)} of {target.rows} x {target.cols} cells"
        return f"Compiled {str(self.folder)!r}: {of} on {cells} ({target.device.name})"

    def shown(self) -> Table:
        """A row for each array: its matrix, its tiles, and how much of them it takes."""
        rows = tuple(
            (
                array.name,
                f"{array.rows:,} x {array.cols:,}",
                str(array.groups),
                str(array.planes),
                f"{array.tiles:,}",
                f"{100 * array.utilization:.1f} %",
            )
            for array in self.manifest.arrays
        )
        return Table(("array", "rows x columns", "groups", "planes", "tiles", "used"), rows)

    @checked
    def figure(self, path: str | Path, style: str = "screen") -> Path:
        """Draw the tile map into a file (PDF, SVG or PNG): how each array is cut into tiles.

        Args:
            path: The file.
            style: `screen`, `column` (of a two-column paper) or `slide`.

        Raises:
            OptionError, ArtifactError: No such style or format, or the file cannot be written.
        """
        picture: Any = importlib.import_module(_PICTURE)
        return picture.draw_tiles(self, path, style)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each array: the keys of `arrays` in the manifest that are numbers or texts."""
        for array in self.manifest.arrays:
            found: dict[str, Any] = array.model_dump(mode="json")
            found["shape"] = "x".join(map(str, array.shape))
            yield {key: value for key, value in found.items() if not isinstance(value, list | dict)}
