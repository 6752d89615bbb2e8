"""The factor of `drift` in a circuit: behind its converters, and the same as on its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nvmc import Chip, Target, load_device
from nvmc.hardware.chip import Array
from nvmc.hardware.compensation import Drift, compensated, settled
from nvmc.hardware.devices import Periphery, parse_noise
from nvmc.hardware.tiling import Place
from nvmc.rng import stream
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.runtime.crossbar.operand import CircuitOperand, ExactOperand

PLACE = Place("CrossbarMatMul")
YEAR = 3.15e7
DECAY = "retention:nu_mean=0.05,nu_std=0.02,t0_s=20"


def array_of(encoding: Any, rows: int, *noise: str, bits: Any = 5, **periphery: Any) -> Array:
    device = load_device("ideal").with_noise(map(parse_noise, (DECAY, *noise)))
    target = Target.of(
        device,
        weight_bits=bits,
        encoding=encoding,
        rows=rows,
        periphery=Periphery.model_validate(periphery),
    )
    codes = stream(0, 0, "codes").integers(-31, 32, (20, 6))
    kind = np.float32 if bits == "none" else np.int8
    return Array("w", codes.astype(kind), np.float32(0.125), target, PLACE)


def chip_of(array: Array, *, drift: bool = True) -> Chip:
    plain = Chip.of(array.target, 3, 7, time_s=YEAR)
    return compensated(plain, settled((Drift(),), [array.target.device])) if drift else plain


def outputs(operand: Any, x: np.ndarray) -> np.ndarray:
    return operand.mvm(PLACE, entries=len(x), dtype=x.dtype)(x[:, None, None, :])[:, 0, 0]


def inputs(signed: bool, dtype: Any = np.float32) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((9, 20))
    return (x if signed else np.abs(x)).astype(dtype)


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
@pytest.mark.parametrize("rows", [8, 128])
@pytest.mark.parametrize("signed", ["two-phase", "offset"])
@pytest.mark.parametrize("bits", [5, "none"])
@pytest.mark.parametrize("noise", [(), ("multiplicative:sigma=0.1",)])
def test_an_ideal_periphery_computes_with_the_corrected_weights(
    encoding: str, rows: int, signed: str, bits: Any, noise: tuple[str, ...]
) -> None:
    array = array_of(encoding, rows, *noise, bits=bits, signed_inputs=signed)
    chip = chip_of(array)
    assert chip.gain(array) > 1.5
    x = inputs(signed=True, dtype=np.float64)
    expected = x @ chip.weights(array).astype(np.float64)
    circuit = CircuitOperand(array, chip.program(array), chip)
    assert np.array_equal(circuit.values(), chip.weights(array))
    scale = np.abs(x) @ (np.abs(array.ideal).astype(np.float64) + 31 * 0.125)
    assert (np.abs(outputs(circuit, x) - expected) < 1e-6 * scale).all()
    single = outputs(circuit, x.astype(np.float32))
    assert (np.abs(single - expected) < 1e-5 * scale).all()
    exact = outputs(ExactOperand(chip.weights(array)), x.astype(np.float32))
    assert (np.abs(exact - expected) < 1e-5 * scale).all()


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
@pytest.mark.parametrize("mode", ["multi-level", "bit-serial"])
@pytest.mark.parametrize("signed", ["two-phase", "offset"])
@pytest.mark.parametrize("adc", [None, 6])
def test_every_kernel_gives_the_same_bits(
    encoding: str, mode: str, signed: str, adc: int | None
) -> None:
    options = {"dac_bits": 5, "dac_mode": mode, "signed_inputs": signed, "adc_bits": adc}
    array = array_of(encoding, 8, "read:sigma=0.1", **options)
    chip = chip_of(array)
    programmed = chip.program(array)
    found = [
        outputs(CircuitOperand(array, programmed, chip, kernel=kernel), inputs(signed=True))
        for kernel in KERNELS
    ]
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_the_factor_does_not_reach_the_converter() -> None:
    """One tile, no shift: outputs are those without, times the factor, whatever the ADC clipped."""
    array = array_of("differential", 128, dac_bits=4, adc_bits=4, adc_range=40.0)
    chip, plain = chip_of(array), chip_of(array, drift=False)
    programmed = plain.program(array)
    x = inputs(signed=True)
    before = outputs(CircuitOperand(array, programmed, plain), x)
    after = outputs(CircuitOperand(array, chip.program(array), chip), x)
    # Each lane is multiplied and rounded by itself, then added up.
    assert np.abs(after - before * chip.gain(array)).max() < 1e-5 * np.abs(after).max()


def test_reads_have_the_same_noise() -> None:
    """An analog weight has one lane: compensated outputs are the plain ones times the factor."""
    array = array_of("differential", 128, "read:sigma=0.2", bits="none")
    chip, plain = chip_of(array), chip_of(array, drift=False)
    x = inputs(signed=False)
    before = outputs(CircuitOperand(array, plain.program(array), plain), x)
    after = outputs(CircuitOperand(array, chip.program(array), chip), x)
    assert np.abs(after - before * chip.gain(array)).max() < 1e-5 * np.abs(after).max()
