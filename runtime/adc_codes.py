"""How much of their ADCs' ranges arrays use: by their weights, and on images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.converters import AdcCodes
from nvmc.hardware.chip import Array, Chip
from nvmc.runtime.calibration import run_in_batches
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Pulse
from nvmc.runtime.crossbar.operand import CircuitOperand
from nvmc.runtime.montecarlo import Feed
from nvmc.runtime.provider import make_session, observe_arrays

__all__ = ["IMAGES", "adc_codes", "reachable_codes"]

IMAGES = 16
"""Images on which codes are looked at: to see that most are never used, a few are enough."""

Real = NDArray[np.floating[Any]]


def adc_codes(
    arrays: Iterable[Array], images: Feed | None, model: Callable[[], bytes]
) -> dict[str, AdcCodes]:
    """What every array uses of its ADCs' codes; nothing of arrays without ADC.

    Images are run only where the weights do not tell that codes are wasted, and where the ranges
    are not those that calibration found.

    Args:
        arrays: The arrays, each with its target and place.
        images: What the network is fed; None where there are no data.
        model: Gives the compiled network, behind its periphery, as the bytes of its file.

    Raises:
        DataError, ModelError: The images do not fit the network, or it does not run.
    """
    found: dict[str, AdcCodes] = {}
    calibrated = False
    for array in arrays:
        calibrated = calibrated or array.target.periphery.adc_calibrated
        share = reachable_codes(array)
        if share is not None:
            found[array.name] = AdcCodes(reachable=share)
    if images is None or not found or calibrated or all(one.wasteful for one in found.values()):
        return found
    count = min(IMAGES, len(images))
    some = Feed({name: values[:count] for name, values in images.inputs.items()})
    for name, seen in _seen(model(), some).items():
        if name in found:
            found[name] = found[name].model_copy(update={"seen": seen, "images": count})
    return found


def reachable_codes(array: Array) -> float | None:
    """Share of its ADCs' codes that an array's currents can reach; None without ADC or place.

    Inputs drive rows with 0 to the largest pulse, so a column's current is largest where all rows
    are driven fully on which it conducts with one sign:

        I_max = drive sum_r max(g_r, 0)     I_min = drive sum_r min(g_r, 0)

    Bipolar inputs drive them with either sign: I_max = drive sum_r |g_r| = -I_min.

    Cost: memory for the array's matrices.
    """
    periphery, place = array.target.periphery, array.place
    if periphery.adc_bits is None or place is None:
        return None
    chip = Chip.ideal()
    circuit = CircuitOperand(array, chip.program(array), chip).circuit(place)
    low, high, available = 0, 0, 1
    dac = circuit.dac
    drive = sum(most * weight for most, weight in dac.converted)
    for block, adc in zip(circuit.blocks, circuit.adcs, strict=True):
        parts = [np.maximum(block.currents, 0), np.minimum(block.currents, 0)]
        if dac.bipolar:
            parts = [np.abs(block.currents), -np.abs(block.currents)]
        up, down = (adc.in_steps(part.sum(axis=1, keepdims=True) * drive) for part in parts)
        low = min(low, max(adc.low, round(float(down.min(initial=0)))))
        high = max(high, min(adc.high, round(float(up.max(initial=0)))))
        available = adc.high - adc.low + 1
    return (high - low + 1) / available


class _Ends:
    """Watches which codes an array's ADCs give."""

    def __init__(self) -> None:
        self._low = self._high = 0
        self._available = 1
        self._lock = Lock()

    def inputs(self, x: Real) -> None:
        """Nothing of the inputs."""

    def drives(self, rows: slice, pulse: Pulse) -> None:
        """See what is put on rows, of which codes know enough from the inputs."""

    def currents(self, currents: Real, adc: Adc, counts: Real) -> None:
        """See what one ADC is about to convert."""
        del counts
        steps = adc.in_steps(currents)
        low, high = (float(steps.min(initial=0)), float(steps.max(initial=0)))
        with self._lock:
            self._low = min(self._low, max(adc.low, round(low)))
            self._high = max(self._high, min(adc.high, round(high)))
            self._available = adc.high - adc.low + 1

    @property
    def share(self) -> float:
        """Of the codes, between the lowest and the highest."""
        return (self._high - self._low + 1) / self._available


def _seen(model: bytes, images: Feed) -> dict[str, float]:
    with observe_arrays(_Ends) as observers:
        session = make_session(model, chip=Chip.ideal(), quiet=True)
    for _ in run_in_batches(session, images):
        pass
    return {name: seen.share for name, seen in observers.items()}
