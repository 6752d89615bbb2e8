"""One figure in one file, drawn without pyplot: no window, no state that outlives the figure."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvmc.compiled.artifact import replacing_file
from nvmc.errors import OptionError
from nvmc.report.table import check_file

__all__ = ["BLUE", "GREY", "INK", "ORANGE", "RED", "check_picture", "picture", "shades", "style"]

BLUE, ORANGE, RED, GREY, INK = "#2a6fb0", "#d9772b", "#b3343a", "#8a8f98", "#22262b"
DPI = 160


def check_picture(path: Path) -> None:
    """Complain now, rather than after the runs, that no picture can be written to `path`.

    Raises:
        OptionError: matplotlib is not installed.
        ArtifactError: There is no such folder, or `path` is one.
    """
    _library("matplotlib.figure")
    check_file(path)


@contextmanager
def picture(path: Path, width: float = 6.4, height: float = 4.0) -> Generator[Any]:
    """A `matplotlib.figure.Figure` that is written to `path` as PNG when the block ends well.

    The same figure gives the same bytes: no date and no version is written into it.

    Args:
        path: The file; replaced whole or not at all.
        width: Inches.
        height: Inches.

    Raises:
        OptionError: matplotlib is not installed.
        ArtifactError: `path` cannot be written.
    """
    figure: Any = _library("matplotlib.figure").Figure(
        figsize=(width, height), layout="constrained", facecolor="white"
    )
    _library("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    yield figure
    with replacing_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})


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
            "pictures need matplotlib, which is not installed; run `pip install nvmc[report]`, or "
            "leave the picture out"
        ) from error
