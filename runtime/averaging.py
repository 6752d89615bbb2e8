"""Stochastic passes become one prediction: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.masks import Outputs

__all__ = ["Prediction", "kind_of", "mean_outputs", "predicted", "probabilities"]

Float = NDArray[np.float64]


NEAR = 1e-3
"""How far a sum of probabilities may be from one."""


@dataclass(frozen=True)
class Prediction:
    """The predictive distribution of every image.

    Attributes:
        mean: Mean over passes of the probabilities, shape (N, C, ...).
        variance: Their variance over passes (divided by the number of passes), summed over the
            classes, shape (N, ...).
    """

    mean: Float
    variance: Float


def probabilities(outputs: NDArray[Any], holds: Outputs) -> Float:
    """The probabilities that outputs of shape (N, C, ...) hold or, as scores, stand for."""
    values = outputs.astype(np.float64)
    if holds == "probabilities":
        return values
    with np.errstate(all="ignore"):  # an infinite score gives NaN, which is no decision
        if holds == "log-probabilities":
            return np.exp(values)
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def kind_of(outputs: NDArray[Any]) -> Outputs:
    """What class scores of shape (N, C, ...) are: probabilities add up to one, or their logarithms.

    To a thousandth, as exporters clip probabilities.
    """
    values = outputs.astype(np.float64)
    if values.ndim < 2 or not values.size or not np.isfinite(values).all():
        return "scores"
    if values.min() >= 0 and np.all(np.abs(values.sum(axis=1) - 1) < NEAR):
        return "probabilities"
    if values.max() <= 0 and np.all(np.abs(np.exp(values).sum(axis=1) - 1) < NEAR):
        return "log-probabilities"
    return "scores"


def mean_outputs(passes: Iterable[NDArray[Any]], holds: Outputs) -> NDArray[Any] | None:
    """The mean over passes of what outputs hold, in float64; a single pass stays as it is.

    Values and probabilities are averaged as they are, log-probabilities and scores as the
    probabilities that they stand for (softmax over axis 1). Scores that are no classes, of fewer
    than two along axis 1, are averaged as they are.

    Args:
        passes: Outputs of all images, one array per pass.
        holds: What they hold.

    Returns:
        Shape of a pass; None where there is none.
    """
    remaining = iter(passes)
    first = next(remaining, None)
    if first is None:
        return None
    total: Float | None = None
    count = 1
    classes = first.ndim >= 2 and first.shape[1] >= 2
    for outputs in remaining:
        if total is None:
            total = _averaged(first, holds, classes)
        total += _averaged(outputs, holds, classes)
        count += 1
    return first if total is None else total / count


def predicted(passes: Iterable[NDArray[Any]], holds: Outputs) -> Prediction | None:
    """The predictive distribution that passes of shape (N, C, ...) give; None without a pass.

    Args:
        passes: Outputs of all images, one array per pass.
        holds: What they hold.
    """
    remaining = iter(passes)
    first = next(remaining, None)
    if first is None:
        return None
    mean = probabilities(first, holds)
    spread, count = np.zeros_like(mean), 1
    for outputs in remaining:  # Welford's update: no cancellation where passes hardly differ
        new, count = probabilities(outputs, holds), count + 1
        step = new - mean
        mean = mean + step / count
        spread += step * (new - mean)
    return Prediction(mean, spread.sum(axis=1) / count)


def _averaged(outputs: NDArray[Any], holds: Outputs, classes: bool) -> Float:
    if holds == "values" or (holds == "scores" and not classes):
        return outputs.astype(np.float64)
    return probabilities(outputs, holds)
