"""select: the best of several programmed copies of every array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nvmc.hardware.chip import Array
from nvmc.hardware.compensation.base import Compensation, Corrected, Needs, cells_in

__all__ = ["MOST_COPIES", "Select"]

MOST_COPIES = 1000


class Select(Compensation, frozen=True):
    """Every array is programmed several times, and the copy nearest to its codes is used.

    The copies are cells of their own, which differ in all noise but what a whole chip shares.
    Each is read out once it is programmed, without an error of the read, and compared with the
    codes: the least sum of squared errors of the weights counts, the first of equals. No image is
    needed. Copy 0 is the chip without compensation.

    Attributes:
        copies: How many, 1 to 1000.
    """

    title: ClassVar[str] = "the best of several programmed copies of each array"
    source: ClassVar[str] = "order statistics of independent copies; no paper is followed"
    type: Literal["select"] = "select"
    copies: Annotated[int, Field(ge=1, le=MOST_COPIES, strict=True)] = 4

    def needs(self, arrays: Sequence[Array], corrected: Corrected) -> Needs:
        """All cells of the further copies; every cell of all copies is read once."""
        del corrected
        cells = cells_in(arrays)
        more = (self.copies - 1) * cells
        reads = self.copies * cells if self.copies > 1 else 0
        return Needs(reads=reads, writes=more, cells=more, parameters=len(arrays))
