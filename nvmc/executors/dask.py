"""Chips on the workers of a dask scheduler: processes of this machine, or other machines.

The workload goes to each worker once, then small tasks name chips. A chip is its name, so a task
that a dying worker leaves behind is run by another one, and totals are those of `Threads` bit for
bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from distributed import KilledWorker

from nvmc.errors import ClusterError, NvmcError
from nvmc.evaluation.population import Workload
from nvmc.executors.cluster import Cluster, connected, started
from nvmc.executors.tasks import Done, Pace
from nvmc.hardware.chip import Chip
from nvmc.metrics import Total
from nvmc.runtime.montecarlo import ENGINE, Network, Span

__all__ = ["DaskExecutor", "cluster_at", "local_processes"]

TASK_S = 1.0
"""How long a task should take."""
RATE = 100
"""Results a second that are taken in; tasks are longer where so many threads would bring more."""
ATTEMPTS = 5
"""How often a task may be begun anew after dask gave it up, every time with workers that died."""
LOOK_S = 1.0
"""How often to look which workers are there."""


@contextmanager
def cluster_at(address: str) -> Generator[DaskExecutor]:
    """The workers of the scheduler at `address`, or in a scheduler file whose name ends in .json.

    Raises:
        OptionError: There is no such file, or it is no address.
        ClusterError: Nothing answers, it has no workers, or they cannot run this.
    """
    with connected(address) as cluster:
        yield DaskExecutor(cluster, "worker")


@contextmanager
def local_processes(count: int) -> Generator[DaskExecutor]:
    """So many worker processes of this machine, for the time of the block.

    Raises:
        ClusterError: They cannot be started.
    """
    with started(count) as cluster:
        yield DaskExecutor(cluster, "process")


@dataclass(frozen=True)
class DaskExecutor:
    """Runs chips on the workers of a dask scheduler, one chip at a time in each of their threads.

    Attributes:
        cluster: The workers.
        noun: What one of them is called.
    """

    cluster: Cluster
    noun: str = "worker"

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"dask, {_count(len(self.cluster.workers), self.noun)}"

    @property
    def engine(self) -> str:
        """onnxruntime, with its version, which every worker has."""
        return ENGINE

    def totals(
        self,
        workload: Workload,
        chips: Sequence[Chip],
        span: Span,
        done: Callable[[int, Total], None],
    ) -> None:
        """Run chips on some images; see `Executor`. Calls `done` from this thread.

        Raises:
            ClusterError: The scheduler or all workers were lost, or a task ended too many of them.
            NvmcError: What a worker found wrong.
        """
        _Run(self.cluster, workload, chips, span, done).run()


def _count(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural}"


@dataclass(frozen=True)
class _Task:
    """Chips that are run together.

    Attributes:
        positions: Of the chips.
        future: What will be known of them.
        attempt: How often dask gave them up before.
    """

    positions: range
    future: Any
    attempt: int


class _Run:
    """One call of `DaskExecutor.totals`."""

    def __init__(
        self,
        cluster: Cluster,
        workload: Workload,
        chips: Sequence[Chip],
        span: Span,
        done: Callable[[int, Total], None],
    ) -> None:
        self._cluster = cluster
        self._workload = workload
        self._chips = chips
        self._span = span
        self._done = done
        self._next = 0
        self._pending: dict[str, _Task] = {}
        self._ended: SimpleQueue[str] = SimpleQueue()
        self._look()
        stack = workload.network.stack if isinstance(workload.network, Network) else None
        self._pace = Pace(stack.count if stack else 1, max(TASK_S, self._threads / RATE))

    def run(self) -> None:
        """Until every chip was reported, with a bounded number of tasks on their way."""
        try:
            self._fill()
            while self._pending:
                self._take(self._wait())
                self._fill()
        finally:
            self._cluster.cancel([task.future for task in self._pending.values()])

    def _look(self) -> None:
        self._threads = self._cluster.threads()
        self._looked = time.monotonic()

    def _fill(self) -> None:
        """Every thread has a task to do and one to come."""
        while self._next < len(self._chips) and len(self._pending) < 2 * self._threads:
            size = self._pace.size(len(self._chips) - self._next, self._threads)
            self._start(range(self._next, self._next + size))
            self._next += size

    def _start(self, positions: range, attempt: int = 0) -> None:
        workload = self._cluster.place(self._workload)
        chips = (self._chips[position] for position in positions)
        future = self._cluster.submit(workload, chips, self._span)
        key: str = future.key
        self._pending[key] = _Task(positions, future, attempt)

        def ended(future: Any) -> None:
            self._ended.put(key)

        future.add_done_callback(ended)

    def _wait(self) -> list[_Task]:
        """The tasks that have ended since, at least one."""
        ended: list[_Task] = []
        while not ended:
            if time.monotonic() - self._looked > LOOK_S:
                self._look()
            try:
                keys = [self._ended.get(timeout=LOOK_S)]
            except Empty:
                continue
            while not self._ended.empty():
                keys.append(self._ended.get())
            ended = [self._pending.pop(key) for key in keys]
        return ended

    def _take(self, tasks: list[_Task]) -> None:
        """Report what was found, then start anew what was lost or complain of what is wrong."""
        good = {task.future.key: task.future for task in tasks if task.future.status == "finished"}
        found = self._cluster.gather(good)
        left: list[_Task] = []
        for task in tasks:
            outcome = found.get(task.future.key)
            if not isinstance(outcome, Done):
                left.append(task)
                continue
            self._pace.learn(len(task.positions), outcome.seconds)
            for position, total in zip(task.positions, outcome.totals, strict=True):
                self._done(position, total)
        for task in left:
            outcome = found.get(task.future.key)
            if isinstance(outcome, NvmcError):
                raise outcome
            self._again(task)

    def _again(self, task: _Task) -> None:
        """Start a task anew that ended with its workers, or with all that held the workload."""
        if task.future.status == "error":
            error = task.future.exception()
            if not isinstance(error, KilledWorker):
                raise error
        if task.attempt == ATTEMPTS:
            first, last = (self._chips[task.positions[end]].index for end in (0, -1))
            raise ClusterError(
                f"workers have died again and again while they ran chips {first} to {last}; "
                "chips that were done are kept: see the workers' logs, and whether they have "
                "memory enough"
            )
        self._start(task.positions, task.attempt + 1)
