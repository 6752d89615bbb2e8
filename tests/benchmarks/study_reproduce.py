"""Every row of `nvmc reproduce`, run with `--quick` to its end.

Shows that each row works on data that need no download, how long it takes, and what it prints.
Each row is a line of records/study_reproduce.jsonl, so a killed run goes on where it was; networks
stay in build/study_reproduce. OMP_NUM_THREADS=1 is the setting it was run at.

Usage: python tests/benchmarks/study_reproduce.py [--rows NAME,NAME] [--table] [--docs]
"""

from __future__ import annotations

import time
from itertools import groupby
from pathlib import Path
from typing import Any

from figures import figures, keep, lacking, parser, record_file, records, table

from nvmc.reproduce.page import csv_rows, is_share, measure_of, results_of
from nvmc.reproduce.plan import make_plan
from nvmc.reproduce.run import run_plan
from nvmc.reproduce.table import EXPERIMENTS

FOLDER = Path(__file__).resolve().parents[2] / "build" / "study_reproduce"
KEPT = ("arm", "noise", "at", "own", "own_std_over_chips")
"""What a record has of the CSV of a row."""


def measured(name: str) -> dict[str, Any]:
    """What a row finds, and the time of the processor that it takes."""
    started = time.process_time()
    plan = make_plan(EXPERIMENTS[name], (), FOLDER, quick=True)
    run_plan(plan)
    return {
        "cpu_seconds": time.process_time() - started,
        "network": plan.budget.network,
        "budget": plan.budget.text,
        "measure": measure_of(plan),
        "percent": is_share(plan),
        "rows": [{key: row[key] for key in KEPT} for row in csv_rows(plan, results_of(plan))],
    }


def shown(found: list[dict[str, Any]]) -> str:
    """A line for each way to train, with its values at all points."""
    lines: list[list[str]] = []
    for record in found:
        by_arm = sorted(record["rows"], key=lambda row: _arms(record).index(row["arm"]))
        for place, (arm, rows) in enumerate(groupby(by_arm, key=lambda row: row["arm"])):
            of = f"{record['measure']}: {record['network']}, {record['budget']}"
            head = [f"`{record['name']}`", f"{record['cpu_seconds'] / 60:.1f}", of]
            values = _values(list(rows), record["percent"])
            lines.append([*(head if place == 0 else ["", "", ""]), arm, values])
    return table(["row", "minutes", "on", "method", "value (deviation over chips)"], lines)


def _arms(record: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in record["rows"]))


def _values(rows: list[dict[str, Any]], percent: bool) -> str:
    """`none 95.6; sigma 0.2: 89.1 (1.2), 0.4: 74.4 (11.5)`."""
    unit, digits = (100, 1) if percent else (1, 3)
    told: list[str] = []
    for noise, points in groupby(rows, key=lambda row: row["noise"]):
        each = [
            (row["at"], f"{unit * row['own']:.{digits}f}", row["own_std_over_chips"])
            for row in points
        ]
        if noise == "none":
            told.append(f"none {each[0][1]}")
            continue
        shown = (f"{at:g}: {own} ({unit * spread:.{digits}f})" for at, own, spread in each)
        told.append(f"{noise} {', '.join(shown)}")
    return "; ".join(told)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", default=",".join(EXPERIMENTS), help="names, separated by ,")
    options.add_argument("--table", action="store_true", help="print the table, measure nothing")
    chosen = options.parse_args()
    names: list[str] = chosen.rows.split(",")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = record_file(__file__)
    done = {record["name"] for record in records(path)}
    for name in names if not chosen.table else []:
        if name not in done:
            keep(path, {"name": name, **measured(name)})
    known = {record["name"]: record for record in records(path)}
    own = [known[name] for name in names if name in known]
    figures(__file__, "quick", shown(own), missing=lacking(len(names), len(own)), made=own)


if __name__ == "__main__":
    main()
