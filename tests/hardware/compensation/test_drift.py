"""drift: exact on a pure power law, one noisy read otherwise, and no draw of the chip moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nvmc import Chip, Device, Target, load_device
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array
from nvmc.hardware.compensation import (
    CompensatedChip,
    Corrected,
    Drift,
    as_compensations,
    compensated,
    settled,
)
from nvmc.hardware.devices import parse_noise
from nvmc.hardware.tiling import Place
from nvmc.rng import Draw, stream

ENCODINGS = ["sign-magnitude", "differential", "offset", "balanced"]
DAY = 86_400.0


def decaying(std: float = 0.0, more: tuple[str, ...] = ()) -> Device:
    noise = [f"retention:nu_mean=0.05,nu_std={std},t0_s=20", *more]
    return load_device("ideal").with_noise(map(parse_noise, noise))


def held(device: Device, encoding: Any = "sign-magnitude", bits: Any = 5) -> Array:
    target = Target.of(device, weight_bits=bits, encoding=encoding, rows=8)
    codes = stream(0, 0, "codes").integers(-31, 32, (20, 6))
    kind = np.float32 if bits == "none" else np.int8
    return Array("w", codes.astype(kind), np.float32(0.125), target, Place("CrossbarMatMul"))


def chips(array: Array, time_s: float, **options: Any) -> tuple[Chip, CompensatedChip]:
    plain = Chip.of(array.target, 3, 7, time_s=time_s)
    made = compensated(plain, settled((Drift(**options),), [array.target.device]))
    assert isinstance(made, CompensatedChip)
    return plain, made


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bits", [5, "none"])
@pytest.mark.parametrize("time_s", [3600.0, DAY, 365.25 * DAY])
def test_a_pure_power_law_is_restored(encoding: str, bits: Any, time_s: float) -> None:
    array = held(decaying(), encoding, bits)
    plain, made = chips(array, time_s)
    expected = (time_s / 20) ** 0.05
    assert made.gain(array) == pytest.approx(expected, rel=1e-6)
    # 20 s to a year is a factor of 2; weights and shifts are some hundred float32 roundings.
    assert np.abs(made.weights(array) - array.ideal).max() < 1e-6 * np.abs(array.ideal).max() * 8
    assert np.abs(plain.weights(array) - array.ideal).max() > 0.1 * np.abs(array.ideal).max()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_factor_is_the_ratio_of_all_conductances(encoding: str) -> None:
    array = held(decaying(0.02, ("programming:sigma=0.1",)), encoding)
    _, made = chips(array, DAY)
    sums: list[float] = []
    for time_s in (0.0, DAY):
        levels = Chip.of(array.target, 3, 7, time_s=time_s).program(array).levels
        total = 0.0
        for plane, coefficient in zip(levels, array.layout.coefficients, strict=True):
            for level in plane.ravel().tolist():
                total += abs(float(coefficient)) * level
        sums.append(total)
    assert made.gain(array) == pytest.approx(sums[0] / sums[1], rel=1e-6)


def test_the_cells_are_those_of_the_chip_without(encoding: str = "differential") -> None:
    array = held(decaying(0.02, ("programming:sigma=0.1", "read:sigma=0.05")), encoding)
    plain, made = chips(array, DAY)
    before, after = plain.program(array), made.program(array)
    assert np.array_equal(before.levels, after.levels)
    assert np.array_equal(before.weights, after.weights)
    spread, same = plain.read_spread(array, before.levels), made.read_spread(array, after.levels)
    assert spread is not None and same is not None and np.array_equal(spread, same)
    scaled = before.weights * np.float32(made.gain(array))
    assert np.array_equal(made.weights(array), scaled) and made.gain(array) > 1


def test_a_noisy_read_makes_a_noisy_factor() -> None:
    """The noise of S is that of all its cells, drawn once for each of the two reads."""
    array = held(decaying(0.0, ("read:sigma=0.5",)))
    _, made = chips(array, DAY)
    levels = array.cells.targets.astype(np.float64)
    total = levels.sum()
    kept = (DAY / 20) ** -0.05
    spread = 0.5 * np.sqrt(levels.size)
    noise = [
        float(Draw(3, 7, "w", "read", f"drift, {name}").normal((1,))[0])
        for name in ("reference", "present")
    ]
    expected = (total + spread * noise[0]) / (kept * total + spread * noise[1])
    assert made.gain(array) == pytest.approx(expected, rel=1e-6)


def test_younger_chips_and_empty_arrays_are_left_alone() -> None:
    array = held(decaying())
    for time_s in (0.0, 10.0, 20.0):
        plain, made = chips(array, time_s)
        assert np.array_equal(made.weights(array), plain.weights(array))
    _, late = chips(array, DAY, since_s=DAY)
    assert late.gain(array) == 1
    nothing = Array("w", np.zeros((3, 2), np.int8), np.float32(0), array.target)
    assert chips(array, DAY)[1].gain(nothing) == 1


def test_the_first_read_is_at_the_device_s_own_time() -> None:
    (found,) = settled(as_compensations(["drift"]), [load_device("pcm-joshi2020")])
    assert isinstance(found, Drift) and found.since_s == 20
    (found,) = settled(as_compensations(["drift:since_s=100"]), [load_device("pcm-joshi2020")])
    assert isinstance(found, Drift) and found.since_s == 100


def test_a_device_that_does_not_drift_is_refused() -> None:
    with pytest.raises(OptionError, match="no noise source by which cells change"):
        settled((Drift(),), [load_device("rram4")])


def test_needs() -> None:
    """20 rows on tiles of 8: three conversions of each of 6 columns, in two polarities."""
    array = held(decaying())
    needs = Drift().needs([array], Corrected())
    conversions = 3 * 6 * array.layout.crossbars
    assert needs.to_json() == {
        **dict.fromkeys(("images", "images_once", "labels", "writes", "cells", "adders"), 0),
        **{"reads": 2 * conversions, "multipliers": 1, "parameters": 2, "references": 1},
    }
    assert str(needs) == f"{2 * conversions} reads, 1 multiplier, 2 parameters, 1 reference"
