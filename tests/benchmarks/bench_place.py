"""Time of `nvmc place` of ResNet-50 (the weights-free model that ships with onnx).

Usage: python tests/benchmarks/bench_place.py [FOLDER.nvmc]. Each repeat is a process of its own.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_cost import compiled
from measure import machine

REPEATS = 5
OPTIONS = ["--hardware", "isaac-32nm", "--tiles", "25216", "--pipeline", "--chiplets", "2x1"]


def seconds(network: Path) -> tuple[float, float]:
    """Wall and processor time of one command."""
    command = [sys.executable, "-m", "nvmc", "place", str(network), *OPTIONS]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, busy


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        network = Path(sys.argv[1]) if len(sys.argv) > 1 else compiled(Path(folder))
        results = [seconds(network) for _ in range(REPEATS)]
    print(machine())
    print(f"nvmc place of ResNet-50 with twice its tiles, median of {REPEATS} processes")
    print(f"wall       {statistics.median(w for w, _ in results):.2f} s (limit 5 s, one core)")
    print(f"processor  {statistics.median(b for _, b in results):.2f} s")


if __name__ == "__main__":
    main()
