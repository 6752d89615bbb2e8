"""Chips judged by metrics in a unit of their own, from the command line to the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from distributed.protocol.pickle import dumps, loads

from nvmc import Target, compile_model, load_device, simulate
from nvmc.cli import main
from nvmc.compiled.artifact import Compiled
from nvmc.errors import NvmcError, OptionError
from nvmc.evaluation.sweep import sweep
from nvmc.executors.torch import TorchExecutor
from nvmc.metrics import as_metric
from nvmc.statistics import percentile_performance
from nvmc.store import Identity, Store
from onnx_text import proto_of

Capture = pytest.CaptureFixture[str]

VALUES = """g (float[N,6] x) => (float[N,2] y)
<float[6,8] w1, float[8] b1, float[8,2] w2, float[2] b2> {
  h = Gemm (x, w1, b1)
  a = Relu (h)
  y = Gemm (a, w2, b2)
}"""
MAPS = """g (float[N,1,6,6] x) => (float[N,3,6,6] y)
<float[3,1,3,3] w, float[3] b> {
  y = Conv <pads=[1,1,1,1]> (x, w, b)
}"""


def compiled(text: str, folder: Path) -> Compiled:
    onnx.save(proto_of(text), folder / "m.onnx")
    target = Target.of(load_device("fefet2"), weight_bits=4)
    return compile_model(folder / "m.onnx", target, output=folder / "m.nvmc")


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    """A network of two values, and `d.npz` with what they should be."""
    monkeypatch.chdir(tmp_path)
    network = compiled(VALUES, tmp_path)
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    session: Any = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": x})[0] + 0.1
    np.savez("d.npz", x=x, y=y)
    return network


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    """A network of maps of three classes, and `d.npz` with other labels than it decides."""
    monkeypatch.chdir(tmp_path)
    network = compiled(MAPS, tmp_path)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((20, 1, 6, 6)).astype(np.float32)
    np.savez("d.npz", x=x, y=generator.integers(3, size=(20, 6, 6)))
    return network


def outputs_of(network: Compiled, chip: int, sigma: float) -> np.ndarray:
    """What `nvmc program`'s file of a chip gives in a stock onnxruntime."""
    words = ["program", str(network.folder), "--chip", str(chip), "--sigma", str(sigma)]
    assert main([*words, "--output", "chip.onnx"]) == 0
    session: Any = ort.InferenceSession("chip.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.load("d.npz")["x"]})[0]


def rmse(outputs: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((outputs.astype(np.float64) - y) ** 2)))


def mae(outputs: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(np.abs(outputs.astype(np.float64) - y)))


@pytest.mark.parametrize(("name", "slow"), [("rmse", rmse), ("mae", mae)])
def test_errors_are_those_of_programmed_chips(
    values: Compiled, name: str, slow: Callable[..., float]
) -> None:
    found = simulate(values, runs=20, sigma=0.3, data="d.npz", metric=name, percentile=10)
    y = np.load("d.npz")["y"]
    for chip in (0, 7):
        wanted = slow(outputs_of(values, chip, 0.3), y)
        assert found.values[chip] == pytest.approx(wanted, rel=1e-5)
    ordered = np.sort(found.values)[::-1]  # the worst first
    assert found.kpp.value == ordered[2] and found.kpp.less_is_better
    assert found.summary.worst == ordered[0] == found.summary.max
    mirrored = percentile_performance(-found.values, 10).chips_alone
    assert found.kpp.covers == "chips" and mirrored.low is None
    assert found.kpp.interval.high is None and found.kpp.interval.low == -(mirrored.high or 0)
    small = simulate(values, runs=20, sigma=0.3, data="d.npz", metric=name, batch=7, jobs=1)
    assert np.array_equal(small.values, found.values)
    if name == "rmse":
        r2 = simulate(values, runs=20, sigma=0.3, data="d.npz")
        same = [r2.rmse(value) for value in r2.values]
        np.testing.assert_allclose(found.values, same, rtol=1e-9)


def test_less_is_better_on_the_command_line(values: Compiled, capsys: Capture) -> None:
    words = ["simulate", "m.nvmc", "--data", "d.npz", "--metric", "rmse", "--sigma", "0.3"]
    words += ["--runs", "120", "--percentile", "5"]
    assert main([*words, "--goal", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    kpp, errors = found["percentile"], np.array(found["values"])
    assert kpp["value"] == np.sort(errors)[::-1][6] and kpp["high"] >= kpp["value"]
    assert found["max"] == errors.max() and found["min"] == errors.min()
    assert found["yield"]["reached"] == np.count_nonzero(errors <= 0.5)
    assert main([*words, "--goal", "0.5", "--require", f"kpp<={kpp['high'] + 1e-9}"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"{errors.mean():.4g} ± {errors.std(ddof=1):.4g} over chips" in told
    assert f"{errors.max():.4g}" in told and "chips that stay within 0.5" in told
    assert "less is better" in told and "%" not in told.split(" mean ")[1].split(" its ")[0]
    assert "upper end of the 95% interval of chips alone" in told and "met" in told
    assert "120 chips" in told or "from the store" in told
    assert main([*words, "--require", f"kpp<={kpp['high'] - 1e-6}"]) == 3
    capsys.readouterr()
    for wrong, said in (
        (["--require", "kpp>=0.5"], "of RMSE less is better; give kpp<="),
        (["--require", "kpp<=5x"], "kpp is '5x'; expected a number in the metric's own unit"),
        (["--goal", "97%"], "goal is '97%'; expected a number in the metric's own unit"),
        (["--precision", "0.5pp"], "precision is '0.5pp'; expected a number"),
        (["--adaptive"], "an adaptive run counts decisions, but the metric here is RMSE"),
    ):
        assert main([*words, *wrong]) in (1, 2)
        error = capsys.readouterr().err
        assert said in error and error.strip().count("\n") == 0
    rounds = ["--precision", "0.5", "--max-runs", "500"]
    assert main([*words, *rounds, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["met"] is True
    plain = [word for word in words if word not in ("--metric", "rmse")]
    assert main([*plain, "--require", "kpp<=0.5"]) == 1
    assert "more is better; give kpp>=" in capsys.readouterr().err


def test_a_sweep_of_errors(values: Compiled, capsys: Capture) -> None:
    words = ["sweep", "m.nvmc", "--data", "d.npz", "--metric", "mae", "--sigma", "0.1,0.4"]
    words += ["--runs", "12", "--csv", "s.csv", "--figure", "s.svg", "--goal", "0.3"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "Values are MAE." in told and "reach 0.3" in told
    assert "MAE [%]" not in Path("s.svg").read_text() and "MAE" in Path("s.svg").read_text()
    found = sweep(values, {"sigma": "0.1,0.4"}, runs=12, data="d.npz", metric="mae")
    for point in found.points:
        assert point.kpp.value == point.values.max() == point.summary.worst
        assert f"{point.kpp.value:.4g}" in told
    assert main(["simulate", "m.nvmc", *words[2:6], "--runs", "9", "--figure", "h.png"]) == 0
    assert main(["sensitivity", "m.nvmc", *words[2:6], "--sigma", "0.4", "--runs", "9"]) == 0
    assert "KPP: without" in capsys.readouterr().out


def slow_miou(outputs: np.ndarray, labels: np.ndarray) -> float:
    chosen, shares = outputs.argmax(1), list[float]()
    for one in np.unique(labels):
        both = np.count_nonzero((chosen == one) & (labels == one))
        shares.append(both / np.count_nonzero((chosen == one) | (labels == one)))
    return float(np.mean(shares))


def test_counts_of_classes_are_kept(maps: Compiled, capsys: Capture) -> None:
    """The store has six whole numbers a chip; what is there is not run again, nor believed."""
    with Store.open("r.sqlite") as store:
        found = simulate(maps, runs=6, sigma=0.4, data="d.npz", metric="miou", store=store)
    y = np.load("d.npz")["y"]
    assert found.values[3] == pytest.approx(slow_miou(outputs_of(maps, 3, 0.4), y), rel=1e-12)
    with Store.open("r.sqlite") as store:
        (entry,) = store.experiments()
        sums = [total for (_, _, total, _), _ in store.chips(entry.id)]
        assert all(isinstance(s, tuple) and len(s) == 6 for s in sums)
        right = [
            np.count_nonzero((outputs_of(maps, 3, 0.4).argmax(1) == y) & (y == c)) for c in range(3)
        ]
        assert isinstance(sums[3], tuple) and list(sums[3][:3]) == right
        again = simulate(maps, runs=8, sigma=0.4, data="d.npz", metric="miou", store=store)
    assert again.recorded == 6 and np.array_equal(again.values[:6], found.values)
    capsys.readouterr()
    assert main(["results", "list", "r.sqlite"]) == 0
    assert f"{100 * again.summary.mean:.2f}" in capsys.readouterr().out
    assert main(["results", "show", entry.id[:8], "--store", "r.sqlite"]) == 0
    assert "mIoU" in capsys.readouterr().out
    assert main(["results", "export", "--all", "--store", "r.sqlite", "-o", "t.csv"]) == 0
    assert '"[' in Path("t.csv").read_text()
    assert main(["results", "merge", "all.sqlite", "r.sqlite"]) == 0
    with closing(sqlite3.connect("r.sqlite")) as file, file:
        file.execute("UPDATE chip SET rest = zeroblob(40) WHERE chip = 3")
    with Store.open("r.sqlite") as store, pytest.raises(NvmcError, match="gives"):
        simulate(maps, runs=8, sigma=0.4, data="d.npz", metric="miou", store=store)
    for text in ("rest = x'00'", "rest = 'a'", "rest = NULL"):
        with closing(sqlite3.connect("r.sqlite")) as file, file:
            file.execute(f"UPDATE chip SET {text} WHERE chip = 3")
        with Store.open("r.sqlite") as store, pytest.raises(NvmcError, match="sum"):
            simulate(maps, runs=8, sigma=0.4, data="d.npz", metric="miou", store=store)


def test_a_comparison_with_the_ideal_chip_beside_labels(maps: Compiled) -> None:
    found = simulate(maps, runs=3, sigma=0.4, data="d.npz", metric="agreement", class_axis=1)
    ideal = outputs_of(maps, 0, 0.0).argmax(1)
    share = np.mean(outputs_of(maps, 1, 0.4).argmax(1) == ideal)
    assert found.ideal == 1 and found.values[1] == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("name", ["accuracy:k=2", "dice", "f1:of=1", "auc", "nll"])
def test_every_metric_of_classes(maps: Compiled, name: str) -> None:
    """Parts, jobs and batches change no bit."""
    found = simulate(maps, runs=4, sigma=0.4, data="d.npz", metric=name)
    for options in ({"batch": 3, "jobs": 1}, {"batch": 20, "jobs": 2}):
        again = simulate(maps, runs=4, sigma=0.4, data="d.npz", metric=name, **options)  # type: ignore[arg-type]
        assert np.array_equal(found.values, again.values)
    assert found.kpp.covers == ("chips and images" if name == "accuracy:k=2" else "chips")
    assert len(set(found.values.tolist())) > 1


def test_adaptive_runs_count_decisions(maps: Compiled) -> None:
    with pytest.raises(OptionError, match="the metric here is mIoU.*metric accuracy"):
        simulate(maps, runs=4, sigma=0.4, data="d.npz", metric="miou", delta=0.01)
    found = simulate(maps, runs=4, sigma=0.4, data="d.npz", metric="accuracy:k=2", delta=0.01)
    full = simulate(maps, runs=4, sigma=0.4, data="d.npz", metric="accuracy:k=2")
    assert found.kpp.value == full.kpp.value


def test_solving_for_an_error(values: Compiled, capsys: Capture) -> None:
    """The most sigma at which chips stay within an error: that of a sweep's upper ends."""
    words = ["solve", "m.nvmc", "--data", "d.npz", "--metric", "rmse", "--runs", "120"]
    words += ["--percentile", "5", "--over", "sigma=0.05:0.4:0.05", "--goal", "2"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["required"] == {"of": "kpp", "least": None, "most": 2.0}
    curve = sweep(
        values, {"sigma": "0.05:0.4:0.05"}, runs=120, data="d.npz", metric="rmse", percentile=5
    )
    within = [p.at["sigma"].number for p in curve.points if (p.kpp.interval.high or 9) <= 2]
    assert within and len(within) < 8 and found["found"]["sigma"] == max(within)
    assert main(words) == 0
    assert "upper end" in (told := capsys.readouterr().out) and "kpp<=2" in told


@pytest.mark.parametrize("name", ["accuracy:k=2", "miou", "auc", "nll"])
def test_an_accelerator_counts_alike(maps: Compiled, name: str) -> None:
    """In torch on the CPU: the same decisions, and likelihoods but for rounding."""
    here = simulate(maps, runs=5, sigma=0.4, data="d.npz", metric=name)
    there = simulate(
        maps, runs=5, sigma=0.4, data="d.npz", metric=name, executor=TorchExecutor("cpu")
    )
    np.testing.assert_allclose(there.values, here.values, rtol=1e-5)


def test_a_metric_of_workers() -> None:
    """What is sent to workers by pickle: metrics with options, and users' own."""
    labels = np.array([0, 1, 2, 1])
    for name in ("accuracy:k=2", "miou:of=1", "rmse", "sklearn.metrics:hamming_loss:less"):
        kind = as_metric(name)
        assert kind is not None
        metric = kind(labels)
        again = loads(dumps(metric))
        scores = labels if "sklearn" in name or name == "rmse" else np.eye(3)[labels]
        assert np.array_equal(again.add(scores, 0), metric.add(scores, 0))
        assert (again.name, again.shape) == (metric.name, metric.shape)


def test_sums_that_others_found_are_run_again(maps: Compiled) -> None:
    options: Any = {"runs": 5, "sigma": 0.4, "data": "d.npz", "metric": "miou"}
    with Store.open("r.sqlite", identity=Identity(bytes(32))) as store:
        theirs = simulate(maps, **options, store=store)
    with Store.open("r.sqlite") as store:
        ours = simulate(maps, **options, store=store)
    assert ours.elsewhere.checked == 5 and np.array_equal(ours.values, theirs.values)
    with Store.open("r.sqlite", identity=Identity(bytes(31) + b"1")) as store:
        (entry,) = store.experiments()
        rows = list(store.rows(entry.id))
        chip, images, total, _ = rows[2]
        assert isinstance(total, tuple)
        store.delete(entry.id)
        again = store.experiment(entry.key, entry.info)
        moved = (total[0] - 1, *total[1:])
        again.add_many([*rows[:2], (chip, images, moved, 0.3), *rows[3:]])
    with Store.open("r.sqlite") as store, pytest.raises(NvmcError, match="but its sum"):
        simulate(maps, **options, store=store)
