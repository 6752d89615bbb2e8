"""The ranges of a compiled network's converters, on calibration data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import ArrayRange, Periphery, Target
from nvmc.runtime.calibration import run_in_batches
from nvmc.runtime.crossbar.ranges import RangeObserver, WeighingObserver
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

    Inputs come first; currents, which are in steps of the inputs, in a second run. Ranges are what
    was seen (`calibrated`) or where the squared error is least (`error`, docs/inspect.md).

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
    weighed = any(part.periphery.dac_range == "error" for part in target.variants)
    dynamic = target.everywhere(**exact, dac_range="dynamic", ranges=())
    seen = _seen(model(dynamic), images, weighed=weighed)
    inputs = tuple(
        _input_range(name, one, target.of_array(name).periphery) for name, one in seen.items()
    )
    if own:
        inputs = tuple(r.model_copy(update={"input": own.get(r.array, r.input)}) for r in inputs)
    if not any(part.periphery.adc_calibrated for part in target.variants):
        return target.everywhere(ranges=inputs)
    weighed = any(part.periphery.adc_rule[0] == "error" for part in target.variants)
    seen = _seen(model(target.everywhere(**exact, ranges=inputs)), images, weighed=weighed)

    def both(known: ArrayRange) -> ArrayRange:
        periphery = target.of_array(known.array).periphery
        if not periphery.adc_calibrated:
            return known
        current = _current(seen[known.array], periphery)
        return known.model_copy(update={"current": current})

    return target.everywhere(ranges=tuple(map(both, inputs)))


def _input_range(name: str, seen: RangeObserver, periphery: Periphery) -> ArrayRange:
    found, bits = seen.range_of(name, False), periphery.dac_bits
    if not isinstance(seen, WeighingObserver) or bits is None or periphery.dac_range != "error":
        return found
    half = 2 ** (bits - 1) - 1 if periphery.signed_inputs == "offset" else None
    return found.model_copy(update={"input": seen.input_range(2**bits - 1, half)})


def _current(seen: RangeObserver, periphery: Periphery) -> float:
    """The range that an ADC gets by its rule."""
    rule, width = periphery.adc_rule
    if rule == "error" and isinstance(seen, WeighingObserver) and periphery.adc_bits is not None:
        return width * seen.current_range(periphery.adc_bits)
    return width * seen.current


def _seen(model: bytes, images: Feed, *, weighed: bool) -> Mapping[str, RangeObserver]:
    with observe_arrays(WeighingObserver if weighed else RangeObserver) as observers:
        session = make_session(model, chip=Chip.ideal(), quiet=True)
    for _ in run_in_batches(session, images):
        pass
    return observers
