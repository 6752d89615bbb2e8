"""One BLAS thread in blocks that are nested, overlap, or end by an error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, get_ident
from types import SimpleNamespace
from typing import Any

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from nvmc.runtime import blas
from nvmc.runtime.blas import single_threaded_blas


def threads() -> set[int]:
    """What NumPy's and SciPy's BLAS have."""
    found: Any = ThreadpoolController().select(user_api="blas")
    return {library.num_threads for library in found.lib_controllers}


@pytest.fixture(autouse=True)
def three() -> Iterator[None]:
    with threadpool_limits(3, "blas"):
        yield


def test_it_is_one_inside_and_as_before_behind() -> None:
    assert threads() == {3}
    with single_threaded_blas():
        with single_threaded_blas():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == {3}


def test_it_is_as_before_behind_an_error() -> None:
    with pytest.raises(ValueError, match="inside"), single_threaded_blas():
        raise ValueError("inside")
    assert threads() == {3}


def test_the_last_of_overlapping_blocks_restores() -> None:
    """Two threads, the one that came first ends first."""
    step = Barrier(2)

    def first() -> None:
        with single_threaded_blas():
            step.wait()
            step.wait()  # the other is inside

    def second() -> set[int]:
        step.wait()
        with single_threaded_blas():
            step.wait()
            one.result()
            return threads()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert pool.submit(second).result() == {1}
    assert threads() == {3}


class PerThread:
    """An OpenBLAS built on OpenMP, whose number of threads is the calling thread's."""

    internal_api, threading_layer = "openblas", "openmp"

    def __init__(self) -> None:
        self.of = defaultdict[int, int](lambda: 3)

    @property
    def num_threads(self) -> int:
        return self.of[get_ident()]

    def set_num_threads(self, count: int) -> None:
        self.of[get_ident()] = count


def test_every_thread_has_its_own_where_blas_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    library = PerThread()
    found = SimpleNamespace(select=lambda user_api: SimpleNamespace(lib_controllers=[library]))
    monkeypatch.setattr(blas, "ThreadpoolController", lambda: found)
    monkeypatch.setattr(blas, "_LIMIT", blas._Limit())

    def inside() -> int:
        with single_threaded_blas():
            return library.num_threads

    with ThreadPoolExecutor(1) as pool, single_threaded_blas():
        assert library.num_threads == 1
        assert pool.submit(inside).result() == 1
        assert pool.submit(lambda: library.num_threads).result() == 3
    assert library.num_threads == 3
