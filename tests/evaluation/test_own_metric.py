"""Metrics of a user's own: functions, objects that are fed, and modules named after --metric."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc import Target, compile_model, load_device, simulate
from nvmc.cli import main
from nvmc.compiled.artifact import Compiled
from nvmc.errors import OptionError
from nvmc.metrics import METRICS, find_metric
from nvmc.metrics.own import own_metric
from nvmc.store import Store
from onnx_text import proto_of

Capture = pytest.CaptureFixture[str]

MODEL = """g (float[N,6] x) => (float[N,3] y)
<float[6,3] w, float[3] b> {
  y = Gemm (x, w, b)
}"""
MODULE = """
import numpy as np
def misses(outputs, labels):
    return float(np.mean(outputs.argmax(1) != labels))
misses.higher_is_better = False
def hits(outputs, labels):
    return float(np.mean(outputs.argmax(1) == labels))
def broken(outputs, labels):
    raise ValueError("no such\\nthing")
def nothing(outputs, labels):
    return float("nan")
class Misses:
    higher_is_better = False
    def update(self, outputs, labels):
        self.wrong = np.count_nonzero(outputs.argmax(1) != labels), len(labels)
    def compute(self):
        return self.wrong[0] / self.wrong[1]
"""


def misses(outputs: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(outputs.argmax(1) != labels))


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    monkeypatch.chdir(tmp_path)
    onnx.save(proto_of(MODEL), "m.onnx")
    generator = np.random.default_rng(0)
    x = generator.standard_normal((90, 6)).astype(np.float32)
    np.savez("d.npz", x=x, y=generator.integers(3, size=90))
    Path(f"judge_{tmp_path.name}.py").write_text(MODULE)
    return compile_model("m.onnx", Target.of(load_device("fefet2"), weight_bits=4))


def test_a_function_of_outputs_and_labels(network: Compiled) -> None:
    known = simulate(network, runs=9, sigma=0.5, data="d.npz")
    found = simulate(network, runs=9, sigma=0.5, data="d.npz", metric=misses, batch=7)
    np.testing.assert_allclose(found.values, 1 - known.values, rtol=1e-12)
    assert not found.kpp.less_is_better  # nobody said so
    metric = find_metric(found.metric)
    assert metric is not None and metric.short == "misses"
    title = own_metric(misses).title
    assert title.endswith("misses gives, more is taken to be better")


@pytest.mark.parametrize("name", ["misses", "Misses", "hits:less", "misses:less"])
def test_a_name_after_metric(network: Compiled, capsys: Capture, name: str) -> None:
    module = next(Path().glob("judge_*.py")).stem
    words = ["simulate", "m.nvmc", "--data", "d.npz", "--sigma", "0.5", "--runs", "9"]
    words += ["--metric", f"{module}:{name}"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["percentile"]["value"] == max(found["values"])
    assert found["description"]["metric"].endswith(":less")
    assert main([*words, "--require", "kpp<=2"]) in (0, 3)
    assert "less is better" in " ".join(capsys.readouterr().out.split())
    assert main(["results", "list", "m.nvmc"]) == 0


def test_a_changed_file_is_another_metric(network: Compiled) -> None:
    module = next(Path().glob("judge_*.py"))
    name = f"{module.stem}:misses"
    with Store.open("r.sqlite") as store:
        simulate(network, runs=3, data="d.npz", metric=name, store=store)
        assert simulate(network, runs=3, data="d.npz", metric=name, store=store).recorded == 3
        module.write_text(f"{MODULE}\n# another\n")
        with pytest.raises(OptionError, match="has changed since it was imported"):
            simulate(network, runs=3, data="d.npz", metric=name, store=store)
        sys.modules.pop(module.stem)  # as in another process
        assert simulate(network, runs=3, data="d.npz", metric=name, store=store).recorded == 0
        assert not simulate(network, runs=3, data="d.npz", metric=misses, store=store).recorded
        with pytest.raises(OptionError, match="a store cannot tell it from another"):
            simulate(network, runs=3, data="d.npz", metric=lambda o, y: misses(o, y), store=store)


def test_what_is_no_metric(network: Compiled, capsys: Capture) -> None:
    module = next(Path().glob("judge_*.py")).stem
    for name, said in (
        (f"{module}:missing", "missing"),
        ("no_such_module_of_anyone:f", "there is no module"),
        (f"{module}:broken", "failed on outputs float32 [90, 3] and labels int64 [90]: ValueError"),
        (f"{module}:nothing", "gave nan; expected a finite number for every chip"),
        ("numpy:pi", "expected a name, a function of outputs and labels"),
        ("nonsense", "or give your own as package.module:function"),
    ):
        words = ["simulate", "m.nvmc", "--data", "d.npz", "--runs", "2", "--metric", name]
        assert main(words) == 1
        error = capsys.readouterr().err
        assert said in error and error.strip().count("\n") == 0
    with pytest.raises(OptionError, match="metric is 3; expected a name"):
        simulate(network, runs=2, data="d.npz", metric=3)
    assert main(["simulate", "m.nvmc", "--runs", "2", "--metric", f"{module}:hits"]) == 1
    assert "compares outputs with class labels" in capsys.readouterr().err


def test_names_in_a_store_import_nothing() -> None:
    found = find_metric("antigravity:fly:less")
    assert found is not None and found.less_is_better and "antigravity" not in dir()
    assert find_metric("os.system") is None and "accuracy" in METRICS


def test_torchmetrics_objects(network: Compiled) -> None:
    torchmetrics: Any = pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
    known = simulate(network, runs=5, sigma=0.5, data="d.npz")
    judge = torchmetrics.Accuracy(task="multiclass", num_classes=3, average="micro")
    found = simulate(network, runs=5, sigma=0.5, data="d.npz", metric=judge)
    np.testing.assert_allclose(found.values, known.values, rtol=1e-6)
    f1 = torchmetrics.F1Score(task="multiclass", num_classes=3, average="macro")
    theirs = simulate(network, runs=5, sigma=0.5, data="d.npz", metric=f1)
    ours = simulate(network, runs=5, sigma=0.5, data="d.npz", metric="f1")
    np.testing.assert_allclose(theirs.values, ours.values, rtol=1e-6)
    with Store.open("r.sqlite") as store, pytest.raises(OptionError, match="cannot tell it"):
        simulate(network, runs=2, data="d.npz", metric=judge, store=store)
