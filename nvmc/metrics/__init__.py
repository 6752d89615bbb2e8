"""Metrics: what one run of a chip scores. A metric is a file here and a row of `METRICS`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.masks import Outputs
from nvmc.errors import OptionError, unknown
from nvmc.metrics.accuracy import Accuracy
from nvmc.metrics.cosine import AgreementCosine, Cosine
from nvmc.metrics.decisions import correct, decisions
from nvmc.metrics.determination import AgreementR2, Determination
from nvmc.metrics.ideal_agreement import Agreement
from nvmc.metrics.metric import Metric, Reference
from nvmc.metrics.perplexity import Perplexity
from nvmc.metrics.probabilities import calibration_error, log_loss, mean_a_row

__all__ = [
    "METRICS",
    "Metric",
    "Reference",
    "against_ideal",
    "calibration_error",
    "choose_metric",
    "correct",
    "decisions",
    "log_loss",
    "mean_a_row",
]

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        Accuracy,
        Determination,
        Agreement,
        AgreementR2,
        Perplexity,
        Cosine,
        AgreementCosine,
    )
}
"""All metrics by name. The first of those that hold outputs against the same is the default."""


def choose_metric(reference: Reference, name: str | None = None) -> type[Metric]:
    """The metric for what outputs can be held against.

    Args:
        reference: What there is: class labels, values to be met, or the ideal chip's outputs.
        name: The metric that is asked for; the default of `reference` without.

    Raises:
        OptionError: There is no such metric, or it needs something else.
    """
    if name is None:
        return next(metric for metric in METRICS.values() if metric.reference == reference)
    if name not in METRICS:
        raise OptionError(unknown("metric", name, METRICS))
    metric = METRICS[name]
    if metric.reference != reference:
        raise OptionError(
            f"metric {name!r} holds outputs against {_NEEDS[metric.reference]}, but there are "
            f"{_NEEDS[reference]}; expected one of "
            + ", ".join(one.name for one in METRICS.values() if one.reference == reference)
        )
    return metric


def against_ideal(
    outputs: NDArray[Any], name: str | None = None, *, holds: Outputs = "scores"
) -> Metric:
    """The comparison with the ideal chip's outputs, which are classes or values.

    Args:
        outputs: Of the ideal chip, shape (N, ...).
        name: The metric that is asked for; by default the one that suits the outputs.
        holds: What they hold; (N, C, ...) with C >= 2 are scores of C classes, unless values.

    Raises:
        OptionError: The metric needs something else.
    """
    if holds == "classes":
        return choose_metric("ideal classes", name)(outputs.astype(np.int64))
    if holds == "values" or outputs.ndim < 2 or outputs.shape[1] < 2:
        return choose_metric("ideal values", name)(outputs)
    return choose_metric("ideal classes", name)(decisions(outputs))


_NEEDS: dict[Reference, str] = {
    "classes": "class labels",
    "values": "values to be met",
    "ideal classes": "the ideal chip's classes",
    "ideal values": "the ideal chip's values",
}
