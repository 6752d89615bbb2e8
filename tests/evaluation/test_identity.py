"""What decides the values of chips is in a workload's identity, and nothing else."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc import Compiled, Target, compile_model, load_device, open_compiled
from nvmc.data import load_data
from nvmc.evaluation import workload as making
from nvmc.evaluation.workload import set_up
from nvmc.hardware.devices import parse_noise
from onnx_text import proto_of

TEXT = """
g (float[N,1,28,28] x) => (float[N,5] y, float[N,5] z)
<float[784,5] w>
{ f = Flatten (x) y = MatMul (f, w) z = Relu (y) }
"""
TARGET = Target.of(load_device("fefet2"))


def network(folder: Path, seed: int = 0) -> Compiled:
    folder.mkdir(exist_ok=True)
    proto = proto_of(TEXT)
    del proto.graph.initializer[:]
    weight = np.random.default_rng(seed).standard_normal((784, 5)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(proto, folder / "m.onnx")
    return compile_model(folder / "m.onnx", TARGET, output=folder / f"m{seed}.nvmc")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return network(tmp_path_factory.mktemp("identity"))


COMMON: dict[str, Any] = {"limit": 20}


def identity(compiled: Compiled, target: Target = TARGET, **options: Any) -> dict[str, Any]:
    return dict(set_up(compiled, target, **{**COMMON, **options}).identity)


@pytest.mark.parametrize(
    "options",
    [{"limit": 21}, {"output": "z"}, {"fidelity": "circuit"}, {"seed": 1}],
)
def test_options_that_decide(compiled: Compiled, options: dict[str, Any]) -> None:
    assert identity(compiled) != identity(compiled, **options)


def test_images_and_labels_decide_but_not_their_name(compiled: Compiled) -> None:
    digits = load_data("digits", limit=20)
    assert digits.y is not None
    digits = replace(digits, y=digits.y % 5)
    first = identity(compiled, data=digits)
    x = digits.x.copy()
    x[7, 0, 3, 3] += 0.5
    for other in (replace(digits, x=x), replace(digits, y=4 - digits.y % 5)):
        assert identity(compiled, data=other) != first
    assert identity(compiled, data=replace(digits, name="others")) == first


def test_options_that_do_not_decide(compiled: Compiled) -> None:
    assert identity(compiled, batch=3) == identity(compiled, batch=7) == identity(compiled)
    digits = replace(load_data("digits", limit=20), y=None)
    given = [identity(compiled, data=digits, seed=seed) for seed in (0, 1)]
    assert given[0] == given[1]


TURNS = """
g (float[N,1,28,28] x) => (float[N,5] y) <float[784,8] v, float[8,8] w, float[8,5] u>
{ f = Flatten (x)
  h = MatMul (f, v)
  three = Constant <value = int64 {3}> ()
  on = Constant <value = bool {1}> ()
  k = Loop (three, on, h) <body = turn (int64 i, bool c, float[N,8] a) => (bool d, float[N,8] b)
    { d = Identity (c)
      m = MatMul (a, w)
      b = Tanh (m) }>
  y = MatMul (k, u) }
"""


def test_batches_decide_where_the_noise_of_reads_counts_turns(tmp_path: Path) -> None:
    """`--batch` changes such values, so one batch's results are not another's."""
    onnx.save(proto_of(TURNS), tmp_path / "m.onnx")
    turns = compile_model(tmp_path / "m.onnx", TARGET, output=tmp_path / "m.nvmc")
    assert {layer.op for layer in turns.manifest.layers} <= {"CrossbarMatMul", "CrossbarGemm"}
    found = [identity(turns, batch=n, fidelity="circuit") for n in (3, 7)]
    assert [one.pop("batch") for one in found] == [3, 7] and found[0] == found[1]
    assert identity(turns, batch=3) == identity(turns, batch=7)


def test_cells_and_network_decide(compiled: Compiled, tmp_path: Path) -> None:
    first = identity(compiled)
    noisy = TARGET.on(None, [parse_noise("stuck-at:p_low=0.01")])
    others = [identity(compiled, target) for target in (noisy, Target.of(load_device("rram4")))]
    others.append(identity(network(tmp_path, seed=1)))
    assert all(other != first for other in others)
    assert identity(network(tmp_path)) == first


def test_physics_decide(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    first = identity(compiled)
    monkeypatch.setattr(making, "PHYSICS", making.PHYSICS + 1)
    assert identity(compiled) != first


def test_stochastic_passes_decide(tmp_path: Path) -> None:
    proto = proto_of(
        """
        g (float[N,1,28,28] x) => (float[N,5] y) <float[784,5] w, float r = {0.5}, bool on = {1}>
        { f = Flatten (x) d = Dropout (f, r, on) y = MatMul (d, w) }
        """
    )
    onnx.save(proto, tmp_path / "m.onnx")
    drops = compile_model(tmp_path / "m.onnx", TARGET, output=tmp_path / "m.nvmc")
    assert identity(drops, mc_passes=2) != identity(drops, mc_passes=3)


def test_all_files_of_the_model_decide(
    compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one hash over theirs, in the order of their names; other files decide nothing."""
    copy = open_compiled(shutil.copytree(compiled.folder, tmp_path / compiled.folder.name))
    (copy.folder / "model.onnx.bak").write_bytes(b"mine")
    assert identity(copy) == identity(compiled)
    monkeypatch.setattr("nvmc.passes.io.save.LARGEST_FILE", 0)
    monkeypatch.setattr("nvmc.passes.io.save.SMALL", 0)
    apart = network(tmp_path / "apart")
    files = sorted(apart.folder.glob("model.onnx*"))
    assert len(files) == 2
    digests = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    assert identity(apart)["network"] == hashlib.sha256(digests).hexdigest()


def test_the_order_of_the_images_decides(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = identity(compiled, limit=100)
    monkeypatch.setattr("nvmc.evaluation.ordering.HARD", 0.05)
    assert identity(compiled, limit=100)["order"] != first["order"]
