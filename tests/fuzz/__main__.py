"""Run mutated inputs by hand: `PYTHONPATH=tests python -m fuzz --kind toml --count 10000`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy is loaded; forks must not have threads

import nvmc.training  # noqa: F401, E402, I001
from fuzz.kinds import KINDS  # noqa: E402
from fuzz.running import Outcome, outcomes  # noqa: E402

HEADER = ("kind", "tried", "accepted", "refused", "faults")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("fuzz", description=__doc__)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="[default: all]")
    parser.add_argument("--count", type=int, default=100, help="Inputs of each kind.")
    parser.add_argument("--first", type=int, default=0, help="Number of the first.")
    parser.add_argument("--only", type=int, help="One input, whose folder is kept.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="Lines of JSON; what is in it is not run again.")
    parser.add_argument("--verbose", action="store_true", help="Tell every outcome.")
    return parser.parse_args()


def _load_all() -> None:
    """Every module of nvmc, so that a fork has nothing to load."""
    import sklearn.datasets  # noqa: F401

    import nvmc

    for module in pkgutil.walk_packages(nvmc.__path__, "nvmc."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _known(log: Path | None) -> dict[tuple[str, int], Outcome]:
    """Outcomes of an earlier run."""
    if log is None or not log.exists():
        return {}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return {(kind, number): Outcome(*found) for kind, number, *found in lines}


def run(chosen: argparse.Namespace, scratch: Path) -> int:
    """Run the inputs, print faults and the table; the number of faults."""
    known = _known(chosen.log)
    rows: list[tuple[str, Counter[str]]] = []
    for name in chosen.kind or list(KINDS):
        valid = scratch / f"valid-{name}"
        valid.mkdir()
        KINDS[name].prepare(valid)
        numbers = range(chosen.first, chosen.first + chosen.count)
        if chosen.only is not None:
            numbers = range(chosen.only, chosen.only + 1)
        left = [number for number in numbers if (name, number) not in known]
        counts = Counter(known[name, n].verdict for n in numbers if (name, n) in known)
        for number, found in outcomes(
            KINDS[name], name, left, chosen.seed, valid, scratch, debug=chosen.only is not None
        ):
            counts[found.verdict] += 1
            if found.verdict == "fault" or chosen.verbose or chosen.only is not None:
                print(f"{name} {number}: {found.verdict}: {found.detail}", flush=True)
            if chosen.log is not None:
                with chosen.log.open("a") as file:
                    file.write(json.dumps([name, number, *found]) + "\n")
        rows.append((name, counts))
    _print(rows)
    return sum(counts["fault"] for _, counts in rows)


def _print(rows: list[tuple[str, Counter[str]]]) -> None:
    print("| " + " | ".join(HEADER) + " |")
    print("| --- " * len(HEADER) + "|")
    for name, counts in rows:
        cells = (counts.total(), counts["accepted"], counts["refused"], counts["fault"])
        print(f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |", flush=True)


def main() -> int:
    """1 where there were faults."""
    chosen = _options()
    _load_all()
    scratch = Path(tempfile.mkdtemp(prefix="nvmc-fuzz-"))
    os.environ["XDG_STATE_HOME"] = str(scratch / "state")  # not the user's
    try:
        return run(chosen, scratch) > 0
    finally:
        if chosen.only is None:
            shutil.rmtree(scratch, ignore_errors=True)
        else:
            print(f"Kept {scratch}")


if __name__ == "__main__":
    sys.exit(main())
