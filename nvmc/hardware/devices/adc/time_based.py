"""Time-based: the current becomes a time, which a line of delay cells measures."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices.adc.base import AdcKind, Curves, Share, Streams, drawn

__all__ = ["TimeBased"]


class TimeBased(AdcKind, frozen=True):
    """The code is how many delay cells a pulse has passed.

        edge k = r_0 / 2 + r_1 + ... + r_{k-1}        r_j = 1 + delay z_j

    Errors add up along the line: the variance of edge k is delay^2 (k - 3/4). The line is not tuned
    to a clock, so its last edge errs most; `gain` is the error of what turns a current into a time.

    Source: Roberts and Ali-Bakhshian, IEEE Trans. Circuits Syst. II 57(3), 2010.

    Attributes:
        delay: Relative standard deviation of one cell's delay.
    """

    type: Literal["time-based"] = "time-based"
    delay: Share = 0.0

    def own_curves(self, top: int, tiles: NDArray[np.intp], draws: Streams) -> Curves:
        """Of the delay lines."""
        cells = np.ones((len(tiles), top))
        if self.delay:
            cells += self.delay * drawn(draws, "delay", cells.shape)
        cells[:, 0] /= 2
        return self.plain(np.cumsum(cells, axis=1))
