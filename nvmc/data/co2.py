"""Carbon dioxide over Mauna Loa, weekly from 1958 to 2001, as it comes with statsmodels.

C. D. Keeling and T. P. Whorf, Scripps Institution of Oceanography (2004).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from nvmc.data.sources import Found, Source, mixed, positive
from nvmc.errors import DataError

__all__ = ["read_co2"]

WINDOW = 24
"""Weeks that a network sees by default."""
_ENDS = {"train": (0, 70), "validation": (70, 85), "test": (85, 100)}
"""Percent of the series at which a split begins and ends."""


def read_co2(source: Source) -> Found:
    """Windows (N, window, 1) of a number of weeks, and the next week's value (N, 1).

    The 59 missing weeks of 2,284 lie on a line between their neighbours. Values are in standard
    deviations of the training years from their mean. The first 70 % of the weeks train, the next
    15 % are validation and the last 15 % test; a window's value to be met lies in its split. The
    windows are in the `mixed` order.
    """
    window = positive(source, "window", WINDOW)
    weeks = _series()
    start, end = (len(weeks) * part // 100 for part in _ENDS[source.split])
    start = max(start, window)
    if start >= end:
        raise DataError(
            f"window of co2 is {window} weeks; expected fewer than the {end} weeks before the end "
            f"of split {source.split}"
        )
    years = weeks[: len(weeks) * _ENDS["train"][1] // 100]
    scaled = (weeks - years.mean()) / years.std()
    nexts = start + np.array(mixed(end - start)[: source.limit])
    x = scaled[nexts[:, None] + np.arange(-window, 0)]
    return Found(
        x[:, :, None].astype(np.float32),
        scaled[nexts, None].astype(np.float32),
        {"window": str(window)},
    )


def _series() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Parts per million of each week."""
    try:
        series = importlib.import_module("statsmodels.datasets.co2")
    except ImportError as error:
        raise DataError(
            "co2 comes with statsmodels, which is not installed; pip install 'nvmc[data]'"
        ) from error
    values = np.asarray(series.load_pandas().data["co2"], dtype=np.float64)
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, values[known])
