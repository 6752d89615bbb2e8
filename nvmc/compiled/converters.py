"""How much of its ADCs' ranges an array uses: a row of the manifest."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nvmc.compiled.work import Entry

__all__ = ["HALF", "AdcCodes"]

HALF = 0.5
"""Share of the codes below which a range is called wasteful."""

Share = Annotated[float, Field(ge=0, le=1)]


class AdcCodes(Entry):
    """Which of its ADCs' codes an array reaches, its cells being on target.

    Attributes:
        reachable: Share of the codes that any inputs can bring about, by the weights alone: every
            row driven to the full where a column conducts with one sign.
        seen: Share between the lowest and the highest code seen on calibration images; null
            where that was not looked at.
        images: How many images.
    """

    reachable: Share
    seen: Share | None = None
    images: Annotated[int, Field(ge=0)] = 0

    @property
    def wasteful(self) -> bool:
        """Whether more than half of the codes are of no use."""
        return min(self.reachable, 1.0 if self.seen is None else self.seen) < HALF
