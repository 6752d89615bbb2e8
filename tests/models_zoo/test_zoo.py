"""The shipped networks are the ones in the table."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from nvmc.data import check_labels, check_shape, load_data
from nvmc.errors import ModelError
from nvmc.metrics import correct
from nvmc.metrics.detection import MeanAP
from nvmc.models import NETWORKS, ZOO, resolve_model, zoo_path
from nvmc.models import zoo as zoo_module
from nvmc.models.scenes import SCENES, draw_scenes

NAMES = ["lenet5-digits", "mlp3-digits"]


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", sorted(ZOO))
def test_file_is_the_one_in_the_table(name: str) -> None:
    assert hashlib.sha256(zoo_path(name).read_bytes()).hexdigest() == ZOO[name].sha256
    assert resolve_model(f"zoo:{name}") == zoo_path(name)


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_the_one_in_the_table(name: str) -> None:
    data = load_data(ZOO[name].data)
    assert data.y is not None
    (logits,) = session(zoo_path(name)).run(["logits"], {"image": data.x})
    assert len(data.y) == ZOO[name].images
    assert correct(np.asarray(logits), data.y) == ZOO[name].correct
    assert ZOO[name].accuracy >= 0.985


SEEDED = {
    "forecast-co2": [0.4118415117263794, 0.6842536330223083, 0.46812471747398376],
    "lenet5-mnist": [-0.6629655957221985, -1.7267554998397827, -1.6091567277908325],
    "stn-mnist": [0.06226783245801926, 0.29952386021614075, -1.0873748064041138],
    "mlp3-mnist": [3.974980354309082, 5.141809463500977, 3.4771337509155273],
}
"""First outputs of each input that generator 0 draws, uniform from 0 to 1: files whose data are not
at hand here."""


@pytest.mark.parametrize("name", SEEDED)
def test_outputs_on_seeded_inputs_are_those_that_were_measured(name: str) -> None:
    run = session(zoo_path(name))
    x = np.random.default_rng(0).random((3, *run.get_inputs()[0].shape[1:]), np.float32)
    (found,) = run.run(None, {"image": x})
    np.testing.assert_allclose(np.asarray(found)[:, 0], SEEDED[name], rtol=1e-4)
    assert ZOO[name].stated and zoo_path(name).stat().st_size < 2_000_000


def test_the_detectors_precision_is_the_one_in_the_table() -> None:
    x, boxes = draw_scenes(*SCENES["test"])
    run = session(zoo_path("detector-scenes"))
    found = np.full((len(x), 41, 6), -1.0)
    for place, image in enumerate(x):
        rows = np.column_stack(run.run(None, {"image": image[None]}))
        found[place, 0], found[place, 1 : 1 + len(rows)] = len(rows), rows
    stated = ZOO["detector-scenes"]
    assert len(x) == stated.images
    assert MeanAP(boxes).add(found, 0) == pytest.approx(stated.average_precision, abs=1e-3)


def test_the_forecasts_error_is_the_one_in_the_table() -> None:
    pytest.importorskip("statsmodels")
    data = load_data("co2")
    (found,) = session(zoo_path("forecast-co2")).run(None, {"image": data.x})
    error = np.asarray(found, np.float64) - data.targets
    assert len(data.x) == ZOO["forecast-co2"].images
    assert np.sqrt((error**2).mean()) == pytest.approx(ZOO["forecast-co2"].rmse, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_model_is_clean_onnx(name: str) -> None:
    model = onnx.load(zoo_path(name))
    onnx.checker.check_model(model, full_check=True)
    assert not model.functions and len(model.opset_import) == 1
    assert 17 <= model.opset_import[0].version <= 21
    names = {tensor.name for tensor in model.graph.initializer}
    layers = ["conv1", "conv2"] * (name == "lenet5-digits") + ["fc1", "fc2", "fc3"]
    assert {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")} <= names
    raw = zoo_path(name).read_bytes()
    assert b".py" not in raw and b"site-packages" not in raw


@pytest.mark.parametrize("name", NAMES)
def test_model_takes_any_batch_of_its_data(name: str) -> None:
    run = session(zoo_path(name))
    (image,) = run.get_inputs()
    assert (image.name, image.shape) == ("image", ["N", 1, 28, 28])
    assert [output.shape for output in run.get_outputs()] == [["N", 10]]
    data = load_data(ZOO[name].data, limit=7)
    check_shape(data, image.shape)
    check_labels(data, 10)
    assert np.shape(run.run(None, {"image": data.x[:1]})[0]) == (1, 10)
    assert np.shape(run.run(None, {"image": data.x})[0]) == (7, 10)


def test_lenet5_has_the_stated_parameters() -> None:
    model = onnx.load(zoo_path("lenet5-digits"))
    sizes = [int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == 1]
    assert sum(sizes) == 61_706


def test_anything_else_is_a_path() -> None:
    assert resolve_model("some/model.onnx") == Path("some/model.onnx")


@pytest.mark.parametrize("name", ["lenet", "", "lenet5-digits.onnx", "../zoo"])
def test_unknown_name_lists_the_choices(name: str) -> None:
    with pytest.raises(
        ModelError, match="model 'zoo:.* is unknown; .* zoo:lenet5-digits, zoo:mlp3-d"
    ):
        resolve_model(f"zoo:{name}")


def test_a_network_in_place_of_a_trained_file_is_told_what_can_be_typed() -> None:
    """Each network, by the name that `nvmc models` lists it by: its trained files, or the way."""
    for name, network in NETWORKS.items():
        if name in ZOO:
            continue
        with pytest.raises(ModelError) as caught:
            resolve_model(f"zoo:{name}")
        typed = [f"zoo:{one}" for one in network.pretrained] or [f"nvmc models export {name} -o"]
        assert all(one in str(caught.value) for one in typed)
        for one in network.pretrained:
            assert resolve_model(f"zoo:{one}").is_file()


def test_a_name_without_its_prefix_is_told_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lenet5", "lenet5-digits"):
        with pytest.raises(ModelError, match=f"no file '{name}'; did you mean .*zoo:lenet5-digits"):
            resolve_model(name)
    with pytest.raises(ModelError, match="nvmc models export vgg8"):
        resolve_model("vgg8")
    (tmp_path / "lenet5").mkdir()
    assert resolve_model("lenet5") == Path("lenet5")


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_damaged_file_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    (tmp_path / "pretrained").mkdir()
    if content is not None:
        (tmp_path / "pretrained" / "lenet5-digits.onnx").write_bytes(content)
    monkeypatch.setattr(zoo_module.resources, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="expected cefe665f2763 .*; install nvmc again"):
        zoo_path("lenet5-digits")


def test_naming_a_model_loads_no_torch() -> None:
    code = (
        "import sys; from nvmc.models import resolve_model; resolve_model('zoo:lenet5-digits'); "
        "assert not {'torch', 'onnx', 'onnx_ir', 'onnxruntime', 'sklearn'} & set(sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
