"""One BLAS thread wherever a product's bits must not depend on the machine's cores.

BLAS splits a product among its threads, and the order of summation with it. How many threads it
has is a property of the process, or, where OpenBLAS is built on OpenMP, of the thread that calls
it. `single_threaded_blas` counts who asks for one, so blocks may be nested and may overlap in any
threads, and the last one to end restores what the first one found.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import numpy as np  # noqa: F401 # pyright: ignore[reportUnusedImport] # brings its BLAS
import scipy.linalg  # noqa: F401 # pyright: ignore[reportUnusedImport] # brings another
from threadpoolctl import ThreadpoolController

__all__ = ["single_threaded_blas"]


class _Libraries:
    """BLAS libraries that have one thread from the first `enter` to the last `leave`."""

    def __init__(self, libraries: list[Any]) -> None:
        self._libraries = libraries
        self._inside = 0
        self._before: list[int] = []

    def enter(self) -> None:
        if not self._inside:
            self._before = [library.num_threads for library in self._libraries]
            for library in self._libraries:
                _set_threads(library, 1)
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            for library, count in zip(self._libraries, self._before, strict=True):
                _set_threads(library, count)


def _set_threads(library: Any, count: int) -> None:
    """Set them from any thread: by itself threadpoolctl (3.8) lets only the first one that did."""
    if library.num_threads == count:
        return
    let_go: Any = getattr(library, "clear_controlling_thread", lambda force=True: None)
    let_go(force=True)
    library.set_num_threads(count)
    let_go(force=True)


class _Limit:
    """One thread for the libraries that all threads share, and for those of the calling thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: _Libraries | None = None
        self._of_each: list[Any] = []
        self._thread = threading.local()

    def __enter__(self) -> None:
        with self._lock:
            if self._shared is None:  # this takes 10 ms; what follows takes microseconds
                found: Any = ThreadpoolController().select(user_api="blas")
                libraries: list[Any] = found.lib_controllers
                self._of_each = [library for library in libraries if _is_of_each_thread(library)]
                self._shared = _Libraries([x for x in libraries if not _is_of_each_thread(x)])
            self._shared.enter()
        self._own().enter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._own().leave()
        with self._lock:
            if self._shared is not None:
                self._shared.leave()

    def _own(self) -> _Libraries:
        if not hasattr(self._thread, "libraries"):
            self._thread.libraries = _Libraries(self._of_each)
        return self._thread.libraries


def _is_of_each_thread(library: Any) -> bool:
    return library.internal_api == "openblas" and library.threading_layer == "openmp"


_LIMIT = _Limit()


def single_threaded_blas() -> _Limit:
    """What to compute in a `with` block of: BLAS has one thread there.

    Other threads that compute beside it should enter blocks of their own.
    """
    return _LIMIT
