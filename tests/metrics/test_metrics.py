"""Hits and agreement, counted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.data import IGNORED
from nvmc.errors import DataError
from nvmc.metrics import (
    METRICS,
    calibration_error,
    correct,
    decisions,
    log_loss,
    mean_a_row,
    total_of,
)
from nvmc.metrics.accuracy import Accuracy
from nvmc.metrics.cosine import AgreementCosine, Cosine
from nvmc.metrics.ideal_agreement import Agreement
from nvmc.metrics.perplexity import Likelihood, Perplexity


def agreement(outputs: np.ndarray, reference: np.ndarray) -> float:
    return Agreement(decisions(reference)).add(outputs, 0)


def test_counts_hits() -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4]], dtype=np.float32)
    assert correct(logits, np.array([1, 0, 0])) == 2


def test_lowest_class_wins_a_tie() -> None:
    logits = np.ones((3, 4), dtype=np.float32)
    assert correct(logits, np.array([0, 1, 3])) == 1


@pytest.mark.parametrize("position", [0, 1, 2])
def test_nan_is_wrong_whatever_the_label(position: int) -> None:
    logits = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    logits[0, position] = np.nan
    assert [correct(logits, np.array([label])) for label in range(3)] == [0, 0, 0]
    assert agreement(logits, logits) == 0


def test_infinite_output_still_decides() -> None:
    assert correct(np.array([[-np.inf, 0.0], [np.inf, 0.0]]), np.array([1, 0])) == 2


@given(seed=st.integers(0, 2**32), parts=st.integers(1, 7), extra=st.sampled_from([(), (3, 2)]))
def test_batches_add_up_to_a_slow_loop(seed: int, parts: int, extra: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, 4, (20, 5, *extra)).astype(np.float32)
    logits[rng.random(logits.shape) < 0.02] = np.nan
    labels = rng.integers(0, 5, (20, *extra))
    slow = 0
    for index in np.ndindex(labels.shape):
        scores = list(logits[(index[0], slice(None), *index[1:])])
        clean = not any(score != score for score in scores)
        slow += clean and scores.index(max(scores)) == labels[index]
    batches = zip(np.array_split(logits, parts), np.array_split(labels, parts), strict=True)
    assert correct(logits, labels) == slow
    assert sum(correct(batch, part) for batch, part in batches) == slow


def test_agreement_needs_equal_decisions_only() -> None:
    first = np.array([[1.0, 2.0], [5.0, 0.0], [0.0, 1.0]])
    second = np.array([[0.0, 9.0], [0.1, 0.0], [1.0, 0.0]])
    assert agreement(first, second) == agreement(second, first) == 2
    assert agreement(first, 3 * first - 1) == 3


def test_outputs_of_the_labels_shape_are_class_numbers() -> None:
    """Two of (1, 2, 0, 1) are right; a class number never equals what is undecided or ignored."""
    labels = np.array([1, 0, 0, 2])
    assert correct(np.array([1, 2, 0, 1]), labels) == 2
    assert correct(np.array([1.0, 2.0, 0.0, np.nan], np.float32), labels) == 2
    assert correct(np.array([[True], [False]]), np.array([[1], [1]])) == 1
    assert correct(np.array([-1, -100]), np.array([-1, -100])) == 0


def test_ignored_decisions_do_not_count() -> None:
    """Padding is neither right nor wrong: the share is that of the other decisions."""
    generator = np.random.default_rng(3)
    scores, labels = generator.random((6, 4, 5)), generator.integers(4, size=(6, 5))
    counted = generator.random((6, 5)) < 0.6
    padded = np.where(counted, labels, IGNORED)
    metric = Accuracy(padded)
    total = metric.add(scores[:4], 0) + metric.add(scores[4:], 4)
    hits = scores.argmax(1) == labels
    assert metric.finish(total, 6) == np.mean(hits[counted])
    loss = log_loss(scores, padded)
    assert np.array_equal(np.isnan(loss), ~counted)
    assert np.array_equal(loss[counted], log_loss(scores, labels)[counted])
    alone = [loss[i][counted[i]].mean() if counted[i].any() else 0 for i in range(6)]
    np.testing.assert_allclose(mean_a_row(loss, padded), alone, rtol=1e-14)
    rows = scores.transpose(0, 2, 1)[counted]
    assert calibration_error(scores, padded) == calibration_error(rows, labels[counted])


def test_integer_outputs_count() -> None:
    assert correct(np.array([[1, 2], [2, 1]], dtype=np.int8), np.array([1, 0])) == 2


@pytest.mark.parametrize("shape", [(4,), (3, 1), (3, 1, 4)])
def test_no_classes_to_choose_from(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="expected .N, C, .* C >= 2"):
        correct(np.zeros(shape), np.zeros(3, dtype=np.int64))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="labels have shape .2,. .* need labels of shape .3,."):
        correct(np.zeros((3, 2)), np.zeros(2, dtype=np.int64))


def test_outputs_that_are_no_scores() -> None:
    with pytest.raises(DataError, match="expected real numbers"):
        correct(np.full((2, 2), "a"), np.zeros(2, dtype=np.int64))


def test_log_loss_is_minus_the_logarithm() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    found = log_loss(probabilities, np.array([0, 0, 0]))
    np.testing.assert_allclose(found, [np.log(2), np.log(4), 0], rtol=1e-15)
    np.testing.assert_allclose(log_loss(probabilities), -np.log([0.5, 0.75, 1]), rtol=1e-15)


def test_log_loss_is_finite_also_where_nothing_is_left() -> None:
    probabilities = np.array([[1.0, 0.0], [np.nan, np.nan]])
    most = -np.log(np.finfo(np.float64).tiny)
    assert log_loss(probabilities, np.array([1, 0])).tolist() == [most, most]
    assert log_loss(probabilities).tolist() == [0.0, most]


def test_log_loss_of_many_decisions_an_image() -> None:
    probabilities = np.random.default_rng(0).random((2, 3, 4, 5))
    labels = np.random.default_rng(1).integers(3, size=(2, 4, 5))
    found = log_loss(probabilities, labels)
    assert found.shape == (2, 4, 5)
    assert found[1, 2, 3] == -np.log(probabilities[1, labels[1, 2, 3], 2, 3])


def test_calibration_error_of_a_known_network() -> None:
    """80 % sure and right 3 times in 4; 55 % sure and right once in 2."""
    sure = np.tile([0.8, 0.2], (4, 1))
    torn = np.tile([0.45, 0.55], (2, 1))
    labels = np.array([0, 0, 0, 1, 1, 0])
    expected = (4 * abs(0.8 - 0.75) + 2 * abs(0.55 - 0.5)) / 6
    assert calibration_error(np.concatenate([sure, torn]), labels) == pytest.approx(expected)
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0
    assert calibration_error(np.array([[np.nan, 1.0]]), np.array([1])) == 0


def test_calibration_error_by_a_slow_loop() -> None:
    generator = np.random.default_rng(2)
    probabilities = generator.dirichlet(np.ones(4), 500)
    labels = generator.integers(4, size=500)
    total = 0.0
    for k in range(15):
        inside = [
            (max(p), float(np.argmax(p) == y))
            for p, y in zip(probabilities, labels, strict=True)
            if k / 15 < max(p) <= (k + 1) / 15
        ]
        if inside:
            confidence, hit = np.mean(inside, axis=0)
            total += len(inside) / 500 * abs(hit - confidence)
    assert calibration_error(probabilities, labels) == pytest.approx(total, rel=1e-12)


def test_decisions_are_classes_or_none() -> None:
    nan = float("nan")
    outputs = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [nan, 1.0, 0.0], [0.0, 1.0, nan]])
    assert decisions(outputs).tolist() == [0, 1, -1, -1]
    with pytest.raises(DataError, match="C >= 2 classes"):
        decisions(outputs[:, :1])


def test_likelihoods_add_up_to_the_same_bits_in_any_parts() -> None:
    generator = np.random.default_rng(0)
    scores = np.log(generator.dirichlet(np.ones(6), (50, 3))).transpose(0, 2, 1)
    scores[3, :, 1], scores[4, 2, 0] = -np.inf, np.nan
    labels = np.where(generator.random((50, 3)) < 0.2, IGNORED, generator.integers(6, size=(50, 3)))
    labels[3, 1], labels[4, 0] = 2, 2
    metric = Likelihood(labels)
    whole = metric.add(scores, 0)
    parts = [metric.add(scores[k : k + 7], k) for k in range(0, 50, 7)]
    assert sum(parts) == sum(parts[::-1]) == whole
    counted = labels != IGNORED
    own = np.take_along_axis(scores, np.maximum(labels, 0)[:, None], 1)[:, 0][counted]
    least = np.log(np.finfo(np.float64).tiny)
    mean = np.where(np.isfinite(own), own, least).mean()
    assert metric.finish(whole, 50) == pytest.approx(np.exp(mean), rel=1e-6)
    assert Perplexity(labels).finish(whole, 50) == pytest.approx(np.exp(-mean), rel=1e-6)
    assert Perplexity(labels).finish(-1e9, 50) == 1e100


def test_cosine_by_a_slow_loop() -> None:
    """The mean over the images of their vectors' cosines, whatever the vectors' lengths."""
    generator = np.random.default_rng(5)
    outputs, wanted = generator.standard_normal((2, 9, 4, 6)) * 10.0 ** np.arange(-2, 4)
    slow = np.mean(
        [
            np.mean(
                [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, y, strict=True)]
            )
            for x, y in zip(outputs, wanted, strict=True)
        ]
    )
    metric = Cosine(wanted)
    assert metric.finish(metric.add(outputs, 0), 9) == pytest.approx(slow, abs=2.0**-30)
    parts = metric.add(outputs[:2], 0) + metric.add(outputs[2:3], 2) + metric.add(outputs[3:], 3)
    assert parts == metric.add(outputs, 0)
    assert metric.finish(metric.add(1e300 * wanted, 0), 9) == 1
    assert metric.finish(metric.add(-wanted, 0), 9) == -1


def test_cosine_of_what_has_no_direction() -> None:
    """Zeros count 0; NaN and infinity count as the opposite direction."""
    wanted = np.tile([3.0, 4.0], (4, 1))
    outputs = np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [6.0, 8.0]])
    for kind in (Cosine, AgreementCosine):
        metric = kind(wanted)
        assert [metric.add(outputs[i : i + 1], i) for i in range(4)] == [0, -1, -1, 1]


@pytest.mark.parametrize("name", [name for name in METRICS if not METRICS[name].detects])
def test_no_chip_comes_out_beyond_the_limits_of_its_metric(name: str) -> None:
    """Of any outputs, and in any parts: a store that says otherwise is refused."""
    generator = np.random.default_rng(3)
    outputs = generator.standard_normal((40, 4, 3))
    outputs[5], outputs[6], outputs[7, 0], outputs[8] = np.nan, np.inf, -np.inf, 1e300
    counted = generator.random((40, 3)) < 0.8
    classes = np.where(counted, generator.integers(4, size=(40, 3)), IGNORED)
    kind = METRICS[name]
    reference: Any = generator.standard_normal((40, 4, 3))
    right = reference
    if kind.reference.endswith("classes"):
        reference, right = classes, np.full_like(outputs, -20.0)
        np.put_along_axis(right, np.maximum(classes, 0)[:, None], 0.0, 1)
    metric = kind(reference)
    for found in (outputs, -outputs, right, 1e-3 * right):
        parts = ((0, 40), (0, 3), (3, 9), (9, 40), (5, 6))
        for first, last in parts[:1] if kind.whole else parts:
            low, high = metric.limits(first, last)
            total = metric.add(found[first:last], first)
            assert np.all(low <= np.asarray(total)) and np.all(total <= np.asarray(high))
            assert not kind.counts or float(total_of(total)).is_integer()  # type: ignore[arg-type]
        low, high = kind.range
        assert low <= metric.finish(metric.add(found, 0), 40) <= high
