"""How much memory may be taken, asked before anything is built whose size is known.

That is what the machine, its control group and the limits of the process leave, or what
`memory_limit` allows (`--max-memory` on the command line). Files come from strangers: a hundred
bytes can ask for gigabytes.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from nvmc.errors import OptionError, OutOfMemoryError

__all__ = [
    "allocation_failed",
    "available",
    "check_room",
    "memory_limit",
    "memory_text",
    "parse_memory",
    "room",
]

WATCHED = 1 << 24
"""Bytes below which nobody asks the machine."""

_FAILED = re.compile(r"bad_?alloc|failed to allocate|out of memory|cannot allocate", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_NAMES = ("kB", "MB", "GB", "TB", "PB", "EB")

_allowed: ContextVar[int | None] = ContextVar("allowed", default=None)


@contextmanager
def memory_limit(most: int | str | None) -> Generator[None]:
    """A block in which what is built may take so much memory; None leaves the limit as it is.

    Args:
        most: Bytes, or a text such as `4G`, `500M` or `2GiB`.

    Raises:
        OptionError: It is no amount of memory.
    """
    before = _allowed.get()
    token = _allowed.set(before if most is None else parse_memory(most))
    try:
        yield
    finally:
        _allowed.reset(token)


def parse_memory(most: int | str) -> int:
    """Bytes, from a number or a text such as `4G` (4 000 000 000), `500MB` or `2GiB`.

    Raises:
        OptionError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?)B?", str(most).strip(), re.IGNORECASE)
    unit = "" if found is None else found[2].capitalize()
    size = 0 if found is None else int(float(found[1]) * {**_UNITS, **_BINARY}.get(unit, 0))
    if size < 1:
        raise OptionError(f"max-memory is {most!r}; expected bytes such as 500M, 4G or 2GiB")
    return size


def room(root: Path = Path("/")) -> int | None:
    """Bytes that may be taken: what is allowed, or else what is available; None if not known."""
    allowed = _allowed.get()
    return available(root) if allowed is None else allowed


def check_room(what: str, size: int) -> None:
    """Complain where something that is to be built is larger than what may be taken.

    Args:
        what: What it is, to begin a sentence with.
        size: Its bytes; of several things, of all together.

    Raises:
        OutOfMemoryError: It is larger.
    """
    allowed = _allowed.get()
    if allowed is None and size <= WATCHED:
        return
    most = room()
    if most is None or size <= most:
        return
    there = f"{memory_text(most)} are {'available' if allowed is None else 'allowed'}"
    raise OutOfMemoryError(
        f"{what} would take {memory_text(size)} of memory, but {there}; ask for less, or allow "
        "more with --max-memory"
    )


def available(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take: of the machine, its control group and its limits.

    Args:
        root: Where /proc and /sys are.
    """
    return min(_found(root), default=None)


def memory_text(size: float) -> str:
    """An amount of memory for people: `12 MB`, `0.5 GB`."""
    name, value = _NAMES[0], size / 1000
    for larger in _NAMES[1:]:
        if value < (100 if name == "MB" else 1000):
            break
        name, value = larger, value / 1000
    return f"{value:,.0f} {name}" if name in ("kB", "MB") else f"{value:,.1f} {name}"


def allocation_failed(error: BaseException | None) -> bool:
    """Whether an error, or one that it comes from, says that there was no memory."""
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        if isinstance(error, MemoryError) or _FAILED.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _found(root: Path) -> Iterator[int]:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    groups = root / "sys/fs/cgroup"
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit, taken = _read(groups / most).strip(), _read(groups / used).strip()
        if limit.isdecimal() and taken.isdecimal():
            yield max(0, int(limit) - int(taken))
    addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
    if addresses != resource.RLIM_INFINITY:
        pages = (_read(root / "proc/self/statm").split() or ["0"])[0]
        yield max(0, addresses - int(pages) * resource.getpagesize())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
