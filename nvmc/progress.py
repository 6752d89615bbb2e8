"""What long functions say of how far they are: in place in a notebook, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

__all__ = ["LINE_EVERY_S", "Progress"]

LINE_EVERY_S = 30.0
"""Seconds between lines on standard error."""
NOTEBOOK_EVERY_S = 0.5
"""Seconds between two sights of a notebook's line; the first comes after as many."""


class Progress:
    """Tells how many of something are done; may be called from any thread.

    Nothing is said of what takes less time than one of the two intervals.

    Args:
        label: What is counted.
        total: How many there are.
        clock: Seconds since anything.
    """

    def __init__(
        self, label: str, total: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label, self._total, self._clock = label, total, clock
        self._begun = self._last = clock()
        self._done = 0.0
        self._lock = Lock()
        self._display = _notebook()
        self._shown: Any = None

    def one(self, *about: Any) -> None:
        """One more is done, whatever is said of it."""
        with self._lock:
            self._done += 1
            self._say()

    def tell(self, done: float, total: float) -> None:
        """So many are done, of so many."""
        with self._lock:
            self._done, self._total = done, total
            self._say()

    def _say(self) -> None:
        now, ended = self._clock(), self._done >= self._total
        every = LINE_EVERY_S if self._display is None else NOTEBOOK_EVERY_S
        if now - self._last < every and not (ended and self._shown is not None):
            return
        self._last = now
        so_far = f"{self._done:,.0f} of {self._total:,.0f} after {now - self._begun:,.0f} s"
        text = f"nvmc: {self._label}: {so_far}"
        if self._display is None:
            if sys.stderr:  # None where the caller closed it
                print(text, file=sys.stderr, flush=True)
        elif self._shown is None:
            self._shown = self._display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._shown.update({"text/plain": text}, raw=True)


def _notebook() -> Any:
    """IPython's `display`, where this runs in a notebook's kernel; else None."""
    ipython: Any = sys.modules.get("IPython")
    if ipython is None:
        return None
    shell = ipython.get_ipython()
    if type(shell).__name__ != "ZMQInteractiveShell":
        return None
    return ipython.display.display
