"""Errors that Python's users meet: public names, what was found, what to do; one line each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nvmc
from nvmc.cli import main
from nvmc.errors import NvmcError
from nvmc.metrics import as_metric, choose_metric
from nvmc.models import zoo_path

NETWORK = zoo_path("mlp3-digits")


def right(outputs: Any, labels: Any) -> float:
    """Never called."""
    return 1.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nvmc.compile(NETWORK, "rram4", optins=3), "^compile has no option 'optins'; did"),
        (lambda: nvmc.simulate("a.nvmc", data="digits"), r"nvmc.open_compiled\('a.nvmc'\)"),
        (lambda: nvmc.compare(Path("b.nvmc")), r"nvmc.open_compiled\('b.nvmc'\)"),
        (lambda: choose_metric("classes", "rmse"), "nll, perplexity, likelihood$"),
        (lambda: choose_metric("values", "accuracy"), "r2, rmse, mae, cosine$"),
        (
            lambda: choose_metric("classes", "miou:of=x"),
            "^metric 'miou' has of=x; expected",
        ),
    ],
)
def test_one_line(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(NvmcError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.torch
def test_training_says_what_it_takes() -> None:
    pytest.importorskip("torch")
    for given, said in (
        ({"metric": right}, "judge the result by your own with nvmc.simulate"),
        ({"augment": "crop=2,flop=1"}, "did you mean 'flip'"),
    ):
        with pytest.raises(NvmcError, match=f"^train: .*{said}"):
            nvmc.train(NETWORK, "rram4", data="digits", **given)  # type: ignore[arg-type]


@pytest.mark.torch
def test_augmentation_may_be_a_text_as_on_the_command_line() -> None:
    pytest.importorskip("torch")
    from nvmc.cli.train import AFFINE
    from nvmc.training import AFFINE as TRAINING
    from nvmc.training import Augment, Settings

    assert AFFINE == TRAINING
    found = Settings.model_validate({"augment": "crop=2,flip=0.5"}).augment
    assert found == Augment(crop=2, flip=0.5)
    assert Settings.model_validate({"augment": "affine"}).augment == Augment(
        turn=12, scale=0.1, shift=2
    )


def test_a_module_tells_what_can_be_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"metric_{i}" for i in range(10)]
    functions = "\n".join(f"def {name}(a, b): return 1.0" for name in names)
    Path("apimod.py").write_text(f"from pathlib import Path\nLIMIT = 3\n{functions}\n")
    with pytest.raises(NvmcError, match=r"has no 'g'; it has metric_0.*metric_7, … \(10 in all\)$"):
        as_metric("apimod:g")
    with pytest.raises(NvmcError, match="did you mean 'metric_3'"):
        as_metric("apimod:metrik_3")


def test_the_zoo_is_named_as_on_the_command_line(tmp_path: Path) -> None:
    compiled = nvmc.compile("zoo:mlp3-digits", "rram4", output=tmp_path / "z.nvmc")
    assert compiled.manifest.source.file == "mlp3-digits.onnx"
    with pytest.raises(NvmcError, match="did you mean 'zoo:mlp3-digits'"):
        nvmc.compile("zoo:mlp3-digit", "rram4", output=tmp_path / "y.nvmc")


def test_one_hot_labels_are_refused(tmp_path: Path) -> None:
    compiled = nvmc.compile(NETWORK, "rram4", output=tmp_path / "m.nvmc")
    data = nvmc.load_data("digits", limit=12)
    one_hot = np.eye(10, dtype=np.int64)[data.y]
    with pytest.raises(NvmcError, match=r"give class numbers \(y.argmax\(1\)\), or"):
        nvmc.simulate(compiled, data=(data.x, one_hot), runs=1)
    with pytest.raises(NvmcError, match=r"is a value of its own, name the metric, such as r2"):
        nvmc.simulate(compiled, data=(data.x, one_hot.astype(np.float32)), runs=1)
    found = nvmc.simulate(compiled, data=(data.x, one_hot), runs=1, metric="accuracy")
    assert found.metric == "accuracy"  # of each column


@pytest.mark.torch
def test_a_class_that_training_never_sees_is_told(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    data = nvmc.load_data("digits", "train", 60)
    seen = data.y != 3
    with pytest.warns(UserWarning, match="is of class 3, but held-out samples of"):
        nvmc.train(
            NETWORK,
            "rram4",
            data=(data.x[seen], data.y[seen]),
            validation=(data.x, data.y),
            epochs=1,
            chips=2,
            output=tmp_path / "o.onnx",
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--minimise", "cost"], "nvmc: error: --minimise: quantity 'cost' is unknown; expected"),
        ([], "nvmc: error: space"),
    ],
)
def test_a_refused_exploration_leaves_nothing(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.toml").write_text('[choices]\ndevice = "rram"\n')
    common = ["--space", "space.toml", "--goal", "kpp>=95%", "--data", "digits"]
    assert main(["explore", "zoo:mlp3-digits", *common, *words]) == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["space.toml"]


def test_designs_without_converters_name_the_keys_of_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.toml").write_text('[choices]\ndevice = "rram4"\ndac_bits = 6\n')
    words = ["--space", "space.toml", "--goal", "kpp>=95%", "--data", "digits", "--limit", "9"]
    assert main(["explore", "zoo:mlp3-digits", *words, "--hardware", "isaac-32nm"]) == 1
    said = (
        "the first one: it has no ADC, so its converters cannot be counted; give the space adc_bits"
    )
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["space.toml"]
