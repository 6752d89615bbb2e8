"""A real dask scheduler and workers on loopback, each a process of its own that may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics import Metric
from nvmc.store import Found
from source_tree import ROOT

DASK = [sys.executable, "-m", "dask"]


@dataclass
class SmallCluster:
    """A scheduler and what was started beside it; `folder` takes its file and everybody's logs."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """Where the scheduler says its address."""
        return self.folder / "scheduler.json"

    @property
    def scheduler(self) -> subprocess.Popen[bytes]:
        """The scheduler."""
        return self.processes[0]

    def start(self, what: str, *options: str, path: str | None = None) -> subprocess.Popen[bytes]:
        """One more process; `path` is where it finds its modules."""
        own = {**os.environ, "PYTHONPATH": path or f"{ROOT}:{ROOT / 'tests'}"}
        command = [*DASK, what, "--host", "127.0.0.1", "--dashboard-address", ":0", *options]
        with (self.folder / f"{what}.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--scheduler-file", str(self.file)],
                stdout=log,
                stderr=log,
                cwd=self.folder,  # `python -m` looks for modules there
                env=own | {"OMP_NUM_THREADS": "1", "DASK_TEMPORARY_DIRECTORY": str(self.folder)},
            )
        self.processes.append(process)
        return process

    def start_worker(self, path: str | None = None, threads: int = 1) -> subprocess.Popen[bytes]:
        """One more worker, that stays dead when it is killed."""
        return self.start("worker", "--no-nanny", "--nthreads", str(threads), path=path)


@contextmanager
def small_cluster(folder: Path, workers: int) -> Iterator[SmallCluster]:
    """A scheduler, and workers that may still be on their way."""
    cluster = SmallCluster(folder)
    try:
        cluster.start("scheduler", "--port", "0")
        while not cluster.file.exists() or not cluster.file.read_text():
            assert cluster.scheduler.poll() is None, "the scheduler does not come"
            time.sleep(0.05)
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        for process in reversed(cluster.processes):
            process.kill()
            process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """As the machine would go."""
    process.send_signal(signal.SIGKILL)
    process.wait()


@dataclass
class Slow(Metric):
    """A metric that takes its time, without the machine's; its numbers are those of `inner`."""

    name = short = title = "slow"
    reference = "values"
    inner: Metric
    pause_s: float

    def add(self, outputs: NDArray[Any], first: int) -> float:
        time.sleep(self.pause_s)
        return self.inner.add(outputs, first)

    def finish(self, total: float, images: int) -> float:
        return self.inner.finish(total, images)


class Deadly(Slow):
    """A metric whose process dies of it, as of too little memory."""

    def add(self, outputs: NDArray[Any], first: int) -> float:
        os._exit(1)


class Faulty(Slow):
    """A metric with a fault of ours."""

    def add(self, outputs: NDArray[Any], first: int) -> float:
        raise ZeroDivisionError("a fault")


class Kept(dict[int, tuple[int, float]]):
    """Records in memory, that count what they are told."""

    added = 0

    trusted = False

    def read(self) -> Found:
        return Found(dict(self))

    def confirm(self, chip: int, images: int, here: float) -> None:
        raise AssertionError("all of it was found here")

    def vouch(self, checked: Collection[int], others: Collection[int]) -> None:
        raise AssertionError("all of it was found here")

    def add(self, chip: int, images: int, total: float, value: float | None) -> None:
        assert chip not in self or self[chip][0] < images, f"chip {chip} came twice"
        assert value is None or np.isfinite(value)
        self[chip] = (images, total)
        self.added += 1
