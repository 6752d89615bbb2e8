"""Nothing leaks: not a call, not a failing call, not a session."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nvmc.runtime.provider import make_session
from nvmc.runtime.provider.session import ProviderSession
from provider_networks import batch, codes_of, fefet, network
from provider_standins import stand_in

CALLS = 5_000
SESSIONS = 200


def model_of(side: int) -> bytes:
    """One MatMul whose weights take side * side * 4 bytes when programmed."""
    constants = {"w_codes": codes_of((side, side)), "w_scale": np.float32(0.5).reshape(())}
    text = f"""g (float[N, {side}] x) => (float[N, {side}] y)
        {{ [dense] y = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale) }}"""
    return network(text, constants, fefet(), functions=("CrossbarMatMul",))


class MallocInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`, as in its manual page."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")
        + ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


def memory() -> tuple[int, int]:
    """Blocks that Python has allocated, and bytes in use from malloc, in heaps and mappings.

    Unlike the resident size, malloc's own count neither grows while a heap spreads nor hides a
    leak that goes into pages the process has already.
    """
    gc.collect()
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = MallocInfo
    info = library.mallinfo2()
    return sys.getallocatedblocks(), info.uordblks + info.hblkhd


def check_no_leak(work: Callable[[], Any], times: int, blocks: int, size: int) -> None:
    """Fail where every one of four rounds leaves more than the bounds behind.

    Caches fill in some rounds; a leak grows in all of them.
    """
    rounds: list[tuple[int, int]] = []
    for _ in range(4):
        before = memory()
        for _ in range(times):
            work()
        after = memory()
        rounds.append((after[0] - before[0], after[1] - before[1]))
        if rounds[-1][0] < blocks and rounds[-1][1] < size:
            return
    pytest.fail(f"(blocks, bytes) left by each round: {rounds}; allowed {blocks}, {size}")


def check_calls(work: Callable[[], Any]) -> None:
    # One Python object left behind in each call would be CALLS blocks. The smallest thing that the
    # native half handles, a tensor's type with its shape, takes more than 64 bytes.
    check_no_leak(work, CALLS, CALLS // 10, CALLS * 64)


@pytest.mark.parametrize("leak", ["python", "native"])
@pytest.mark.slow
def test_the_check_sees_a_leak(leak: str):
    kept: list[Any] = []
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    work = (lambda: kept.append(object())) if leak == "python" else (lambda: library.malloc(72))
    with pytest.raises(pytest.fail.Exception, match="left by each round"):
        check_calls(work)


@pytest.mark.slow
def test_calls_do_not_leak():
    session = make_session(model_of(8))
    feeds = {"x": batch(4, 8)}
    check_calls(lambda: session.run(None, feeds))


@pytest.mark.slow
def test_failing_calls_do_not_leak(monkeypatch: pytest.MonkeyPatch):
    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        raise ValueError("no")

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    session = make_session(model_of(8))
    session.disable_fallback()
    feeds = {"x": batch(4, 8)}

    def work() -> None:
        with pytest.raises(Exception, match="ValueError: no"):
            session._sess.run(["y"], feeds, None)

    check_calls(work)


def test_sessions_do_not_leak():
    side = 256
    model = model_of(side)
    feeds = {"x": batch(4, side)}

    def work() -> None:
        make_session(model).run(None, feeds)

    before = alive()  # of other tests in this process
    # A session's Python half is more than 10 objects, its weights are side * side * 4 bytes.
    check_no_leak(work, SESSIONS, SESSIONS * 10, SESSIONS * side * side * 4 // 10)
    assert alive() <= before


def alive() -> int:
    """How many sessions' Python halves there are."""
    gc.collect()
    return sum(type(o) is ProviderSession for o in gc.get_objects())
