"""Metrics: what one run of a chip scores. A metric is a file here and a row of `METRICS`."""

from __future__ import annotations

from nvmc.metrics.choice import METRICS, against_ideal, as_metric, choose_metric, find_metric
from nvmc.metrics.decisions import correct, decisions
from nvmc.metrics.metric import Added, Metric, Reference, Total, total_of
from nvmc.metrics.own import Own
from nvmc.metrics.probabilities import calibration_error, log_loss, mean_a_row

__all__ = [
    "METRICS",
    "Added",
    "Metric",
    "Own",
    "Reference",
    "Total",
    "against_ideal",
    "as_metric",
    "calibration_error",
    "choose_metric",
    "correct",
    "decisions",
    "find_metric",
    "log_loss",
    "mean_a_row",
    "total_of",
]
