"""What the benchmarks share: interleaved repeats, their medians, and times of a command."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from figures import source


def interleaved(
    contestants: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each contestant; one repeat runs each of them once, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(repeats):
        for name, run in contestants.items():
            started = clock()
            run()
            seconds[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_command(title: str, arguments: Sequence[str], limit: float, repeats: int = 5) -> None:
    """Medians of a command's times, interleaved with a baseline: starting nvmc to list a file.

    Args:
        title: What it does.
        arguments: Of `nvmc`.
        limit: Seconds that it is to stay below on one core.
        repeats: Processes of each.
    """
    baseline = ["hardware", "show", "isaac-32nm"]
    command_seconds(arguments)
    pairs = [(command_seconds(arguments), command_seconds(baseline)) for _ in range(repeats)]
    wall, busy = (statistics.median(found[i] for found, _ in pairs) for i in (0, 1))
    base = statistics.median(found[0] for _, found in pairs)
    print(source()["machine"])
    print(f"{title}, medians of {repeats} processes")
    print(f"wall       {wall:.2f} s (limit {limit:g} s, one core)")
    print(f"processor  {busy:.2f} s")
    print(f"baseline   {base:.2f} s wall of nvmc {' '.join(baseline)}; ratio {wall / base:.1f}")


def command_seconds(arguments: Sequence[str]) -> tuple[float, float]:
    """Wall and processor time of one `nvmc` command, in a process of its own.

    Bytecode may be written, as where nvmc was installed.
    """
    command = [sys.executable, "-m", "nvmc", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=env)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, busy
