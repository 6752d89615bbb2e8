"""drift: one digital factor per array, from reads of all its cells now and when it was new."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.compensation.base import Compensation, Corrected, Needs, conversions_of
from nvmc.hardware.devices import Device
from nvmc.hardware.devices.numbers import Positive
from nvmc.rng import Draw

__all__ = ["Drift"]


class Drift(Compensation, frozen=True):
    """Global drift compensation: an array's results times S(t0) / S(t).

    S(t) is the sum of the conductances of all the array's cells at time t, every cell counted with
    what its plane counts for (2^iB). A chip finds it by one read of each column with all rows
    driven, the polarities by themselves. On a pure power law, g(t) = g(t0) (t/t0)^(-nu) with one
    nu for all cells, the factor is (t/t0)^nu and restores every weight. The read of S is as noisy
    as reads of the device are: one read at each time, its noise drawn from streams of its own.

    Source: Joshi et al., Nature Communications 11, 2473 (2020), "global drift compensation"; Le
    Gallo et al., IEEE Trans. Electron Devices 65, 4304 (2018). As aihwkit's
    `GlobalDriftCompensation`, which reads row by row and takes the mean magnitude.

    Attributes:
        since_s: t0 in seconds since programming; by default the device's own time (`time_s`), or
            right after programming where it states none. A chip that is younger is not corrected.
    """

    title: ClassVar[str] = "one digital factor per array, from a reference read"
    source: ClassVar[str] = "Joshi et al., Nature Communications 11, 2473 (2020)"
    type: Literal["drift"] = "drift"
    since_s: Positive | None = None

    def settled(self, device: Device) -> Self:
        """Itself with the device's own time as t0.

        Raises:
            OptionError: No cell of the device changes with time.
        """
        if not any(source.timed and source.acts_in == "cell" for source in device.noise):
            raise OptionError(
                f"--compensate drift: device {device.name!r} has no noise source by which cells "
                "change with time; leave drift out, or add one such as --noise retention"
            )
        if self.since_s is not None:
            return self
        return self.model_copy(update={"since_s": device.time_s or 0.0})

    def needs(self, arrays: Sequence[Array], corrected: Corrected) -> Needs:
        """Two reads of every column; a factor and the first sum per array."""
        del corrected
        return Needs(
            reads=2 * conversions_of(arrays),
            multipliers=len(arrays),
            parameters=2 * len(arrays),
            references=len(arrays),
        )

    def factor(self, chip: Chip, new: Chip, array: Array) -> float:
        """What the results of `array` are multiplied by.

        Args:
            chip: The chip as it is now.
            new: The same chip at t0.
            array: The array.

        Returns:
            S(t0) / S(t), a number of float32; 1 where either is no positive number.
        """
        before = _sum(new, array, "reference")
        now = _sum(chip, array, "present")
        if not (before > 0 and now > 0 and math.isfinite(before) and math.isfinite(now)):
            return 1.0
        factor = float(np.float32(before / now))
        return factor if 0 < factor < math.inf else 1.0


def _sum(chip: Chip, array: Array, name: str) -> float:
    """S of an array in level steps, with the noise of one read; summed in float64."""
    levels = chip.program(array).levels
    read = None if chip.index is None else chip.read(array, levels)
    levels, spread = (levels, None) if read is None else read
    counts = np.abs(array.layout.coefficients.astype(np.float64))
    sums = levels.reshape(len(levels), -1).sum(axis=1, dtype=np.float64)
    total = float(counts @ (sums + array.target.off_level * array.codes.size))
    if spread is None or chip.index is None:
        return total
    squares = np.square(spread, dtype=np.float64).reshape(len(levels), -1).sum(axis=1)
    draw = Draw(chip.seed, chip.index, array.name, "read", f"drift, {name}")
    return total + math.sqrt(float(np.square(counts) @ squares)) * float(draw.normal((1,))[0])
