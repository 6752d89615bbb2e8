"""What a run of chips takes of the memory, whether that is there, and how it is kept low.

A session holds a chip's weights once; while it is made it may pack them, beside those it was given,
or (`nvmc.runtime.layout` says where) lay them out anew, several copies of them. So such sessions of
large networks are made one after the other, and run side by side.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock

from nvmc import budget
from nvmc.arguments import checked
from nvmc.budget import memory_text, room
from nvmc.errors import OutOfMemoryError

__all__ = [
    "LARGE",
    "check_memory",
    "fitting_jobs",
    "lean",
    "making",
    "memory_limit",
    "needed",
    "too_little",
]

memory_limit = checked(budget.memory_limit)
"""`nvmc.budget.memory_limit` for people, whose arguments are checked."""

LARGE = 1 << 25
"""Bytes of weights in a session from which on memory is watched."""
FIRST, EACH = 2.7, 1.1
"""Times the weights that one chip takes at most, while its session is made or the network is laid
out, and that each chip beside it adds (`tests/benchmarks/bench_memory.py`)."""
FIRST_PLAIN, EACH_PLAIN = 3.7, 1.2
"""As `FIRST` and `EACH` where onnxruntime lays convolutions out for each chip, allocator `lean`."""
ROOMY = 2
"""Where there is less than so many times what is needed, the allocator gives back more slowly."""

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # mallopt(3)
_making = Lock()


def needed(weights: int, jobs: int, laid_out: bool = True) -> int:
    """Bytes that so many chips at once take.

    Args:
        weights: Bytes that the network's weights take.
        jobs: How many chips.
        laid_out: Whether the network is laid out once, or for each chip.
    """
    first, each = (FIRST, EACH) if laid_out else (FIRST_PLAIN, EACH_PLAIN)
    return int(weights * (first + each * (jobs - 1)))


def fitting_jobs(weights: int, wanted: int, laid_out: bool = True) -> int:
    """As many of the wanted chips at once as there is memory for, at least one."""
    there = room()
    if weights < LARGE or there is None:
        return wanted
    first, each = needed(weights, 1, laid_out), needed(weights, 2, laid_out)
    return max(1, min(wanted, 1 + (there - first) // (each - first)))


def check_memory(weights: int, jobs: int, laid_out: bool = True) -> None:
    """Complain where so many chips at once have no room; let the allocator be lean where needed.

    Raises:
        OutOfMemoryError: They have not.
    """
    there = room()
    if weights < LARGE or there is None:
        return
    wanted = needed(weights, jobs, laid_out)
    if wanted > there:
        raise OutOfMemoryError(too_little(weights, jobs, there, laid_out))
    lean(wanted * ROOMY > there)


def too_little(weights: int, jobs: int, there: int | None, laid_out: bool = True) -> str:
    """What is needed, what is there, and what to change."""
    found = "" if there is None else f", and {memory_text(there)} are available"
    if weights < LARGE:
        return f"there is too little memory{found}; try fewer --jobs or a smaller --batch"
    fewer = "fewer --jobs" if jobs > 1 else "a smaller network, or a machine with more memory"
    return (
        f"{f'{jobs} chips at once need' if jobs > 1 else 'a chip needs'} about "
        f"{memory_text(needed(weights, jobs, laid_out))} of memory{found}; try {fewer}"
    )


def lean(strict: bool) -> None:
    """Let glibc's allocator keep less of what was freed, for the rest of the process.

    All threads share one arena, so that one finds what another has freed. It changes no value, and
    nothing without glibc.

    Args:
        strict: Give every large block back at once too, which costs time: pages come anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_ARENA_MAX, 1)
    if strict:
        mallopt(_MMAP_THRESHOLD, 1 << 20)


@contextmanager
def making(weights: int) -> Generator[None]:
    """A block in which a session of so many bytes of weights is made: large ones one by one."""
    if weights < LARGE:
        yield
        return
    with _making:
        yield
