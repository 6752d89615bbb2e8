"""How often the intervals of `nvmc compare` hold, and how wide they are.

Tables of pairs: made ones with a long tail to the left (tests/pairs_of_chips.py), and the zoo's
networks on the `digits` test split, run on the same chips of `rram4`. Chips are drawn from a table
with replacement, and the truth is the table's own.

Usage: python tests/benchmarks/study_compare.py [--trials 400] [--chips 500,1000] [--table 3000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from nvmc import Target, compile_model, load_device, simulate
from nvmc.data import load_data
from nvmc.models import resolve_model

sys.path.append(str(Path(__file__).resolve().parents[1]))
from pairs_of_chips import Table, coverage, skewed  # noqa: E402

PAIRS = [
    ("lenet5-digits", 0.1, "lenet5-digits", 0.2),
    ("lenet5-digits", 0.3, "lenet5-digits", 0.35),
    ("mlp3-digits", 0.3, "lenet5-digits", 0.3),
]
"""Network and sigma of a and of b."""


def measured(runs: int, folder: Path) -> dict[str, Table]:
    """Values of two networks, or of one at two strengths, on the same chips."""
    data, target = load_data("digits", "test"), Target.of(load_device("rram4"))
    networks = {
        name: compile_model(resolve_model(f"zoo:{name}"), target, output=folder / f"{name}.nvmc")
        for name in ("lenet5-digits", "mlp3-digits")
    }

    def values(name: str, sigma: float) -> np.ndarray:
        return simulate(networks[name], runs=runs, sigma=sigma, data=data).values

    return {
        f"{a} {s:g} / {b} {t:g}".replace("-digits", ""): Table(values(a, s), values(b, t))
        for a, s, b, t in PAIRS
    }


def main() -> None:
    """Print a row for each table, k and number of chips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--chips", default="500,1000")
    parser.add_argument("--table", type=int, default=3000)
    given = parser.parse_args()
    tables = {
        f"skewed, {what}": skewed(7, together)
        for what, together in (("apart", 0.0), ("partly together", 0.9), ("together", 1.0))
    }
    with tempfile.TemporaryDirectory() as folder:
        tables |= measured(given.table, Path(folder))
    print("| chips | correlation | k | N | paired | two intervals | mean | share | t |", end="")
    print(" paired [pp] | two [pp] | mean [pp] | t [pp] |")
    print("|" + " --- |" * 13)
    for name, table in tables.items():
        joint = float(np.corrcoef(table.a, table.b)[0, 1])
        for k in (1, 5, 50):
            for chips in map(int, given.chips.split(",")):
                c = coverage(table, k, chips, given.trials, seed=chips)
                shares = (c.paired, c.bonferroni, c.mean, c.share, c.student)
                widths = (c.paired_width, c.bonferroni_width, c.mean_width, c.student_width)
                cells = [f"{joint:.2f}", f"{k}", f"{chips}", *(f"{100 * s:.1f} %" for s in shares)]
                cells += [f"{100 * w:.2f}" if np.isfinite(w) else "open" for w in widths]
                print(f"| {' | '.join([name, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
