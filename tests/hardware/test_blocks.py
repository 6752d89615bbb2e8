"""A large array programmed in blocks has the weights of one programmed at once, bit for bit."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from nvmc.hardware.blocks import joined_axes, rows_of_block
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target, load_device, parse_noise
from nvmc.hardware.encoding import Encoding
from nvmc.hardware.restriction import AblatedChip, Selection

SHAPE = (53, 50, 20, 20)  # 1,060,000 weights; a block is 163 of the 2,650 joined rows


def array_of(target: Target, shape: tuple[int, ...] = SHAPE, channels: bool = False) -> Array:
    random = np.random.default_rng(1)
    steps = (shape[0],) + (1,) * (len(shape) - 1) if channels else ()
    if target.weight_bits is None:
        return Array(
            "w", random.standard_normal(shape, np.float32), np.asarray(1, np.float32), target
        )
    top = 2**target.weight_bits - 1
    codes = random.integers(-top, top + 1, shape).astype(np.int16)
    return Array("w", codes, np.asarray(random.uniform(0.1, 1, steps), np.float32), target)


def same(chip: Chip, array: Array) -> bool:
    whole, blocks = chip.program(array).weights, chip.weights(array)
    assert array.large and blocks.dtype == np.float32
    return whole.shape == blocks.shape and whole.tobytes() == blocks.tobytes()


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
@pytest.mark.parametrize("device", ["fefet2", "pcm-joshi2020", "rram-wan2022", "reram-lognormal"])
def test_blocks_are_the_whole(device: str, encoding: Encoding) -> None:
    """Several draws per cell, laws by level and time, uneven levels, noise on weights; ideal."""
    found = load_device(device)
    noise = [parse_noise("stuck-at:p_low=0.01,p_high=0.02"), parse_noise("uniform:amplitude=0.1")]
    for bits in (4, None):
        target = Target.of(found, weight_bits=bits, encoding=encoding).on(None, noise)
        time_s = 1000.0 if found.timed else None
        chip = Chip.of(target, 3, 1, 0.2 if found.needs_sigma else None, time_s)
        array = array_of(target, (2, 3, 180_000) if bits is None else SHAPE, channels=True)
        assert same(chip, array)
        assert same(Chip.ideal(), array)


@pytest.mark.parametrize("noise", ["global:scope=array,sigma=0.1,basis=level", "bitflip:p=0.1"])
def test_what_is_drawn_otherwise_is_programmed_at_once(noise: str) -> None:
    target = Target.of(load_device("fefet2")).on(None, [parse_noise(noise)])
    assert same(Chip.of(target, 0, 0), array_of(target))


def test_a_chip_that_is_noisy_in_part() -> None:
    target = Target.of(load_device("fefet2"))
    whole, array = Chip.of(target, 0, 0), array_of(target)
    part = AblatedChip.within(whole, Selection(slices=frozenset([1])))
    assert same(part, array)
    assert not np.array_equal(part.weights(array), whole.weights(array))


@pytest.mark.parametrize("shape", [(7,), (3, 4), (1 << 20,), (2, 3, 1 << 17), (0, 5), (1 << 17, 1)])
def test_blocks_cover_an_array(shape: tuple[int, ...]) -> None:
    """Each weight lies in exactly one block, none of which is larger than it has to be."""
    array = Array(
        "w", np.zeros(shape, np.int8), np.ones((), np.float32), Target.of(load_device("fefet2"))
    )
    seen = np.zeros((int(np.prod(shape[: joined_axes(shape)])),), int)
    for where, part in array.parts():
        seen[where] += 1
        assert part.codes.size <= max(1 << 16, shape[-1])
        assert len(part.codes) <= rows_of_block(shape)
    assert (seen == 1).all()


def test_a_large_array_takes_its_weights_and_little_more() -> None:
    """Allocated by NumPy: the weights, 4 bytes each, and a few blocks of 256 KiB."""
    array = array_of(Target.of(load_device("fefet2")), (4096, 1024))
    chip = Chip.of(array.target, 0, 0)
    chip.weights(array)
    tracemalloc.start()
    chip.weights(array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * array.codes.size + 24 * 4 * (1 << 16)
    assert not {"cells", "sign", "steps"} & array.__dict__.keys()
