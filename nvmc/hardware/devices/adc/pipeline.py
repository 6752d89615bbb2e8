"""Pipeline: a stage for every bit but the last, each with parts of its own."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices.adc.base import Curves, Streams, drawn
from nvmc.hardware.devices.adc.stages import Staged

__all__ = ["Pipeline"]


class Pipeline(Staged, frozen=True):
    """Stages of a bit and a half (`stages`), whose capacitors and comparators are their own.

    Source: Lewis et al., IEEE J. Solid-State Circuits 27(3), 1992; behind crossbars Spear et al.,
    IEEE J. Exploratory Solid-State Computational Devices and Circuits, 2023.
    """

    type: Literal["pipeline"] = "pipeline"

    def own_curves(self, top: int, tiles: NDArray[np.intp], draws: Streams) -> Curves:
        """Of all stages."""
        bits = top.bit_length()
        capacitors = drawn(draws, "mismatch", (len(tiles), bits - 1, 2))
        offsets = drawn(draws, "comparator", (len(tiles), bits, 2))
        return self.stages(capacitors, offsets, bits).curves(top)
