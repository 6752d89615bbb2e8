"""Nothing leaks: not a call, not a failing call, not a session."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
from provider.networks import batch, codes_of, fefet, network
from provider.standins import stand_in

from nvmc.runtime.provider import make_session
from nvmc.runtime.provider.session import ProviderSession

CALLS = 10_000
SESSIONS = 200


def model_of(side: int) -> bytes:
    """One MatMul whose weights take side * side * 4 bytes when programmed."""
    constants = {"w_codes": codes_of((side, side)), "w_scale": np.float32(0.5).reshape(())}
    text = f"""g (float[N, {side}] x) => (float[N, {side}] y)
        {{ [dense] y = nvmc.MatMul <arrays = ["w"]> (x, w_codes, w_scale) }}"""
    return network(text, constants, fefet(), functions=("MatMul",))


def growth(work: Callable[[], Any], times: int) -> tuple[int, int]:
    """Blocks of Python memory, and bytes of the process, that `times` calls leave behind."""
    process = psutil.Process()
    gc.collect()
    blocks, resident = sys.getallocatedblocks(), process.memory_info().rss
    for _ in range(times):
        work()
    gc.collect()
    return sys.getallocatedblocks() - blocks, process.memory_info().rss - resident


def check_calls(work: Callable[[], Any]) -> None:
    for _ in range(CALLS // 10):  # caches and allocators settle
        work()
    blocks, resident = growth(work, CALLS)
    # One Python object left behind in each call would be CALLS blocks.
    assert blocks < CALLS / 10
    # The smallest thing that the native half handles, a tensor's type with its shape, takes more
    # than 64 bytes; left behind in each call it would be CALLS * 64 bytes.
    assert resident < CALLS * 64


def test_calls_do_not_leak():
    session = make_session(model_of(8))
    feeds = {"x": batch(4, 8)}
    check_calls(lambda: session.run(None, feeds))


def test_failing_calls_do_not_leak(monkeypatch: pytest.MonkeyPatch):
    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        raise ValueError("no")

    stand_in(monkeypatch, "MatMul", kernel)
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

    for _ in range(SESSIONS):
        work()
    blocks, resident = growth(work, SESSIONS)
    # A session's Python half is more than 10 objects, its weights are side * side * 4 bytes.
    assert blocks < SESSIONS * 10
    assert resident < SESSIONS * side * side * 4 / 10
    assert not [o for o in gc.get_objects() if isinstance(o, ProviderSession)]
