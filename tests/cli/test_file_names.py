"""Names of files that are no UTF-8, as any byte but / and NUL may stand in one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc import NvmcError, compile_model, load_device, open_compiled, simulate
from nvmc.cli import COMMANDS, main
from nvmc.data import load_data
from onnx_text import proto_of

ODD = os.fsdecode(b"odd\xff\xc3")
"""A name as Python has it from the command line."""

LINES = {
    "compile": ("compile @.onnx", "compile good.onnx -o @", "compile good.onnx --data @.npz"),
    "train": ("train good.onnx --data good.npz --checkpoint @",),
    "simulate": ("simulate @.nvmc", "simulate good.nvmc --store @", "simulate --data mnist:@"),
    "sweep": ("sweep @.nvmc --sigma 0",),
    "solve": ("solve @.nvmc --goal 90% --over sigma",),
    "report": ("report @.nvmc",),
    "compare": ("compare @.nvmc @.nvmc",),
    "sensitivity": ("sensitivity @.nvmc",),
    "uncertainty": ("uncertainty good.nvmc --data @.npz",),
    "program": ("program good.nvmc --chip 0 -o @.onnx",),
    "export": ("export good.nvmc --to onnx -o @", "export @.nvmc --to onnx -o x"),
    "transform": ("transform good.onnx --pass canonicalize -o @.onnx",),
    "results": ("results list @", "results merge @ good.nvmc", "results export -o @.csv --all"),
    "devices": ("devices show @.toml", "devices fit @.csv -o x.toml"),
    "targets": ("targets show @.toml",),
    "inspect": ("inspect @.nvmc",),
    "models": ("models export lenet5 --pretrained -o @.onnx",),
    "reproduce": ("reproduce trice-fig8 --quick --folder @",),
    "cost": ("cost @.nvmc --hardware generic",),
    "explore": ("explore @.onnx --space x.toml --goal 90%",),
    "place": ("place @.nvmc --hardware isaac-32nm", "place net.nvmc --hardware @.toml"),
    "hardware": ("hardware show @.toml",),
    "doctor": (),
}


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network and data in a folder with such a name, which is the working directory."""
    folder = tmp_path / ODD
    folder.mkdir()
    monkeypatch.chdir(folder)
    text = "g (float[N,4] x) => (float[N,3] y) <float[4,3] w> { y = MatMul (x, w) }"
    onnx.save(proto_of(text), "good.onnx")
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    np.savez("good.npz", x=x, y=np.arange(6) % 3)
    return folder


def test_every_command_refuses_them_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert LINES.keys() == COMMANDS.keys()
    for line in (line for lines in LINES.values() for line in lines):
        assert main(line.replace("@", ODD).split()) == 1
        said = capfd.readouterr().err
        assert "is not UTF-8; rename the file or folder" in said, line
        assert said.count("\n") == 1
        assert list(tmp_path.iterdir()) == []


def test_public_functions_refuse_them(good: Path) -> None:
    target = load_device("rram4")
    (Path(ODD + ".onnx")).write_bytes(Path("good.onnx").read_bytes())
    for call in (
        lambda: compile_model(ODD + ".onnx", target),
        lambda: compile_model(Path("good.onnx"), target, output=Path(ODD)),
        lambda: load_data(ODD + ".npz"),
        lambda: load_device(f"./{ODD}.toml"),
        lambda: open_compiled(ODD),
    ):
        with pytest.raises(NvmcError, match="is not UTF-8"):
            call()


def test_the_working_directory_may_have_any_name(
    good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "good.onnx", "--data", "good.npz"]) == 0
    for words in (
        ["simulate", "--runs", "2", "--data", "good.npz"],
        ["simulate", "good.nvmc", "--runs", "2", "--fidelity", "circuit", "--no-store"],
        ["program", "good.nvmc", "--chip", "0", "-o", "chip.onnx", "--cells", "cells.npz"],
        ["results", "list"],
        ["results", "merge", "all.sqlite", "good.nvmc"],
        ["results", "export", "--all", "-o", "all.csv"],
    ):
        assert main(words) == 0, capfd.readouterr().err
    compiled = open_compiled("good.nvmc")
    assert len(simulate(compiled, runs=2, data="good.npz").values) == 2
