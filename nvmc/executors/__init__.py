"""Where chips are run: other processes, other machines, accelerators.

`WORKERS` names every kind of workers; a new one is a file here and a row there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from nvmc.errors import OptionError
from nvmc.evaluation.population import Executor, Threads
from nvmc.runtime.montecarlo import default_jobs

__all__ = ["WORKERS", "parse_accelerator", "parse_workers"]


def parse_workers(text: str) -> AbstractContextManager[Executor]:
    """What `text` names, such as `threads:4`, `processes:4` or `dask:tcp://host:8786`.

    Processes are started, and schedulers called, when the block is entered; all is closed at its
    end.

    Args:
        text: A kind in `WORKERS`, a colon, and how many or where.

    Raises:
        OptionError: There is no such kind, the number or address is wrong, or a package is missing.
        ClusterError: On entering: nothing answers there, or it cannot run this.
    """
    kind, _, rest = text.partition(":")
    if kind not in WORKERS:
        known = ", ".join(WORKERS)
        raise OptionError(
            f"workers is {text!r}; expected one of {known}, such as processes:4 or "
            "dask:tcp://HOST:8786"
        )
    return WORKERS[kind][1](text, rest)


def parse_accelerator(text: str, jobs: int | None = None) -> Executor:
    """What runs chips on `cuda` or `cuda:NUMBER`; `cpu` does the same more slowly.

    Args:
        text: The device, as torch names it.
        jobs: Threads that program chips; as many as there are cores by default.

    Raises:
        OptionError: torch is not installed, does not know the device or sees none of its kind.
    """
    try:
        from nvmc.executors.torch import TorchExecutor
    except ModuleNotFoundError as error:
        raise OptionError(
            f"accelerator {text!r} needs PyTorch, and there is no module {error.name!r}; "
            "`pip install 'nvmc[train]'` brings it"
        ) from error
    return TorchExecutor(text, jobs=jobs)


def _threads(text: str, rest: str) -> AbstractContextManager[Executor]:
    return nullcontext(Threads(_count(text, rest)))


def _processes(text: str, rest: str) -> AbstractContextManager[Executor]:
    count = _count(text, rest)
    _check_dask(text)
    from nvmc.executors.dask import local_processes

    return local_processes(count)


def _dask(text: str, rest: str) -> AbstractContextManager[Executor]:
    if not rest:
        raise OptionError(
            f"workers is {text!r}; expected the scheduler's address or file: dask:tcp://HOST:8786 "
            "or dask:FILE.json"
        )
    _check_dask(text)
    from nvmc.executors.dask import cluster_at

    return cluster_at(rest)


WORKERS: dict[str, tuple[str, Callable[[str, str], AbstractContextManager[Executor]]]] = {
    "threads": ("threads:N", _threads),
    "processes": ("processes:N", _processes),
    "dask": ("dask:ADDRESS", _dask),
}
"""Kind of workers -> how they are asked for, and what makes them of the whole text and of what
stands behind its colon."""


def _count(text: str, rest: str) -> int:
    """The number in `rest`; as many as there are cores where it is empty."""
    if not rest:
        return default_jobs()
    if not rest.isdecimal() or int(rest) < 1:
        kind = text.partition(":")[0]
        raise OptionError(f"workers is {text!r}; expected a number of at least 1, such as {kind}:4")
    return int(rest)


def _check_dask(text: str) -> None:
    try:
        import distributed  # noqa: F401 # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise OptionError(
            f"workers {text!r} need dask, and there is no module {error.name!r}; "
            "`pip install 'nvmc[cluster]'` brings it"
        ) from error
