"""What is in files steers no terminal, and libraries say nothing beside nvmc."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc.cli import main
from nvmc.cli.plain import LONGEST, one_line, printable
from onnx_text import proto_of

RED, SPOOF = "\x1b[31m", "\u202e"


@pytest.mark.parametrize("text", ["plain", "ü ☃ ±", "a\nb", "α→β"])
def test_what_can_be_seen_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("code", [0, 7, 8, 9, 13, 0x1B, 0x7F, 0x9B, 0x202E, 0x2066, 0xDCFF])
def test_what_steers_a_terminal_is_replaced(code: int) -> None:
    assert printable(f"a{chr(code)}b") == "a\ufffdb"


def test_a_line_is_one_line_and_no_longer_than_people_read() -> None:
    assert one_line(f"a\n  b{RED}c") == "a b\ufffd[31mc"
    long = one_line("begin " + 100_000 * "x" + " end")
    assert len(long) < LONGEST and long.startswith("begin ") and long.endswith(" end")
    assert "[...]" in long


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network whose names hold control characters."""
    monkeypatch.chdir(tmp_path)
    text = "g (float[N,4] x) => (float[N,3] y) <float[4,3] w> { h = Relu (x) y = MatMul (h, w) }"
    proto = proto_of(text)
    for node in proto.graph.node:
        node.name = f"{RED}{node.op_type}{SPOOF}"
    proto.graph.initializer[0].name = f"w{RED}"
    proto.graph.node[1].input[1] = f"w{RED}"
    onnx.save(proto, "odd.onnx")
    return tmp_path


COMMANDS = (
    ["compile", "odd.onnx"],
    ["simulate", "--runs", "2"],
    ["sensitivity", "--runs", "2"],
    ["results", "list"],
    ["compile", "odd.onnx", "--skip", "nothing*"],
)


def test_names_in_a_network_steer_no_terminal(odd: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in COMMANDS:
        main(words)
        said = capfd.readouterr()
        assert RED not in said.out + said.err and SPOOF not in said.out + said.err, words


def test_libraries_log_nothing_beside_an_error(tmp_path: Path) -> None:
    """A process of its own, for pytest takes what is logged."""
    proto = proto_of("g (float[N,4] x) => (float[N,3] y) <float[4,3] w> { y = MatMul (x, w) }")
    proto.graph.node[0].input[0] = "nowhere"  # onnx_ir logs it
    onnx.save(proto, tmp_path / "m.onnx")
    code = "import sys; from nvmc.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "compile", str(tmp_path / "m.onnx")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("nvmc: error: ") and done.stderr.count("\n") == 1


def test_onnxruntime_logs_nothing_while_converters_are_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = """g (int64[N] i) => (float[N,2] y) <float[3,2] t, float[2,2] w>
        { h = Gather(t, i) y = MatMul(h, w) }"""
    onnx.save(proto_of(text), "m.onnx")
    np.savez("d.npz", i=np.array([0, 7]))
    words = ["compile", "m.onnx", "--dac-bits", "4", "--dac-range", "calibrated"]
    assert main([*words, "--data", "d.npz"]) == 1
    said = capfd.readouterr().err
    assert said.startswith("nvmc: error: ") and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "d.npz"] == ["m.onnx"]


@pytest.fixture(autouse=True)
def last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line changes it for its process."""
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)


@pytest.mark.parametrize("largest", [np.inf, -np.inf, np.nan])
def test_outputs_without_a_number_are_no_warning(
    largest: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = """g (float[N,4] x) => (float[N,3] y) <float[4,3] w, float[3] b>
        { h = MatMul (x, w) y = Mul (h, b) }"""
    proto = proto_of(text)
    factor = np.array([1, largest, 1], np.float32)
    if np.isnan(largest):
        factor = np.array([1, np.inf, -np.inf], np.float32)
    proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(factor, "b"))
    onnx.save(proto, "m.onnx")
    assert main(["compile", "m.onnx", "--device", "rram4"]) == 0
    main(["simulate", "--runs", "2", "--fidelity", "circuit"])  # warnings are errors here
    assert "a fault of nvmc" not in capfd.readouterr().err


def test_outputs_that_hold_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = """g (float[N,2,4] x) => (float[N,J,K] y) <float[4,3] w, int64[1] a, int64[1] b,
        int64[1] axis> { h = MatMul (x, w) s = Slice (h, a, b, axis)
        y = Transpose <perm = [0,2,1]> (s) }"""
    stored = {"a": np.array([5]), "b": np.array([9]), "axis": np.array([1])}
    proto = proto_of(text)
    for tensor in proto.graph.initializer:
        if tensor.name in stored:
            tensor.CopyFrom(onnx.numpy_helper.from_array(stored[tensor.name], tensor.name))
    onnx.save(proto, "m.onnx")
    assert main(["compile", "m.onnx", "--device", "rram4"]) == 0
    for fidelity in ("cells", "circuit"):
        capfd.readouterr()
        words = ["simulate", "--runs", "2", "--class-axis", "1", "--fidelity", fidelity]
        assert main(words) == 1
        assert "holds nothing" in capfd.readouterr().err
