"""The mean over passes, and its variance."""

from __future__ import annotations

import numpy as np
import pytest

from nvmc.runtime.averaging import mean_outputs, predicted, probabilities

SCORES = np.random.default_rng(0).standard_normal((6, 5, 4)).astype(np.float32)
"""Six passes of five images and four classes."""


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values.astype(float))
    return powers / powers.sum(axis=1, keepdims=True)


def test_scores_are_averaged_as_probabilities() -> None:
    expected = np.mean([softmax(scores) for scores in SCORES], axis=0)
    found = mean_outputs(iter(SCORES), "scores")
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    logs = [np.log(softmax(scores)) for scores in SCORES]
    np.testing.assert_allclose(mean_outputs(logs, "log-probabilities"), expected, rtol=1e-14)
    shares = [softmax(scores) for scores in SCORES]
    np.testing.assert_allclose(mean_outputs(shares, "probabilities"), expected, rtol=1e-14)


def test_numbers_that_are_no_classes_are_averaged_as_they_are() -> None:
    values = SCORES[:, :, :1]
    expected = values.astype(float).mean(axis=0)
    np.testing.assert_allclose(mean_outputs(values, "scores"), expected, rtol=1e-14)


def test_a_single_pass_stays_as_it_is() -> None:
    assert mean_outputs(SCORES[:1], "scores") is not None
    assert np.array_equal(mean_outputs(SCORES[:1], "scores"), SCORES[0])
    assert mean_outputs([], "scores") is None and predicted([], "scores") is None


def test_variance_is_that_of_the_probabilities() -> None:
    found = predicted(SCORES, "scores")
    each = np.array([softmax(scores) for scores in SCORES])
    assert found is not None
    np.testing.assert_allclose(found.mean, each.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.variance, each.var(axis=0).sum(axis=1), rtol=1e-12)
    alone = predicted(SCORES[:1], "scores")
    assert alone is not None and not alone.variance.any()


def test_two_sure_passes_that_contradict() -> None:
    """p = (1, 0) and (0, 1): the mean is (1/2, 1/2), the variance 1/4 per class."""
    found = predicted(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]), "probabilities")
    assert found is not None
    assert found.mean.tolist() == [[0.5, 0.5]] and found.variance.tolist() == [0.5]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_give_no_probabilities(value: float) -> None:
    scores = np.array([[0.0, value], [0.0, 1.0]], np.float32)
    found = probabilities(scores, "scores")
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()
    huge = probabilities(np.array([[1000.0, 0.0, -1000.0]]), "scores")
    assert huge.tolist() == [[1.0, 0.0, 0.0]]
