"""What `nvmc compile` says of multiply-adds that stay digital, and when it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from nvmc.cli import main
from nvmc.cli.work import share_text, work_lines
from nvmc.compiled.work import Work
from onnx_text import proto_of

Capture = pytest.CaptureFixture[str]

TWO = """g (float[N,5] x) => (y) <float[5,7] w, float[7,3] v> {
  h = MatMul (x, w)
  a = Relu (h)
  y = MatMul (a, v)
}"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    onnx.save(proto_of(TWO), "net.onnx")
    return "net.onnx"


def test_compile_says_the_share_and_warns_below_95_percent(model: str, capsys: Capture) -> None:
    assert main(["compile", model, "--weight-bits", "8"]) == 0
    said = capsys.readouterr()
    assert "100 % of 56 multiply-adds of weights per inference are on crossbars" in said.out
    assert not said.err
    assert main(["compile", model, "--weight-bits", "8", "--skip", "MatMul_1"]) == 0
    said = capsys.readouterr()
    assert "62.5 % of 56 multiply-adds of weights per inference are on crossbars" in said.out
    assert said.err == (
        "nvmc: note: 37.5 % of the multiply-adds of weights are digital and exact, so chips look "
        "better than they are: MatMul 37.5 % (skipped by 'MatMul_1')\n"
    )
    assert main(["compile", model, "--skip", "MatMul_1", "--json"]) == 0
    work = json.loads(capsys.readouterr().out)["work"]
    assert (work["mapped"], work["digital"], work["share"]) == (35, 21, 0.625)


def test_too_small_a_share_is_refused_and_nothing_is_written(model: str, capsys: Capture) -> None:
    assert main(["compile", model, "--skip", "MatMul_1", "--require-mapped", "0.63"]) == 1
    assert capsys.readouterr().err == (
        "nvmc: error: at least 63 % of the weights' multiply-adds are to be on crossbars, but "
        "62.5 % are; digital: MatMul 37.5 % (skipped by 'MatMul_1')\n"
    )
    assert [path.name for path in Path().iterdir()] == [model]
    assert main(["compile", model, "--skip", "MatMul_1", "--require-mapped", "0.62"]) == 0


def test_shares_are_rounded_down() -> None:
    """Only all of it is 100 %, and little is not nothing."""
    assert share_text(1).startswith("100 %")
    assert share_text(0.99999).startswith("99.9 %")
    assert share_text(0.00002).startswith("0.002 %")
    assert "not known" in share_text(None)


def test_assumed_sizes_activations_and_uncounted_nodes_are_said() -> None:
    work = Work(
        mapped=900,
        digital=100,
        activations=1000,
        share=0.9,
        share_of_all=0.45,
        assumed={"T": 128},
        uncounted=["a", "b", "c", "d"],
    )
    assert work_lines(work) == [
        "90 % of 1,000 multiply-adds of weights per inference are on crossbars (taking T = 128)",
        "1,000 more multiply two activations, which no crossbar holds: 45 % of all 2,000 are on "
        "crossbars",
        "Not counted, since sizes are not known: a, b, c and 1 more; their share is not in these "
        "numbers",
    ]
