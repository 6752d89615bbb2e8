"""The table of networks: what it states is so, and each can be exported, compiled and simulated."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import nvmc
from nvmc.cli import main
from nvmc.errors import ModelError, OptionError
from nvmc.models import NETWORKS, ZOO, zoo_path
from nvmc.models.counting import counts_of

TINY = {"unet": (3, 16, 16)}
"""Shapes for which there is no need of whole images."""


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_are_those_of_the_table(name: str) -> None:
    network = NETWORKS[name]
    with torch.device("meta"):
        module = network.module()
    trained = module.maps if network.single else module
    assert counts_of(trained, network.shape) == (network.parameters, network.multiply_adds)


def test_multiply_adds_are_those_of_the_papers_formulas() -> None:
    """LeNet-5 and the LSTM layers by hand: 24 steps, four gates."""
    lenet = 28**2 * 6 * 25 + 10**2 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    lstm = 24 * 4 * 16 * (1 + 16 + 16 + 16) + 16
    assert (NETWORKS["lenet5"].multiply_adds, NETWORKS["forecast"].multiply_adds) == (lenet, lstm)


def _dense_biases(module: torch.nn.Module) -> set[str]:
    """Names of the biases of dense layers; those of LSTM layers have ONNX's own layout."""
    layers = module.named_modules()
    return {f"{name}.bias" for name, layer in layers if isinstance(layer, torch.nn.Linear)}


def check(name: str, folder: Path) -> None:
    """Export, against torch; compile; one chip."""
    network, path = NETWORKS[name], folder / "net.onnx"
    shape = TINY.get(name, network.shape)
    nvmc.export_model(name, path, seed=1, shape=shape)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    held = {tensor.name for tensor in model.graph.initializer}
    assert name == "forecast" or _dense_biases(nvmc.model(name)) <= held
    x = np.random.default_rng(0).random((2, *shape), np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": x[:1] if network.single else x})
    with torch.no_grad():
        wanted = nvmc.model(name, seed=1)(torch.tensor(x[:1] if network.single else x))
    assert [output.name for output in session.get_outputs()] == list(network.outputs)
    if network.single:
        return  # test_definitions.py
    assert np.isfinite(found[0]).all()
    scale = float(wanted.abs().max())
    if not network.computed:  # there a rounding may turn a step
        np.testing.assert_allclose(found[0], wanted.numpy(), rtol=1e-3, atol=1e-4 * scale)
    compiled = nvmc.compile(path, "fefet2", output=folder / "net.nvmc")
    assert nvmc.simulate(compiled, runs=1, data=(x, None), jobs=1).values.shape == (1,)


def test_lenet5_is_exported_compiled_and_simulated(tmp_path: Path) -> None:
    check("lenet5", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "lenet5"])
def test_each_is_exported_compiled_and_simulated(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


def test_untrained_files_keep_their_normalisation(tmp_path: Path) -> None:
    """What the exporter folds into a layer is not trained: VGG-8 and others learned without it."""
    nvmc.export_model("m5", tmp_path / "m5.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "m5.onnx").graph.node]
    assert kinds.count("BatchNormalization") == 4


def test_seeds_name_weights() -> None:
    torch.manual_seed(5)  # the global generator must not matter
    one, same, other = (nvmc.model("forecast", seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)
    start = nvmc.model("stn-mnist").state_dict()
    assert start["local4.bias"].tolist() == [1, 0, 0, 0, 1, 0]


def test_the_command_lists_and_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert [row["name"] for row in listed] == list(NETWORKS)
    assert listed[1]["pretrained"]["lenet5-digits"]["correct"] == 529
    for number, (name, words) in enumerate(
        {"lenet5-digits": [], "mlp3": ["--pretrained"], "zoo:stn-mnist": []}.items()
    ):
        path = tmp_path / f"{number}.onnx"
        assert main(["models", "export", name, *words, "-o", str(path)]) == 0
        name = name.removeprefix("zoo:")
        kept = name if name in ZOO else NETWORKS[name].pretrained[0]
        assert path.read_bytes() == zoo_path(kept).read_bytes()
        said = capsys.readouterr().out
        assert f"{kept}: {ZOO[kept].stated}" in said and "random" not in said


def test_the_list_fits_a_terminal_and_names_what_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "…" not in said
    assert "preact152           58.1 M" in said
    begins = [line.split()[0] for line in said.splitlines() if line]
    assert {*NETWORKS, *(f"zoo:{name}" for name in ZOO)} <= set(begins)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    with pytest.raises(ModelError) as caught:
        nvmc.export_model("nothing", path)
    assert str(caught.value).count("stn-mnist") == 1
    with pytest.raises(ModelError, match="model 'vgg9' is unknown; .* did you mean 'vgg8'"):
        nvmc.export_model("vgg9", path)
    with pytest.raises(ModelError, match="zoo:lenet5 is a network, .*zoo:lenet5-mnist or zoo:l"):
        nvmc.export_model("zoo:lenet5", path)
    with pytest.raises(ModelError, match="preact-18.* did you mean 'preact18'"):
        nvmc.model("preact-18")
    with pytest.raises(ModelError, match="vgg8 has no trained weights here; those of mlp3"):
        nvmc.export_model("vgg8", path, pretrained=True)
    with pytest.raises(OptionError, match="seed is given for a trained network"):
        nvmc.export_model("lenet5", path, pretrained=True, seed=1)
    with pytest.raises(OptionError, match="no folder"):
        nvmc.export_model("lenet5", tmp_path / "none" / "x.onnx")
    with pytest.raises(ModelError, match="shape 28x28 does not fit lenet5, which takes 1x28x28"):
        nvmc.export_model("lenet5", path, shape=(28, 28))
    with pytest.raises(ModelError, match="lenet5 does not take inputs 1x27x20 .*its own"):
        nvmc.export_model("lenet5", path, shape=(1, 27, 20))
    assert not path.exists()
