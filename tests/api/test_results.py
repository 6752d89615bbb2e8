"""Results that show themselves: lines, tables, frames, figures, and the same chips over sigma."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nvmc
from nvmc.errors import OptionError
from nvmc.models import zoo_path
from nvmc.page.report import RESULTS
from nvmc.report.drawn import Drawn

DATA = {"data": "digits", "limit": 40}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> nvmc.Compiled:
    folder = tmp_path_factory.mktemp("results") / "mlp3.nvmc"
    return nvmc.compile(zoo_path("mlp3-digits"), nvmc.make_target("rram4"), output=folder)


@pytest.fixture(scope="module")
def simulation(compiled: nvmc.Compiled) -> nvmc.Simulation:
    return nvmc.simulate(compiled, runs=6, first=2, sigma=0.3, goal=0.9, **DATA)


def read(result: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result.table("csv"))))


def test_a_simulation_as_tables(simulation: nvmc.Simulation) -> None:
    (row,) = read(simulation)
    assert float(row["mean"]) == simulation.summary.mean
    assert (row["runs"], row["first"], row["kpp_low"]) == ("6", "2", "")
    assert float(row["kpp_high"]) == simulation.interval.high
    text = simulation.table()
    caption, head = text.partition("\n\n")[0], text.partition("\n\n")[2].splitlines()[0]
    assert " ".join(caption.split()).startswith("mlp3 on rram4, 4-bit weights, sigma 0.3, noise ")
    assert " ".join(caption.split()).endswith(", 6 chips from chip 2, 40 images of digits, seed 0")
    assert row["sigma"] == "0.3" and "sigma 0.3" in simulation.table("latex")
    assert head.split() == ["accuracy", "[%]", "mlp3"]
    assert "at most" in text and "chips that reach 90 %" in text
    for kind, sign in (("latex", "\\toprule"), ("markdown", "| ---"), ("html", "<table>")):
        assert sign in simulation.table(kind)
    with pytest.raises(OptionError, match="did you mean 'latex'"):
        simulation.table("latx")


def test_goals_are_read_as_after_the_option(simulation: nvmc.Simulation) -> None:
    at = simulation.times[0]
    assert simulation.yield_at("90%") == at.yield_at("0.9") == at.yield_at(0.9)
    for wrong in (95, -3, "-3", "much"):
        with pytest.raises(OptionError, match=r"^goal is .*expected a share"):
            simulation.yield_at(wrong)
    with pytest.raises(OptionError, match="goal is None; expected a number or a text"):
        at.yield_at(None)  # type: ignore[arg-type]
    own = replace(at, percent=False)
    assert own.yield_at(-3).reached == 6 and own.yield_at("95").reached == 0
    with pytest.raises(OptionError, match="in the metric's own unit"):
        own.yield_at("95%")


def test_sweeps_are_of_the_same_chips(simulation: nvmc.Simulation) -> None:
    """The point at the result's own sigma has its values, bit for bit."""
    swept = simulation.sweep(sigma=[0, 0.3])
    np.testing.assert_array_equal(swept.points[1].values, simulation.values)
    assert swept.points[0].values.std() == 0
    assert swept.points[0].description.data_sha256 == simulation.description.data_sha256
    assert [row["sigma"] for row in read(swept)] == ["0.0", "0.3"]
    assert swept.points[1].reached == simulation.yield_at(0.9)
    other = simulation.sweep(adc_bits=[8, None])  # at sigma 0.3 as before
    np.testing.assert_array_equal(other.points[1].values, simulation.values)
    assert [point.at["adc-bits"].text for point in other.points] == ["8", "none"]
    caption = " ".join(other.table().partition("\n\n")[0].split())
    assert "mlp3 on rram4, 4-bit weights, sigma 0.3, noise " in caption
    assert caption.endswith("; values are accuracy [%]") and "full ADC range" in caption
    assert "over adc-bits 8 to none (2 values): mlp3 on rram4, 4-bit weights, sigma 0.3" in repr(
        other
    )
    with pytest.raises(OptionError, match="sweep has no parameter"):
        simulation.sweep()
    with pytest.raises(OptionError, match="a range is 0:0.3:STEP, such as 0:0.3:0.1"):
        simulation.sweep(sigma="0-0.3")
    with pytest.raises(OptionError, match="did you mean 'sigma'"):
        simulation.sweep(sigm=[0, 1])
    with pytest.raises(OptionError, match="expected a number of at least 0"):
        simulation.sweep(sigma=[-1])


def test_values_of_parameters_may_be_numbers() -> None:
    from nvmc.evaluation.given_values import as_values
    from nvmc.evaluation.parameters import parse_values

    given = as_values({"time": [60, 3600.0], "sigma": np.array([0.1, 0.2]), "adc_bits": 6})
    assert [v.number for v in given["time"]] == [60, 3600]
    assert given["sigma"] == parse_values("sigma", "0.1,0.2")
    assert given["adc-bits"] == parse_values("adc-bits", "6")
    assert as_values({"time_s": [60, 3600.0]}) == {"time": given["time"]}
    with pytest.raises(OptionError, match=r"'adc_bitz' is unknown; expected .*'adc_bits'"):
        as_values({"adc_bitz": 6})
    with pytest.raises(OptionError, match="'time_s' is given beside 'time'"):
        as_values({"time": 60, "time_s": 60})
    for wrong in (True, [1, 1.0], [object()]):
        with pytest.raises(OptionError):
            as_values({"sigma": wrong})


def test_one_line_each(
    compiled: nvmc.Compiled, simulation: nvmc.Simulation, tmp_path: Path
) -> None:
    compared = nvmc.compare(compiled, devices=["rram4", "fefet2"], runs=4, **DATA)
    parts = nvmc.sensitivity(compiled, runs=4, **DATA)
    inspected = nvmc.inspect(compiled, data="digits", limit=4)
    loaded = nvmc.load_data("digits", limit=9)
    solved = nvmc.solve(compiled, "sigma=0,1", 0.5, runs=10, percentile=50, **DATA)
    for one, said in (
        (compiled, "3 arrays of 4-bit weights"),
        (simulation, "6 chips from chip 2, 40 images of digits, seed 0: KPP (k = 1) of accuracy"),
        (simulation, ", sigma 0.3, noise "),
        (simulation, f"95% interval at most {100 * simulation.interval.high:.2f} %"),
        (compared, "against mlp3 on fefet2"),
        (compared, "KPP in % rram4"),
        (parts, "parts"),
        (inspected, "chip 0 of mlp3 on rram4: 3 layers, 4 images"),
        (loaded, "9 samples; x 1 x 28 x 28, float32; y 6 classes"),
        (solved, "Solution:"),
    ):
        text = repr(one)
        assert said in text and "\n" not in text and len(text) < 280 and str(one) == text
        assert "<table>" in one._repr_html_()
        assert len(read(one)) >= 1
    pytest.importorskip("pandas")
    frame = compared.to_pandas()
    assert list(frame.columns) == ["label", "chip", "accuracy"] and len(frame) == 8
    assert frame["accuracy"].tolist()[4:] == compared.networks[1].values.tolist()
    assert len(parts.to_pandas()) == len(parts.costs)


def test_results_have_one_way_to_be_drawn() -> None:
    drawn = [kind for kind in RESULTS if hasattr(kind, "figure")]
    assert len(drawn) == 5 and all(kind.figure is Drawn.figure for kind in drawn)
    assert all(kind._draw is not Drawn._draw for kind in drawn)


def test_figures(
    compiled: nvmc.Compiled,
    simulation: nvmc.Simulation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from matplotlib.figure import Figure
    from PIL import Image

    assert simulation.figure(tmp_path / "a.pdf") == tmp_path / "a.pdf"
    drawn = simulation.sweep(sigma=[0.1, 0.3]).figure(tmp_path / "b.png", style="column")
    with Image.open(drawn) as picture:
        assert picture.width == 3.5 * 300
        assert simulation.description.network_sha256 in picture.info["Description"]
    slide = simulation.figure(str(tmp_path / "c.png"), style="slide")
    with Image.open(slide) as picture:
        assert picture.width * 9 == picture.height * 16
    seen: list[Any] = []
    original = Figure.savefig

    def saving(figure: Figure, *words: Any, **options: Any) -> None:
        seen.append(figure)
        original(figure, *words, **options)

    monkeypatch.setattr(Figure, "savefig", saving)
    assert compiled.figure(tmp_path / "t.svg").is_file()
    bars = [patch for axes in seen[0].axes for patch in axes.patches]
    assert len(bars) == sum(a.tiles // a.planes for a in compiled.manifest.arrays)
    with pytest.raises(OptionError, match="did you mean 'column'"):
        simulation.figure(tmp_path / "d.png", style="colum")
    with pytest.raises(OptionError, match=r"ends in \.png"):
        simulation.figure(tmp_path / "d.jpg")
