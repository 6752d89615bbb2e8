"""Flash: a comparator for every edge, all at once."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices.adc.base import AdcKind, Curves, Share, Streams, drawn, ideal_edges
from nvmc.hardware.devices.numbers import Positive

__all__ = ["Flash"]


class Flash(AdcKind, frozen=True):
    """A ladder of resistors gives the references, and the comparators that fire are counted.

    With r_j = 1 + ladder z_j, the two end resistors halves of one, reference k of `top` is

        top (r_0 / 2 + r_1 + ... + r_{k-1}) / (r_0 / 2 + r_1 + ... + r_{top-1} + r_top / 2)

    and its comparator adds comparator z_k. Counting takes bubbles out of the thermometer code: the
    edges are the references in ascending order.

    Source: van de Plassche, CMOS Integrated Analog-to-Digital and Digital-to-Analog Converters,
    2nd edition, Kluwer 2003, chapter on high-speed converters; mismatch as Pelgrom et al., IEEE J.
    Solid-State Circuits 24(5), 1989.

    Attributes:
        comparator: Standard deviation of each comparator's offset, in LSB.
        ladder: Relative standard deviation of a unit resistor.
    """

    type: Literal["flash"] = "flash"
    comparator: Positive = 0.0
    ladder: Share = 0.0

    def own_curves(self, top: int, tiles: NDArray[np.intp], draws: Streams) -> Curves:
        """Of the ladder and the comparators."""
        count = len(tiles)
        edges = np.broadcast_to(ideal_edges(top), (count, top))
        if self.ladder:
            parts = 1 + self.ladder * drawn(draws, "ladder", (count, top + 1))
            parts[:, [0, -1]] /= 2
            sums = np.cumsum(parts, axis=1)
            edges = top * sums[:, :-1] / sums[:, -1:]
        if self.comparator:
            edges = edges + self.comparator * drawn(draws, "comparator", (count, top))
        return self.plain(np.sort(edges, axis=1))
