"""What `nvmc compile` says of a network that is quantised already."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc import open_compiled
from nvmc.cli import main
from quantised_networks import IMAGES, codes, model, static

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_codes_that_are_kept_or_rounded_anew_and_the_dac(folder: Path, capsys: Capture) -> None:
    onnx.save(static(folder, "QDQ"), "net.onnx")
    np.savez("images.npz", x=IMAGES, y=np.zeros(len(IMAGES), np.int64))
    capsys.readouterr()
    dac = ["--dac-bits", "8", "--dac-range", "calibrated", "--data", "images.npz"]
    for bits, told in (("8", "kept int8 per tensor"), ("4", "refitted from int8 per tensor")):
        command = ["compile", "net.onnx", "--weight-bits", bits, "--cell-bits", "2", *dac]
        assert main(command) == 0
        assert "own codes" in (said := " ".join(capsys.readouterr().out.split()))
        assert "The network's own input codes of 8 bits are the DAC's at 3 arrays" in said
        assert main([*command, "--json"]) == 0
        arrays = json.loads(capsys.readouterr().out)["arrays"]
        assert all(array["grid"].startswith(told) for array in arrays)


def test_what_is_assumed_is_said(folder: Path, capsys: Capture) -> None:
    proto = model(
        """g (float[N,12] x) => (float[N,5] y) {
          y = com.microsoft.DynamicQuantizeMatMul (x, w, s)
        }""",
        w=codes(12, 5, top=60),
        s=np.float32(0.1),
    )
    onnx.save(proto, "net.onnx")
    assert main(["compile", "net.onnx", "--weight-bits", "8", "--cell-bits", "2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Assumed: DynamicQuantizeLinear takes the range of a whole run: one image a run" in said
    # the source runs image by image as well, so that nothing but the order of sums differs
    against = open_compiled("net.nvmc").manifest.against_source
    assert against is not None and against.r2 is not None and 1 - against.r2 < 1e-9


def test_operators_that_nothing_runs_are_refused_in_a_line(folder: Path, capsys: Capture) -> None:
    text = """g (float[N,12] x) => (float[N,6] y) {
      a = onnx.brevitas.FloatQuant (x, s)
      y = MatMul (a, w)
    }"""
    onnx.save(model(text, s=np.float32(1), w=np.ones((12, 6), np.float32)), "net.onnx")
    assert main(["compile", "net.onnx"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "FloatQuant" in said and not (folder / "net.nvmc").exists()
