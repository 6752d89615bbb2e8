"""The part of results that puts them on a page."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from nvmc.arguments import checked

__all__ = ["WithReport"]

_PAGES = "nvmc.page.report"
"""Makes pages, which is above this room: looked up when a report is asked for."""


class WithReport:
    """The part of a result with chips that writes it as a page."""

    @checked
    def report(
        self,
        path: str | Path,
        *others: Any,
        goal: float | str | None = None,
        title: str = "",
        date: str = "",
    ) -> Path:
        """Write the result as one HTML file that works offline and prints well (docs/report.md).

        Gives the path.

        Args:
            path: The file.
            *others: Results that belong on the same page, such as a `Sweep` or a `Cost`.
            goal: What a chip must reach, as after `--goal`: the yield is stated.
            title: Heading of the page.
            date: A date to be printed; none by default, so that the same results give the same
                bytes.

        Raises:
            OptionError: The name ends in neither .html nor .htm, vl-convert is not installed, or
                something cannot be on a page.
            ArtifactError: `path` cannot be written.
        """
        pages: Any = importlib.import_module(_PAGES)
        return pages.report_of(self, *others, goal=goal, title=title, date=date).write(path)
