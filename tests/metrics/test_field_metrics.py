"""Metrics of segmentation, regression, detection of a class, and likelihood, against oracles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given
from hypothesis import strategies as st

from nvmc.data import IGNORED
from nvmc.errors import DataError, OptionError
from nvmc.metrics import METRICS, Metric, as_metric, find_metric, total_of
from nvmc.metrics.decisions import correct, top_correct
from nvmc.metrics.errors import MAE, RMSE, WORST

LIMIT = 2.0**-44  # of the mean error: images' errors are rounded to 2^-80 of the targets' spread


def made(name: str, labels: np.ndarray) -> Metric:
    kind = as_metric(name)
    assert kind is not None
    return kind(labels)


def value_of(metric: Metric, outputs: np.ndarray, cuts: Any = ()) -> float:
    """The value, in the parts that the cuts make, last part first."""
    ends = [0, *sorted(cuts), len(outputs)]
    parts = [metric.add(outputs[a:b], a) for a, b in zip(ends, ends[1:], strict=False) if b > a]
    total: Any = 0.0
    for part in reversed(parts):
        total = total + part
    return metric.finish(total_of(total), len(outputs))


def segmentation(seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Maps of scores (12, C, 6, 5) with NaN, and of labels without the last class."""
    generator = np.random.default_rng(seed)
    outputs = generator.standard_normal((12, classes, 6, 5)).astype(np.float32)
    labels = generator.integers(classes - 1, size=(12, 6, 5))
    outputs += 1.5 * (np.arange(classes)[:, None, None] == labels[:, None])
    outputs[generator.random(outputs.shape) < 0.01] = np.nan
    labels[generator.random(labels.shape) < 0.2] = IGNORED
    return outputs, labels


def test_no_vessel_found_is_no_good_network() -> None:
    """Vessels take a twelfth of the pixels: 91.7 % of them are right, the mIoU is 45.8 %."""
    labels = np.zeros((16, 48, 48), np.int64)
    labels[:, 10:14] = 1
    outputs = np.stack([np.ones(labels.shape), np.zeros(labels.shape)], 1)
    assert value_of(made("accuracy", labels), outputs) == 11 / 12
    assert value_of(made("miou", labels), outputs) == (11 / 12 + 0) / 2
    assert value_of(made("miou:of=1", labels), outputs) == 0
    assert value_of(made("dice", labels), outputs) == pytest.approx((22 / 23 + 0) / 2, rel=1e-15)
    assert value_of(made("f1:of=1", labels), outputs) == 0


def slow_overlaps(outputs: np.ndarray, labels: np.ndarray) -> dict[int, tuple[int, int, int]]:
    """By a loop over decisions: of each labelled class those right, decided and labelled."""
    found: dict[int, list[int]] = {}
    for index in np.ndindex(labels.shape):
        label = int(labels[index])
        scores = outputs[(index[0], slice(None), *index[1:])].tolist()
        chosen = -1 if any(map(math.isnan, scores)) else scores.index(max(scores))
        if label == IGNORED:
            continue
        for one in {label, chosen}:
            counts = found.setdefault(one, [0, 0, 0])
            counts[0] += chosen == label
            counts[1] += one == chosen
            counts[2] += one == label
    return {one: (a, b, c) for one, (a, b, c) in found.items() if c}


@pytest.mark.parametrize("seed", range(4))
def test_overlaps_are_those_of_a_loop_and_of_scikit_learn(seed: int) -> None:
    outputs, labels = segmentation(seed)
    counts = slow_overlaps(outputs, labels)
    iou = {one: a / (b + c - a) for one, (a, b, c) in counts.items()}
    dice = {one: 2 * a / (b + c) for one, (a, b, c) in counts.items()}
    cuts = np.random.default_rng(seed).integers(12, size=3).tolist()
    for name, wanted in (("miou", iou), ("dice", dice), ("f1", dice)):
        found = value_of(made(name, labels), outputs, cuts)
        assert found == pytest.approx(np.mean(list(wanted.values())), rel=1e-14)
        assert found == value_of(made(name, labels), outputs)  # the same bits
        for one, value in wanted.items():
            assert value_of(made(f"{name}:of={one}", labels), outputs) == value
    kept, known = labels != IGNORED, list(counts)
    chosen = np.where(np.isnan(outputs).any(1), 99, outputs.argmax(1))[kept]
    settings: Any = {"average": "macro", "labels": known}
    wanted = oracle.jaccard_score(labels[kept], chosen, **settings)
    assert value_of(made("miou", labels), outputs) == pytest.approx(wanted, rel=1e-12)
    wanted = oracle.f1_score(labels[kept], chosen, **settings)
    assert value_of(made("f1", labels), outputs) == pytest.approx(wanted, rel=1e-12)


def test_overlaps_of_class_numbers() -> None:
    labels = np.array([[0, 1, 1], [2, 2, IGNORED]])
    numbers = np.array([[0, 1, 2], [2, 9, 1]])
    metric = made("miou", labels)
    wanted = np.mean([1, 1 / 2, 1 / 3])
    assert value_of(metric, numbers) == pytest.approx(wanted, rel=1e-15)
    broken = numbers.astype(np.float32)
    broken[0, 0] = np.nan
    assert value_of(metric, broken) == pytest.approx(np.mean([0, 1 / 2, 1 / 3]), rel=1e-15)
    with pytest.raises(DataError, match="no label of class 7 counts"):
        made("miou:of=7", labels)
    with pytest.raises(DataError, match="no label counts"):
        made("dice", np.full((3,), IGNORED))


@given(seed=st.integers(0, 2**32), top=st.integers(1, 4))
def test_top_k_is_that_of_a_loop(seed: int, top: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, (20, 5, 2)).astype(np.float32)
    scores[generator.random(scores.shape) < 0.02] = np.nan
    labels = generator.integers(0, 5, (20, 2))
    labels[generator.random(labels.shape) < 0.1] = IGNORED
    slow = 0
    for image, place in np.ndindex(labels.shape):
        column = scores[image, :, place].tolist()
        if not any(map(math.isnan, column)):
            ranked = sorted(range(5), key=lambda one: (-column[one], one))
            slow += labels[image, place] in ranked[:top]
    assert top_correct(scores, labels, top) == slow
    assert top > 1 or correct(scores, labels) == slow


def test_top_k_is_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    scores, labels = generator.random((200, 10)), generator.integers(10, size=200)
    wanted = oracle.top_k_accuracy_score(labels, scores, k=3)
    assert value_of(made("accuracy:k=3", labels), scores, [7, 90]) == wanted
    with pytest.raises(DataError, match="each is between 2 here, as for labels that are 0 or 1"):
        top_correct(np.zeros((3, 2)), np.zeros(3, np.int64), 2)
    with pytest.raises(DataError, match="the 10 likeliest of 10 classes"):
        value_of(made("accuracy:k=10", labels), scores)
    with pytest.raises(DataError, match="holds class numbers"):
        value_of(made("accuracy:k=3", labels), labels)


@pytest.mark.parametrize("name", ["rmse", "mae"])
def test_errors_are_exact_in_the_targets_unit(name: str) -> None:
    generator = np.random.default_rng(5)
    targets = (300 + 20 * generator.standard_normal((50, 3))).astype(np.float32)
    outputs = (targets + generator.standard_normal((50, 3))).astype(np.float32)
    metric = made(name, targets)
    off = outputs.astype(np.float64) - targets
    exact = math.fsum((off**2 if name == "rmse" else abs(off)).ravel()) / off.size
    wanted = math.sqrt(exact) if name == "rmse" else exact
    found = value_of(metric, outputs)
    assert found == pytest.approx(wanted, rel=1e-14)
    flat = targets.astype(np.float64).ravel(), outputs.astype(np.float64).ravel()
    one = oracle.root_mean_squared_error if name == "rmse" else oracle.mean_absolute_error
    assert found == pytest.approx(one(*flat), rel=1e-12)
    # A chip that is far off too: the order of sums would show in a sum of floats.
    outputs[17] = 1e9
    values = {value_of(metric, outputs, cuts) for cuts in ([], [1, 2, 3], [16, 17, 18, 40])}
    assert len(values) == 1


@pytest.mark.parametrize("kind", [RMSE, MAE])
def test_errors_beyond_all_measure_are_finite(kind: type[Metric]) -> None:
    targets = np.array([0.0, 2.0, 4.0])
    metric, spread = kind(targets), float(np.std(targets))
    for bad in (np.nan, np.inf, -np.inf, 1e30, 1e200):
        assert value_of(metric, np.array([0.0, bad, 4.0]), [1]) == WORST * spread
    assert value_of(metric, targets) == 0
    assert value_of(kind(np.full(4, 7.0)), np.full(4, 9.0)) == pytest.approx(2, rel=1e-14)


def slow_area(scores: np.ndarray, positive: np.ndarray) -> float:
    pairs = [(a, b) for a in scores[positive] for b in scores[~positive]]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def test_auc_is_the_share_of_pairs() -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(3, size=80)
    scores = np.log(generator.dirichlet([1, 1, 1], 80)).round(1)
    wanted = np.mean([slow_area(scores[:, one], labels == one) for one in range(3)])
    assert value_of(made("auc", labels), scores) == pytest.approx(wanted, rel=1e-14)
    two, binary = scores[:, :2], (labels > 0).astype(np.int64)
    found = value_of(made("auc", binary), two)
    margin = two[:, 1] - two[:, 0]
    assert found == pytest.approx(slow_area(margin, binary == 1), rel=1e-14)
    assert found == pytest.approx(oracle.roc_auc_score(binary, margin), rel=1e-12)
    broken = two.copy()
    broken[np.flatnonzero(binary == 1)[0], 0] = np.nan
    assert value_of(made("auc", binary), broken) < found
    ignored = np.concatenate([binary, [IGNORED]])
    assert value_of(made("auc", ignored), np.concatenate([two, [[0, 9]]])) == found
    with pytest.raises(DataError, match="all labels are of one class"):
        made("auc", np.zeros(4, np.int64))


def test_nll_is_scikit_learns_log_loss() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(4, size=60)
    probabilities = generator.dirichlet([1, 1, 1, 1], 60)
    found = value_of(made("nll", labels), np.log(probabilities), [13])
    assert found == pytest.approx(oracle.log_loss(labels, probabilities), rel=1e-7)
    perplexity = value_of(made("perplexity", labels), np.log(probabilities), [13])
    assert math.exp(found) == pytest.approx(perplexity, rel=1e-12)


def test_names_and_options() -> None:
    assert find_metric("accuracy:k=1") is METRICS["accuracy"]
    kind = find_metric("miou:of=2")
    assert kind is not None and kind.name == "miou:of=2" and kind.short == "mIoU of class 2"
    for wrong, said in (
        ("accuracy:k=0", "metric 'accuracy' has k=0; expected a whole number from 1"),
        ("accuracy:top=5", "option of metric 'accuracy'"),
        ("r2:k=5", "metric 'r2' has no option k"),
        ("miou:of", "expected miou or miou:OPTION=VALUE"),
        ("mio", "metric"),
    ):
        with pytest.raises(OptionError, match=said):
            as_metric(wrong)
        assert find_metric(wrong) is None
    for less in ("rmse", "mae", "nll"):
        assert METRICS[less].less_is_better and not METRICS[less].percent
