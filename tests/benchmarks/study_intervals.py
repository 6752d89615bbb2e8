"""How often the intervals of a KPP hold it, where the images are a sample too.

Worlds whose percentile is known by a formula (tests/chips_and_images.py), and tables of who gets
what right: the zoo's LeNet-5 on rram4, on the `digits` test split moved at random
(study_adaptive.py makes and keeps them). Chips and images are drawn from a table with replacement,
and the percentile is that of its chips on all its images.

Usage: python tests/benchmarks/study_intervals.py [--trials 300] [--sigmas 0.1,0.3]
           [--table-chips 300] [--table-images 2000] [--docs]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from figures import figures, parser
from figures import table as markdown
from study_adaptive import Bits, images, labels_of, table, workload_of

sys.path.append(str(Path(__file__).resolve().parents[1]))
from chips_and_images import WORLDS, Coverage, World, coverage  # noqa: E402

CASES = [(400, 100), (50, 531), (400, 531), (1000, 531), (400, 2000), (400, 10_000)]
"""Chips and images."""
MOST = 4e6
"""Chip-images above which a trial is left out: worlds draw each of them."""
SHOWN = {"LeNet-5, sigma 0.1": 1, "LeNet-5, sigma 0.3": 50}
"""Worlds whose cases of one k are shown."""


def drawn_from(hits: Bits) -> World:
    """Chips and images drawn from a table, shape (chips, images)."""
    every = np.sort(hits.mean(axis=1))

    def draw(rng: np.random.Generator, chips: int, count: int) -> np.ndarray:
        rows, columns = (
            rng.integers(n, size=m) for n, m in zip(hits.shape, (chips, count), strict=True)
        )
        weights = np.bincount(columns, minlength=hits.shape[1]).astype(np.float32)
        return (hits[rows] @ weights) / count

    return World(draw, lambda k: float(every[int(np.ceil(len(every) * k / 100)) - 1]))


Case = tuple[int, int, int]
"""k, chips and images."""


def span(values: list[float], unit: str = "") -> str:
    """The least and the largest, to two digits at most."""
    low, high = (f"{value:.0f}" if unit or value >= 9.5 else f"{value:.2g}" for value in values)
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def summary(name: str, found: dict[Case, Coverage]) -> list[str]:
    """The row of a world: over all cases."""
    columns = [
        [100 * getattr(c, of) for c in found.values()] for of in ("both", "alone", "pearson")
    ]
    ratios = [c.width / c.pearson_width for c in found.values()]
    ratios = [ratio for ratio in ratios if np.isfinite(ratio)]
    shares = [span([min(column), max(column)], " %") for column in columns]
    return [name, *shares, span([min(ratios), max(ratios)])]


def single(name: str, case: Case, found: Coverage) -> list[str]:
    """The row of one case."""
    shares = (found.both, found.alone, found.pearson)
    widths = (found.width, found.pearson_width)
    return [
        name,
        *map(str, case),
        *(f"{100 * share:.1f} %" for share in shares),
        *(f"{100 * width:.2f}" if np.isfinite(width) else "open" for width in widths),
    ]


def main() -> None:
    """A row for each world; then rows of single cases of the measured ones."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=300)
    options.add_argument("--sigmas", default="0.1,0.3")
    options.add_argument("--table-chips", type=int, default=300)
    options.add_argument("--table-images", type=int, default=2000)
    given = options.parse_args()
    worlds = dict(WORLDS)
    dataset = images(given.table_images, None)
    workload, _ = workload_of(dataset)
    for sigma in map(float, filter(None, given.sigmas.split(","))):
        hits = table(
            workload, labels_of(workload), sigma, given.table_chips, f"digits-{given.table_images}"
        )
        worlds[f"LeNet-5, sigma {sigma:g}"] = drawn_from(hits)
    summaries: list[list[str]] = []
    singles: list[list[str]] = []
    for name, world in worlds.items():
        found = {
            (k, chips, count): coverage(world, k, chips, count, given.trials, seed=1)
            for k in (1, 5, 50)
            for chips, count in CASES
            if name not in WORLDS or chips * count <= MOST
        }
        summaries.append(summary(name, found))
        rows = {case: single(name, case, each) for case, each in found.items()}
        singles += [row for case, row in rows.items() if SHOWN.get(name) == case[0]]
        print(*rows.values(), sep="\n", flush=True)
    intervals = ["of chips and images", "on these images", "around KPP"]
    head = ["chips", *intervals, "width, as a multiple of that around KPP"]
    figures(__file__, "worlds", markdown(head, summaries))
    head = ["chips", "k", "N", "images", *intervals, "width [pp]", "around KPP [pp]"]
    figures(__file__, "rows", markdown(head, singles))


if __name__ == "__main__":
    main()
