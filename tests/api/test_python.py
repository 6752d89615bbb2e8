"""nvmc as a library: modules and models in memory, training in one call, results as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import nvmc
from nvmc.errors import ModelError, NvmcError, OptionError
from nvmc.models import zoo_path
from onnx_text import proto_of

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch

TARGET = nvmc.make_target("rram4")


class Small(torch.nn.Module):
    """A convolution and a linear layer, over digits."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = torch.nn.Conv2d(1, 4, 5, stride=3)
        self.full = torch.nn.Linear(4 * 8 * 8, 10)
        for parameter in self.parameters():
            with torch.no_grad():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, picture: Any) -> Any:
        return self.full(self.drop(torch.relu(self.conv(picture)).flatten(1)))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def output_of(compiled: nvmc.Compiled, x: np.ndarray) -> np.ndarray:
    session = nvmc.make_session(compiled, chip="ideal")
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def test_a_torch_module_compiles_in_evaluation_mode() -> None:
    module, x = Small(), nvmc.load_data("digits", limit=20).x
    module.train()
    compiled = nvmc.compile(module, nvmc.make_target("ideal", weight_bits="none"), example=x[:1])
    assert compiled.folder == Path("small.nvmc") and module.training
    assert [entry.name for entry in compiled.manifest.inputs] == ["picture"]
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(x)).numpy()
    assert np.abs(output_of(compiled, x) - wanted).max() < 1e-5


def test_a_modules_batch_normalisation_is_trained_and_not_folded() -> None:
    """torch's exporter folds it into the layer before it; a network then trains without any."""
    norm = torch.nn.BatchNorm2d(2)
    layers = torch.nn.Conv2d(1, 2, 5, stride=5), norm, torch.nn.ReLU(), torch.nn.Flatten()
    module = torch.nn.Sequential(*layers, torch.nn.Linear(2 * 5 * 5, 10))
    data, cells = nvmc.load_data("digits", limit=64), nvmc.make_target("ideal", weight_bits=8)
    nvmc.train(module, cells, data=data, output="o.onnx", epochs=1, chips=2, percentile=50.0)
    model = onnx.load("o.onnx")
    assert [node.op_type for node in model.graph.node].count("BatchNormalization") == 1
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert held["1.running_mean"].any() and not norm.running_mean.any()


def test_the_example_may_come_from_data() -> None:
    compiled = nvmc.compile(Small(), TARGET, data="digits", output="mine.nvmc")
    assert compiled.manifest.inputs[0].shape == ["N", 1, 28, 28]
    assert compiled.manifest.against_source is not None


def test_a_model_in_memory_compiles_as_its_file(tmp_path: Path) -> None:
    path = zoo_path("lenet5-digits")
    first = nvmc.compile(path, TARGET, output="file.nvmc")
    second = nvmc.compile(onnx.load(path), TARGET, output="memory.nvmc")
    assert first.network_sha256 == second.network_sha256


def test_two_networks_of_one_name_are_held_apart() -> None:
    text = "g (float[N,3] x) => (float[N,4] y) <float[3,4] w> { y = MatMul (x, w) }"
    first = nvmc.compile(proto_of(text), "rram4")
    second = nvmc.compile(proto_of(text.replace("4", "5")), "rram4")
    assert (first.folder, second.folder) == (Path("g.nvmc"), Path("g-2.nvmc"))
    assert nvmc.make_session("g.nvmc", chip="ideal").get_outputs()[0].shape[1] == 4
    assert nvmc.make_session(second, chip="ideal").get_outputs()[0].shape[1] == 5
    again = nvmc.open_compiled("g.nvmc")
    del first
    assert nvmc.compile(proto_of(text), "rram4").folder == Path("g-3.nvmc")  # `again` is in hand
    del again
    assert nvmc.compile(proto_of(text), "rram4").folder == Path("g.nvmc")


@pytest.mark.parametrize(
    ("source", "given", "said"),
    [
        (3, {}, "is an int; expected a path, an onnx.ModelProto or a torch.nn.Module"),
        (Small(), {}, "without example="),
        (Small(), {"example": torch.zeros(())}, "has no rows"),
        (Small(), {"example": {"image": torch.zeros(1, 1, 28, 28)}}, "forward takes picture"),
        (Small(), {"example": (torch.zeros(1, 1, 28, 28),) * 2}, "forward takes picture"),
        ("net.onnx", {"example": torch.zeros(1, 1, 28, 28)}, "only a torch module needs one"),
    ],
)
def test_what_cannot_be_compiled(source: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        nvmc.compile(source, TARGET, **given)
    assert "\n" not in str(caught.value)


def test_a_module_that_torch_cannot_export_is_one_line() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(ModelError, match="torch cannot export Fixed") as caught:
        nvmc.compile(Fixed(), TARGET, example=torch.ones(1, 3))
    assert "\n" not in str(caught.value)


def test_an_example_that_does_not_fit_says_so() -> None:
    with pytest.raises(
        ModelError, match=r"Small fails on its example \(picture \[2, 1, 9, 9\]\)"
    ) as e:
        nvmc.compile(Small(), TARGET, example=torch.zeros(1, 1, 9, 9))
    assert "\n" not in str(e.value) and "\x1b" not in str(e.value)


def test_train_compile_simulate() -> None:
    train, test = (nvmc.load_data("digits", split) for split in ("train", "test"))
    plain = nvmc.compile(Small(), TARGET, data=(train.x, train.y))
    robust = nvmc.train(plain, data=(train.x, train.y), epochs=3, every=0, rate=0.01)
    assert robust.path == Path("small-hwa.onnx") and robust.path.is_file()
    assert robust.target == TARGET
    compiled = robust.compile()
    assert compiled.folder == Path("small-hwa.nvmc")
    before, after = (
        nvmc.simulate(one, data=(test.x, test.y), runs=10) for one in (plain, compiled)
    )
    assert after.kpp.value > before.kpp.value + 0.3
    assert after.interval == after.kpp.interval
    assert after.yield_at(after.kpp.value).reached == 10


def test_training_needs_what_was_compiled_from() -> None:
    nvmc.compile(zoo_path("lenet5-digits"), TARGET, output="net.nvmc")
    with pytest.raises(OptionError, match="compiled by another process"):
        nvmc.train(nvmc.open_compiled("net.nvmc"), data="digits")
    with pytest.raises(OptionError, match="without target="):
        nvmc.train(zoo_path("lenet5-digits"), data="digits")
    with pytest.raises(NvmcError, match="did you mean 'epochs'"):
        nvmc.train(zoo_path("lenet5-digits"), TARGET, data="digits", epoch=3)
    with pytest.raises(NvmcError, match="rate"):
        nvmc.train(zoo_path("lenet5-digits"), TARGET, data="digits", rate=-1)


def test_results_as_a_table_of_pandas() -> None:
    pytest.importorskip("pandas")
    compiled = nvmc.compile(zoo_path("lenet5-digits"), TARGET)
    result = nvmc.simulate(compiled, data="digits", runs=5, first=3, limit=50)
    frame = result.to_pandas()
    assert list(frame.columns) == ["chip", "time_s", "accuracy"]
    assert frame["chip"].tolist() == [3, 4, 5, 6, 7]
    assert frame["accuracy"].tolist() == result.values.tolist()


def test_targets_take_settings_by_keyword(tmp_path: Path) -> None:
    target = nvmc.make_target("rram4", adc_bits=6, dac_bits=8, rows=64)
    periphery = target.periphery
    assert (periphery.adc_bits, periphery.dac_bits, target.rows) == (6, 8, 64)
    assert nvmc.make_target("isaac").device == nvmc.Target.load("isaac").device
    assert nvmc.make_target("isaac", adc_bits="none").periphery.adc_bits is None
    path = tmp_path / "mine.toml"
    path.write_text('device = "fefet2"\nrows = 32\nweight_bits = 4\n')
    mine = nvmc.make_target(path, cols=16)
    assert (mine.rows, mine.cols, mine.device.name) == (32, 16, "fefet2")
    for given, said in (
        ({"adc_bit": 3}, "did you mean 'adc_bits'"),
        ({"adc_bits": 99}, "adc_bits"),
        ({"device": "rram4"}, "is a device and another is given"),
    ):
        with pytest.raises(OptionError, match=said):
            nvmc.make_target("fefet2", **given)  # type: ignore[arg-type]
