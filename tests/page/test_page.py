"""A report as a file: what is on it, that nothing in it can act, and that it is always the same."""

from __future__ import annotations

import csv
import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nvmc
from nvmc.errors import NvmcError, OptionError
from nvmc.evaluation.sensitivity import Sensitivity
from nvmc.page import make, sections
from nvmc.page.blocks import Chart, DataTable, Heading, Paragraph
from nvmc.page.document import _sections, document
from nvmc.page.markup import embedded_json, tag
from nvmc.page.report import Report, report_of
from nvmc.page.sections import SECTIONS
from nvmc.page.sections.sensitivity import sensitivity
from onnx_text import proto_of
from report_pages import Page, read_page

SCRIPT = "/* charts */"
EVIL = "<script>alert('1')<!--"
DATA = nvmc.Dataset(
    "</script><img src=x onerror=alert(2)>",
    np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32),
    np.arange(40) % 4,
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> nvmc.Compiled:
    """A network, folder, array and data with names that try to be HTML."""
    model = proto_of("g (float[N,12] x) => (float[N,4] y) <float[12,4] w> { y = MatMul (x, w) }")
    for node in model.graph.node:
        node.input[1] = EVIL
    model.graph.initializer[0].name = EVIL
    target = nvmc.make_target("fefet2", rows=8, cols=8, adc_bits=6, dac_bits=6)
    folder = tmp_path_factory.mktemp("page") / f"{EVIL}.nvmc"
    return nvmc.compile(model, target, output=folder)


@pytest.fixture(scope="module")
def made(network: nvmc.Compiled) -> Report:
    """Everything that a report can have, of few chips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "PARTIAL", 5)
        patch.setattr(make, "DOUBTING", 2)
        return nvmc.make_report(
            network,
            data=DATA,
            runs=8,
            sigma=0.3,
            goal="50%",
            sweeps=[{"sigma": [0, 0.2]}, {"adc_bits": "4,6"}],
            with_sensitivity=True,
            with_uncertainty=True,
            hardware=["isaac-32nm"],
            title=f"{EVIL}\u202etxt",
            command=f"nvmc report '{EVIL}'",
            jobs=1,
        )


@pytest.fixture(scope="module")
def page(made: Report) -> Page:
    return read_page(made.html(SCRIPT))


def test_every_section_is_there_and_is_a_file(page: Page) -> None:
    names = [str(one["id"]) for one in page.of("section")]
    assert names == [n for n in [*SECTIONS, "downloads"] if n != "comparison"][:-2] + [
        "downloads",
        "cite",
    ]
    files = {path.stem for path in Path(str(sections.__file__)).parent.glob("*.py")}
    assert files - {"__init__"} == SECTIONS.keys()


def test_no_name_becomes_an_element_or_ends_a_script(made: Report, page: Page) -> None:
    text = made.html(SCRIPT)
    assert not page.of("img")
    charts = len(page.of("figure"))
    assert len(page.scripts) == charts + 2 == text.count("<script") == text.count("</script")
    assert page.scripts[-2] == ({}, SCRIPT)
    assert "<!--" not in text and "onerror=alert(2)>" not in text
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert EVIL in page.text and "\\u202etxt" in page.text and "\u202e" not in text


def test_nothing_is_loaded(page: Page) -> None:
    for name, attributes in page.tags:
        assert name not in ("link", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert re.match(r"#|data:", attributes.get("href") or "#")
    (policy,) = [m["content"] for m in page.of("meta") if "http-equiv" in m]
    assert policy is not None and policy.startswith("default-src 'none'; script-src 'sha256-")
    assert all("url" not in str(chart.get("data", "")) for chart in page.charts.values())


def test_the_same_results_give_the_same_bytes(made: Report, network: nvmc.Compiled) -> None:
    again = nvmc.simulate(network, data=DATA, runs=8, sigma=0.3, goal=0.5, jobs=2)
    rest = [one for one in made.results if not isinstance(one, nvmc.Simulation)]
    told: Any = {"title": made.title, "goal": "50%", "command": made.command}
    assert report_of(again, *rest, **told).html(SCRIPT) == made.html(SCRIPT)
    dated = report_of(again, *rest, date="2026-11-30", **told).html(SCRIPT)
    assert dated.replace(" · 2026-11-30", "") == made.html(SCRIPT)


def test_files_have_the_numbers(made: Report, page: Page) -> None:
    (result,) = made.of(nvmc.Simulation)
    chips = list(csv.DictReader(io.StringIO(page.files["chips.csv"])))
    assert [float(row["accuracy"]) for row in chips] == result.values.tolist()
    (verdict,) = csv.DictReader(io.StringIO(page.files["verdict.csv"]))
    assert float(verdict["kpp"]) == result.kpp.value
    assert float(verdict["yield"]) == result.yield_at(0.5).value
    assert verdict["kpp_low"] == ""  # 8 chips have no lower limit
    points = list(csv.DictReader(io.StringIO(page.files["curve-1-points.csv"])))
    assert [float(row["sigma"]) for row in points] == [0.0, 0.2]
    assert "\\toprule" in page.files["verdict.tex"]
    assert f"KPP (k = 1) {100 * result.kpp.value:.2f} %" in page.files["methods.txt"]


def test_the_verdict_of_few_chips_is_that_of_the_worst(page: Page, made: Report) -> None:
    (result,) = made.of(nvmc.Simulation)
    value = f"{100 * result.summary.worst:.2f} % accuracy (KPP, k = 1)"
    assert f"the worst of 8 chips reaches {value}" in page.text
    assert "of 100 chips reach" not in page.text and "sigma 0.3, noise " in page.text
    told = result.description
    assert f"on {told.images} samples of {told.data}: the worst" in page.text


def test_an_open_interval_is_said_and_drawn_open(page: Page) -> None:
    assert "no lower limit yet: 368 chips are needed (runs=368)" in page.text  # made in Python
    rows = page.charts["kpp"]["data"]["values"]
    assert [row["open_low"] for row in rows] == [True, True]


def test_histogram_counts_every_chip(page: Page, made: Report) -> None:
    bars = page.charts["histogram"]["layer"][0]["data"]["values"]
    assert sum(bar["chips"] for bar in bars) == 8
    for one in made.populations:
        for value in 100 * one.values:
            assert sum(bar["x"] <= value < bar["high"] for bar in bars) == 1


def test_everything_that_was_run_is_said(made: Report, page: Page, network: nvmc.Compiled) -> None:
    (result,) = made.of(nvmc.Simulation)
    told = result.description
    for text in (told.network_sha256, str(told.data_sha256), made.command, nvmc.__version__):
        assert text in page.text
    for source in network.manifest.target.device.noise:
        assert source.type in page.text
    assert network.manifest.target.device.source in page.text


def test_keyboards_and_screen_readers(page: Page) -> None:
    names = [str(a["id"]) for _, a in page.tags if "id" in a]
    assert len(names) == len(set(names))
    for _, attributes in page.tags:
        for key in ("aria-labelledby", "aria-describedby"):
            assert set((attributes.get(key) or "").split()) <= set(names)
        assert (attributes.get("href") or "#main").removeprefix("#") in names or "download" in (
            attributes
        )
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch(r"h\d", name)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    pictures = [a for a in page.of("div") if a.get("role") == "img"]
    assert len(pictures) == len(page.of("figure")) == len(page.charts)
    assert len(page.of("table")) >= len(pictures)
    assert page.of("a")[0] == {"href": "#main", "class": "skip"}
    assert page.of("html") == [{"lang": "en"}]


def test_a_comparison_and_its_curves(network: nvmc.Compiled, tmp_path: Path) -> None:
    result = nvmc.compare(network, devices=["fefet1", "fefet2"], data=DATA, runs=6, jobs=1)
    page = read_page(document(report_of(result, goal=0.5), SCRIPT))
    assert [c["value"] for c in page.charts["shares"]["params"]] == [[0, 1]]
    rows = list(csv.DictReader(io.StringIO(page.files["comparison-1.csv"])))
    assert [row["label"] for row in rows] == ["fefet1", "fefet2"]
    assert "Each is compared with fefet1, chip by chip" in page.text
    assert "(--runs" not in page.text and "chips and samples" in page.text  # of arrays


def test_every_figure_and_table_of_two_networks_has_a_title_of_its_own(
    network: nvmc.Compiled,
) -> None:
    """Headings of parts, too; and the circuit is in the verdict."""
    hardware = ["isaac-32nm", "generic"]
    given: dict[str, Any] = {"data": DATA, "runs": 4, "hardware": hardware, "jobs": 1}
    made = nvmc.make_report(network, devices=["fefet1", "fefet2"], **given)
    found = [block for _, section in _sections(made) for block in section.blocks]
    titles = [one.title for one in found if isinstance(one, Chart | DataTable)]
    costs = [one.text for one in found if isinstance(one, Heading) and "isaac" in one.text]
    assert len(set(titles)) == len(titles) and len(costs) == 1
    leads = [one.text for one in found if isinstance(one, Paragraph) and one.kind == "lead"]
    assert all("6-bit DAC, 6-bit ADC, full ADC range" in text for text in leads)


def test_of_errors_less_is_better_and_the_upper_end_is_open(network: nvmc.Compiled) -> None:
    values = np.random.default_rng(1).standard_normal((40, 4)).astype(np.float32)
    data = nvmc.Dataset("values", DATA.x, None, values)
    made = nvmc.make_report(network, data=data, metric="rmse", runs=4, goal="1e-3", jobs=1)
    page = read_page(made.html(SCRIPT))
    assert (
        "the worst of 4 chips stays at or below" in page.text and "no upper limit yet" in page.text
    )
    (row,) = page.charts["kpp"]["data"]["values"]
    assert (row["open_low"], row["open_high"]) == (False, True)
    assert "The goal of 0.001 lies outside of the chart" in page.text  # or bars would be slivers


def test_a_result_writes_itself_with_others(
    made: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = SimpleNamespace(javascript_bundle=lambda: SCRIPT)
    monkeypatch.setitem(sys.modules, "vl_convert", stand_in)
    (chips,), (*_, curve) = made.of(nvmc.Simulation), made.of(nvmc.Sweep)
    chips.report(tmp_path / "a.html", curve, goal="50%", title="Mine")
    page = read_page((tmp_path / "a.html").read_text())
    assert page.of("title") and "Mine" in page.text
    assert page.charts.keys() == {"kpp", "histogram", "curve-1"}
    with pytest.raises(NvmcError, match="cannot write"):
        chips.report(tmp_path / "absent" / "a.html")
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(OptionError, match="pip install 'nvmc"):
        chips.report(tmp_path / "b.html")
    assert not (tmp_path / "b.html").exists()


def test_what_cannot_be_shown_is_refused(network: nvmc.Compiled) -> None:
    with pytest.raises(OptionError, match="a report cannot show int"):
        report_of(3)
    with pytest.raises(OptionError, match="a report needs chips"):
        report_of(nvmc.tile_map(network))
    with pytest.raises(OptionError, match="there is no network"):
        nvmc.make_report()
    with pytest.raises(OptionError, match="no chips that compensate"):
        nvmc.make_report(network, compensate=["affine"], with_sensitivity=True)
    with pytest.raises(OptionError, match="did you mean 'sigma'"):
        nvmc.make_report(network, sweeps={"sigm": [0, 0.1]})
    with pytest.raises(OptionError, match=r"two.pdf'; expected a name that ends in .html"):
        nvmc.simulate(network, runs=2).report("two.pdf")
    with pytest.raises(OptionError, match="^Simulation.report has no option 'gol'"):
        nvmc.simulate(network, runs=2).report("two.html", gol=1)
    with pytest.raises(OptionError, match="did you mean 'title'"):
        nvmc.make_report(network, titel="x")


def test_a_part_that_gains_nothing_is_not_called_the_largest_gain(made: Report) -> None:
    (one,) = made.of(Sensitivity)
    costs = [replace(part, cost=replace(part.cost, kpp=0.0)) for part in one.costs]
    fake: Any = SimpleNamespace(of=lambda _: [replace(one, costs=costs)], unit=made.unit)
    (chart,) = (block for block in sensitivity(fake) if isinstance(block, Chart))
    assert chart.summary.startswith("No part gains")


def test_markup_escapes_what_is_no_markup() -> None:
    assert tag("p", "<b>&", tag("i", "x"), title='"<') == (
        '<p title="&quot;&lt;">&lt;b&gt;&amp;<i>x</i></p>'
    )
    text = embedded_json({"a": "</script><!-- \u2028 &"})
    assert not re.search("[<>&\u2028]", text)
    with pytest.raises(ValueError):
        embedded_json([float("nan")])
