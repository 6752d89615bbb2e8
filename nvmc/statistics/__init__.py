"""What a population of chips is worth, and with how few images and chips one can say so."""

from nvmc.statistics.goal import Yield, parse_share, yield_at
from nvmc.statistics.images import Images
from nvmc.statistics.kpp import (
    Covers,
    Ends,
    Interval,
    Kpp,
    accuracy_interval,
    highest_rank,
    interval_ranks,
    percentile_index,
    percentile_of_lowest,
    percentile_performance,
    runs_needed,
)
from nvmc.statistics.summary import Summary, summarize

__all__ = [
    "Covers",
    "Ends",
    "Images",
    "Interval",
    "Kpp",
    "Summary",
    "Yield",
    "accuracy_interval",
    "highest_rank",
    "interval_ranks",
    "parse_share",
    "percentile_index",
    "percentile_of_lowest",
    "percentile_performance",
    "runs_needed",
    "summarize",
    "yield_at",
]
