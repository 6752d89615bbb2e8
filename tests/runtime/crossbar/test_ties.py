"""DAC codes: those of the exact quotient, halves to even, in every kernel and in training.

The oracle computes with whole numbers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nvmc.hardware.devices import Periphery
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.runtime.crossbar.native import drive as compiled_drive
from nvmc.training.circuit.converters import encode

RANGES = (0.3, 0.7718, 1.0, 3.1415927, 6.0, 1e-3, 12345.678)


def codes_of(kernel: str, dac: Dac, x: NDArray[Any]) -> NDArray[Any]:
    """The codes of some entries by one implementation; `torch` is training's."""
    if kernel == "torch":
        limit = None if dac.limit is None else torch.tensor(dac.limit, dtype=torch.float32)
        return encode(dac, torch.from_numpy(x), limit).values.numpy()
    if kernel == NUMPY:
        return dac.drive(x)[0]
    codes = np.empty_like(x)
    given = {"whole": dac.whole, "top": dac.largest_code, "half": dac.half, "limit": dac.limit}
    compiled_drive(kernel, x, codes, **given)  # type: ignore[arg-type]
    return codes


def exact(value: float, top: int, reach: float) -> int:
    """Python rounds a fraction's halves to even."""
    return max(-top, min(top, round(Fraction(value) * top / Fraction(reach))))


def dac_of(bits: int, signs: str, limit: float | None) -> tuple[Dac, int]:
    """The DAC, and its top code for entries with negative inputs where `signs` says so."""
    dac = Dac(
        Periphery(dac_bits=bits, signed_inputs="offset" if signs == "offset" else "two-phase")
    )
    dac.limit = limit
    return dac, 2 ** (bits - 1) - 1 if signs == "offset" else 2**bits - 1


def test_an_input_of_half_the_range_has_code_128_of_8_bits() -> None:
    """round(127.5), for every range: with a rounded step it was 127 for many of them."""
    ends = np.random.default_rng(1).uniform(0.01, 100, 5000).astype(np.float32)
    x = np.stack([ends, ends / 2], axis=1)
    dac, _ = dac_of(8, "unsigned", None)
    for kernel in (*KERNELS, "torch"):
        assert np.all(codes_of(kernel, dac, x)[:, 1] == 128), kernel


@pytest.mark.parametrize("signs", ["unsigned", "two-phase", "offset"])
@pytest.mark.parametrize("bits", range(1, 17))
def test_every_tie_goes_to_the_even_code(bits: int, signs: str) -> None:
    """x = (k + 1/2) range / top is a float32 where the range is top times a small number."""
    if bits == 1 and signs == "offset":
        return  # needs two bits
    dac, top = dac_of(bits, signs, None)
    for small in (3.0, 77.0, 0.013671875):  # the last is 7/512
        ties = (2 * np.arange(top, dtype=np.float64) + 1) * small / 2
        reach = top * small
        x = np.concatenate([[reach], ties])
        assert np.all(x.astype(np.float32) == x)
        expected = np.rint(np.concatenate([[top], np.arange(top) + 0.5]))
        if signs != "unsigned":
            x, expected = np.concatenate([x, -x]), np.concatenate([expected, -expected])
        for limit in (None, reach):
            dac.limit = limit
            for kernel in (*KERNELS, "torch"):
                found = codes_of(kernel, dac, x[None].astype(np.float32))[0]
                np.testing.assert_array_equal(found, expected, err_msg=f"{kernel} {small} {limit}")
            np.testing.assert_array_equal(codes_of(NUMPY, dac, x[None])[0], expected)  # float64


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("signs", ["unsigned", "two-phase", "offset"])
@pytest.mark.parametrize("bits", [2, 3, 8, 13, 16])
def test_next_to_a_tie_the_exact_quotient_decides(bits: int, signs: str, kind: Any) -> None:
    """The numbers around (k + 1/2) range / top, of any range; some are ties, none is misjudged."""
    dac, top = dac_of(bits, signs, None)
    halves = np.unique(np.random.default_rng(bits).integers(0, top, 40)) + 0.5
    for reach in np.array(RANGES, kind).tolist():
        nearest = (halves * reach / top).astype(kind)
        around = [nearest]
        for end in (-np.inf, np.inf):
            around.append(np.nextafter(nearest, kind(end)))
            around.append(np.nextafter(around[-1], kind(end)))
        x = np.concatenate(around)
        if signs != "unsigned":
            x = np.concatenate([x, -x])
        x = np.concatenate([x, [kind(reach)]]).astype(kind)
        expected = [exact(float(value), top, reach) for value in x]
        for limit in (None, reach):
            dac.limit = limit
            for kernel in (*KERNELS, "torch") if kind == np.float32 else (NUMPY,):
                found = codes_of(kernel, dac, x[None])[0]
                np.testing.assert_array_equal(found, expected, err_msg=f"{kernel} {reach} {limit}")


@pytest.mark.parametrize("kernel", [*KERNELS, "torch"])
def test_strange_ranges_have_the_codes_they_had(kernel: str) -> None:
    """Nothing, less than a step of float32, and more than a calibrated range."""
    dac, _ = dac_of(8, "two-phase", None)
    assert not codes_of(kernel, dac, np.zeros((1, 3), np.float32)).any()
    assert not codes_of(kernel, dac, np.full((1, 3), 1e-45, np.float32)).any()
    dac.limit = 0.5
    beyond = np.array([[3e38, -3e38, 0.6, 0.5, -0.5]], np.float32)
    assert codes_of(kernel, dac, beyond).tolist() == [[255, -255, 255, 255, -255]]
    dac.limit = 0.0
    assert not codes_of(kernel, dac, beyond).any()
