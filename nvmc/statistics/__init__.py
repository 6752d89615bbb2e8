"""What a population of chips is worth, and with how few images and chips one can say so."""

from nvmc.statistics.kpp import (
    Interval,
    Kpp,
    Summary,
    accuracy_interval,
    highest_rank,
    interval_ranks,
    percentile_index,
    percentile_of_lowest,
    percentile_performance,
    runs_needed,
    summarize,
)

__all__ = [
    "Interval",
    "Kpp",
    "Summary",
    "accuracy_interval",
    "highest_rank",
    "interval_ranks",
    "percentile_index",
    "percentile_of_lowest",
    "percentile_performance",
    "runs_needed",
    "summarize",
]
