"""scipy.special, imported where it is first called.

Its import takes as long as a short command, and most commands draw no interval.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from scipy import special

    return getattr(special, name)
