"""Reads that cannot go below zero conductance: moments against quadrature and drawn cells."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import ndtr

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Conductance, Device, Periphery, Read, Target
from nvmc.hardware.reads import clipped_reads
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.runtime.crossbar.operand import CircuitOperand

PLACE = Place("CrossbarMatMul")


def device(clip: Any, low: float = 0.0, sigma: float = 1.0) -> Device:
    """0 to 10 µS, every read with a spread of `sigma` µS."""
    return Device(
        name="noisy",
        title="cells of noisy reads",
        source="made up",
        levels="continuous",
        clip=clip,
        conductance=Conductance(min_us=low, max_us=10.0),
        noise=(Read(sigma=sigma, basis="us"),),
    )


def moments(g: float, s: float) -> tuple[float, float]:
    """Mean and standard deviation of max(0, N(g, s)) by quadrature."""

    def part(power: int) -> float:
        def of(z: float) -> float:
            return (g + s * z) ** power * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

        return quad(of, -g / s, max(12.0, 12.0 - g / s), epsabs=1e-15, limit=200)[0]

    mean = part(1)
    return mean, math.sqrt(part(2) - mean * mean)


@pytest.mark.parametrize("off", [0.0, 0.7])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_moments_are_those_of_the_integral(off: float, kind: Any) -> None:
    conducted = np.array([0, 1e-3, 0.1, 0.5, 1, 2, 3, 5, 5.9, 6.1, 20])
    spread = np.array([0.3, 1.0, 2.0])[:, None] + 0 * conducted
    levels = conducted * spread - off
    tail = ndtr if kind is np.asarray else torch.special.ndtr
    means, spreads = clipped_reads(kind(levels), kind(spread), off, tail)
    for place in np.ndindex(*levels.shape):
        mean, sigma = moments(levels[place] + off, spread[place])
        assert float(means[place]) == pytest.approx(mean - off, abs=3e-9)
        assert float(spreads[place]) == pytest.approx(sigma, rel=3e-9)


def test_idle_cells_have_the_half_normal_and_far_ones_stay() -> None:
    levels = np.array([0.0, 0.0, 7.0], np.float32)
    spread = np.array([2.0, 0.0, 1.0], np.float32)
    means, spreads = clipped_reads(levels, spread, 0.0, ndtr)
    assert means.dtype == spreads.dtype == np.float32
    np.testing.assert_allclose(means, [2 / math.sqrt(2 * math.pi), 0, 7], rtol=1e-6)
    np.testing.assert_allclose(spreads, [2 * math.sqrt(0.5 - 0.5 / math.pi), 0, 1], rtol=1e-6)
    assert clipped_reads(levels[1:], spread[1:], 0.0, ndtr)[0].tolist() == levels[1:].tolist()


def array_of(cells: Device, weights: NDArray[np.float32], **periphery: Any) -> tuple[Array, Chip]:
    """Analog weights on pairs of cells, and a chip of them."""
    target = Target.of(cells, encoding="differential", periphery=Periphery(**periphery))
    return Array("a", weights, np.array(1.0, np.float32), target), Chip.of(target, 5, 2)


def test_only_devices_that_clip_at_zero_clip_reads() -> None:
    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    free, chip = array_of(device(False), weights)
    levels = chip.program(free).levels
    read = chip.read(free, levels)
    assert read is not None and read[0] is levels
    bounded, chip = array_of(device(True), weights)  # clips what is programmed to its levels
    read = chip.read(bounded, levels)
    assert read is not None and read[0] is levels
    zero, chip = array_of(device("zero"), weights)
    read = chip.read(zero, levels)
    assert read is not None and read[0].max() > levels.min() and read[0] is not levels
    assert Chip.ideal().read(zero, levels) is None


def test_level_0_that_conducts_is_clipped_at_nothing_not_at_level_0() -> None:
    """At 2 µS and a spread of 0.2 µS no read comes near 0 µS."""
    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    array, chip = array_of(device("zero", low=2.0, sigma=0.2), weights)
    levels = chip.program(array).levels
    read = chip.read(array, levels)
    assert read is not None and read[0] is levels


@pytest.mark.parametrize("kernel", KERNELS)
def test_columns_read_as_the_sum_of_clipped_cells(kernel: str) -> None:
    """Against cells drawn one by one, each clipped at every read.

    With N reads, means are good to 5 s / sqrt(N) and spreads to 5 s / sqrt(2 N).
    """
    count, rows = 20_000, 64
    generator = np.random.default_rng(4)
    weights = generator.uniform(-0.2, 0.2, (rows, 3)).astype(np.float32)
    weights[0] = 1.0
    array, chip = array_of(device("zero"), weights)
    drive = generator.uniform(0, 1, rows).astype(np.float32)
    drive[0] = 1.0
    operand = CircuitOperand(array, chip.program(array), chip, kernel=kernel)
    x = np.ascontiguousarray(np.broadcast_to(drive, (count, 1, 1, rows)))
    found = operand.mvm(PLACE, entries=count, dtype=np.float32)(x)[:, 0, 0].astype(np.float64)

    cells = 10 * chip.program(array).levels.astype(np.float64)  # µS
    reads = np.zeros((count, 3))
    for polarity, factor in enumerate((1, -1)):
        for row in range(rows):
            drawn = cells[polarity, row] + generator.standard_normal((count, 3))
            reads += factor * drive[row] * np.maximum(drawn, 0) / 10
    spread = reads.std(axis=0)
    error = 5 * spread / math.sqrt(count)
    assert np.all(np.abs(found.mean(axis=0) - reads.mean(axis=0)) < 2 * error)
    assert np.all(np.abs(found.std(axis=0) - spread) < 2 * error / math.sqrt(2))
    # And it is another law than without clipping: idle cells make much more noise there.
    plain = replace(chip, clip=False)
    operand = CircuitOperand(array, plain.program(array), plain, kernel=kernel)
    loud = operand.mvm(PLACE, entries=count, dtype=np.float32)(x)[:, 0, 0].std(axis=0)
    assert np.all(loud > 1.25 * spread)


def test_an_idle_pair_is_half_as_noisy_as_without_clipping() -> None:
    """sqrt(1/2 - 1/(2 pi)) = 0.584 of the spread: 1.71 times too much before."""
    weights = np.zeros((8, 2), np.float32)
    weights[0, 1] = 1.0  # sets the range
    array, chip = array_of(device("zero"), weights)
    read, plain = (
        one.read(array, one.program(array).levels) for one in (chip, replace(chip, clip=False))
    )
    assert read is not None and plain is not None
    ratio = plain[1][:, :, 0] / read[1][:, :, 0]
    np.testing.assert_allclose(ratio, 1 / math.sqrt(0.5 - 0.5 / math.pi), rtol=1e-6)
