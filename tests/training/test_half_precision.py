"""Networks of half precision are trained in float32 and written back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

from nvmc.data import Dataset
from nvmc.training import make_method, train
from nvmc.training.task import Task
from onnx_models import run_proto
from small_training import blobs, small_network, small_task

HALF = {
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}


def halved(folder: Path, kind: int) -> Path:
    """`small_network` in half precision."""
    proto = onnx.load(small_network(folder))
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(HALF[kind])
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = kind
    del proto.graph.value_info[:]
    path = folder / "half.onnx"
    onnx.save(proto, path)
    return path


def widened(path: Path) -> Path:
    """The same values in float32."""
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    found = path.with_name("wide.onnx")
    onnx.save(proto, found)
    return found


def exact_task() -> Task:
    """Images that float16 holds; steps far below the last digit of half precision's weights."""

    def short(data: Dataset) -> Dataset:
        return Dataset(data.name, data.x.astype(np.float16).astype(np.float32), data.y)

    task = small_task(epochs=6, rate=2e-5)
    return replace(task, train=short(blobs(96, 1)), validation=short(blobs(60, 2)))


def stored(path: Path) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize("method", ["erm", "gaussian"])
def test_half_precision_is_trained_as_its_values_in_float32_are(
    tmp_path: Path, kind: int, method: str
) -> None:
    source = halved(tmp_path, kind)
    outputs = tmp_path / "half-out.onnx", tmp_path / "wide-out.onnx"
    for network, output in zip((source, widened(source)), outputs, strict=True):
        train(network, exact_task(), make_method(method), output=output)
    found, expected, before = stored(outputs[0]), stored(outputs[1]), stored(source)
    # float16 is written back; bfloat16, which no runtime has kernels for, becomes float32
    written = HALF[kind] if kind == onnx.TensorProto.FLOAT16 else np.dtype(np.float32)
    moved = 0
    for name, array in expected.items():
        assert found[name].dtype == written
        np.testing.assert_array_equal(found[name], array.astype(written))
        moved += int((found[name].astype(np.float32) != before[name].astype(np.float32)).sum())
    assert moved > 10
    proto = onnx.load(outputs[0])
    x = blobs(5, 3).x.astype(written)
    assert np.isfinite(run_proto(proto, {"x": x})[0].astype(np.float32)).all()
