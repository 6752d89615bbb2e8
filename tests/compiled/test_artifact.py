"""The files of a compiled network vouch for one another, and a held network is the one opened."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import nvmc.compiled.artifact as artifact
import nvmc.passes.io.load_compiled as load_compiled
import nvmc.passes.io.save as saving
from nvmc import compile_model, open_compiled, simulate
from nvmc.compiled.artifact import RESULTS_FILE, TILES_FILE, Compiled
from nvmc.compiled.generations import MANIFEST_FILE, MODEL_FILE
from nvmc.errors import ArtifactError
from nvmc.evaluation.chip_file import program_chip
from nvmc.evaluation.sensitivity import sensitivity
from nvmc.evaluation.sweep import sweep
from nvmc.evaluation.uncertainty import uncertainty
from nvmc.hardware.devices import Target, load_device
from onnx_text import proto_of

NETWORK = "g (float[N,3] x) => (float[N,4] y) <float[3,4] w> { y = MatMul (x, w) }"
FILES = (MODEL_FILE, MANIFEST_FILE, TILES_FILE)


def compiled(folder: Path, bits: int = 4, name: str = "net", tile: int = 128) -> Compiled:
    folder.mkdir(exist_ok=True)
    (folder / "m.onnx").write_bytes(proto_of(NETWORK).SerializeToString())
    target = Target.of(load_device("rram4"), weight_bits=bits, rows=tile, cols=tile)
    return compile_model(folder / "m.onnx", target, output=folder / f"{name}.nvmc")


def refused(text: str, action: Any, *arguments: Any, **options: Any) -> None:
    with pytest.raises(ArtifactError, match=text) as caught:
        action(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "swapped", [files for count in (1, 2) for files in combinations(FILES, count)]
)
def test_files_of_two_networks_are_refused(tmp_path: Path, swapped: tuple[str, ...]) -> None:
    one, other = compiled(tmp_path, 4, tile=1), compiled(tmp_path, 3, "other", tile=2)
    for name in swapped:
        shutil.copy(other.folder / name, one.folder / name)
    refused("written with: found .*, expected .*compile again", open_compiled, one.folder)
    compiled(tmp_path, 4)
    open_compiled(one.folder)


def test_the_digests_are_those_of_the_files(tmp_path: Path) -> None:
    network = compiled(tmp_path)
    written = json.loads((network.folder / MANIFEST_FILE).read_text())
    assert sorted(written["files"]) == [MODEL_FILE, TILES_FILE]
    for name, entry in written["files"].items():
        content = (network.folder / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert entry == {"sha256": digest, "bytes": len(content)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / MODEL_FILE).unlink(), "no such file"),
        (lambda folder: (folder / TILES_FILE).write_text("{}"), "found 2 bytes"),
        (lambda folder: flip(folder / MODEL_FILE), "found .* bytes with SHA-256"),
        (lambda folder: told(folder, {"../m.onnx": None}), "damaged"),
        (lambda folder: told(folder, {TILES_FILE: {"sha256": "zz", "bytes": 1}}), "damaged"),
    ],
)
def test_changed_files_are_refused(tmp_path: Path, change: Any, said: str) -> None:
    network = compiled(tmp_path)
    change(network.folder)
    refused(said, open_compiled, network.folder)


def flip(path: Path) -> None:
    """Turn one bit, in place."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def told(folder: Path, files: dict[str, Any]) -> None:
    """Let the manifest name other files; None for the entry of the model."""
    content = json.loads((folder / MANIFEST_FILE).read_text())
    for name, entry in files.items():
        content["files"][name] = entry or content["files"][MODEL_FILE]
    (folder / MANIFEST_FILE).write_text(json.dumps(content))


READERS: dict[str, Any] = {
    "simulate": lambda network, folder: simulate(network, runs=2),
    "sweep": lambda network, folder: sweep(network, {"sigma": "0.1,0.2"}, runs=2),
    "sensitivity": lambda network, folder: sensitivity(network, runs=2),
    "uncertainty": lambda network, folder: uncertainty(
        network, runs=2, shifts=(), data=(np.zeros((4, 3), np.float32), np.zeros(4, np.int64))
    ),
    "program": lambda network, folder: program_chip(network, 0, folder / "chip.onnx"),
    "tiles": lambda network, folder: network.read_tiles(),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_held_network_is_never_mixed_with_a_newer_one(tmp_path: Path, reader: str) -> None:
    network = compiled(tmp_path, 4, tile=1)
    compiled(tmp_path, 3, tile=2)
    refused("no longer holds the network that was opened", READERS[reader], network, tmp_path)
    refused("open it again, or compile it with another output=", network.read_tiles)
    assert not (tmp_path / "chip.onnx").exists()
    compiled(tmp_path, 4, tile=1)  # the same again: the same bytes
    READERS[reader](network, tmp_path)
    flip(network.folder / (TILES_FILE if reader == "tiles" else MODEL_FILE))
    refused("is not the file that", READERS[reader], network, tmp_path)
    shutil.rmtree(network.folder)
    refused("compiled again or removed", READERS[reader], network, tmp_path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_manifest_has_numbers_only(tmp_path: Path, number: str) -> None:
    """Python's JSON has NaN, which --json then could not print."""
    path = compiled(tmp_path).folder / MANIFEST_FILE
    text, count = re.subn(r'"r2": [^,}\s]+', f'"r2": {number}', path.read_text())
    assert count == 1
    path.write_text(text)
    with pytest.raises(ArtifactError, match=r"is damaged .*; compile again"):
        open_compiled(path.parent)


def test_a_manifest_with_another_target_than_its_model_is_refused(tmp_path: Path) -> None:
    """The provider goes by the model's target and the engine by the manifest's."""
    network = compiled(tmp_path)
    content = json.loads((network.folder / MANIFEST_FILE).read_text())
    content["target"]["device"]["sigma"] = 0.25
    (network.folder / MANIFEST_FILE).write_text(json.dumps(content))
    edited = open_compiled(network.folder)
    assert edited.manifest.target != network.manifest.target
    refused("is not the one that model.onnx was compiled for", simulate, edited, runs=2)


def edit(content: Any, path: str, value: Any) -> None:
    *way, last = path.split(".")
    for key in way:
        content = content[int(key) if key.isdigit() else key]
    content[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("work.share", 5.0),
        ("work.mapped", -5),
        ("layers.0.multiply_adds", 1),
        ("against_source.agreement", 77),
        ("against_source.r2", 7),
        ("against_source.images", -7),
        ("arrays.0.rounding.error", -1),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, path: str, value: Any) -> None:
    manifest = compiled(tmp_path).folder / MANIFEST_FILE
    content = json.loads(manifest.read_text())
    edit(content, path, value)
    manifest.write_text(json.dumps(content))
    refused("is damaged", open_compiled, manifest.parent)


def test_values_are_of_one_network(tmp_path: Path) -> None:
    """A held network gave numbers that neither network has."""
    values = [simulate(compiled(tmp_path, bits), runs=3).values for bits in (4, 2)]
    assert not np.array_equal(*values)
    held = compiled(tmp_path, 4)
    assert np.array_equal(simulate(held, runs=3).values, values[0])
    compiled(tmp_path, 2)
    refused("open it again", simulate, held, runs=3)
    assert np.array_equal(simulate(open_compiled(held.folder), runs=3).values, values[1])


def test_what_is_read_is_what_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is replaced between the check at open and the moment in which it is read."""
    network, load = compiled(tmp_path), load_compiled.load_model
    other = compiled(tmp_path, 3, "other").model_path.read_bytes()

    def replaced(path: Path, **options: Any) -> Any:
        (network.folder / MODEL_FILE).write_bytes(other)
        return load(path, **options)

    monkeypatch.setattr(load_compiled, "load_model", replaced)
    refused("is not the file that", simulate, network, runs=2)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights lie in a file of their own, as where there are more than 2 GiB of them."""
    monkeypatch.setattr(saving, "LARGEST_FILE", 0)
    monkeypatch.setattr(saving, "SMALL", 0)


def data_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".data")


WIDE = "g (float[N,256] x) => (float[N,4] y) <float[256,4] w> { y = MatMul (x, w) }"


def wide(folder: Path, bits: int) -> Compiled:
    (folder / "w.onnx").write_bytes(proto_of(WIDE).SerializeToString())
    target = Target.of(load_device("rram4"), weight_bits=bits)
    return compile_model(folder / "w.onnx", target, output=folder / "w.nvmc")


def stock(path: Path) -> Any:
    options: Any = ort.SessionOptions()
    session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 256), np.float32)})[0]


@pytest.mark.usefixtures("apart")
def test_weights_apart_are_named_after_their_content(tmp_path: Path) -> None:
    network = wide(tmp_path, 4)
    (first,) = data_of(network.folder)
    content = (network.folder / first).read_bytes()
    assert first == f"{MODEL_FILE}.{hashlib.sha256(content).hexdigest()[:16]}.data"
    kept, four = simulate(network, runs=2).values, stock(network.model_path)
    old = (network.model_path).read_bytes()
    three = stock(wide(tmp_path, 3).model_path)
    (second,) = data_of(network.folder)
    assert second != first and not np.array_equal(three, four)
    refused("open it again", simulate, network, runs=2)
    (network.folder / MODEL_FILE).write_bytes(old)  # an old model never finds new weights
    with pytest.raises(Exception, match=first):
        stock(network.model_path)
    assert np.array_equal(simulate(wide(tmp_path, 4), runs=2).values, kept)


@pytest.mark.usefixtures("apart")
def test_changed_weights_apart_are_refused(tmp_path: Path) -> None:
    network = wide(tmp_path, 4)
    (data,) = data_of(network.folder)
    flip(network.folder / data)
    refused(data, simulate, network, runs=2)
    refused(data, open_compiled, network.folder)
    simulate(wide(tmp_path, 4), runs=2)  # the same name, with its content again


@pytest.mark.usefixtures("apart")
def test_a_committed_network_is_read_where_it_cannot_be_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = simulate(wide(tmp_path, 3), runs=2).values
    network = wide(tmp_path, 4)
    monkeypatch.setattr("nvmc.compiled.generations._put_in_place", lambda *_: None)
    committed = wide(tmp_path, 3)
    assert committed.model_path == network.folder / ".commit" / MODEL_FILE
    assert np.array_equal(simulate(committed, runs=2).values, expected)
    monkeypatch.setattr("nvmc.compiled.generations.finish", lambda _: None)
    assert np.array_equal(simulate(open_compiled(network.folder), runs=2).values, expected)
    refused("open it again", simulate, network, runs=2)


@pytest.mark.usefixtures("apart")
def test_a_chip_takes_its_weights_along(tmp_path: Path) -> None:
    network, path = wide(tmp_path, 4), tmp_path / "chip.onnx"
    outputs: list[Any] = []
    for chip in (0, 1):
        program_chip(network, chip, path)
        (data,) = data_of(tmp_path)
        assert data.startswith("chip.onnx.")
        outputs.append(stock(path))
    assert not np.array_equal(*outputs)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    onnx.checker.check_model(str(path))


def test_results_of_a_damaged_network_can_be_listed(tmp_path: Path) -> None:
    network = compiled(tmp_path)
    assert artifact.check_folder(network.folder) == network.folder
    (network.folder / MODEL_FILE).write_bytes(b"")
    assert artifact.newest_folder(tmp_path) / RESULTS_FILE == network.results_path
    refused("compile again", open_compiled, network.folder)


@pytest.mark.parametrize("kind", ["link", "foreign file", "folder in it", "file", "link in it"])
def test_a_commit_that_nvmc_did_not_make_is_not_acted_on(tmp_path: Path, kind: str) -> None:
    """Folders come from strangers: nothing is moved that is no part of a network."""
    network, mine = compiled(tmp_path), tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    (mine / MODEL_FILE).write_text("precious too")
    commit = network.folder / ".commit"
    if kind == "link":
        commit.symlink_to(mine)
    elif kind == "file":
        commit.write_text("")
    else:
        commit.mkdir()
        shutil.copy(network.folder / MANIFEST_FILE, commit)
        if kind == "foreign file":
            (commit / "results.sqlite").write_text("false")
        elif kind == "folder in it":
            (commit / MODEL_FILE).mkdir()
        else:
            (commit / MODEL_FILE).symlink_to(mine / MODEL_FILE)
    before = sorted(str(path) for path in network.folder.rglob("*"))
    simulate(open_compiled(network.folder), runs=2)
    assert sorted(str(path) for path in network.folder.rglob("*")) == before
    refused("'.*commit' is in the way, and nvmc did not make it", compiled, tmp_path)
    assert sorted(str(path) for path in network.folder.rglob("*")) == before
    assert {path.name: path.read_text() for path in mine.iterdir()} == {
        "thesis.txt": "precious",
        MODEL_FILE: "precious too",
    }


def test_a_file_of_a_compiled_network_is_taken_for_such(tmp_path: Path) -> None:
    folder = compiled(tmp_path).folder
    said = f"is a file of the compiled network {re.escape(repr(str(folder)))}; give that"
    refused(said, open_compiled, folder / MODEL_FILE)
    refused("is not a compiled network", open_compiled, tmp_path / "other.onnx")


def test_another_program_s_manifest_is_not_replaced(tmp_path: Path) -> None:
    """Web apps and browser extensions have a manifest.json too."""
    folder = tmp_path / "net.nvmc"
    folder.mkdir()
    (folder / MANIFEST_FILE).write_text('{"name": "my web app"}')
    (folder / MODEL_FILE).write_text("mine")
    refused("exists and is not a compiled network", compiled, tmp_path)
    assert (folder / MANIFEST_FILE).read_text() == '{"name": "my web app"}'
    assert (folder / MODEL_FILE).read_text() == "mine"


def test_what_is_left_of_a_network_is_compiled_into(tmp_path: Path) -> None:
    """An empty folder too; results stay."""
    (tmp_path / "net.nvmc").mkdir()
    network = compiled(tmp_path)
    (network.folder / "results.sqlite").write_text("mine")
    (network.folder / MANIFEST_FILE).unlink()
    assert open_compiled(compiled(tmp_path).folder).manifest == network.manifest
    assert (network.folder / "results.sqlite").read_text() == "mine"


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(tmp_path: Path) -> None:
    network = compiled(tmp_path)
    (network.folder / ".lock").symlink_to(tmp_path / "elsewhere")
    refused("cannot write", compiled, tmp_path)
    assert not (tmp_path / "elsewhere").exists()
    assert open_compiled(network.folder).manifest == network.manifest
