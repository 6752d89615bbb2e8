"""The ranges of a compiled network's converters, on calibration data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import ArrayRange, Periphery
from nvmc.runtime.calibration import run_in_batches
from nvmc.runtime.crossbar.ranges import RangeObserver
from nvmc.runtime.montecarlo import Feed
from nvmc.runtime.provider import make_session, observe_arrays

__all__ = ["calibrate_converters"]


def calibrate_converters(
    model: Callable[[Periphery], bytes],
    periphery: Periphery,
    images: Feed,
    own: Mapping[str, float] | None = None,
) -> Periphery:
    """The periphery with the ranges that the ideal chip shows on some images.

    Inputs come first; currents, which are in steps of the inputs, in a second run.

    Args:
        model: The compiled network behind a periphery, as the bytes of its file.
        periphery: Some of whose ranges are calibrated.
        images: What the network is fed.
        own: Ranges of inputs, by array, that are not to be measured: the network's own codes fit.

    Raises:
        DataError: The images do not fit the network.
        ModelError: onnxruntime cannot run it.
    """
    exact = {"adc_bits": None, "adc_range": "full"}
    dynamic = periphery.model_copy(update={**exact, "dac_range": "dynamic", "ranges": ()})
    seen = _seen(model(dynamic), images)
    inputs = tuple(observer.range_of(name, False) for name, observer in seen.items())
    if own:
        inputs = tuple(r.model_copy(update={"input": own.get(r.array, r.input)}) for r in inputs)
    if periphery.adc_bits is None or periphery.adc_range != "calibrated":
        return _with(periphery, list(inputs))
    seen = _seen(model(periphery.model_copy(update={**exact, "ranges": inputs})), images)
    currents = {name: observer.range_of(name, True).current for name, observer in seen.items()}
    return _with(periphery, [r.model_copy(update={"current": currents[r.array]}) for r in inputs])


def _with(periphery: Periphery, ranges: list[ArrayRange]) -> Periphery:
    return periphery.model_copy(update={"ranges": tuple(ranges)})


def _seen(model: bytes, images: Feed) -> dict[str, RangeObserver]:
    with observe_arrays() as observers:
        session = make_session(model, chip=Chip.ideal(), quiet=True)
    for _ in run_in_batches(session, images):
        pass
    return observers
