"""How far the cells of a target leave a weight from its code, in the mean over chips.

Without a network and without data: of one code at a time, in code steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import NoiseSource, Target
from nvmc.hardware.devices.noise import Programming
from nvmc.hardware.devices.sources.own import Own
from nvmc.hardware.programming import cells_of
from nvmc.hardware.tiling import Place

__all__ = ["CodeErrors", "code_errors"]

Float = NDArray[np.float64]

_DRAWN = 1 << 18
"""Weights that are programmed where the error has no closed form."""
_ANALOG = 257
"""Steps of an analog weight at which its error is found; between them it is interpolated."""


@dataclass(frozen=True)
class CodeErrors:
    """Mean squared errors of a target's weights over chips.

    Attributes:
        steps: Codes in ascending order; steps from one end of its range to the other where weights
            are analog.
        squared: E[(W_p - s q)^2] / s^2 at each of them.
        exact: Whether that is a closed form (TRICE, Eq. 14), or was found by drawing cells.
    """

    steps: Float
    squared: Float
    exact: bool

    def of(self, steps: Float) -> Float:
        """The squared errors of weights, in code steps."""
        return np.interp(steps, self.steps, self.squared)


def code_errors(target: Target, sigma: float | None = None) -> CodeErrors:
    """The mean squared error of every code of a target, as arrays that are read-only.

    For programming errors alone, s^2 (sum_p c_p^2 sigma(g_p)^2 + (sum_p c_p b(g_p))^2) with the
    spread and mean error of each cell (TRICE, Eq. 14; docs/physics.md). With any other source, with
    write-verify, clipped levels or levels that are not evenly spaced, cells are drawn: some
    thousand of each code, always the same. It is found once per process, but for laws of one's own.

    Args:
        target: The cells; `layers` of it are not asked.
        sigma: Strength of the device's noise; None for its own.

    Raises:
        OptionError: The device needs a sigma, or cannot be used so.
    """
    target = target.model_copy(update={"layers": ()})
    own = any(isinstance(source, Own) for source in target.device.noise)
    return _found(target, sigma) if own else _known(target, sigma)


@lru_cache(maxsize=64)
def _known(target: Target, sigma: float | None) -> CodeErrors:
    return _found(target, sigma)


def _found(target: Target, sigma: float | None) -> CodeErrors:
    top = target.layout.highest_target if target.weight_bits is None else 2**target.weight_bits - 1
    if target.weight_bits is None:
        steps = np.linspace(-top, top, _ANALOG)
    elif target.layout.binary:
        steps = np.array([-1.0, 1.0])
    else:
        steps = np.arange(-top, top + 1, dtype=np.float64)
    chip = Chip.of(target, 0, 0, sigma)
    active = [source for source in chip.sources if source.active]
    exact = not chip.clip and target.places is None and all(map(_is_plain, active))
    squared = _closed(target, steps, active, chip) if exact else _drawn(target, steps, chip)
    for values in (steps, squared):
        values.setflags(write=False)
    return CodeErrors(steps, squared, exact)


def _is_plain(source: NoiseSource) -> bool:
    return isinstance(source, Programming) and not source.verified


def _closed(target: Target, steps: Float, sources: list[NoiseSource], chip: Chip) -> Float:
    cells = cells_of(target, steps.astype(np.float32), np.ones((), np.float32))
    cells = replace(cells, time_s=chip.time_s)
    weights = target.layout.coefficients.astype(np.float64)[:, None]
    variance, mean = np.zeros(steps.shape), np.zeros(steps.shape)
    for source in sources:
        assert isinstance(source, Programming)
        shape = (len(weights), *steps.shape)
        spread = np.broadcast_to(np.asarray(source.spread(cells), np.float64), shape)
        variance += np.sum(np.square(weights * spread), axis=0)
        shift: Any = source.shift(cells)
        if shift is not None:
            mean += np.sum(weights * np.broadcast_to(shift, shape), axis=0)
    return variance + np.square(mean)


def _drawn(target: Target, steps: Float, chip: Chip) -> Float:
    count = max(1, _DRAWN // len(steps))
    kind = np.float32 if target.weight_bits is None else np.int32
    codes = np.repeat(steps.astype(kind)[:, None], count, axis=1)
    place = Place("CrossbarMatMul")
    array = Array("expected-error", codes, np.ones((), np.float32), target, place)
    found = chip.weights(array).astype(np.float64)
    return np.mean(np.square(found - codes), axis=1)
