"""Conductances that memory cells have: a number beyond them is in another unit."""

from __future__ import annotations

__all__ = ["implausible"]

PLAUSIBLE_US = (1e-3, 2e4)
"""Highest conductances that memory cells have, from tunnel junctions to shorted filaments: 1 nS to
20 mS. Cells of 1 to 1,000 µS given in siemens lie below, and those above 20 µS in nS above."""


def implausible(highest_us: float) -> str | None:
    """What was expected instead of a cell's highest conductance, where no cell has such a one."""
    low, high = PLAUSIBLE_US
    if low <= highest_us <= high:
        return None
    return f"{low:g} to {high:g} µS, as memory cells conduct"
