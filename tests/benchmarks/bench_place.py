"""Time of `nvmc place` of ResNet-50 (the weights-free model that ships with onnx).

Usage: python tests/benchmarks/bench_place.py [FOLDER.nvmc]. Each repeat is a process of its own.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from bench_cost import compiled
from measure import command_seconds, machine

REPEATS = 5
OPTIONS = ["--hardware", "isaac-32nm", "--tiles", "25216", "--pipeline", "--chiplets", "2x1"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        network = Path(sys.argv[1]) if len(sys.argv) > 1 else compiled(Path(folder))
        command = ["place", str(network), *OPTIONS]
        results = [command_seconds(command) for _ in range(REPEATS)]
    print(machine())
    print(f"nvmc place of ResNet-50 with twice its tiles, median of {REPEATS} processes")
    print(f"wall       {statistics.median(w for w, _ in results):.2f} s (limit 5 s, one core)")
    print(f"processor  {statistics.median(b for _, b in results):.2f} s")


if __name__ == "__main__":
    main()
