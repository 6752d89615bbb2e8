"""`nvmc explore` against trying everything: the same front, and how many images that took.

Usage: python tests/benchmarks/bench_explore.py [--limit 200] [--runs 500] [--goal 0.9]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from figures import machine

from nvmc import explore_designs, open_compiled, simulate
from nvmc.explore.result import Exploration
from nvmc.explore.space import Space
from nvmc.models import resolve_model

CHOICES = {
    "device": ("fefet2",),
    "weight_bits": (3, 4, 6),
    "cell_bits": (1, 2),
    "tile": ("128x128",),
    "dac_bits": (6,),
    "adc_bits": (4, 5, 6, 8),
    "adc_range": ("calibrated",),
}


def front_by_definition(found: Exploration, runs: int, limit: int, goal: float) -> dict[int, float]:
    """Number and lower end of every design that no other beats, from all chips of all designs."""
    points: list[tuple[int, float, float]] = []
    for one in (*found.front, *found.beaten, *found.missed):
        network = open_compiled(one.folder)
        low = simulate(network, runs=runs, data="digits", limit=limit).kpp.interval.low
        figures = one.costs["generic"]
        assert figures is not None and low is not None
        points.append((one.design.number, low, figures["energy"].value))
        print(f"  {one.design.name}: lower end {low:.4f}, {figures['energy'].value:.3e} J")
    good = [point for point in points if point[1] >= goal]
    return {
        number: low
        for number, low, cost in good
        if not any(
            other >= low and price <= cost and (other > low or price < cost)
            for _, other, price in good
        )
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--goal", type=float, default=0.9)
    given = parser.parse_args()
    print(machine())
    space = Space({name: tuple(values) for name, values in CHOICES.items()})
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        found = explore_designs(
            resolve_model("zoo:lenet5-digits"),
            space,
            given.goal,
            Path(folder) / "explored",
            runs=given.runs,
            data="digits",
            limit=given.limit,
        )
        raced = time.process_time() - began
        print(f"{space.count} designs, {given.runs} chips, {given.limit} images, {given.goal:.0%}")
        print(f"explored: {100 * found.share:.1f} % of the images, {raced:.0f} s of processors")
        for one in found.front:
            print(f"  front: {one.design.name}: lower end {one.raced.end}")
        began = time.process_time()
        known = front_by_definition(found, given.runs, given.limit, given.goal)
        print(f"everything: {time.process_time() - began:.0f} s of processors")
    same = {one.design.number: one.raced.end for one in found.front} == known
    print(f"the same front of {len(known)} designs: {same}")
    if not same or found.share > 0.2:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
