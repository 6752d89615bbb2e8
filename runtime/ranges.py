"""The ranges of a compiled network's converters, on calibration data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import ArrayRange, Target
from nvmc.runtime.calibration import run_in_batches
from nvmc.runtime.crossbar.ranges import RangeObserver
from nvmc.runtime.montecarlo import Feed
from nvmc.runtime.provider import make_session, observe_arrays

__all__ = ["calibrate_converters"]


def calibrate_converters(
    model: Callable[[Target], bytes],
    target: Target,
    images: Feed,
    own: Mapping[str, float] | None = None,
) -> Target:
    """The target with the ranges that the ideal chip shows on some images.

    Inputs come first; currents, which are in steps of the inputs, in a second run.

    Args:
        model: The compiled network on a target, as the bytes of its file.
        target: What the network is compiled for, some of whose ranges are calibrated.
        images: What the network is fed.
        own: Ranges of inputs, by array, that are not to be measured: the network's own codes fit.

    Raises:
        DataError: The images do not fit the network.
        ModelError: onnxruntime cannot run it.
    """
    exact = {"adc_bits": None, "adc_range": "full"}
    dynamic = target.everywhere(**exact, dac_range="dynamic", ranges=())
    seen = _seen(model(dynamic), images)
    inputs = tuple(observer.range_of(name, False) for name, observer in seen.items())
    if own:
        inputs = tuple(r.model_copy(update={"input": own.get(r.array, r.input)}) for r in inputs)
    if not any(part.periphery.adc_calibrated for part in target.variants):
        return target.everywhere(ranges=inputs)
    seen = _seen(model(target.everywhere(**exact, ranges=inputs)), images)

    def both(known: ArrayRange) -> ArrayRange:
        if not target.of_array(known.array).periphery.adc_calibrated:
            return known
        current = seen[known.array].range_of(known.array, True).current
        return known.model_copy(update={"current": current})

    return target.everywhere(ranges=tuple(map(both, inputs)))


def _seen(model: bytes, images: Feed) -> dict[str, RangeObserver]:
    with observe_arrays() as observers:
        session = make_session(model, chip=Chip.ideal(), quiet=True)
    for _ in run_in_batches(session, images):
        pass
    return observers
