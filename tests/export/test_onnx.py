"""`--to onnx`: outputs of the ideal chip and of chip K, in onnxruntime and in other runtimes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from export.consumers import PACKAGES
from nvmc import Compiled, compile_model, export_network, load_device, program_chip
from nvmc.models import resolve_model

RUNTIMES = Path(__file__).with_name("consumers.py")


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("lenet")
    model = resolve_model("zoo:lenet5-digits")
    return compile_model(model, load_device("rram4"), output=folder / "lenet.nvmc")


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((8, 1, 28, 28), dtype=np.float32)


def outputs(model: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def expected(lenet: Compiled, chip: int | None, folder: Path, x: Any) -> Any:
    """What the compiled network itself computes, or the file of `nvmc program`."""
    path = lenet.model_path
    if chip is not None:
        path = folder / "programmed.onnx"
        program_chip(lenet, chip, path)
    return outputs(path, x)


@pytest.mark.parametrize("opset", [None, 13, 17, 21])
@pytest.mark.parametrize("chip", [None, 3])
def test_onnxruntime_has_the_outputs_of_the_chip(
    chip: int | None,
    opset: int | None,
    lenet: Compiled,
    images: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    export_network(lenet, "onnx", tmp_path / "out", chip=chip, opset=opset)
    path = tmp_path / "out" / "model.onnx"
    proto = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset or 13)]
    assert not proto.functions
    assert "CastLike" not in {node.op_type for node in proto.graph.node}
    # The same products in the same order: functions only multiply codes by their step first.
    np.testing.assert_array_equal(outputs(path, images), expected(lenet, chip, tmp_path, images))


@pytest.mark.slow
@pytest.mark.parametrize("runtime", PACKAGES)
@pytest.mark.parametrize("chip", [None, 3])
def test_other_runtimes_have_the_outputs_of_the_chip(
    chip: int | None,
    runtime: str,
    lenet: Compiled,
    images: NDArray[np.float32],
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    python = pytestconfig.getoption("--consumers")
    there = [python, "-c", f"import {PACKAGES[runtime]}, onnx"]
    if subprocess.run(there, capture_output=True).returncode:
        pytest.skip(f"{python} has no {PACKAGES[runtime]}; give --consumers PYTHON of one that has")
    export_network(lenet, "onnx", tmp_path / "out", chip=chip)
    np.save(tmp_path / "in.npy", images)
    words = ["out/model.onnx", "in.npy", "out.npy"]
    done = subprocess.run(
        [python, str(RUNTIMES), runtime, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wanted = expected(lenet, chip, tmp_path, images)
    # Every layer sums at most n = 400 products of float32; n 2^-24 of outputs below 8 is 2e-4.
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted, rtol=0, atol=2e-4)
