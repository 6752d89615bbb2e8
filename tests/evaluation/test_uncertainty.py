"""What chips know of their doubts, against closed forms and a slow loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compiled_networks import load_network
from nvmc import Chip, Compiled, Target, compile_model, load_device
from nvmc.compiled.masks import ChipMasks
from nvmc.compiled.options import CompileOptions
from nvmc.data import Dataset, load_data
from nvmc.data.shifts import Shift, shifted
from nvmc.errors import DataError, NvmcError
from nvmc.evaluation.uncertainty import Thresholds, measured, uncertainty
from nvmc.evaluation.workload import set_up
from nvmc.metrics.accuracy import Accuracy
from nvmc.models import resolve_model
from nvmc.runtime.averaging import Prediction
from nvmc.runtime.montecarlo import ChipSession, Feed
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet1"))
COMMON: dict[str, Any] = {"sigma": 0.2, "data": "digits", "limit": 30, "runs": 3}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_model(
        resolve_model("zoo:mlp3-digits"),
        TARGET,
        CompileOptions(passes=("insert-dropout:rate=0.3,active=true",)),
        output=tmp_path_factory.mktemp("mlp") / "mlp.nvmc",
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("plain") / "mlp.nvmc"
    return compile_model(resolve_model("zoo:mlp3-digits"), TARGET, output=folder)


def prediction(mean: Any, variance: Any) -> Prediction:
    return Prediction(np.array(mean, float), np.array(variance, float))


def test_measures_of_known_probabilities() -> None:
    """-ln of 0.8, 0.5 and 0.1: the mean is 1.07, and one of three is above it."""
    found = measured(
        prediction([[0.8, 0.2], [0.5, 0.5], [0.9, 0.1]], [0.1, 0.2, 0.6]), np.array([0, 0, 1])
    )
    assert found.accuracy == 2 / 3
    assert found.nll == pytest.approx(-np.log([0.8, 0.5, 0.1]).mean())
    assert found.nll_predicted == pytest.approx(-np.log([0.8, 0.5, 0.9]).mean())
    assert found.variance == pytest.approx(0.3)
    assert found.detected == 1 / 3 and found.detected_predicted == 1 / 3


def test_thresholds_are_strict() -> None:
    even = prediction([[0.5, 0.5]] * 4, [0.0] * 4)
    labels = np.zeros(4, int)
    level = float(np.log(2))
    assert measured(even, labels, Thresholds(level, level)).detected == 0
    below = Thresholds(np.nextafter(level, 0), level)
    found = measured(even, labels, below)
    assert (found.detected, found.detected_predicted) == (1, 0)


def test_probabilities_that_are_no_numbers() -> None:
    found = measured(prediction([[np.nan, np.nan], [1, 0]], [np.nan, 0]), np.array([0, 0]))
    assert found.accuracy == 0.5 and found.variance == 0
    assert np.isfinite([found.nll, found.nll_predicted]).all()


def test_images_of_many_decisions_count_once() -> None:
    mean = np.zeros((2, 2, 3))
    mean[:, 0], mean[:, 1] = 0.5, 0.5
    mean[1, 0, 0], mean[1, 1, 0] = 0.1, 0.9
    found = measured(prediction(mean, np.zeros((2, 3))), np.zeros((2, 3), int))
    assert found.detected == 0.5
    assert found.nll == pytest.approx((5 * np.log(2) - np.log(0.1)) / 6)


def test_rows_equal_a_slow_loop(compiled: Compiled) -> None:
    """Chip by chip, pass by pass; the thresholds are each chip's own."""
    result = uncertainty(compiled, **COMMON, mc_passes=4, shifts=["noise"])
    network = load_network(compiled, TARGET)
    workload = set_up(compiled, TARGET, data="digits", limit=30)
    assert isinstance(workload.metric, Accuracy)
    images, labels = workload.feed.inputs["image"], workload.metric.classes
    for k in range(3):
        chip = Chip.of(TARGET, 0, k, 0.2)
        limit = None
        for row in (result.rows[0], result.rows[4]):
            feed = Feed({"image": shifted(images, row.shift)})
            session = ChipSession(network, chip)._session
            each = []
            for number in range(4):
                masks = ChipMasks(network.masks, 0, k).feed(number, 0, 30)
                (scores,) = session.run(["logits"], feed.inputs | masks)
                powers = np.exp(scores.astype(float) - scores.max(axis=1, keepdims=True))
                each.append(powers / powers.sum(axis=1, keepdims=True))
            mean = np.mean(each, axis=0)
            nll = -np.log(mean[np.arange(30), labels])
            limit = nll.mean() if limit is None else limit
            measures = row.chips[k]
            assert measures.nll == pytest.approx(nll.mean(), rel=1e-9)
            assert measures.variance == pytest.approx(np.var(each, axis=0).sum(1).mean(), rel=1e-9)
            assert measures.accuracy == np.mean(mean.argmax(1) == labels)
            assert measures.detected == np.mean(nll > limit)


def test_reproducible_whatever_the_batch_and_the_jobs(compiled: Compiled) -> None:
    options = {**COMMON, "runs": 2}
    one = uncertainty(compiled, **options, mc_passes=2, jobs=1)
    two = uncertainty(compiled, **options, mc_passes=2, jobs=3, batch=7)
    assert one.rows == two.rows
    assert len(one.rows) == 23 and one.rows[0].shift == Shift("none", 0.0)
    other = uncertainty(compiled, **options, mc_passes=2, seed=1)
    assert other.rows != one.rows


def test_circuits_with_read_noise(compiled: Compiled) -> None:
    noise = ["read:basis=level,sigma=0.3"]
    options = {**COMMON, "noise": noise, "limit": 7, "runs": 2, "shifts": ["noise"]}
    found = [uncertainty(compiled, **options, mc_passes=2, batch=batch) for batch in (None, 3)]
    assert found[0].description.fidelity == "circuit" and found[0].rows == found[1].rows


def test_doubt_grows_as_images_turn(compiled: Compiled) -> None:
    """A trained network: less accuracy, more NLL and more variance at 42 degrees than at none."""
    options = {**COMMON, "limit": 120, "sigma": 0.05}
    rows = uncertainty(compiled, **options, shifts=["rotation"]).rows
    upright, turned = rows[0], rows[6]
    assert turned.mean("accuracy") < upright.mean("accuracy") - 0.2
    for name in ("nll", "variance", "detected", "detected_predicted"):
        assert turned.mean(name) > upright.mean(name)


def test_a_network_that_draws_nothing_has_one_pass(plain: Compiled) -> None:
    result = uncertainty(plain, **COMMON, shifts=["noise"])
    assert result.description.mc_passes is None
    assert all(row.mean("variance") == 0 for row in result.rows)
    assert result.rows[0].mean("nll") > 0


def test_ten_passes_unless_told(compiled: Compiled) -> None:
    assert uncertainty(compiled, **COMMON, shifts=["noise"]).description.mc_passes == 10


def test_spread_over_chips(compiled: Compiled) -> None:
    row = uncertainty(compiled, **COMMON, mc_passes=2, shifts=["noise"]).rows[0]
    values = [chip.nll for chip in row.chips]
    assert row.mean("nll") == pytest.approx(np.mean(values))
    assert row.std("nll") == pytest.approx(np.std(values, ddof=1))
    single = uncertainty(compiled, **{**COMMON, "runs": 1}, mc_passes=2, shifts=["noise"]).rows[0]
    assert single.std("nll") is None and single.to_json()["nll"]["std"] is None


def test_networks_that_give_probabilities(tmp_path: Path) -> None:
    """A softmax in the graph changes nothing but rounding."""
    text = """g (float[N,4] x) => (float[N,3] y) <float[4,6] w, float[6,3] v> {
      [a] h = MatMul (x, w)
      [r] s = Relu (h)
      [b] z = MatMul (s, v)
      [o] y = NAME (z)
    }"""
    rows: list[Any] = []
    generator = np.random.default_rng(0)
    data = Dataset("x", generator.random((20, 4), dtype=np.float32), generator.integers(3, size=20))
    for kind in ("Identity", "Softmax", "LogSoftmax"):
        onnx.save(proto_of(text.replace("NAME", kind)), tmp_path / "m.onnx")
        found = compile_model(
            tmp_path / "m.onnx",
            TARGET,
            CompileOptions(passes=("insert-dropout:rate=0.3,active=true",)),
            output=tmp_path / "m.nvmc",
        )
        rows.append(uncertainty(found, sigma=0.1, data=data, runs=2).rows)
    for row in zip(*rows, strict=True):
        for name in ("nll", "variance"):
            values = [one.mean(name) for one in row]
            assert values == pytest.approx([values[0]] * 3, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"runs": 0}, "runs"),
        ({"mc_passes": 0}, "mc_passes"),
        ({"limit": 0}, "limit"),
        ({"shifts": ["blur"]}, "blur"),
        ({"batch": 0}, "batch"),
        ({"output": "nix"}, "nix"),
        ({"sigma": -1.0}, "-1"),
    ],
)
def test_bad_options(compiled: Compiled, options: dict[str, Any], named: str) -> None:
    with pytest.raises(NvmcError, match=named):
        uncertainty(compiled, **{**COMMON, **options})


def test_labels_are_needed(compiled: Compiled) -> None:
    data = load_data("digits", limit=5)
    with pytest.raises(DataError, match="labels"):
        uncertainty(compiled, data=Dataset("bare", data.x, None))
