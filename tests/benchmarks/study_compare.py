"""How often the intervals of `nvmc compare` hold, and how wide they are.

Tables of pairs: made ones with a long tail to the left (tests/pairs_of_chips.py), and the zoo's
networks on the `digits` test split, run on the same chips of `rram4`. Chips are drawn from a table
with replacement, and the truth is the table's own.

Usage: python tests/benchmarks/study_compare.py [--trials 150] [--population 3000] [--docs]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from figures import figures, parser, table

from nvmc import Target, compile_model, load_device, simulate
from nvmc.data import load_data
from nvmc.models import resolve_model

sys.path.append(str(Path(__file__).resolve().parents[1]))
from pairs_of_chips import Coverage, Table, coverage, skewed  # noqa: E402

PAIRS = [
    ("LeNet-5, σ 0.1 and 0.2", "lenet5-digits", 0.1, "lenet5-digits", 0.2),
    ("LeNet-5, σ 0.3 and 0.35", "lenet5-digits", 0.3, "lenet5-digits", 0.35),
    ("MLP and LeNet-5, σ 0.3", "mlp3-digits", 0.3, "lenet5-digits", 0.3),
]
"""Title, network and sigma of a, and of b."""
CHIPS = 500


def measured(runs: int, folder: Path) -> dict[str, Table]:
    """Values of two networks, or of one at two strengths, on the same chips."""
    data, target = load_data("digits", "test"), Target.of(load_device("rram4"))
    networks = {
        name: compile_model(resolve_model(f"zoo:{name}"), target, output=folder / f"{name}.nvmc")
        for name in ("lenet5-digits", "mlp3-digits")
    }

    def values(name: str, sigma: float) -> np.ndarray:
        return simulate(networks[name], runs=runs, sigma=sigma, data=data).values

    return {title: Table(values(a, s), values(b, t)) for title, a, s, b, t in PAIRS}


def row(name: str, joint: float, k: int, found: Coverage) -> list[str]:
    """Name, and what does not depend on k, stand in the row of k = 1 only."""
    shares = [found.paired, found.bonferroni, found.mean, found.student]
    widths = [found.paired_width, found.bonferroni_width, found.mean_width, found.student_width]
    cells = [f"{100 * share:.1f} %" for share in shares]
    cells += [f"{100 * width:.2f}" if np.isfinite(width) else "open" for width in widths]
    if k == 1:
        return [name, f"{joint:.2f}", "1", *cells]
    return ["", "", f"{k}", *cells[:2], "", "", *cells[4:6], "", ""]


def main() -> None:
    """A row for each table and k."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=150)
    options.add_argument("--population", type=int, default=3000)
    given = options.parse_args()
    tables = {
        f"skewed, {what}": skewed(7, together)
        for what, together in (("apart", 0.0), ("partly together", 0.9), ("together", 1.0))
    }
    with tempfile.TemporaryDirectory() as folder:
        tables |= measured(given.population, Path(folder))
    rows: list[list[str]] = []
    for name, pairs in tables.items():
        joint = float(np.corrcoef(pairs.a, pairs.b)[0, 1])
        for k in (1, 5, 50):
            found = coverage(pairs, k, CHIPS, given.trials, seed=CHIPS)
            rows.append(row(name, joint, k, found))
            print(f"{name}, k {k}: share better {100 * found.share:.1f} %", flush=True)
    kinds = ["from pairs", "two intervals", "mean", "t"]
    head = ["chips", "correlation", "k", *kinds, *(f"{kind} [pp]" for kind in kinds)]
    figures(__file__, "coverage", table(head, rows))


if __name__ == "__main__":
    main()
