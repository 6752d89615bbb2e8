"""The table of metrics, and which of them is meant by a name, by the data, or by a user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.masks import Outputs
from nvmc.errors import OptionError, unknown
from nvmc.metrics.accuracy import Accuracy
from nvmc.metrics.auc import AUC
from nvmc.metrics.cosine import AgreementCosine, Cosine
from nvmc.metrics.decisions import decisions
from nvmc.metrics.detection import MeanAP
from nvmc.metrics.determination import AgreementR2, Determination
from nvmc.metrics.errors import MAE, RMSE
from nvmc.metrics.ideal_agreement import Agreement
from nvmc.metrics.mask_detection import MeanMaskAP
from nvmc.metrics.metric import Metric, Reference
from nvmc.metrics.overlap import F1, Dice, MeanIoU
from nvmc.metrics.own import is_own, own_metric, own_named
from nvmc.metrics.perplexity import Likelihood, NegativeLogLikelihood, Perplexity

__all__ = ["METRICS", "against_ideal", "as_metric", "choose_metric", "find_metric"]

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        Accuracy,
        Determination,
        Agreement,
        AgreementR2,
        MeanIoU,
        Dice,
        F1,
        AUC,
        NegativeLogLikelihood,
        Perplexity,
        Likelihood,
        RMSE,
        MAE,
        Cosine,
        AgreementCosine,
        MeanAP,
        MeanMaskAP,
    )
}
"""All metrics by name. The first of those that hold outputs against the same is the default."""


def find_metric(name: object) -> type[Metric] | None:
    """The metric of a name as results have it, `accuracy:k=5` among them; None for none.

    Nothing is imported: of a user's own metric it says how values are read, and no more.
    """
    if not isinstance(name, str):
        return None
    try:
        return _named(name)
    except OptionError:
        return None


def as_metric(metric: Any) -> type[Metric] | None:
    """The metric that is asked for.

    Args:
        metric: A name, with options behind a colon as in `accuracy:k=5`; `package.module:name`, a
            function or an object of a user's own (docs/metrics.md); such a function or object; a
            `Metric`; or None.

    Raises:
        OptionError: It is none of them.
    """
    if metric is None or (isinstance(metric, type) and issubclass(metric, Metric)):
        return metric
    if isinstance(metric, str) and not is_own(metric, METRICS):
        return _named(metric)
    return own_metric(metric)


def _named(text: str) -> type[Metric]:
    if is_own(text, METRICS):
        return own_named(text)
    name, _, rest = text.partition(":")
    if name not in METRICS:
        raise OptionError(
            f"{unknown('metric', name, METRICS)}; or give your own as package.module:function"
        )
    if not rest:
        return METRICS[name]
    pairs = [part.partition("=") for part in rest.split(",")]
    if any(not key or not value for key, _, value in pairs):
        raise OptionError(f"metric is {text!r}; expected {name} or {name}:OPTION=VALUE")
    return METRICS[name].of({key.strip(): value.strip() for key, _, value in pairs})


def choose_metric(reference: Reference, name: str | type[Metric] | None = None) -> type[Metric]:
    """The metric for what outputs can be compared with.

    Args:
        reference: What there is: class labels, target values, or the ideal chip's outputs.
        name: The metric that is asked for; the default of `reference` without.

    Raises:
        OptionError: There is no such metric, or it needs something else.
    """
    metric = as_metric(name)
    if metric is None:
        return next(metric for metric in METRICS.values() if metric.reference == reference)
    if not metric.accepts(reference):
        raise OptionError(
            f"metric {metric.name!r} compares outputs with {_NEEDS[metric.reference]}, but there "
            f"are {_NEEDS[reference]}; expected one of "
            + ", ".join(
                one.name
                for one in METRICS.values()
                if one.reference == reference and not one.name.startswith("map")  # of boxes
            )
        )
    return metric


def against_ideal(
    outputs: NDArray[Any], name: str | type[Metric] | None = None, *, holds: Outputs = "scores"
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
    "values": "target values",
    "ideal classes": "the ideal chip's classes",
    "ideal values": "the ideal chip's values",
}
