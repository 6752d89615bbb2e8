"""What may be taken of the memory is known, said, and never silently exceeded."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

import nvmc
from nvmc.budget import (
    allocation_failed,
    available,
    check_room,
    memory_limit,
    memory_text,
    parse_memory,
    room,
)
from nvmc.errors import ModelError, OptionError, OutOfMemoryError

GB = 10**9


def test_the_least_of_machine_and_group_and_limit_is_available(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert available(tmp_path) is None
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert available(tmp_path) == 4000 * 1024
    write("sys/fs/cgroup/memory.max", "max\n")
    write("sys/fs/cgroup/memory.current", "1000\n")
    assert available(tmp_path) == 4000 * 1024
    write("sys/fs/cgroup/memory.max", "3000\n")
    assert available(tmp_path) == 2000
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "500\n")
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "700\n")
    assert available(tmp_path) == 0


def test_a_limit_of_addresses_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("100 50 10\n")
    page = resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (300 * page, 300 * page))  # pyright: ignore
    assert available(tmp_path) == 200 * page


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 * GB), ("1.5GB", 3 * GB // 2), ("2GiB", 2 << 30), ("500m", 500_000_000), ("12", 12),
     (7, 7), ("1 T", 1000 * GB), ("3Ki", 3072)],
)  # fmt: skip
def test_amounts_of_memory(text: str | int, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "4X", "G", "1e9", "0.1", "4 G G"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(OptionError, match="expected bytes such as 500M, 4G or 2GiB"):
        parse_memory(text)


def test_what_does_not_fit_is_refused() -> None:
    with nvmc.memory_limit("1G"):
        check_room("a weight", GB)
        with pytest.raises(OutOfMemoryError) as caught:
            check_room("a weight", 2 * GB)
        with memory_limit("3G"):
            check_room("a weight", 2 * GB)
        with memory_limit(None):
            assert room() == GB
    assert str(caught.value) == (
        "a weight would take 2.0 GB of memory, but 1.0 GB are allowed; ask for less, or allow more "
        "with --max-memory"
    )
    with pytest.raises(OutOfMemoryError, match="a weight would take 1,000,000.0 EB of memory, but"):
        check_room("a weight", 10**24)


def test_amounts_for_people() -> None:
    sizes = [0, 999, 4500, 99 * 10**6, 10**8, 999 * GB, 10**12]
    texts = ["0 kB", "1 kB", "4 kB", "99 MB", "0.1 GB", "999.0 GB", "1.0 TB"]
    assert [memory_text(size) for size in sizes] == texts


def test_what_says_that_there_was_no_memory() -> None:
    def raised(inner: Exception) -> Exception:
        try:
            try:
                raise inner
            except Exception as error:
                raise ModelError("the model is damaged") from error
        except ModelError as outer:
            return outer

    for error in (MemoryError(), RuntimeError("std::bad_alloc"), OSError("Cannot allocate memory")):
        assert allocation_failed(error)
        assert allocation_failed(raised(error))
    assert not allocation_failed(raised(ValueError("no")))
    assert not allocation_failed(None)
