"""One figure in one file, drawn without pyplot: no window, no state that outlives the figure."""

from __future__ import annotations

import importlib
import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvmc.compiled.artifact import replacing_file
from nvmc.errors import OptionError
from nvmc.report.table import check_file

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "ORANGE",
    "RED",
    "check_figure",
    "figure_in",
    "heading",
    "shades",
    "style",
]

BLUE, ORANGE, RED, GREY, INK = "#2a6fb0", "#d9772b", "#b3343a", "#8a8f98", "#22262b"
DPI = 160

_METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
}
"""Suffix of a figure's file -> what matplotlib would write of itself and of the time."""


def check_figure(path: Path) -> None:
    """Complain now, rather than after the runs, that no figure can be written to `path`.

    Raises:
        OptionError: The name ends in no format that is known, or matplotlib is not installed.
        ArtifactError: There is no such folder, or `path` is one.
    """
    if path.suffix.lower() not in _METADATA:
        raise OptionError(
            f"figure is {str(path)!r}; expected a name that ends in {', '.join(_METADATA)}"
        )
    _library("matplotlib.figure")
    check_file(path)


@contextmanager
def figure_in(path: Path, width: float = 6.4, height: float = 4.0) -> Generator[Any]:
    """A `matplotlib.figure.Figure` that is written to `path` when the block ends well.

    As PNG, PDF or SVG, as the name says. The same figure gives the same bytes: no date and no
    version is written into it.

    Args:
        path: The file; replaced whole or not at all.
        width: Inches.
        height: Inches.

    Raises:
        OptionError: The name ends in no known format, or matplotlib is not installed.
        ArtifactError: `path` cannot be written.
    """
    check_figure(path)
    figure: Any = _library("matplotlib.figure").Figure(
        figsize=(width, height), layout="constrained", facecolor="white"
    )
    yield figure
    suffix = path.suffix.lower()
    drawn = io.BytesIO()  # matplotlib takes a full disk for a fault of its own
    # The salt names an SVG's parts; without one matplotlib draws another each time.
    with _library("matplotlib").rc_context({"svg.hashsalt": "nvmc"}):
        figure.savefig(drawn, format=suffix[1:], dpi=DPI, metadata=_METADATA[suffix])
    with replacing_file(path) as file:
        file.write_bytes(drawn.getbuffer())


def heading(figure: Any, lines: Sequence[str]) -> None:
    """What the figure is of, in small lines above everything else."""
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=8, color=INK)


def style(axes: Any, title: str, x: str, y: str) -> None:
    """Labels, a light horizontal grid, and no frame on the right and above."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)


def shades(count: int) -> list[Any]:
    """`count` colours of an ordered quantity, dark to bright, told apart also without colour."""
    if count == 1:
        return [BLUE]
    viridis: Any = _library("matplotlib").colormaps["viridis"]
    return [viridis(0.85 * i / (count - 1)) for i in range(count)]


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise OptionError(
            "figures need matplotlib, which is not installed; run `pip install nvmc[report]`, or "
            "leave the figure out"
        ) from error
