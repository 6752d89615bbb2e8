"""`nvmc explore` against trying everything: the same front, and how many images that took.

Everything is tried for the first of the two cases only, as it takes five minutes of a processor.
Usage: python tests/benchmarks/bench_explore.py [--runs 500] [--raced] [--docs]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from figures import figures, lacking, parser, table

from nvmc import explore_designs, open_compiled, simulate
from nvmc.explore.result import Exploration
from nvmc.explore.space import Space
from nvmc.models import resolve_model

CASES = ((100, 0.85), (200, 0.9))
"""Images, and the goal."""
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


def told_of(choices: Mapping[str, object]) -> str:
    """What differs among the designs."""
    bits = [choices[f"{of}_bits"] for of in ("weight", "cell", "adc")]
    return "{} bits in {}-bit cells, ADC {}".format(*bits)


def compared(limit: int, goal: float, runs: int, every: bool) -> list[str]:
    """The row of one case; `every` also looks whether trying everything gives the same front."""
    space = Space({name: tuple(values) for name, values in CHOICES.items()})
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        found = explore_designs(
            resolve_model("zoo:lenet5-digits"),
            space,
            goal,
            Path(folder) / "explored",
            runs=runs,
            data="digits",
            limit=limit,
        )
        raced, began = time.process_time() - began, time.process_time()
        ends = {one.design.number: one.raced.end for one in found.front}
        told = "not tried"
        if every:
            if front_by_definition(found, runs, limit, goal) != ends:
                raise SystemExit("trying everything gives another front")
            told = f"the same front, {time.process_time() - began:.0f} s"
    front = "; ".join(told_of(one.design.choices) for one in found.front)
    share = f"{100 * found.share:.1f} %"
    row = [f"{limit}, {100 * goal:.0f} %", share, f"{raced:.0f} s", told, front]
    print(row, flush=True)
    if found.share > 0.2:
        raise SystemExit(f"{share} of the images is more than a fifth")
    return row


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=500)
    options.add_argument("--raced", action="store_true", help="try everything in no case")
    given = options.parse_args()
    rows = [
        compared(limit, goal, given.runs, case == 0 and not given.raced)
        for case, (limit, goal) in enumerate(CASES)
    ]
    head = ["images, goal", "run, of all images of all chips", "processor", "everything", "front"]
    missing = lacking(1, 0) if given.raced else ""
    figures(__file__, "designs", table(head, rows), missing=missing)


if __name__ == "__main__":
    main()
