"""Errors that Python's users meet: public names, what was found, what to do; one line each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nvmc
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
        (lambda: choose_metric("classes", "rmse"), "nll, perplexity$"),
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
