"""Pictures: what is on them, that they are whole, and what happens without matplotlib."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.cost.components import COMPONENTS
from nvmc.errors import ArtifactError, OptionError
from nvmc.report.component_looks import COMPONENT_COLOURS
from nvmc.report.curves import Axis, Curve, draw_curves
from nvmc.report.figure import LOOKS, as_sheet, check_figure, figure_in, shades
from nvmc.report.histogram import Sample, bar_edges, draw_histogram
from nvmc.report.overlay import Overlaid, draw_overlay
from nvmc.report.sensitivity_picture import Bar, draw_sensitivity
from nvmc.report.study_picture import StudyLine, draw_study
from nvmc.report.uncertainty_plot import Line, Panel, draw_uncertainty
from nvmc.rng import stream
from nvmc.statistics import percentile_performance, summarize

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is drawn, to look into."""
    from matplotlib.figure import Figure

    seen: list[Any] = []
    original = Figure.savefig

    def saving(figure: Figure, *words: Any, **options: Any) -> None:
        seen.append(figure)
        original(figure, *words, **options)

    monkeypatch.setattr(Figure, "savefig", saving)
    return seen


def population(runs: int, label: str = "") -> Sample:
    values = 0.9 - np.round(100 * stream(0, 0, "chips", label).random(runs)) / 500
    return Sample(label, values, percentile_performance(values, 1), summarize(values))


def curve(label: str, points: int, runs: int) -> Curve:
    chips = [population(runs, f"{label}{i}") for i in range(points)]
    return Curve(label, [c.summary.mean for c in chips], [c.kpp for c in chips], [0.99] * points)


def texts(legend: Any) -> str:
    return " ".join(text.get_text() for text in legend.get_texts())


def test_curves_show_what_they_were_given(tmp_path: Path, figures: list[Any]) -> None:
    """Values in percent, sorted along x, labelled with names and units."""
    one = curve("", 3, 400)
    axis = Axis("σ [level steps]", [0.3, 0.1, 0.2])
    draw_curves(tmp_path / "c.png", ["title"], "accuracy", axis, [one])
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)
    (axes,) = figures[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("σ [level steps]", "accuracy [%]")
    ideal, mean, kpp = axes.get_lines()
    assert list(kpp.get_xdata()) == [0.1, 0.2, 0.3]
    order = [1, 2, 0]
    np.testing.assert_allclose(mean.get_ydata(), [100 * one.mean[i] for i in order])
    np.testing.assert_allclose(kpp.get_ydata(), [100 * one.kpp[i].value for i in order])
    np.testing.assert_allclose(ideal.get_ydata(), 99)
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(100 * min(k.interval.low or 0 for k in one.kpp))
    assert heights.max() == pytest.approx(100 * max(k.interval.high or 0 for k in one.kpp))
    assert "open" not in texts(axes.get_legend())


def test_open_ends_are_arrows_and_said(tmp_path: Path, figures: list[Any]) -> None:
    one = curve("", 2, 50)
    assert all(k.interval.low is None for k in one.kpp)
    draw_curves(tmp_path / "c.png", ["title"], "accuracy", Axis("σ", [0.1, 0.2]), [one])
    (axes,) = figures[0].axes
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(100 * min(k.value for k in one.kpp))
    arrows = [note for note in axes.texts if note.arrow_patch is not None]
    assert [note.xy for note in arrows] == [
        (0.1 + i / 10, 100 * k.value) for i, k in enumerate(one.kpp)
    ]
    assert "368 runs" in texts(axes.get_legend())
    draw_histogram(tmp_path / "h.png", ["title"], "accuracy", 0.95, 500, [population(50)])
    marks = [line for line in figures[1].axes[0].get_lines() if line.get_marker() == "<"]
    assert [line.get_xdata()[0] for line in marks] == [0.0]  # at the edge


def test_lines_of_a_second_parameter_are_named(tmp_path: Path, figures: list[Any]) -> None:
    lines = [curve(text, 3, 20) for text in ("4", "6", "none")]
    axis = Axis("time", [1.0, 10.0, 100.0], ["1s", "10s", "100s"], logarithmic=True)
    draw_curves(tmp_path / "c.png", ["t"], "accuracy", axis, lines, "ADC resolution [bit]")
    (axes,) = figures[0].axes
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1s", "10s", "100s"]
    legends = [a for a in axes.get_children() if type(a).__name__ == "Legend"]
    assert [legend.get_title().get_text() for legend in legends].count("ADC resolution [bit]") == 1
    assert any(texts(legend) == "4 6 none" for legend in legends)
    assert len({line.get_color() for line in axes.get_lines()[2::3]}) == 3


@pytest.mark.parametrize(("images", "runs"), [(500, 400), (500, 5), (100_000, 60), (None, 60)])
def test_a_histogram_holds_every_chip(
    tmp_path: Path, figures: list[Any], images: int | None, runs: int
) -> None:
    one = population(runs)
    draw_histogram(tmp_path / "h.png", ["title"], "accuracy", 0.95, images, [one])
    (axes,) = figures[0].axes
    bars = [patch for patch in axes.patches if patch.get_alpha() == 0.45]
    assert sum(bar.get_height() for bar in bars) == runs
    assert len(bars) <= 41
    assert all(tick == round(tick) for tick in axes.get_yticks())  # chips are whole
    lines = {line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "None"}
    assert lines == {100 * one.kpp.value, 100 * one.summary.mean, 95.0}
    assert ("368 runs" in texts(axes.get_legend())) == (runs < 368)


def test_a_histogram_of_equal_chips(tmp_path: Path, figures: list[Any]) -> None:
    values = np.ones(4)
    one = Sample("", values, percentile_performance(values, 1), summarize(values))
    draw_histogram(tmp_path / "h.png", ["title"], "agreement", 1.0, 10, [one])
    (axes,) = figures[0].axes
    low, high = axes.get_xlim()
    assert low < 100 < high
    bars = [patch for patch in axes.patches if patch.get_alpha() == 0.45 and patch.get_height()]
    assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars] == [(95, 100)]


@pytest.mark.parametrize("values", [[0.81, 1.0], [0.0, 1.0], [0.0, 0.35], [0.5, 0.999]])
@pytest.mark.parametrize("images", [7, 100, 100_000, None])
def test_no_bar_of_a_histogram_leaves_what_values_can_be(
    values: list[float], images: int | None
) -> None:
    edges = bar_edges([np.array(values)], values[1], images, (0.0, 1.0))
    assert 0 <= edges[0] <= values[0] and values[1] <= edges[-1] <= 1
    assert np.histogram(values, edges)[0].sum() == 2 and (np.diff(edges) > 0).all()


def test_pictures_call_images_by_their_name(tmp_path: Path, figures: list[Any]) -> None:
    one = population(30)
    draw_histogram(tmp_path / "h.png", ["t"], "r2", 0.9, None, [one], item="week")
    draw_curves(
        tmp_path / "c.png", ["t"], "r2", Axis("σ", [0.1, 0.2]), [curve("", 2, 20)], item="week"
    )
    draw_overlay(
        tmp_path / "o.png", ["t"], "r2", [Overlaid("a", one.values, one.kpp)], True, "week"
    )
    told = [texts(figure.axes[0].get_legend()) for figure in figures[:2]]
    told.append(figures[2].axes[1].get_title(loc="left"))
    assert all("weeks" in text and "image" not in text for text in told)


def test_one_histogram_a_time(tmp_path: Path, figures: list[Any]) -> None:
    draw_histogram(
        tmp_path / "h.png",
        ["t"],
        "accuracy",
        0.95,
        500,
        [population(30, t) for t in ("1 h", "1 d")],
    )
    assert [axes.get_title(loc="left") for axes in figures[0].axes] == ["1 h", "1 d"]


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", PNG), ("pdf", b"%PDF-"), ("svg", b"<?xml"), ("SVG", b"<?xml")]
)
def test_the_suffix_says_the_format_and_a_figure_is_the_same_file(
    tmp_path: Path, suffix: str, magic: bytes
) -> None:
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{suffix}"
        draw_histogram(path, ["t"], "accuracy", 0.95, 500, [population(30)])
    found = (tmp_path / f"a.{suffix}").read_bytes()
    assert found.startswith(magic) and found == (tmp_path / f"b.{suffix}").read_bytes()
    assert re.search(rb"matplotlib v|Matplotlib v|CreationDate|<dc:date>", found) is None


def overlapping(figure: Any) -> list[tuple[str, str]]:
    """Pairs of texts that lie on one another, or a text beyond the edge."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    boxes: list[tuple[str, Any]] = []

    with pytest.MonkeyPatch.context() as patch:
        original = Text.draw

        def noting(text: Text, renderer: Any) -> None:
            if text.get_text() and text.get_visible():
                boxes.append((text.get_text(), text.get_window_extent(renderer)))
            original(text, renderer)

        patch.setattr(Text, "draw", noting)
        FigureCanvasAgg(figure).draw()
    edge = figure.bbox.padded(1)
    beyond = [(name, "edge") for name, box in boxes if not _within(box, edge)]
    pairs = itertools.combinations(boxes, 2)
    return beyond + [(a, b) for (a, one), (b, other) in pairs if one.padded(-1).overlaps(other)]


def _within(box: Any, edge: Any) -> bool:
    return edge.x0 <= box.x0 and edge.y0 <= box.y0 and box.x1 <= edge.x1 and box.y1 <= edge.y1


LINES = ["0123456789" * 8] * 5


def test_no_text_lies_on_another_or_beyond_the_edge(tmp_path: Path, figures: list[Any]) -> None:
    axis = Axis("σ [level steps]", [0.1, 0.2])
    many = [curve(f"{sigma} V", 2, 20) for sigma in range(12)]
    title = "noise strength σ [level steps]"
    draw_curves(tmp_path / "one.png", LINES, "accuracy", axis, [curve("", 2, 20)])
    draw_curves(tmp_path / "two.png", LINES, "accuracy", axis, many, title)
    draw_histogram(tmp_path / "h.png", LINES, "accuracy", 0.95, 500, [population(30)])
    line = Line([0.9, 0.1], [0.01, 0.01])
    panel = Panel("rotation [degrees]", [0, 7], line, line, line, line, line)
    draw_uncertainty(tmp_path / "u.png", LINES, [panel, panel])
    several = [population(30, t) for t in ("1 h", "1 d")]
    narrow = as_sheet(tmp_path / "narrow.png", "column")
    setup = "4-bit weights, sigma 0.1, noise programming (in level steps), 8-bit DAC, 5-bit ADC"
    titles = [f"lenet5-digits on rram4, {setup}", "30 chips, 531 images of digits, seed 0"]
    draw_histogram(narrow, titles, "accuracy", 0.95, 500, several)
    draw_curves(narrow, titles, "accuracy", axis, [curve(s, 2, 20) for s in "abc"], title)
    bars = [Bar(kind, "conv1.weight", (0.1, 0.02), (0.2, 0.1)) for kind in ("layer", "source")]
    kinds, told = {"layer": "layers", "source": "noise sources"}, ("gain", "loss")
    what = "change of the KPP [percentage points]"
    draw_sensitivity(narrow, titles, what, bars, 100, kinds, told)
    chips = [Overlaid(s, one.values, one.kpp) for s, one in zip("ab", several, strict=True)]
    draw_overlay(narrow, titles, "accuracy", chips, True)
    assert len(figures) == 8
    assert "± one standard error" in texts(figures[6].legends[0])
    assert [overlapping(figure) for figure in figures] == [[]] * 8
    of_two = figures[5].axes[0].get_window_extent().height  # legends do not take over
    assert of_two > figures[5].bbox.height / 3
    assert {figure.get_figwidth() for figure in figures[4:]} == {3.5}


def test_a_comparison_begins_at_no_chip_and_labels_its_line(
    tmp_path: Path, figures: list[Any]
) -> None:
    one = population(30)
    draw_overlay(tmp_path / "c.png", ["t"], "accuracy", [Overlaid("a", one.values, one.kpp)], True)
    top, below = figures[0].axes
    curve_of, line = top.get_lines()
    assert curve_of.get_ydata()[0] == 0 and curve_of.get_ydata()[-1] == 100
    assert curve_of.get_xdata()[0] == 100 * one.values.min()
    assert line.get_label() == "k = 1 % of the chips"
    assert "368 runs close it" in below.get_title(loc="left")


@pytest.mark.parametrize("look", ["screen", "column"])
def test_arrows_of_open_ends_stay_within_the_axes(
    look: str, tmp_path: Path, figures: list[Any]
) -> None:
    two = [curve(label, 2, 20) for label in "ab"]
    sheet = as_sheet(tmp_path / "s.png", look)
    draw_curves(sheet, ["t"], "accuracy", Axis("σ", [0.1, 0.2]), two, "bits")
    axes = figures[0].axes[0]
    figures[0].draw_without_rendering()
    edge = axes.get_window_extent().padded(1)
    arrows = [text.arrow_patch.get_window_extent() for text in axes.texts]
    assert arrows and all(edge.y0 <= box.y0 for box in arrows)


def test_looks_are_told_apart_without_colour() -> None:
    """Dashes, marks and hatches all differ; colours differ in grey from their neighbours."""
    colours, *others = zip(*LOOKS, strict=True)
    assert all(len({str(one) for one in kind}) == len(LOOKS) for kind in others)
    lights = [_lightness(colour) for colour in colours]
    assert min(abs(a - b) for a, b in itertools.pairwise(lights)) > 5


def test_components_of_a_cost_are_told_apart_in_grey_by_their_neighbours() -> None:
    assert list(COMPONENT_COLOURS) == list(COMPONENTS)
    lights = [_lightness(colour) for colour in COMPONENT_COLOURS.values()]
    assert len(set(COMPONENT_COLOURS.values())) == len(lights)
    for apart, least in ((1, 20), (2, 15)):  # of two with a missing one between them
        pairs = zip(lights, lights[apart:], strict=False)
        assert min(abs(one - other) for one, other in pairs) >= least


def _lightness(colour: str) -> float:
    """CIE L* of an sRGB colour (IEC 61966-2-1; CIE 15)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * luminance ** (1 / 3) - 16


def test_a_failing_picture_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), figure_in(tmp_path / "p.png"):
        raise RuntimeError("drawing")
    with pytest.raises(ArtifactError, match="absent"), figure_in(tmp_path / "absent" / "p.png"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_no_picture_can_go_is_said_early(tmp_path: Path) -> None:
    check_figure(tmp_path / "p.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ArtifactError, match="folder"):
        check_figure(tmp_path / "folder.png")
    for name in ("p", "p.jpg", "p.png.txt", "png"):
        with pytest.raises(OptionError, match=r"ends in \.png, \.pdf, \.svg"):
            check_figure(tmp_path / name)
    with pytest.raises(ArtifactError, match="absent"):
        check_figure(tmp_path / "absent" / "p.png")


def test_without_matplotlib_one_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OptionError, match=r"nvmc\[report\]"):
        check_figure(tmp_path / "p.png")
    with pytest.raises(OptionError, match=r"nvmc\[report\]"):
        draw_histogram(tmp_path / "p.png", ["t"], "accuracy", 1.0, 10, [population(3)])


def test_pyplot_and_global_settings_are_left_alone(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "import nvmc.report.curves, nvmc.report.histogram\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from nvmc.report.figure import figure_in, style\n"
        "import matplotlib\n"
        "before = dict(matplotlib.rcParams)\n"
        f"with figure_in(Path({str(tmp_path / 'p.png')!r})) as figure:\n"
        "    style(figure.add_subplot(), 't', 'x', 'y')\n"
        "assert dict(matplotlib.rcParams) == before\n"
        "from matplotlib._pylab_helpers import Gcf\n"
        "assert not Gcf.figs\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_shades_are_distinct() -> None:
    assert len({tuple(shade) for shade in shades(8)}) == 8


def test_a_study_of_one_strength_shows_each_method_with_its_spread(
    tmp_path: Path, figures: list[Any]
) -> None:
    lines = [
        StudyLine("erm", [0.25], [0.9], [0.02], [None]),
        StudyLine("trice", [0.25], [0.95], [0.01], [0.93]),
    ]
    draw_study(tmp_path / "s.svg", ["of"], "KPP [%]", [("noise strength σ", lines)], percent=True)
    (axes,) = figures[0].axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["erm", "trice"]
    assert axes.get_xlabel() == "noise strength σ = 0.25"
    bars = [bar.lines[2][0].get_segments()[0][:, 1] for bar in axes.containers]
    assert np.allclose(bars, [[88, 92], [94, 96]])
    (paper,) = (line for line in axes.lines if line.get_label() == "trice, paper")
    assert np.allclose(paper.get_ydata(), 93)
