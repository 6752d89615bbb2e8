"""scipy.special, imported where it is first called.

Its import takes as long as a short command, and most commands draw no interval.
"""

from __future__ import annotations

from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    from scipy import special

    return getattr(special, name)
