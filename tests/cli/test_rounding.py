"""What `nvmc compile` and `nvmc simulate` say of quantisation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc import open_compiled
from nvmc.cli import main
from onnx_text import proto_of

NETWORK = """g (float[N,2,6,6] x) => (float[M,K] y) <float[4,2,3,3] w, float[64,5] v> {
  a = Conv (x, w)
  r = Relu (a)
  f = Flatten (r)
  y = Gemm (f, v)
}"""
SCALES = np.array([1, 0.25, 0.5, 0.125], np.float32).reshape(4, 1, 1, 1)


@pytest.fixture(autouse=True)
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """m.onnx: w is binary, v is not; zeros.onnx: half of the weights of w are 0."""
    monkeypatch.chdir(tmp_path)
    proto = proto_of(NETWORK)
    for name, kept in (("m", 9), ("zeros", 1)):
        tensor = next(t for t in proto.graph.initializer if t.name == "w")
        weight = np.sign(onnx.numpy_helper.to_array(tensor)) * SCALES
        weight.reshape(4, -1)[:, kept:] *= kept > 1
        if kept > 1:
            weight = np.where(weight == 0, SCALES, weight)
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight.astype(np.float32), "w"))
        onnx.save(proto, f"{name}.onnx")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    assert main(words) == 0
    found = capsys.readouterr()
    return " ".join(found.out.split()), " ".join(found.err.split())


def test_a_binary_weight_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "compile", "m.onnx", "--device", "bitflip", "--bits", "w=1")
    assert "1-bit weights are -s and +s, s one scale per output channel" in out
    assert "Binary in the source (one magnitude per channel), held exactly: w " in out
    assert "8-bit weights (but w=1) in 1-bit cells" in out
    assert "Ideal chip against its source on 64 samples (seeded inputs): agreement" in out
    out, _ = said(capsys, "compile", "m.onnx", "--device", "bitflip")
    assert "w; 1 bit holds them exactly (--bits 'w=1')" in out


def test_zeros_at_one_bit_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """1 of the 18 weights of a channel is kept: 17 of 18 are 0, 94 %."""
    _, err = said(capsys, "compile", "zeros.onnx", "--device", "bitflip", "--bits", "w=1")
    assert "1 bit has no zero: weights of 0 became +s in w (94 %); 2 bits hold them" in err
    assert "(--bits 'w=2')" in err
    _, err = said(capsys, "compile", "zeros.onnx", "--device", "bitflip", "--bits", "w=2")
    assert "no zero" not in err


def test_an_ideal_chip_far_from_its_source_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2 bits of one scale per tensor: the channel of 0.125 rounds to 0."""
    _, err = said(capsys, "compile", "m.onnx", "--device", "bitflip", "--bits", "w=2,v=1")
    assert (
        "the ideal chip is far from its source (agreement" in err and "rounding errors: v " in err
    )
    assert "(1 of 4 channels all zero)" in err
    _, err = said(capsys, "compile", "m.onnx", "--device", "bitflip", "--bits", "w=1")
    assert "far from its source" not in err


def test_seeded_inputs_do_not_condemn_clipping(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = said(capsys, "compile", "zoo:lenet5-digits", "--device", "rram4", "--clip", "1")
    assert "(--clip 1); seeded inputs are unlike real data: give --data" in err


def test_simulate_says_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    main(["compile", "m.onnx", "--device", "bitflip", "--bits", "w=1"])
    capsys.readouterr()
    out, _ = said(capsys, "simulate", "m.nvmc", "--runs", "2", "--no-store")
    assert "ideal chip against its source (seeded inputs): R² " in out
    assert "100.00 % the reference of all chips" in out


def test_outliers_are_told_and_clipped(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compile", "zoo:lenet5-digits", "--device", "rram4"]) == 0
    text = capsys.readouterr().out
    assert "On a chip at sigma 0.1, the weights of fc1.weight are expected to be" in text
    text = " ".join(text.split())
    assert "off by 24 % of their size (rms), with --clip auto by 12 %: the largest" in text
    assert "7.2 standard deviations" in text and "1 more array would gain too." in text
    before = open_compiled("lenet5-digits.nvmc").manifest
    assert main(["compile", "zoo:lenet5-digits", "--device", "rram4", "--clip", "auto"]) == 0
    text = capsys.readouterr().out
    assert "with --clip auto" not in text and "Weights are clipped (--clip auto)" in text
    after = open_compiled("lenet5-digits.nvmc").manifest
    assert after.options.clip == "auto" and before.options.clip is None
    for one, other in zip(before.arrays, after.arrays, strict=True):
        assert one.outliers is not None and other.outliers is not None
        assert other.outliers.peak <= one.outliers.peak
        assert other.outliers.best == pytest.approx(other.outliers.error, rel=0.1)


@pytest.mark.parametrize("clip", ["wide", "-1", "0", "auto:x", "101%"])
def test_a_clip_that_is_none(tmp_path, monkeypatch, capsys, clip) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compile", "zoo:mlp3-digits", "--clip", clip]) == 1
    error = capsys.readouterr().err
    assert error.startswith("nvmc: error: clip") and error.count("\n") == 1
    assert not list(tmp_path.glob("*.nvmc"))


@pytest.mark.slow
def test_the_width_of_the_best_kpp(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    np.savez("x.npz", x=draw.random((30, 1, 28, 28), np.float32), y=draw.integers(10, size=30))
    words = ["compile", "zoo:mlp3-digits", "--device", "rram4", "--data", "x.npz", "-o", "n.nvmc"]
    assert main([*words, "--clip", "kpp:0.4"]) == 0
    told = capsys.readouterr().out
    rows = re.findall(r"^  (.*?) +KPP ([0-9.]+) %, ideal chip [0-9.]+ %$", told, re.M)
    assert len(rows) == 9 and rows[0][0] == "weights as they are"
    clip = open_compiled("n.nvmc").manifest.options.clip
    chosen = "weights as they are" if clip is None else f"--clip {clip}"
    assert float(dict(rows)[chosen]) == max(float(kpp) for _, kpp in rows)
    assert main([*words, "--clip", "kpp:0.4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["options"]["clip"] == clip
    for given, message in (
        (["--clip", "kpp:x"], "expected kpp, or kpp:SIGMA as in kpp:0.4"),
        (["--clip", "kpp:-1"], "sigma"),
    ):
        assert main([*words, *given]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert main(["compile", "zoo:mlp3-digits", "--clip", "kpp"]) == 1
    assert "needs --data" in capsys.readouterr().err
