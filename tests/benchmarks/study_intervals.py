"""How often the intervals of a KPP hold it, where the images are a sample too.

Worlds whose percentile is known by a formula (tests/chips_and_images.py), and tables of who gets
what right: the zoo's LeNet-5 on rram4, on the `digits` test split moved at random
(study_adaptive.py makes and keeps them). Chips and images are drawn from a table with replacement,
and the percentile is that of its chips on all its images.

Usage: python tests/benchmarks/study_intervals.py [--trials 400] [--sigmas 0.1,0.2,0.3]
           [--table-chips 800] [--table-images 3000]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from study_adaptive import Bits, images, labels_of, table, workload_of

sys.path.append(str(Path(__file__).resolve().parents[1]))
from chips_and_images import WORLDS, World, coverage  # noqa: E402

CASES = [(400, 100), (50, 531), (400, 531), (1000, 531), (400, 2000), (400, 10_000)]
"""Chips and images."""
MOST = 4e6
"""Chip-images above which a trial is left out: worlds draw each of them."""


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


def main() -> None:
    """Print a row for each world, k, number of chips and of images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--sigmas", default="0.1,0.2,0.3")
    parser.add_argument("--table-chips", type=int, default=800)
    parser.add_argument("--table-images", type=int, default=3000)
    given = parser.parse_args()
    worlds = dict(WORLDS)
    dataset = images(given.table_images, None)
    workload, _ = workload_of(dataset)
    for sigma in map(float, filter(None, given.sigmas.split(","))):
        hits = table(
            workload, labels_of(dataset), sigma, given.table_chips, f"digits-{given.table_images}"
        )
        worlds[f"LeNet-5, sigma {sigma:g}"] = drawn_from(hits)
    print("| world | k | chips | images | both | alone | around KPP | width [pp] | around KPP |")
    for name, world in worlds.items():
        for k in (1, 5, 50):
            for chips, count in CASES:
                if name in WORLDS and chips * count > MOST:
                    continue
                found = coverage(world, k, chips, count, given.trials, seed=1)
                shares = (found.both, found.alone, found.pearson)
                widths = (found.width, found.pearson_width)
                print(
                    f"| {name} | {k} | {chips} | {count} | "
                    + " | ".join(f"{100 * share:.1f} %" for share in shares)
                    + " | "
                    + " | ".join(f"{100 * width:.2f}" for width in widths)
                    + " |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
