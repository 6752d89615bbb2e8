"""verify: chosen cells as on a device that verifies all, the others as on the chip without."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nvmc import Chip, Device, Target, load_device
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array
from nvmc.hardware.compensation import (
    CompensatedChip,
    Marks,
    Verify,
    as_compensations,
    compensated,
    marked,
    settled,
)
from nvmc.hardware.devices import SOURCES, parse_noise
from nvmc.hardware.devices.laws import MOST_KEPT
from nvmc.hardware.tiling import Place
from nvmc.rng import stream

STUCK = "stuck-at:p_low=0.02"


def device_of(*noise: str, **own: Any) -> Device:
    """`rram4` at sigma 0.4, its programming noise with other options."""
    device = load_device("rram4")
    source = device.noise[0].model_copy(update=own)
    return device.model_copy(update={"noise": (source,), "sigma": 0.4}).with_noise(
        map(parse_noise, noise)
    )


def held(device: Device, shape: tuple[int, ...] = (20, 6), **options: Any) -> Array:
    target = Target.of(device, **options)
    codes = stream(0, 0, "codes").integers(-15, 16, shape)
    kind = np.int8 if target.weight_bits else np.float32
    return Array("w", codes.astype(kind), np.float32(0.5), target, Place("CrossbarMatMul"))


def chip_of(array: Array, text: str, mask: np.ndarray | None, index: int = 3) -> Chip:
    compensate = settled(as_compensations([text]), [array.target.device])
    made = compensated(Chip.of(array.target, 5, index), compensate)
    return marked(made, None if mask is None else Marks.of({"w": mask}))


@pytest.mark.parametrize(
    "options",
    [{}, {"encoding": "differential"}, {"encoding": "offset"}, {"weight_bits": "none"}],
)
def test_a_share_is_verified_and_the_rest_is_the_plain_chip(options: dict[str, Any]) -> None:
    plain = held(device_of(STUCK), **options)
    verified = held(device_of(STUCK, tolerance=0.1, max_pulses=9), **options)
    text = "verify:share=0.5,tolerance=0.1,max_pulses=9"
    mask = stream(0, 0, "mask").random(plain.codes.shape) < 0.5
    one, every = Chip.of(plain.target, 5, 3), Chip.of(verified.target, 5, 3)
    own, before, goal = (
        chip.program(array)
        for chip, array in ((chip_of(plain, text, mask), plain), (one, plain), (every, verified))
    )
    assert np.array_equal(own.levels, np.where(mask, goal.levels, before.levels))
    assert np.array_equal(own.pulses, np.where(mask, goal.pulses, 1))
    assert np.array_equal(chip_of(plain, text, mask).weights(plain), own.weights)
    assert (own.levels != before.levels).any() and (own.levels != goal.levels).any()
    none = chip_of(plain, "verify:share=0", None)
    assert np.array_equal(none.program(plain).levels, before.levels)
    assert none.program(plain).pulses is None
    assert np.array_equal(none.weights(plain), one.weights(plain))
    whole = chip_of(plain, text.replace("0.5", "1"), None).program(plain)
    for name in ("levels", "sign", "weights", "pulses"):
        assert np.array_equal(getattr(whole, name), getattr(goal, name))


def test_the_assumed_tolerance_is_a_share_of_each_cell_s_spread() -> None:
    """Spreads differ by level; every chosen cell ends within 0.6 of its own."""
    profile = (1.0, 2.0, 3.0, 4.0)
    array = held(device_of(profile=profile))
    mask = np.ones(array.codes.shape, bool)
    levels = chip_of(array, "verify:share=0.5,max_pulses=200", mask).program(array).levels
    error = np.abs(levels - array.cells.targets)
    bound = 0.6 * 0.4 * np.array(profile)[array.cells.targets.astype(int)]
    assert np.all(error <= bound * (1 + 1e-5)) and (error > 0.9 * bound).any()


def test_a_device_that_verifies_is_verified_further() -> None:
    """Not chosen: the device's own tolerance; chosen: the tighter one, from the same pulses."""
    array = held(device_of(tolerance=0.3, max_pulses=30))
    tight = held(device_of(tolerance=0.05, max_pulses=400))
    mask = np.arange(array.codes.size).reshape(array.codes.shape) % 2 == 0
    own = chip_of(array, "verify:tolerance=0.05,max_pulses=400", mask).program(array)
    before = Chip.of(array.target, 5, 3).program(array)
    goal = Chip.of(tight.target, 5, 3).program(tight)
    assert np.array_equal(own.levels, np.where(mask, goal.levels, before.levels))
    assert np.array_equal(own.pulses, np.where(mask, goal.pulses, before.pulses))


def test_a_large_array_is_not_programmed_in_blocks() -> None:
    array = held(device_of(), (1100, 1000))
    assert array.large and array.codes.size * array.layout.planes > MOST_KEPT
    mask = np.zeros(array.codes.shape, bool)
    mask[::3] = True
    chip = chip_of(array, "verify:tolerance=0.2", mask)
    assert np.array_equal(chip.weights(array), chip.program(array).weights)
    assert np.array_equal(
        chip.weights(array)[1::3], Chip.of(array.target, 5, 3).weights(array)[1::3]
    )


def test_the_copy_is_chosen_first_and_then_verified() -> None:
    array = held(device_of())
    mask = stream(0, 0, "mask").random(array.codes.shape) < 0.3
    both = chip_of(array, "select:copies=3,verify:tolerance=0.1,max_pulses=300", mask)
    alone = chip_of(array, "select:copies=3", None)
    levels = both.program(array).levels
    assert np.array_equal(levels[:, ~mask], alone.program(array).levels[:, ~mask])
    assert np.abs(levels - array.cells.targets)[:, mask].max() < 0.1001


@pytest.mark.parametrize("text", ["verify", "verify:tolerance=0.1,max_pulses=4"])
@pytest.mark.parametrize("own", [{}, {"tolerance": 0.5, "max_pulses": 3}])
def test_what_it_is_expected_to_cost_is_what_it_costs(text: str, own: dict[str, Any]) -> None:
    law = {"type": "programming", "basis": "level", "bias": {"profile": (0.1, 0.2, -0.1, 0.0)}}
    device = device_of(**own, bias=SOURCES["programming"].model_validate(law).bias)  # pyright: ignore
    array = held(device, (200, 60))
    mask = stream(0, 0, "mask").random(array.codes.shape) < 0.4
    if own and text == "verify":
        text = "verify:tolerance=0.2"
    verify = settled(as_compensations([text]), [device])[0]
    assert isinstance(verify, Verify)
    marks, plain = Marks.of({"w": mask}), Chip.of(array.target, 5, 3)
    needs = verify.work([array], marks, plain)
    before = plain.program(array).pulses
    before = np.ones(array.cells.targets.shape, int) if before is None else before
    pulses = chip_of(array, text, mask).program(array).pulses
    assert needs.reads == pytest.approx(pulses[:, mask].sum(), rel=0.03)
    assert needs.writes == pytest.approx((pulses - before).sum(), rel=0.03)


def test_marks_are_equal_by_what_they_mark_and_travel() -> None:
    array = held(device_of(), (7, 3))
    mask = np.arange(21).reshape(7, 3) % 4 == 0
    one, same, other = Marks.of({"w": mask}), Marks.of({"w": mask.copy()}), Marks.of({"w": ~mask})
    assert one == same != other and hash(one) == hash(same)
    assert (one.marked, one.weights) == (6, 21)
    moved = pickle.loads(pickle.dumps(one))
    assert moved == one and np.array_equal(moved.mask(array), mask)
    assert not one.mask(replace(array, name="v")).any()
    chips = [chip_of(array, "verify", m) for m in (mask, mask.copy(), ~mask)]
    assert chips[0] == chips[1] != chips[2]


def test_a_chip_that_does_not_know_its_marks_says_so() -> None:
    array = held(device_of())
    with pytest.raises(OptionError, match="does not know which of its weights are verified"):
        chip_of(array, "verify", None).weights(array)
    assert isinstance(chip_of(array, "verify", None), CompensatedChip)


def test_what_is_assumed_is_filled_in() -> None:
    device = device_of()
    (found,) = settled(as_compensations(["verify"]), [device])
    assert found.model_dump(exclude_none=True) == {
        **{"type": "verify", "share": 0.1, "order": "swim", "images": 256},
        **{"sigmas": 0.6, "max_pulses": 20},
    }
    (found,) = settled(as_compensations(["verify:order=magnitude,tolerance=0.2"]), [device])
    assert isinstance(found, Verify)
    assert (found.images, found.sigmas, found.tolerance) == (None, None, 0.2)


@pytest.mark.parametrize(
    ("text", "device", "told"),
    [
        ("verify:share=1.5", "rram4", "share"),
        ("verify:share=nan", "rram4", "share"),
        ("verify:order=size", "rram4", "order"),
        ("verify:images=0", "rram4", "images"),
        ("verify:order=random,images=8", "rram4", "looks at no images"),
        ("verify:tolerance=0.1,sigmas=1", "rram4", "one of the two"),
        ("verify:max_pulses=0", "rram4", "max_pulses"),
        ("verify", "ideal", "are none"),
        ("verify", "rram-wan2022", "measured after write-verify"),
    ],
)
def test_refusals_are_one_line(text: str, device: str, told: str) -> None:
    with pytest.raises(OptionError, match=told) as caught:
        settled(as_compensations([text]), [load_device(device)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["verify", "verify:sigmas=0.1", "verify:tolerance=0.3"])
def test_a_device_that_verifies_asks_for_a_smaller_tolerance(text: str) -> None:
    with pytest.raises(OptionError, match=r"to 0\.3 level; .*expected a smaller tolerance"):
        settled(as_compensations([text]), [device_of(tolerance=0.3, max_pulses=5)])
