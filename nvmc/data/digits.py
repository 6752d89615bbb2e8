"""scikit-learn's handwritten digits."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.data.dataset import Floats
from nvmc.data.files import SPLITS
from nvmc.data.sources import Found, Source
from nvmc.errors import DataError

__all__ = ["read_digits"]


def read_digits(source: Source) -> Found:
    """scikit-learn's 1,797 real handwritten digits, resampled to 1x28x28.

    The r-th image of its class, in the set's order, is test when r % 10 is 7 to 9, validation
    when it is 6 and train otherwise.
    """
    images, y = _digits()
    rank = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        rank[y == label] = np.arange(np.count_nonzero(y == label))
    part = np.array([SPLITS[0]] * 6 + [SPLITS[1]] + [SPLITS[2]] * 3)[rank % 10]
    chosen = part == source.split
    return Found(_resample(images[chosen]), y[chosen])


@lru_cache(maxsize=1)
def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What `sklearn.datasets.load_digits` returns, from its file: importing it takes 1.5 s.

    It is read once; callers take copies of what they choose.
    """
    found = find_spec("sklearn")
    if found is None:
        raise DataError(
            "digits comes with scikit-learn, which is not installed; pip install scikit-learn"
        )
    for folder in found.submodule_search_locations or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # a version that keeps it elsewhere

    load: Any = load_digits
    bunch = load()
    return np.asarray(bunch.images), np.asarray(bunch.target, dtype=np.int64)


def _resample(images: NDArray[np.float64]) -> Floats:
    """Bilinear 8x8 -> 28x28 with pixel centres aligned and edges repeated; values 0..16 -> 0..1.

    Output pixel i has its centre at (4 i - 5) / 14 input pixels, so every weight is a multiple
    of 1 / 14: the sums are integers, exact in float64 in any order, rounded once, and equal on
    every machine.
    """
    weights = np.zeros((28, 8))
    for i in range(28):
        below, part = divmod(4 * i - 5, 14)
        weights[i, np.clip(below, 0, 7)] += 14 - part
        weights[i, np.clip(below + 1, 0, 7)] += part
    sums = weights @ images @ weights.T
    return (sums / (14 * 14 * 16)).astype(np.float32)[:, None]
