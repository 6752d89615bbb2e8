from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import nvmc.passes.io.save
from nvmc.errors import ModelError
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.io.load import load_model
from nvmc.passes.io.save import save_model
from nvmc.passes.pipeline import compile_passes
from onnx_text import proto_of

TEXT = """g (float[1,1500] x) => (y) <float[1500,40] w, float[40,3] v> {
  h = MatMul (x, w)
  y = MatMul (h, v)
}"""


def assert_same(path: Path, model: ir.Model) -> None:
    onnx.checker.check_model(path, full_check=True)
    found, expected = onnx.load(path), ir.to_proto(model)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in found.graph.initializer}
    for tensor in expected.graph.initializer:
        np.testing.assert_array_equal(
            stored.pop(tensor.name), onnx.numpy_helper.to_array(tensor), strict=True
        )
    assert not stored
    names = {tensor.name for tensor in expected.graph.initializer}
    for proto in (found, expected):  # an initializer's type need not be said twice
        infos = [info for info in proto.graph.value_info if info.name not in names]
        del proto.graph.value_info[:], proto.graph.initializer[:]
        proto.graph.value_info.extend(infos)
    assert found == expected


@pytest.mark.parametrize("device", ["ideal", "fefet2"])
def test_what_is_written_is_the_model(tmp_path: Path, device: str) -> None:
    model = ir.from_proto(proto_of(TEXT))
    for step in compile_passes(Target.of(load_device(device))):
        step(model)
    save_model(model, tmp_path / "m.onnx")
    assert_same(tmp_path / "m.onnx", model)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    save_model(load_model(tmp_path / "m.onnx"), tmp_path / "n.onnx")
    assert_same(tmp_path / "n.onnx", model)


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model = ir.from_proto(proto_of(TEXT))
        for step in compile_passes(Target.of(load_device("fefet2"))):
            step(model)
        save_model(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_beyond_the_limit_of_protobuf_keeps_its_weights_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvmc.passes.io.save, "LARGEST_FILE", 1000)
    model = ir.from_proto(proto_of(TEXT))
    save_model(model, tmp_path / "m.onnx")
    (data,) = tmp_path.glob("m.onnx.*")
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    assert data.name == f"m.onnx.{digest[:16]}.data"
    assert (tmp_path / "m.onnx").stat().st_size < 10_000
    assert_same(tmp_path / "m.onnx", ir.from_proto(proto_of(TEXT)))


def test_names_are_the_graphs_where_models_share_a_tensor(tmp_path: Path) -> None:
    """Renaming a value of a clone renames the tensor that both hold."""
    model = ir.from_proto(proto_of(TEXT))
    model.clone().graph.initializers["w"].name = "other"
    save_model(model, tmp_path / "m.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    assert {t.name for t in onnx.load(tmp_path / "m.onnx").graph.initializer} == {"w", "v"}


def test_an_output_without_a_shape_is_refused(tmp_path: Path) -> None:
    model = ir.from_proto(proto_of("g (float[N,3] x) => (float[N,3] y) { y = Relu (x) }"))
    model.graph.outputs[0].shape = None
    with pytest.raises(ModelError, match="output 'y' has no shape, and ONNX asks for one"):
        save_model(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
