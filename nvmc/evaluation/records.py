"""Where it is kept how far chips were run, and what that is worth that others found.

What another user or machine found is used after some of it, chosen at random, was run again here
and agreed (docs/results.md).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics import Metric, Total, total_of
from nvmc.runtime.montecarlo import Span
from nvmc.store import Expected, Found, Origin

__all__ = ["Archive", "Elsewhere", "Records", "check_some", "expected_of"]

LEAST = 30
"""Chips that are run again, at least; all where there are fewer."""
SHARE = 0.01
"""Share of many that is run again."""


class Records(Protocol):
    """Where it is kept how far chips were run."""

    @property
    def trusted(self) -> bool:
        """Whether what others found is used as it is."""
        ...

    def read(self) -> Found:
        """How far chips were run, on which sums they came to, and who found that."""
        ...

    def add(self, chip: int, images: int, total: Total, value: float | None) -> None:
        """Keep that a chip was run on so many images; `value` once these are all."""
        ...

    def confirm(self, chip: int, images: int, here: Total) -> None:
        """Complain where a chip has another sum over so many images, which was read, than here."""
        ...

    def vouch(self, checked: Collection[int], others: Collection[int]) -> None:
        """Keep that chips that others found may be used, of which some were run again."""
        ...


class Archive(Protocol):
    """Where records are kept, such as `nvmc.store.Store`."""

    def experiment(
        self, key: Mapping[str, Any], info: Mapping[str, Any], expected: Expected | None = None
    ) -> Records:
        """The records of one population on one workload.

        Args:
            key: Everything that decides the values of its chips, as JSON values.
            info: What people want to know of it, as JSON values.
            expected: What sums and values can be.
        """
        ...


@dataclass(frozen=True)
class Elsewhere:
    """Chips of a result that another user or machine found, or whose record was edited.

    Attributes:
        chips: How many.
        checked: How many of them were run again here, and agreed.
        trusted: How many of them are used though none of their kind was run again.
    """

    chips: int = 0
    checked: int = 0
    trusted: int = 0

    @classmethod
    def of(cls, origins: NDArray[np.int64]) -> Elsewhere:
        """That of chips by where they come from (`nvmc.store.Origin`)."""
        counts = {origin: int(np.count_nonzero(origins == origin)) for origin in Origin}
        others = len(origins) - counts[Origin.HERE]
        return cls(others, counts[Origin.CHECKED], counts[Origin.ELSEWHERE])

    def __add__(self, other: Elsewhere) -> Elsewhere:
        return Elsewhere(
            self.chips + other.chips, self.checked + other.checked, self.trusted + other.trusted
        )

    def to_json(self) -> dict[str, int]:
        """The keys of `elsewhere` in `--json`."""
        return {"chips": self.chips, "checked": self.checked, "trusted": self.trusted}


def expected_of(metric: Metric, images: int) -> Expected:
    """What sums and values of chips on so many images can be."""
    return Expected(
        images,
        metric.counts,
        metric.range,
        metric.limits,
        lambda total: metric.finish(total, images),
        *metric.shape or (1,),
    )


def check_some(
    records: Records,
    numbers: Mapping[int, int],
    sums: Mapping[int, Collection[int]],
    run: Callable[[list[int], Span], Mapping[int, Total]],
) -> list[int]:
    """Run some chips that others found again, and vouch for all of them if these agree.

    Which ones nobody can foresee, not those who wrote the store either.

    Args:
        records: What the others found.
        numbers: Position of a chip that others found -> its number in the records.
        sums: Position of such a chip -> the numbers of images that it has a sum of.
        run: Runs some positions on a span of the images: position -> sum.

    Returns:
        Those that were run again.

    Raises:
        StoreError: One comes out differently.
    """
    most = max(LEAST, round(SHARE * len(sums)))
    chosen = secrets.SystemRandom().sample(sorted(sums), min(len(sums), most))
    for position, images, total in _run({p: sums[p] for p in sorted(chosen)}, run):
        records.confirm(numbers[position], images, total)
    others = sums.keys() - set(chosen)
    records.vouch([numbers[p] for p in chosen], [numbers[p] for p in others])
    return chosen


def _run(
    sums: Mapping[int, Collection[int]], run: Callable[[list[int], Span], Mapping[int, Total]]
) -> Iterator[tuple[int, int, Total]]:
    """Run chips from their first image on: position, images, and the sums over them."""
    done, totals = dict.fromkeys(sums, 0), dict[int, NDArray[np.float64]]()
    for end in sorted({end for ends in sums.values() for end in ends}):
        wanted = [position for position, ends in sums.items() if end in ends]
        for first in sorted({done[position] for position in wanted}):
            begun = [position for position in wanted if done[position] == first]
            for position, more in run(begun, Span(first, end - first)).items():
                totals[position] = totals.get(position, np.zeros(())) + np.asarray(more)
                done[position] = end
                yield position, end, total_of(totals[position])
