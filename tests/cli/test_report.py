"""`nvmc report` as a user types it; tests/page has what is on the page."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nvmc.cli import main
from report_pages import read_page

Capture = pytest.CaptureFixture[str]
FEW = ["--data", "digits", "--limit", "30", "--runs", "4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("report")
    words = ["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", str(found / "mlp3.nvmc")]
    assert main(words) == 0
    return found


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """In that folder, with scripts in place of the real ones, which take seconds to join."""
    monkeypatch.chdir(folder)
    stand_in = SimpleNamespace(javascript_bundle=lambda: "/* charts */")
    monkeypatch.setitem(sys.modules, "vl_convert", stand_in)
    capsys.readouterr()


def test_a_page_with_its_command_and_chips_that_are_kept(capsys: Capture) -> None:
    words = ["report", "mlp3.nvmc", *FEW, "--goal", "90%", "--sweep", "sigma=0,0.1"]
    assert main([*words, "-o", "a.html"]) == 0
    assert "mlp3: KPP " in capsys.readouterr().out
    text = Path("a.html").read_text()
    assert "nvmc report mlp3.nvmc --data digits" in read_page(text).text
    assert {"kpp", "histogram", "curve-1"} <= read_page(text).charts.keys()
    assert main([*words, "-o", "a.html"]) == 0
    assert Path("a.html").read_text() == text  # the same, from the store
    capsys.readouterr()
    assert main(["simulate", "mlp3.nvmc", *FEW]) == 0
    assert "from the store" in capsys.readouterr().out


def test_without_data_the_metric_is_named_and_inputs_are_random(capsys: Capture) -> None:
    words = ["report", "mlp3.nvmc", "--limit", "8", "--runs", "2", "--no-store", "-o", "r.html"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert " % agreement with the ideal chip (k = 1, 2 chips)" in out
    assert "No labels used: values are " in out and "Inputs are random: " in out


def test_a_network_without_converters_has_a_page_that_says_why_it_has_no_cost(
    capsys: Capture,
) -> None:
    words = ["--limit", "8", "--runs", "2", "--no-store", "-o", "r.html"]
    costed = ["--hardware", "isaac-32nm", "--hardware", "generic"]
    assert main(["report", "mlp3.nvmc", *words, *costed]) == 0
    said = "No cost of mlp3: the network was compiled with no DAC and no ADC"
    assert capsys.readouterr().err.count(said) == 1
    page = read_page(Path("r.html").read_text())
    assert "Cost of a chip" in page.text and page.text.count(said) == 1
    assert "compile it again with --dac-bits (1 to 16) and --adc-bits (1 to 16)" in page.text


def test_several_devices_are_compared() -> None:
    words = ["--device", "fefet1", "--device", "fefet2", "--title", "Two", "--date", "today"]
    words += ["--noise", "activation:sigma=0.1,at=*"]
    assert main(["report", *FEW, *words, "--no-store", "-o", "b.html"]) == 0
    page = read_page(Path("b.html").read_text())
    assert "Comparison on the same chips" in page.text
    assert "Two" in page.text and " · today" in page.text
    assert {"tile-1", "tile-2"} <= page.charts.keys()
    assert "activation" in page.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sweep", "sigma"], "sweep is 'sigma'; expected a parameter and its values"),
        (["--sweep", "sigm=1"], "did you mean 'sigma'"),
        (["--uncertainty", "--limit", "4"], "uncertainty needs data with labels or values"),
        (["-o", "absent/a.html"], "there is no folder 'absent'"),
    ],
)
def test_refusals_are_one_line_and_leave_no_page(
    words: list[str], said: str, capsys: Capture, folder: Path
) -> None:
    before = sorted(folder.iterdir())
    assert main(["report", "mlp3.nvmc", "--runs", "2", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nvmc: error: ") and said in line
    assert sorted(folder.iterdir()) == before


def test_what_is_missing_is_named(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert main(["report", "mlp3.nvmc", *FEW]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "reports need vl-convert-python" in line and "pip install 'nvmc[report]'" in line
