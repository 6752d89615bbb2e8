"""correct-layers: corrections of one and zero change nothing, and what is left is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc import compile_model
from nvmc.errors import ModelError
from nvmc.passes.correct_layers import CorrectLayers, hold_inputs
from nvmc.passes.io.load_compiled import load_compiled
from onnx_models import MAPPED
from onnx_text import proto_of, run


def compiled_model(text: str, folder: Path, opset: int = 21) -> ir.Model:
    onnx.save(proto_of(text, opset=opset), folder / "m.onnx")
    return load_compiled(compile_model(folder / "m.onnx", "ideal", output=folder / "m.nvmc"))


def inputs_of(model: ir.Model) -> dict[str, np.ndarray]:
    """Numbers from 0 to 2 of every input's type."""
    generator = np.random.default_rng(3)
    found: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        shape = [size if isinstance(size, int) else 3 for size in value.shape or ()]
        kind = np.float32 if value.dtype is None else value.dtype.numpy()
        found[str(value.name)] = np.asarray(2 * generator.random(shape)).astype(kind)
    return found


@pytest.mark.parametrize("name", sorted(MAPPED))
def test_gains_of_one_change_no_bit(name: str, tmp_path: Path) -> None:
    model = compiled_model(MAPPED[name][1], tmp_path)
    inputs = inputs_of(model)
    expected = run(model, **inputs)
    outputs = [value.name for value in model.graph.outputs]
    correct = CorrectLayers(affine="least-squares")
    try:
        correct(model)
    except ModelError as error:
        assert "affine" in str(error) and correct.left
        return
    values = {
        str(value.name): np.full(
            tuple(value.shape or ()), 1 if ".gain" in str(value.name) else 0, np.float32
        )
        for value in model.graph.inputs
        if str(value.name) not in inputs
    }
    assert len(values) == 2 * len(correct.found)
    hold_inputs(model, values)
    assert [value.name for value in model.graph.outputs] == outputs
    for found, wanted in zip(run(model, **inputs), expected, strict=True):
        assert np.allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_what_is_found_is_put_out_for_every_opset(opset: int, tmp_path: Path) -> None:
    text = """g (float[N,4] x) => (float[N,3] y) <float[4,5] w, float[5,3] v>
    { h = MatMul (x, w) r = Relu (h) y = MatMul (r, v) }"""
    model = compiled_model(text, tmp_path, opset)
    x = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    finding = CorrectLayers(affine="least-squares", calibrating=True)
    finding(model)
    assert [one.count for one in finding.found] == [5, 3]
    hidden = x @ proto_weight(text, "w")
    ideal = {"h.ideal": 2 * hidden, "y.ideal": np.zeros((9, 3), np.float32)}
    gain, offset, last, _ = run(model, x=x, **ideal)
    assert np.allclose(gain, 2, rtol=1e-4) and np.allclose(offset, 0, atol=1e-4)
    assert np.allclose(last, 0, atol=1e-5)


def proto_weight(text: str, name: str) -> np.ndarray:
    tensors = {t.name: t for t in proto_of(text).graph.initializer}
    return onnx.numpy_helper.to_array(tensors[name])


def test_layers_without_columns_are_left_and_named(tmp_path: Path) -> None:
    text = """g (float[N,4] x) => (float[N,3,5] y) <float[3,1] a, float[4,5] w>
    { h = MatMul (x, w) s = Unsqueeze (h, axis) y = MatMul (a, s) }"""
    proto = proto_of(text, axis=np.array([1], np.int64))
    onnx.save(proto, tmp_path / "m.onnx")
    model = load_compiled(compile_model(tmp_path / "m.onnx", "ideal", output=tmp_path / "m.nvmc"))
    correct = CorrectLayers(affine="moments")
    correct(model)
    assert len(correct.found) == 1 and len(correct.left) == 1


def test_a_network_without_normalisations_is_refused(tmp_path: Path) -> None:
    model = compiled_model(
        "g (float[N,4] x) => (float[N,5] y) <float[4,5] w> { y = MatMul (x, w) }", tmp_path
    )
    with pytest.raises(ModelError, match="no BatchNormalization"):
        CorrectLayers(batchnorm=True)(model)
