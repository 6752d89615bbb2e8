"""A dask scheduler and its workers: found or started, seen to fit, and given work."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import distributed

from nvmc.errors import ClusterError, NvmcError, OptionError
from nvmc.evaluation.population import Workload
from nvmc.executors.tasks import Done, named, run_chips, versions
from nvmc.hardware.chip import Chip
from nvmc.runtime.montecarlo import Span

__all__ = ["Cluster", "connected", "started"]

_dask: Any = distributed  # its annotations leave most types open

CONNECT_S = 10.0
"""How long a scheduler may take to answer, and its first worker to come."""
PATIENCE_S = 60.0
"""How long a run goes on waiting when all workers are gone."""
SENDINGS = 3
"""How often to send a workload, where workers die of it or meanwhile."""
SLOWEST = 1e6
"""Bytes a second that a workload must be sent at."""


@contextmanager
def connected(address: str) -> Generator[Cluster]:
    """The workers of the scheduler at `address`, or in a scheduler file whose name ends in .json.

    Raises:
        OptionError: There is no such file, or it is no address.
        ClusterError: Nothing answers, it has no workers, or they cannot run this.
    """
    where = _address_in(address) if address.endswith(".json") else address
    with _quiet(), ExitStack() as stack:
        client = _call(where)
        stack.callback(_close, client)
        cluster = Cluster(client)
        cluster.threads(CONNECT_S)
        yield cluster


def _address_in(file: str) -> str:
    """The address that a scheduler has written into its file."""
    try:
        address = json.loads(Path(file).read_bytes())["address"]
    except FileNotFoundError as error:
        raise OptionError(
            f"scheduler file {file!r} does not exist; `dask scheduler --scheduler-file {file}` "
            "writes it"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OptionError(
            f"{file!r} is no scheduler file ({type(error).__name__}: {error}); `dask scheduler "
            f"--scheduler-file {file}` writes one"
        ) from error
    return str(address)


def _call(address: str) -> Any:
    """A client of the scheduler at `address`."""
    try:
        with ThreadPoolExecutor(1) as pool:  # this thread may have an event loop already
            pool.submit(asyncio.run, _answers(address)).result()
        return _dask.Client(address, timeout=CONNECT_S, set_as_default=False, name="nvmc")
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"no dask scheduler answers at {address!r} within {CONNECT_S:.0f} s; start one with "
            "`dask scheduler`, or check address and firewall"
        ) from error
    except (ValueError, TypeError) as error:
        raise OptionError(
            f"{address!r} is no scheduler's address ({error}); expected tcp://HOST:8786"
        ) from error
    except ImportError as error:
        raise ClusterError(f"the scheduler at {address!r} does not fit: {error}") from error


async def _answers(address: str) -> None:
    """See that a scheduler is there: a client waits for ever for one that says nothing."""
    how = _dask.Security().get_connection_args("client")
    call = _dask.comm.connect(address, timeout=CONNECT_S, **how)
    comm = await asyncio.wait_for(call, CONNECT_S)
    await comm.close()


@contextmanager
def started(processes: int) -> Generator[Cluster]:
    """So many worker processes of this machine, for the time of the block.

    Raises:
        ClusterError: They cannot be started.
    """
    with _quiet(), ExitStack() as stack:
        try:
            with _without_ctrl_c():
                local = _dask.LocalCluster(
                    n_workers=processes,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                    preload="nvmc.executors.preload",
                )
            stack.callback(local.close)
            client = _dask.Client(local, timeout=CONNECT_S, set_as_default=False, name="nvmc")
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterError(f"cannot start {processes} worker processes: {error}") from error
        stack.callback(_close, client)
        cluster = Cluster(client)
        cluster.threads(PATIENCE_S)
        yield cluster


@contextmanager
def _without_ctrl_c() -> Generator[None]:
    """Processes that are started in the block never see Ctrl-C, not even while they load modules.

    A terminal sends it to them too; whoever started them ends them. Here it comes behind the block.
    """
    resource_tracker.ensure_running()  # starting it within the block would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Generator[None]:
    """No logs of dask's in the block: what matters of them is said by errors, once."""
    known = logging.root.manager.loggerDict
    loggers = [logging.getLogger(name) for name in known if name.split(".")[0] == "distributed"]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _close(client: Any) -> None:
    with suppress(OSError, TimeoutError, CancelledError):  # the scheduler may have gone first
        client.close(timeout=CONNECT_S)


class Cluster:
    """The workers of a dask scheduler.

    Args:
        client: A `distributed.Client` that is connected, and outlives this.
        patience_s: How long to wait for a worker when all are gone.

    Attributes:
        client: What speaks to the scheduler.
        workers: Address of each that was there last -> its threads.
    """

    def __init__(self, client: Any, patience_s: float = PATIENCE_S) -> None:
        self.workers: dict[str, int] = {}
        self.client = client
        self._patience_s = patience_s
        self._checked: set[str] = set()
        self._sent: tuple[Workload, Any] | None = None

    def threads(self, patience_s: float | None = None) -> int:
        """Threads of all workers, once there are any; sees that each can run this.

        Args:
            patience_s: How long to wait for the first.

        Raises:
            ClusterError: None comes in time, one cannot run this, or the scheduler is lost.
        """
        patience = self._patience_s if patience_s is None else patience_s
        deadline = time.monotonic() + patience
        while True:
            with self._asking():
                found: dict[str, int] = dict(self.client.nthreads())
                self._check(sorted(found.keys() - self._checked))
            if found:
                self.workers = found
                return max(1, sum(found.values()))
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the dask scheduler has had no workers for {patience:.0f} s; start some with "
                    f"`dask worker {self.client.scheduler.address}`, and repeat the command"
                )
            time.sleep(0.1)

    def place(self, workload: Workload) -> Any:
        """The future of `workload`, which every worker that was there when it was sent holds.

        Raises:
            ClusterError: The scheduler or all workers were lost.
        """
        if self._sent is not None and self._sent[0] is workload:
            if self._sent[1].status == "finished":
                return self._sent[1]
        self._sent = (workload, self._send(workload))
        return self._sent[1]

    def _send(self, workload: Workload) -> Any:
        """The future of `workload`, sent anew where workers die meanwhile."""
        allowed_s = (
            self._patience_s + sum(x.nbytes for x in workload.feed.inputs.values()) / SLOWEST
        )
        options = {"broadcast": True, "hash": False}
        attempt = 0
        while True:
            self.threads()
            attempt += 1
            try:
                with self._asking():
                    return self._within(allowed_s, self.client.scatter, workload, **options)
            except ClusterError as error:
                if self.client.status != "running":
                    raise
                if attempt == SENDINGS:
                    raise ClusterError(
                        "network and images cannot be sent to the workers: they die or do not "
                        "answer; see their logs, and whether they have memory enough"
                    ) from error
                time.sleep(0.5)

    def submit(self, workload: Any, chips: Iterable[Chip], span: Span) -> Any:
        """The future of `Done` for these chips; `workload` is from `place`.

        Raises:
            ClusterError: The scheduler was lost.
        """
        key = f"nvmc-{uuid.uuid4().hex}"
        arguments = (workload, named(chips), span, versions())
        with self._asking():
            return self.client.submit(run_chips, *arguments, key=key, pure=False, retries=2)

    def gather(self, futures: dict[str, Any]) -> dict[str, Done | NvmcError | None]:
        """What came of futures that have ended well; nothing where that was lost since.

        Raises:
            ClusterError: The scheduler was lost.
        """
        with self._asking():
            try:  # what is lost at this moment is waited for, as long as there may be no worker
                return self._within(self._patience_s, self.client.gather, futures, errors="skip")
            except TimeoutError:
                return {}

    def cancel(self, futures: Sequence[Any]) -> None:
        """Take back what is not wanted any more."""
        with suppress(OSError, TimeoutError, CancelledError):
            if futures and self.client.status == "running":
                self.client.cancel(list(futures))

    def _within(self, timeout_s: float, ask: Callable[..., Any], *what: Any, **options: Any) -> Any:
        """What a method of the client answers: some wait for ever for a worker that died."""

        async def answer() -> Any:
            return await ask(*what, **options)  # in the client's own thread it is a coroutine

        return self.client.sync(answer, callback_timeout=timeout_s)

    @contextmanager
    def _asking(self) -> Generator[None]:
        """A block that asks the scheduler, which may go at any time."""
        try:
            if self.client.status != "running":
                raise CancelledError
            yield
        except (OSError, TimeoutError, CancelledError, AttributeError) as error:
            if isinstance(error, AttributeError) and self.client.status == "running":
                raise
            raise ClusterError(
                "the dask scheduler was lost; chips that were done are kept: start it again, and "
                "repeat the command"
            ) from error

    def _check(self, workers: Sequence[str]) -> None:
        """See that new workers have what is needed, in the same versions."""
        if not workers:
            return
        expected = versions()
        options = {"workers": list(workers), "on_error": "return"}
        try:
            answers = self._within(self._patience_s, self.client.run, versions, **options)
        except TimeoutError:
            return  # one of them died meanwhile; tasks look at the versions too
        for worker, found in answers.items():
            if isinstance(found, (OSError, TimeoutError)):
                continue  # it is gone already
            if isinstance(found, Exception):
                raise ClusterError(
                    f"worker {worker} cannot run nvmc ({type(found).__name__}: {found}); install "
                    f"nvmc[cluster] {expected['nvmc']} there, as here"
                )
            for name, here in expected.items():
                if found.get(name) != here:
                    raise ClusterError(
                        f"worker {worker} has {name} {found.get(name)} and here it is {here}, so "
                        "their numbers may differ; install the same on both"
                    )
            self._checked.add(worker)
