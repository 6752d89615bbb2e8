"""The part of results that draws them: one method, whatever the result."""

from __future__ import annotations

from pathlib import Path

from nvmc.arguments import checked
from nvmc.report.figure import Sheet, as_sheet

__all__ = ["Drawn"]


class Drawn:
    """A result that has a figure; a child says `_draw`."""

    @checked
    def figure(self, path: str | Path | Sheet, style: str = "screen") -> Path:
        """Draw the result into a file: PDF, SVG or PNG, as its name says. Gives the path.

        Args:
            path: The file.
            style: `screen`, `column` (of a two-column paper) or `slide`.

        Raises:
            OptionError: There is no such style or format, or this result cannot be drawn.
            ArtifactError: `path` cannot be written.
        """
        sheet = as_sheet(path, style)
        self._draw(sheet)
        return sheet.path

    def _draw(self, sheet: Sheet) -> None:
        """Draw the result onto the sheet."""
        raise NotImplementedError
