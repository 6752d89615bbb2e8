"""Hits and agreement, counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.errors import DataError
from nvmc.metrics import agreement, correct


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


def test_integer_outputs_count() -> None:
    assert correct(np.array([[1, 2], [2, 1]], dtype=np.int8), np.array([1, 0])) == 2


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 4)])
def test_no_classes_to_choose_from(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="expected .N, C, .* C >= 2"):
        correct(np.zeros(shape), np.zeros(3, dtype=np.int64))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="labels have shape .2,. .* need labels of shape .3,."):
        correct(np.zeros((3, 2)), np.zeros(2, dtype=np.int64))
    with pytest.raises(DataError, match="the reference has"):
        agreement(np.zeros((3, 2)), np.zeros((3, 4)))


def test_outputs_that_are_no_scores() -> None:
    with pytest.raises(DataError, match="expected real numbers"):
        correct(np.full((2, 2), "a"), np.zeros(2, dtype=np.int64))
