"""The table of kinds, the command, and the folder that is written."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc import Compiled, Target, compile_model, export_network
from nvmc.cli import main
from nvmc.compiled.digests import FileEntry
from nvmc.errors import ArtifactError, NvmcError, OptionError
from nvmc.export.folder import EXPORT_FILE, FORMAT, file_names
from nvmc.export.kinds import KINDS
from nvmc.export.request import ExportOptions, Written
from nvmc.hardware.devices import Periphery
from onnx_text import proto_of
from source_tree import ROOT


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("kinds")
    text = "g (float[N,4] x) => (float[N,3] y) <float[4,3] w> { y = MatMul (x, w) }"
    onnx.save(proto_of(text), folder / "net.onnx")
    target = Target.of("fefet1", periphery=Periphery(dac_bits=8, adc_bits=8))
    return compile_model(folder / "net.onnx", target, output=folder / "net.nvmc")


def test_each_row_names_a_writer_a_version_and_options_that_there_are() -> None:
    for name, kind in KINDS.items():
        module, _, function = kind.writer.partition(":")
        writer = getattr(importlib.import_module(module), function)
        assert list(inspect.signature(writer).parameters) == ["request", "folder"]
        assert kind.name == name
        assert re.fullmatch(r"nvmc\.export\.[a-z]+/\d+", kind.format)
        assert set(kind.options) <= ExportOptions.__annotations__.keys()


def test_the_manual_has_a_section_and_the_version_of_each_kind() -> None:
    text = (ROOT / "docs" / "export.md").read_text()
    for kind in KINDS.values():
        assert f"\n## {kind.name}\n" in text
        assert kind.format in text


@pytest.mark.parametrize("kind", KINDS)
def test_export_json_lists_the_files_and_what_they_are_of(
    kind: str, compiled: Compiled, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    export_network(compiled, kind, folder, chip=3, seed=2)
    told = json.loads((folder / EXPORT_FILE).read_text())
    assert (told["format"], told["kind"]) == (FORMAT, kind)
    assert told["kind_format"] == KINDS[kind].format
    assert told["network"]["sha256"] == compiled.network_sha256
    assert (told["chip"]["seed"], told["chip"]["index"]) == (2, 3)
    there = {path.name for path in folder.iterdir()}
    assert there == {EXPORT_FILE, *told["files"]}
    for name, entry in told["files"].items():
        assert FileEntry.of_file(folder / name) == FileEntry.model_validate(entry)
    assert list(tmp_path.iterdir()) == [folder]  # no hidden folder is left


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_chip_gives_the_same_files(kind: str, compiled: Compiled, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_network(compiled, kind, tmp_path / name, chip=1)
    one, two = ((tmp_path / name / EXPORT_FILE).read_text() for name in ("one", "two"))
    assert one == two


def test_an_export_is_replaced_and_other_files_are_not(compiled: Compiled, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    export_network(compiled, "onnx", folder)
    export_network(compiled, "onnx", folder, chip=1)
    before = (folder / EXPORT_FILE).read_text()
    assert json.loads(before)["chip"]["index"] == 1
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="'notes.txt', which no export of nvmc wrote"):
        export_network(compiled, "onnx", folder)
    assert (folder / EXPORT_FILE).read_text() == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactError, match="is no folder"):
        export_network(compiled, "onnx", tmp_path / "file")
    with pytest.raises(ArtifactError, match="is a compiled network"):
        export_network(compiled, "onnx", compiled.folder)


def test_a_writer_that_fails_leaves_what_was_there(compiled: Compiled, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export_network(compiled, "onnx", folder)
    before = (folder / EXPORT_FILE).read_text()
    with pytest.raises(NvmcError):
        export_network(compiled, "onnx", folder, opset=1)
    assert (folder / EXPORT_FILE).read_text() == before
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--to onxn -o out", "--to 'onxn' is unknown; expected one of"),
        ("--to onnx -o out --chip -1", "chip is -1; expected a whole number of at least 0"),
        ("--to onnx -o out --seed 3", "--seed is given without --chip"),
        ("--to onnx -o out --opset 12", "--opset is 12; expected 13 to"),
        ("--to onnx -o nowhere/out", "cannot write 'nowhere/out'"),
    ],
)
def test_bad_input_is_one_line(
    words: str,
    said: str,
    compiled: Compiled,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(compiled.folder), *words.split()]) == 1
    line = capfd.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_option_of_another_kind_is_refused(compiled: Compiled, tmp_path: Path) -> None:
    for kind in KINDS.values():
        if "opset" not in kind.options:
            with pytest.raises(OptionError, match="opset is not for kind "):
                export_network(compiled, kind.name, tmp_path / "out", opset=13)
    with pytest.raises(OptionError, match="export_network has no option 'opsets'"):
        export_network(compiled, "onnx", tmp_path / "out", opsets=13)  # pyright: ignore


def test_files_of_arrays_have_names_that_every_system_takes() -> None:
    names = [
        "/conv1/Conv.weight",
        "_conv1_Conv.weight",
        "fc",
        "FC",
        "ä b",
        ".hidden",
        "",
        "x" * 300,
    ]
    found = file_names(names)
    assert list(found) == names
    assert len({name.lower() for name in found.values()}) == len(names)
    for name in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._~-]{0,110}", name)


def test_the_command_says_what_it_wrote_and_leaves_out(
    compiled: Compiled, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(compiled.folder), "--to", "onnx", "-o", str(tmp_path / "out")]
    assert main([*words, "--chip", "7"]) == 0
    said = capfd.readouterr()
    assert "Wrote chip 7 of seed 0 as standard ONNX, opset 13" in said.out
    assert "DAC, ADC and wires are left out" in said.err
    found = onnx.load(tmp_path / "out" / "model.onnx")
    assert {entry.domain for entry in found.opset_import} == {""}
    (w,) = (onnx.numpy_helper.to_array(tensor) for tensor in found.graph.initializer)
    assert not np.array_equal(w, np.zeros_like(w))


def test_what_was_written_shows_itself_in_one_line() -> None:
    assert repr(Written(["A file."], ["no wires"])) == "<Written: A file; 1 assumption>"
    assert repr(Written()) == "<Written: nothing told; 0 assumptions>"
