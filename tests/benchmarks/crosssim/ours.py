"""A circuit of the comparison as nvmc computes it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from crosssim.case import COLS, UNIT, Case, Real, codes_of, inputs_of
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import ArrayRange, Device, Periphery, Target, WireOhm
from nvmc.hardware.encoding import as_codes
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.native import NUMPY
from nvmc.runtime.crossbar.operand import CircuitOperand

__all__ = ["MAX_US", "cells_of", "outputs"]

MAX_US = 100.0


def outputs(case: Case) -> Real:
    """What the columns put out, in float64, shape (vectors, cols)."""
    target, place = _target(case), Place("CrossbarMatMul")
    codes = as_codes(codes_of(case), case.bits)
    array = Array("a", codes, np.float32(UNIT).reshape(()), target, place)
    chip = Chip.ideal()
    operand = CircuitOperand(array, chip.program(array), chip, kernel=NUMPY)
    x = inputs_of(case)[:, None, None, :]
    return operand.mvm(place, entries=len(x), dtype=x.dtype)(x)[:, 0, 0]


def cells_of(case: Case) -> Real:
    """The level of every cell, shape (planes, rows, cols)."""
    codes = as_codes(codes_of(case), case.bits)
    array = Array("a", codes, np.float32(UNIT).reshape(()), _target(case), Place("CrossbarMatMul"))
    return Chip.ideal().program(array).levels.astype(np.float64)


def _target(case: Case) -> Target:
    off = 0.0 if math.isinf(case.ratio) else MAX_US / case.ratio
    text: dict[str, Any] = {"name": "d", "title": "t", "source": "s", "levels": 2**case.cell}
    text["conductance"] = {"min_us": off, "max_us": MAX_US}
    if case.read_v is not None:
        text["iv"] = {"law": "cubic", "cubic": -0.25}
    return Target.of(
        Device.model_validate(text),
        weight_bits=case.bits,
        cell_bits=case.cell,
        encoding=case.encoding,
        rows=case.rows,
        cols=COLS,
        periphery=_periphery(case),
    )


def _periphery(case: Case) -> Periphery:
    given: dict[str, Any] = {
        "dac_bits": case.dac,
        "dac_mode": "bit-serial" if case.serial else "multi-level",
        "dac_slice_bits": case.slice_bits,
        "accumulate": "analog" if case.held else "digital",
        "signed_inputs": "bipolar" if case.bipolar else "two-phase",
        "adc_bits": case.adc,
        "subtract": "digital" if case.digital else "analog",
        "row_split": "even" if case.even else "filled",
        "read_v": case.read_v,
    }
    if case.adc is not None:
        given["adc"] = case.kind
        given["adc_range"] = case.full
    if case.adc is not None and case.lowest is not None:
        reach = case.full
        low = ArrayRange(array="a", input=1.0, current=reach, lowest=case.lowest * reach)
        given |= {"adc_range": "calibrated", "adc_steps": "asymmetric", "ranges": (low,)}
    if case.limit is not None:
        given["column_limit"] = case.most
    if case.column:
        given["reference"] = "column"
    if case.wires is not None:
        row, col, driver, sense = case.wires
        given["wire_ohm"] = WireOhm(row=row, col=col, driver=driver, sense=sense)
        given["wire_solution"] = "exact"
    return Periphery(**given)
