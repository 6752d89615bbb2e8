"""One BLAS thread wherever a product's bits must not depend on the machine's cores.

BLAS splits a product among its threads, and the order of summation with it. How many threads it
has is a property of the process: `single_threaded_blas` counts who asks for one, so blocks may be
nested and may overlap in any threads, and the last one to end restores what the first one found.
"""

from __future__ import annotations

from threading import Lock
from types import TracebackType
from typing import Any

import numpy as np  # noqa: F401 # pyright: ignore[reportUnusedImport] # brings its BLAS
import scipy.linalg  # noqa: F401 # pyright: ignore[reportUnusedImport] # brings another
from threadpoolctl import ThreadpoolController

__all__ = ["single_threaded_blas"]


class _Limit:
    """One BLAS thread from the first `__enter__` to the last `__exit__`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._libraries: list[Any] | None = None
        self._threads: list[int] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                if self._libraries is None:  # takes 10 ms; what follows takes microseconds
                    found: Any = ThreadpoolController().select(user_api="blas")
                    self._libraries = list(found.lib_controllers)
                self._threads = [library.num_threads for library in self._libraries]
                for library in self._libraries:
                    library.set_num_threads(1)
            self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for library, threads in zip(self._libraries or [], self._threads, strict=True):
                    library.set_num_threads(threads)


_LIMIT = _Limit()


def single_threaded_blas() -> _Limit:
    """What to compute in a `with` block of: BLAS has one thread for the whole process there."""
    return _LIMIT
