"""The full-size networks that ship inside onnx: their weights come out of ConstantOfShape nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compiled_networks import load_network
from nvmc.compiler import compile_model
from nvmc.evaluation.simulation import simulate
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.io.load import load_model
from nvmc.passes.io.save import save_model
from nvmc.passes.map_crossbars import MapCrossbars
from nvmc.passes.pipeline import compile_passes

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
QUICK = {"light_squeezenet", "light_shufflenet"}
LAYERS = {
    "light_bvlc_alexnet": 8,
    "light_densenet121": 121,
    "light_inception_v1": 58,
    "light_inception_v2": 70,
    "light_resnet50": 54,
    "light_shufflenet": 50,
    "light_squeezenet": 26,
    "light_vgg19": 19,
    "light_zfnet512": 8,
}
WIDE = {"light_vgg19", "light_zfnet512"}
"""Of the layers of others, only larger: a minute of noise."""
CASES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]


def compiled(name: str, device: str, folder: Path) -> tuple[Path, Any]:
    target = Target.of(load_device(device))
    model = load_model(FOLDER / f"{name}.onnx")
    for step in compile_passes(target):
        step(model)
    assert isinstance(step, MapCrossbars)
    save_model(model, folder / "m.onnx")
    return folder / "m.onnx", step.mapping


def run(path: Path) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (value, *others) = session.get_inputs()
    assert not others
    x = np.random.default_rng(0).standard_normal(value.shape, dtype=np.float32)
    (y,) = session.run(None, {value.name: x})
    return y


def test_none_is_left_out() -> None:
    assert set(NAMES) == set(LAYERS)


@pytest.mark.parametrize("name", CASES)
def test_with_analog_weights_it_gives_its_stock_output(name: str, tmp_path: Path) -> None:
    path, mapping = compiled(name, "ideal", tmp_path)
    assert len(mapping.layers) == LAYERS[name]
    expected = run(FOLDER / f"{name}.onnx")
    # The same operators on the same weights; onnxruntime may fuse them in another order, which
    # changes the rounding of sums of up to 25088 products: sqrt(25088) * 2**-24 = 1e-5.
    np.testing.assert_allclose(run(path), expected, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_its_weights_map_onto_fefet_cells(name: str, tmp_path: Path) -> None:
    path, mapping = compiled(name, "fefet2", tmp_path)
    assert len(mapping.layers) == LAYERS[name]
    assert all(array.planes == 4 for array in mapping.arrays)
    assert all(array.cells == 4 * np.prod(array.shape) for array in mapping.arrays)
    assert np.isfinite(run(path)).all()


@pytest.mark.parametrize("name", [case for case in CASES if not WIDE & set(case.values)])
def test_chips_of_it_simulate(name: str, tmp_path: Path) -> None:
    """Its weights are constants that tell no classes apart, so values mean nothing but health."""
    source = FOLDER / f"{name}.onnx"
    target = Target.of(load_device("fefet2"))
    compiled_network = compile_model(source, target, output=tmp_path / "m.nvmc")
    result = simulate(compiled_network, runs=2, limit=1, sigma=0.01, jobs=1)
    assert result.description.images == 1 and np.isfinite(result.values).all()
    assert len(load_network(compiled_network, target).arrays) == LAYERS[name]
