"""Ramp: all columns of a tile are compared with one slope, a code a step."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices.adc.base import AdcKind, Curves, Share, Streams, drawn, ideal_edges
from nvmc.hardware.devices.numbers import Positive

__all__ = ["Ramp"]


class Ramp(AdcKind, frozen=True):
    """A counter runs until the ramp of the tile has reached the column's current.

        edge k = (k - 1/2) (1 + slope z_tile) + curvature z_tile 4 x (1 - x) + comparator z

    with x = (k - 1/2) / top. Slope and curvature are the tile's: all of its columns have the same.
    The comparator is the converter's own.

    Source: the architecture of Spear et al., IEEE J. Exploratory Solid-State Computational Devices
    and Circuits, 2023: one ramp for an array, one comparator a column; there the ramp comes from a
    capacitive DAC, here from an integrator.

    Attributes:
        slope: Relative standard deviation of the slope of a tile's ramp.
        curvature: Standard deviation of how far it is bent in the middle, in LSB.
        comparator: Standard deviation of each comparator's offset, in LSB.
    """

    type: Literal["ramp"] = "ramp"
    slope: Share = 0.0
    curvature: Positive = 0.0
    comparator: Positive = 0.0

    def own_curves(self, top: int, tiles: NDArray[np.intp], draws: Streams) -> Curves:
        """Of the tiles' ramps and the comparators."""
        first, number = np.unique(tiles, return_inverse=True)
        ideal, count = ideal_edges(top), (len(first), 1)
        edges: Any = np.broadcast_to(ideal, (len(tiles), top))
        if self.slope:
            edges = edges * (1 + self.slope * drawn(draws, "slope", count)[number])
        if self.curvature:
            x = ideal / top
            edges = edges + self.curvature * drawn(draws, "curvature", count)[number] * (
                4 * x * (1 - x)
            )
        if self.comparator:
            edges = edges + self.comparator * drawn(draws, "comparator", (len(tiles), 1))
        return self.plain(np.maximum.accumulate(edges, axis=1))
