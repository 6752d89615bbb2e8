"""Which codes an array's ADCs can reach: against every drive of its rows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from nvmc.compiled.converters import AdcCodes
from nvmc.hardware.chip import Array
from nvmc.hardware.devices import Periphery, Target, load_device
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.hardware.tiling import Place
from nvmc.runtime.adc_codes import reachable_codes

ROWS = 3


def array_of(encoding: Any, place: Place | None = None, **periphery: Any) -> Array:
    target = Target.of(
        load_device("rram4"),
        weight_bits=4,
        encoding=encoding,
        rows=ROWS,
        periphery=Periphery.model_validate(periphery),
    )
    weight = np.random.default_rng(2).standard_normal((5, 4))
    scale = scale_of(weight, 4).astype(np.float32)
    return Array("a", quantize(weight, scale, 4), scale, target, place)


def lanes_of(array: Array) -> list[np.ndarray]:
    """What every conversion reads, as a matrix of levels, by hand."""
    target, code = array.target, array.codes.astype(int)
    if target.encoding == "offset":
        shifted = code + 15
        return [(shifted >> (2 * i)) & 3 for i in range(3)]
    halves = [np.maximum(code, 0), np.maximum(-code, 0)]
    both = [[(half >> (2 * i)) & 3 for i in range(2)] for half in halves]
    if target.encoding == "balanced":
        up, down = both
        both = [
            [(3 + a - b) // 2 for a, b in zip(*pair, strict=True)]
            for pair in ((up, down), (down, up))
        ]
    if target.periphery.subtract == "analog":
        return [up - down for up, down in zip(*both, strict=True)]
    return [*both[0], *both[1]]


@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
@pytest.mark.parametrize(("bits", "reach"), [(4, "full"), (6, 50.0), (5, 400.0)])
def test_the_codes_of_every_drive(encoding: str, subtract: str, bits: int, reach: Any) -> None:
    place = Place("CrossbarMatMul")
    array = array_of(encoding, place, dac_bits=4, adc_bits=bits, adc_range=reach, subtract=subtract)
    signed = encoding != "offset" and subtract == "analog"
    top = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    codes = {0}
    for first in range(0, 5, ROWS):
        rows = min(ROWS, 5 - first)
        step = (rows * 3 * 15 if reach == "full" else reach) / top
        for lane in lanes_of(array):
            for drive in itertools.product((0, 15), repeat=rows):
                for current in (np.array(drive) @ lane[first : first + rows]).tolist():
                    code = round(current / step)
                    codes.add(max(-top if signed else 0, min(top, code)))
    expected = (max(codes) - min(codes) + 1) / (2 * top + 1 if signed else top + 1)
    assert reachable_codes(array) == pytest.approx(expected)


def test_without_an_adc_or_a_place_there_is_nothing_to_say() -> None:
    assert reachable_codes(array_of("offset", Place("CrossbarMatMul"))) is None
    assert reachable_codes(array_of("offset", None, adc_bits=4)) is None


def test_less_than_half_is_wasteful() -> None:
    assert AdcCodes(reachable=0.49).wasteful and not AdcCodes(reachable=0.5).wasteful
    assert AdcCodes(reachable=1.0, seen=0.2, images=16).wasteful
