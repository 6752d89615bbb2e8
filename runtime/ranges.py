"""The ranges of a compiled network's converters, on calibration data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nvmc.errors import OptionError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import EXACT_ADC, ArrayRange, Periphery, Target
from nvmc.runtime.calibration import run_in_batches
from nvmc.runtime.crossbar.adc import top_code
from nvmc.runtime.crossbar.ranges import RangeObserver, WeighingObserver
from nvmc.runtime.crossbar.split_ranges import SplitObserver
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
        OptionError: Columns are to have ranges of their own, and an array is not read as a whole.
    """
    weighed = any(part.periphery.dac_range == "error" for part in target.variants)
    kind = WeighingObserver if weighed else RangeObserver
    dynamic = target.everywhere(**EXACT_ADC, dac_range="dynamic", ranges=())
    seen = _seen(model(dynamic), images, kind)
    inputs = tuple(
        _input_range(name, one, target.of_array(name).periphery) for name, one in seen.items()
    )
    if own:
        inputs = tuple(r.model_copy(update={"input": own.get(r.array, r.input)}) for r in inputs)
    if not any(part.periphery.adc_calibrated for part in target.variants):
        return target.everywhere(ranges=inputs)
    weighed = any(part.periphery.adc_rule[0] == "error" for part in target.variants)
    split = any(part.periphery.adc_split for part in target.variants)
    kind = SplitObserver if split else WeighingObserver if weighed else RangeObserver
    seen = _seen(model(target.everywhere(**EXACT_ADC, ranges=inputs)), images, kind)

    def both(known: ArrayRange) -> ArrayRange:
        periphery = target.of_array(known.array).periphery
        if not periphery.adc_calibrated:
            return known
        here = seen[known.array]
        found = _split(known.array, here, periphery) if isinstance(here, SplitObserver) else {}
        return known.model_copy(update={"current": _current(here, periphery), **found})

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


def _split(name: str, seen: SplitObserver, periphery: Periphery) -> dict[str, Any]:
    """Ranges of an array that are more than one magnitude."""
    (rule, width), bits = periphery.adc_rule, periphery.adc_bits or 0
    match periphery.adc_range_of, periphery.adc_steps:
        case "slice", _:
            top = top_code(bits, seen.signed) if rule == "error" else None
            parts = tuple(width * reach for reach in seen.ranges_of_slices(top))
            return {"parts": parts, "current": max(parts, default=0.0)}
        case "column", _:
            columns = seen.ranges_of_columns
            if columns is None:
                raise OptionError(
                    f"array {name!r} is read some columns at a time, whose ranges are not told "
                    "apart; give its layer adc_range_of slice or array in a target file"
                )
            parts = tuple(width * reach for reach in columns)
            return {"parts": parts, "current": max(parts, default=0.0)}
        case _, "asymmetric":
            low, high = (width * end for end in seen.ends)
            return {"lowest": low, "current": high}
        case _, "lloyd-max":
            count = 1 + top_code(bits, seen.signed) * (1 + seen.signed)
            levels = seen.levels(count, rule == "error")
            return {"levels": tuple(width * level for level in levels)}
        case _:
            return {}


def _seen(model: bytes, images: Feed, kind: type[RangeObserver]) -> Mapping[str, RangeObserver]:
    with observe_arrays(kind) as observers:
        session = make_session(model, chip=Chip.ideal(), quiet=True)
    for _ in run_in_batches(session, images):
        pass
    return observers
