"""One figure in one file, drawn without pyplot: no window, no state that outlives the figure."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from nvmc.compiled.artifact import replacing_file
from nvmc.errors import OptionError, unknown
from nvmc.report.table import check_file

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "LOOKS",
    "ORANGE",
    "RED",
    "STYLES",
    "Sheet",
    "Style",
    "as_sheet",
    "check_figure",
    "figure_in",
    "heading",
    "legend",
    "letters",
    "shades",
    "spectrum",
    "style",
]

BLUE, ORANGE, RED, GREEN = "#0072b2", "#e69f00", "#d55e00", "#009e73"
"""Told apart with every kind of colour blindness (Okabe and Ito, Color Universal Design, 2008)."""
GREY, INK = "#7a7f87", "#22262b"

LOOKS: tuple[tuple[str, Any, str, str], ...] = (
    (BLUE, "-", "o", ""),
    (RED, (0, (5, 1.5)), "s", "////"),
    (INK, (0, (1, 1.2)), "^", "...."),
    (GREEN, (0, (5, 1.5, 1, 1.5)), "D", "\\\\\\\\"),
    (ORANGE, (0, (5, 1.5, 1, 1.5, 1, 1.5)), "v", "xxxx"),
    (GREY, (0, (9, 2)), "P", "++++"),
)
"""Colour, dashes, marker and hatch of things in turn: each of the last three tells them apart in
print without colour."""


@dataclass(frozen=True)
class Style:
    """How large a figure and its type are.

    Attributes:
        name: What it is called.
        text: Points of headings, labels and legends.
        small: Points of numbers along axes, and of what is written into a picture.
        scale: Lines and markers, in those of `screen`.
        size: Inches wide and high; None for what each picture needs.
        narrow: Whether there is no room beside a plot: legends go below, and panels below each
            other.
        dpi: Pixels to the inch of a PNG.
    """

    name: str
    text: float
    small: float
    scale: float
    size: tuple[float, float | None] | None
    narrow: bool
    dpi: int


STYLES = {
    "screen": Style("screen", 9, 8, 1.0, None, narrow=False, dpi=160),
    "column": Style("column", 8, 7, 0.8, (3.5, None), narrow=True, dpi=300),
    "slide": Style("slide", 18, 16, 2.0, (40 / 3, 7.5), narrow=False, dpi=144),
}
"""Name -> style: `column` is one of two columns of a paper (IEEE: 3.5 in), `slide` is 16:9."""

_METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
}
"""Suffix of a figure's file -> what matplotlib would write of itself and of the time."""

_ABOUT = {".png": "Description", ".pdf": "Subject", ".svg": "Description"}
"""Suffix of a figure's file -> where it says what it is of."""


@dataclass(frozen=True)
class Sheet:
    """Where a figure goes, and in which style.

    Attributes:
        path: The file; its suffix says the format.
        style: A row of `STYLES`.
        about: What the figure is of, written into the file as JSON.
    """

    path: Path
    style: Style = STYLES["screen"]
    about: Mapping[str, Any] | None = None


def as_sheet(
    path: str | Path | Sheet, name: str = "screen", about: Mapping[str, Any] | None = None
) -> Sheet:
    """A sheet as it is, or a file in the style of that name.

    Raises:
        OptionError: There is no such style.
    """
    if isinstance(path, Sheet):
        return path if about is None else Sheet(path.path, path.style, about)
    if name not in STYLES:
        raise OptionError(unknown("style", name, STYLES))
    return Sheet(Path(path), STYLES[name], about)


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
def figure_in(
    path: Path | Sheet, width: float = 6.4, height: float = 4.0, narrow: float | None = None
) -> Generator[Any]:
    """A `matplotlib.figure.Figure` that is written to `path` when the block ends well.

    As PNG, PDF or SVG, as the name says. The same figure gives the same bytes: no date and no
    version of matplotlib is written into it. Type in a PDF is TrueType, which publishers ask for.

    Args:
        path: The file, or a sheet; replaced whole or not at all.
        width: Inches, where the style leaves it open.
        height: Inches, likewise.
        narrow: Inches of height in a narrow style; in proportion, and a third more, by default.

    Raises:
        OptionError: The name ends in no known format, or matplotlib is not installed.
        ArtifactError: `path` cannot be written.
    """
    sheet = as_sheet(path)
    check_figure(sheet.path)
    wide, high = sheet.style.size or (width, height)
    high = high or narrow or wide * height / width * 4 / 3
    suffix, drawn = sheet.path.suffix.lower(), io.BytesIO()  # a full disk is no fault of drawing
    told: dict[str, str | None] = dict(_METADATA[suffix])
    if sheet.about is not None:
        told[_ABOUT[suffix]] = json.dumps(dict(sheet.about), ensure_ascii=True)
    with _library("matplotlib").rc_context(_settings(sheet.style)):
        figure: Any = _library("matplotlib.figure").Figure(
            figsize=(wide, high), layout="constrained", facecolor="white"
        )
        yield figure
        figure.savefig(drawn, format=suffix[1:], dpi=sheet.style.dpi, metadata=told)
    with replacing_file(sheet.path) as file:
        file.write_bytes(drawn.getbuffer())


def _settings(look: Style) -> dict[str, Any]:
    """Settings of matplotlib for a style, while the figure is drawn."""
    return {
        "svg.hashsalt": "nvmc",  # it names an SVG's parts; without one matplotlib draws another
        "pdf.fonttype": 42,
        "font.size": look.text,
        "axes.titlesize": look.text,
        "axes.labelsize": look.text,
        "figure.titlesize": look.text,
        "legend.fontsize": look.text if look.narrow else look.small,
        "legend.title_fontsize": look.text if look.narrow else look.small,
        "xtick.labelsize": look.small,
        "ytick.labelsize": look.small,
        "lines.linewidth": 1.5 * look.scale,
        "lines.markersize": 5 * look.scale,
        "axes.linewidth": 0.8 * look.scale,
        "hatch.linewidth": 0.6 * look.scale,
        "xtick.major.width": 0.8 * look.scale,
        "ytick.major.width": 0.8 * look.scale,
    }


BESIDE = 12
"""Letters that an axis takes beside a plot, about."""


def letters(figure: Any) -> int:
    """How many letters a line across the figure has, about: one is 0.56 of the type's size wide."""
    return int(72 * figure.get_figwidth() / _library("matplotlib").rcParams["font.size"] / 0.56)


_KEPT = "\N{NO-BREAK SPACE}"


def heading(figure: Any, lines: Sequence[str]) -> None:
    """What the figure is of, above everything else; broken where the figure is too narrow.

    Behind commas, unless what is between two of them is too long for a line itself.
    """
    most, shown = letters(figure), list[str]()
    for line in lines:
        parts = (p.replace(" ", _KEPT) if len(p) < most else p for p in line.split(", "))
        shown += wrap(", ".join(parts), most, break_on_hyphens=False) or [""]
    shown = [line.replace(_KEPT, " ") for line in shown]
    figure.suptitle("\n".join(shown), x=0.01, ha="left", color=INK)


def style(axes: Any, title: str, x: str, y: str) -> None:
    """Labels, a light horizontal grid, and no frame on the right and above."""
    most = letters(axes.figure) - BESIDE
    axes.set_title("\n".join(wrap(title, most)), loc="left", color=INK)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(colors=INK)
    axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)


def legend(axes: Any, look: Style, *given: Any, columns: int = 2, **more: Any) -> Any:
    """A legend beside the axes; where there is no room, below the figure.

    Args:
        axes: What it explains.
        look: The style.
        *given: Handles and texts; those of the axes by default.
        columns: Of a legend below the figure.
        **more: As of `matplotlib.axes.Axes.legend`.
    """
    known = {"frameon": False, "labelcolor": INK, "alignment": "left", **more}
    if look.narrow:
        handles, texts = given or axes.get_legend_handles_labels()
        if columns == 1:
            most = letters(axes.figure) - 6  # what a handle takes
            texts = ["\n".join(wrap(text.replace("\n", " "), most)) for text in texts]
        known |= {"loc": "outside lower left", "ncols": columns, "columnspacing": 1.0}
        return axes.figure.legend(handles, texts, handlelength=1.8, borderaxespad=0.2, **known)
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    return axes.legend(*given, **{**place, **known})


def shades(count: int) -> list[Any]:
    """`count` colours of an ordered quantity, dark to bright, told apart also without colour."""
    if count == 1:
        return [BLUE]
    viridis: Any = _library("matplotlib").colormaps["viridis"]
    return [viridis(0.85 * i / (count - 1)) for i in range(count)]


def spectrum(most: float) -> Any:
    """Colours of 0 to `most`, dark to bright: a `matplotlib.cm.ScalarMappable`."""
    norm: Any = _library("matplotlib.colors").Normalize(0, most)
    return _library("matplotlib.cm").ScalarMappable(norm, "viridis")


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise OptionError(
            "figures need matplotlib, which is not installed; run `pip install 'nvmc[report]'`, or "
            "leave the figure out"
        ) from error
