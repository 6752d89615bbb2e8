"""Copies of layers against every possible choice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from nvmc.place.copies import Unit, least_bottleneck, least_sum


def unit(tiles: int, vectors: int, step: float = 1.0, extra: float = 0.0) -> Unit:
    return Unit(tiles, vectors, lambda copies: step * -(-vectors // copies) + extra)


def choices(units: list[Unit], tiles: int) -> Iterator[tuple[int, ...]]:
    for copies in itertools.product(*(range(1, one.most + 1) for one in units)):
        if sum(one.tiles * number for one, number in zip(units, copies, strict=True)) <= tiles:
            yield copies


def times(units: list[Unit], copies: tuple[int, ...] | list[int]) -> list[float]:
    return [one.seconds(number) for one, number in zip(units, copies, strict=True)]


def cases() -> Iterator[tuple[list[Unit], int]]:
    rng = np.random.default_rng(3)
    for _ in range(60):
        units = [
            unit(
                int(rng.integers(1, 5)),
                int(rng.integers(1, 9)),
                float(rng.uniform(0.3, 2)),
                float(rng.uniform(0, 1)),
            )
            for _ in range(4)
        ]
        yield units, sum(one.tiles for one in units) + int(rng.integers(0, 20))


def test_the_least_bottleneck_is_that_of_every_choice() -> None:
    for units, tiles in cases():
        found = least_bottleneck(units, tiles)
        assert sum(u.tiles * n for u, n in zip(units, found, strict=True)) <= tiles
        best = min(max(times(units, copies)) for copies in choices(units, tiles))
        assert max(times(units, found)) == best


def test_the_least_sum_lies_between_its_bound_and_what_was_found() -> None:
    exact = 0
    for units, tiles in cases():
        found, bound = least_sum(units, tiles)
        assert sum(u.tiles * n for u, n in zip(units, found, strict=True)) <= tiles
        best = min(sum(times(units, copies)) for copies in choices(units, tiles))
        assert bound <= best * (1 + 1e-12)
        assert best <= sum(times(units, found)) * (1 + 1e-12)
        exact += sum(times(units, found)) == pytest.approx(best)
    assert exact >= 30  # greedy on the hull: most are the optimum itself


def test_vectors_that_wait_for_one_another_get_no_copies() -> None:
    units = [Unit(1, 1, lambda copies: 9.0), unit(1, 8)]
    assert least_bottleneck(units, 100) == [1, 1]


def resnet50() -> list[Unit]:
    """ResNet-50 on 224 x 224 images: 8-bit weights in 2-bit cells, tiles of 128 x 128.

    A layer is (rows, columns, side of its output); four slices, one polarity.
    """
    layers = [(147, 64, 112)]
    wide = 64
    for width, blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(blocks):
            before = side if block or width == 64 else 2 * side
            layers += [(wide, width, before), (9 * width, width, side), (width, 4 * width, side)]
            if not block:
                layers.append((wide, 4 * width, side))
            wide = 4 * width
    layers.append((2048, 1000, 0))
    return [
        unit(4 * -(-rows // 128) * -(-columns // 128), max(1, side * side))
        for rows, columns, side in layers
    ]


@pytest.mark.parametrize(
    ("factor", "rounds"), [(1, 12544), (1.25, 392), (1.5, 210), (2, 157), (4, 54)]
)
def test_resnet50_waits_less_with_more_tiles(factor: float, rounds: int) -> None:
    units = resnet50()
    once = sum(one.tiles for one in units)
    assert once == 6304
    found = least_bottleneck(units, int(once * factor))
    assert max(times(units, found)) == rounds
