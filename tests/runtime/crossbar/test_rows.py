"""Rows that are spread evenly or read in turn: their converters, and what they cost in codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Periphery, Target
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.hardware.rows import first_rows, reads_of_rows, rows_of_tiles
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.runtime.crossbar.operand import CircuitOperand

PLACE = Place("CrossbarMatMul")
DEVICE = {"name": "d", "title": "t", "source": "s", "levels": 4}


def target(**periphery: Any) -> Target:
    return Target.of(
        Device.model_validate(DEVICE),
        weight_bits=4,
        cell_bits=2,
        encoding="differential",
        rows=8,
        cols=4,
        periphery=Periphery.model_validate({"dac_bits": 4, "adc_bits": 6, **periphery}),
    )


def operand_of(cells: Target, kernel: str = KERNELS[0], index: int | None = 3) -> CircuitOperand:
    weight = np.random.default_rng(1).standard_normal((20, 6))
    scale = scale_of(weight, 4).astype(np.float32)
    array = Array("a", quantize(weight, scale, 4), scale, cells, PLACE)
    chip = Chip.ideal() if index is None else Chip.of(cells, 5, index)
    return CircuitOperand(array, chip.program(array), chip, kernel=kernel)


def product(operand: CircuitOperand) -> NDArray[Any]:
    x = np.random.default_rng(2).standard_normal((5, 1, 3, 20)).astype(np.float32)
    return operand.mvm(PLACE, entries=len(x), dtype=x.dtype)(x)


def test_parts_know_their_rows_of_tiles() -> None:
    even = target(row_split="even", rows_on=5)
    assert [(t.start, t.stop) for t in rows_of_tiles(even, 20)] == [(0, 7), (7, 14), (14, 20)]
    reads = [(r.start, r.stop) for r in reads_of_rows(even, 20)]
    assert reads == [(0, 5), (5, 7), (7, 12), (12, 14), (14, 19), (19, 20)]
    assert first_rows(even, 20) == [0, 0, 8, 8, 16, 16]
    assert first_rows(target(), 20) == [0, 8, 16]


@pytest.mark.parametrize("kind", ["sar:mismatch=0.05,comparator=1", "flash:comparator=0.5"])
def test_parts_of_a_tile_have_its_converters(kind: str) -> None:
    """Those of the whole tile, whose errors are in steps of the code."""
    more = {"adc": kind, "adc_range": 60.0}
    whole = operand_of(target(**more)).circuit(PLACE).adcs
    parts = operand_of(target(rows_on=4, row_split="even", **more)).circuit(PLACE).adcs
    assert len(whole) == 3 and len(parts) == 6
    for number, adc in enumerate(parts):
        own, other = adc.curves, whole[number // 2].curves
        assert own is not None and other is not None
        np.testing.assert_array_equal(own.thresholds, other.thresholds)
        np.testing.assert_array_equal(own.of_column, other.of_column)


@pytest.mark.parametrize("adc", ["ideal", "sar:mismatch=0.05,noise=0.5"])
@pytest.mark.parametrize("bits", [None, 6])
def test_kernels_give_the_bits_of_numpy_where_columns_saturate(adc: str, bits: int | None) -> None:
    kinds = {} if bits is None else {"adc": adc}
    cells = target(rows_on=3, row_split="even", column_limit=20.0, **kinds, adc_bits=bits)
    found = [product(operand_of(cells, kernel)) for kernel in KERNELS]
    for one in found[:-1]:
        np.testing.assert_array_equal(one, found[-1])
    free = cells.everywhere(column_limit=None)
    assert not np.array_equal(found[0], product(operand_of(free)))


def test_fewer_rows_at_a_time_are_finer_codes() -> None:
    """Ranges are those of the rows in use: the error falls with them, and is 0 where all fit."""
    exact = product(operand_of(target(adc_bits=None), index=None))

    def error(**settings: Any) -> float:
        found = product(operand_of(target(adc_bits=7, **settings), index=None))
        return float(np.sqrt(np.mean((found - exact) ** 2)))

    assert error() > 1.5 * error(rows_on=2) > 0
    # one row: 3 * 15 is below 63, so that every current has a code of its own
    assert error(rows_on=1) < 1e-5
