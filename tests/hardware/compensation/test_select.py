"""select: the copy with the least error, copy 0 being the chip without compensation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nvmc import Chip, Target, load_device
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array
from nvmc.hardware.compensation import (
    CompensatedChip,
    Corrected,
    Drift,
    Select,
    as_compensations,
    compensated,
)
from nvmc.hardware.devices import parse_noise
from nvmc.hardware.tiling import Place
from nvmc.rng import Draw, stream


def held(*noise: str, device: str = "rram4", name: str = "w") -> Array:
    target = Target.of(load_device(device).with_noise(map(parse_noise, noise)))
    codes = stream(0, 0, "codes").integers(-15, 16, (20, 6))
    kind = np.int8 if target.weight_bits else np.float32
    return Array(name, codes.astype(kind), np.float32(0.5), target, Place("CrossbarMatMul"))


def chip(array: Array, index: int, copies: int, **options: Any) -> CompensatedChip:
    plain = Chip.of(array.target, 5, index, **options)
    made = compensated(plain, (Select(copies=copies),))
    assert isinstance(made, CompensatedChip)
    return made


def copy_of(made: CompensatedChip, number: int) -> CompensatedChip:
    return replace(made, compensate=(), copy=number)


def error(array: Array, weights: np.ndarray) -> float:
    return float(np.square(weights.astype(np.float64) - array.ideal).sum())


def test_the_nearest_copy_is_used_and_copy_0_is_the_plain_chip() -> None:
    array = held("stuck-at:p_low=0.02")
    used: list[int] = []
    for index in range(12):
        plain = Chip.of(array.target, 5, index)
        copies = [copy_of(chip(array, index, 1), n).weights(array) for n in range(5)]
        assert np.array_equal(copies[0], plain.weights(array))
        assert len({copy.tobytes() for copy in copies}) == 5
        best = min(range(5), key=lambda n: error(array, copies[n]))
        made = chip(array, index, 5)
        assert np.array_equal(made.weights(array), copies[best])
        assert np.array_equal(made.program(array).weights, copies[best])
        assert np.array_equal(chip(array, index, 1).weights(array), plain.weights(array))
        used.append(best)
    assert len(set(used)) > 2


def test_a_copy_s_numbers_are_named() -> None:
    """Copy 2 of array w: the stream of (seed, chip, w, copy 2, source)."""
    array = held()
    levels = copy_of(chip(array, 3, 1), 2).program(array).levels
    sigma = array.target.device.sigma
    normals = Draw(5, 3, "w", "copy 2", "programming").normal(levels.shape)
    assert np.array_equal(levels, array.cells.targets + np.float32(sigma or 0) * normals)


def test_what_a_chip_shares_its_copies_share() -> None:
    array = held("global:scope=chip,sigma=0.3", device="ideal")
    one, other = (copy_of(chip(array, 1, 1), n).program(array).levels for n in (0, 3))
    assert np.array_equal(one, other)


def test_the_expected_error_falls_as_that_of_the_least_of_r() -> None:
    """One weight: the least of R squared normals has the mean that its quantiles integrate to."""
    target = Target.of(load_device("rram4"), weight_bits=2)
    copies, runs = 4, 3000
    array = Array("w", np.array([[2]], np.int8), np.float32(1), target)
    found = [error(array, chip(array, i, copies).weights(array)) for i in range(runs)]
    draws = np.square(np.random.default_rng(0).standard_normal((200_000, copies))).min(axis=1)
    expected = 0.01 * draws.mean()  # rram4: sigma 0.1 level steps
    assert np.mean(found) == pytest.approx(expected, abs=5 * 0.01 * draws.std() / runs**0.5)


def test_copies_are_chosen_when_they_are_new_and_drift_follows() -> None:
    """At a year the copy is the one that was the best right after programming."""
    noise = "retention:nu_mean=0.05,nu_std=0.02,t0_s=20"
    array = held(noise)
    new, old = (chip(array, 4, 6, time_s=t) for t in (0.0, 3e7))
    chosen = next(
        n for n in range(6) if np.array_equal(copy_of(new, n).weights(array), new.weights(array))
    )
    aged = copy_of(old, chosen)
    assert np.array_equal(old.program(array).levels, aged.program(array).levels)
    both = replace(old, compensate=(Select(copies=6), Drift(since_s=0.0)))
    alone = replace(aged, compensate=(Drift(since_s=0.0),))
    assert both.gain(array) == alone.gain(array) > 1
    assert np.array_equal(both.weights(array), alone.weights(array))


def test_needs() -> None:
    array = held()
    cells = 20 * 6 * 2
    needs = Select(copies=3).needs([array], Corrected())
    assert (needs.writes, needs.cells, needs.reads) == (2 * cells, 2 * cells, 3 * cells)
    assert Select(copies=1).needs([array], Corrected()).reads == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("selct", "compensation 'selct' is unknown"),
        ("select:copies=0", "copies"),
        ("select:copies=2.5", "copies"),
        ("select:copys=2", "copys"),
        ("select,select:copies=3", "given twice"),
        ("affine:images=1", "images"),
        ("affine:fit=median", "fit"),
        ("drift:since_s=-1", "since_s"),
        ("select:type=drift", "'type' is given twice"),
        ("", "compensation '' is unknown"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, told: str) -> None:
    with pytest.raises(OptionError) as caught:
        as_compensations([text])
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_texts_come_in_the_order_in_which_they_act() -> None:
    found = as_compensations(["affine:images=32,fit=moments,drift", Select(copies=2)])
    assert [one.type for one in found] == ["select", "drift", "affine"]
    assert found == as_compensations(["select:copies=2", "drift", "affine,images=32,fit=moments"])
