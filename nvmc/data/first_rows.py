"""Whether the first rows of a data set have the classes that all of its rows have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.data.items import counted_items, item_of
from nvmc.rng import stream

__all__ = ["first_rows_note"]

DRAWS = 2_000
"""Random parts of the same size that the first rows are compared with: rows in random order are
called unlike the rest once in so many times."""
BLOCK = 50
"""Parts that are drawn at once; the first block settles nearly all cases."""
SHOWN = 5
"""Classes that are listed."""


def first_rows_note(name: str, y: NDArray[Any] | None, count: int | None) -> str:
    """That the first rows are no random part of all rows, in one sentence; empty where they may be.

    The shares of the classes are compared by chi-squared with those of random parts of the same
    size. First rows whose classes are more even than chance are no fault.

    Args:
        name: Of the data set.
        y: Labels of all rows, one class per row, shape (N,) or (N, 1, ...); of other labels, which
            are not independent of each other within a row, nothing is said.
        count: How many rows are taken; None takes all.
    """
    if y is None or count is None or y.dtype.kind not in "iu":
        return ""
    if not 0 < count < len(y) or y.size != len(y):
        return ""
    classes, which = np.unique(y.reshape(-1), return_inverse=True)
    whole = np.bincount(which, minlength=len(classes))
    part = np.bincount(which[:count], minlength=len(classes))
    if not _is_unlike(part, whole):
        return ""
    item, rows = item_of(name), counted_items(count, name)
    return (
        f"the first {rows} of {name} {'is' if count == 1 else 'are'} not like all {len(y):,}: "
        f"{_difference(classes, part, whole)}. The results do not hold for all {item}s; take all, "
        f"or save the {item}s in random order"
    )


def _is_unlike(part: NDArray[np.int64], whole: NDArray[np.int64]) -> bool:
    """Whether a part differs more from the whole than each of `DRAWS` random parts of its size."""
    found = _distance(part, whole)
    generator = stream(0, 0, "first rows")
    for _ in range(DRAWS // BLOCK):
        drawn = generator.multivariate_hypergeometric(whole, part.sum(), BLOCK, method="marginals")
        if (_distance(drawn, whole) >= found * (1 - 1e-12)).any():
            return False
    return True


def _distance(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chi-squared of the counts (..., classes) of parts against the shares of the whole."""
    expected = whole * (part.sum(axis=-1, keepdims=True) / whole.sum())
    return ((part - expected) ** 2 / expected).sum(axis=-1)


def _difference(classes: NDArray[Any], part: NDArray[np.int64], whole: NDArray[np.int64]) -> str:
    """The classes that are missing; or the one whose share differs most."""
    missing = classes[part == 0]
    expected = whole * (part.sum() / whole.sum())
    if (expected[part == 0] >= 1).any():
        more = ", …" if len(missing) > SHOWN else ""
        listed = ", ".join(map(str, missing[:SHOWN])) + more
        return f"they lack {len(missing):,} of {len(classes):,} classes ({listed})"
    worst = int(np.argmax((part - expected) ** 2 / expected))
    here, all_rows = part[worst] / part.sum(), whole[worst] / whole.sum()
    return f"class {classes[worst]} is {100 * here:.3g} % of them and {100 * all_rows:.3g} % of all"
