"""A circuit of the comparison as CrossSim computes it; needs its `simulator` on the path."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from simulator import AnalogCore, CrossSimParameters
from simulator.parameters.core_parameters import (
    BalancedCoreStyle,
    BitSlicedCoreStyle,
    CoreStyle,
    OffsetCoreStyle,
    PartitionStrategy,
)

from crosssim.case import UNIT, Case, Real, codes_of, inputs_of
from crosssim.ours import MAX_US

__all__ = ["outputs"]

MODELS = {
    "ramp": "RampADC",
    "sar": "SarADC",
    "pipeline": "PipelineADC",
    "cyclic": "CyclicADC",
}


def outputs(case: Case) -> Real:
    """What the columns put out, shape (vectors, cols)."""
    matrix = codes_of(case).T * UNIT
    x = inputs_of(case)
    phases = [(x, 1.0)]
    if case.signed and not case.bipolar:
        phases = [(np.maximum(x, 0), 1.0), (np.maximum(-x, 0), -1.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        core: Any = AnalogCore(matrix, _parameters(case))
        return sum(
            sign * np.stack([core.matvec(vector) for vector in part]) for part, sign in phases
        )


def _parameters(case: Case) -> Any:
    p: Any = CrossSimParameters()
    _say_weights(p, case)
    _say_cells(p, case)
    both = case.signed and case.bipolar
    p.core.mapping.inputs.mvm.min = -1.0 if both else 0.0
    p.core.mapping.inputs.mvm.max = 1.0
    p.xbar.dac.mvm.signed = both
    if case.dac is not None:
        p.xbar.dac.mvm.model = "SignMagnitudeDAC" if both else "QuantizerDAC"
        p.xbar.dac.mvm.bits = case.dac + both
        p.xbar.dac.mvm.input_bitslicing = case.serial
        p.xbar.dac.mvm.slice_size = case.slice_bits
    if case.adc is not None:
        _say_adc(p, case)
    if case.limit is not None:
        p.xbar.array.Icol_max = case.most / ((case.top + case.off) * case.pulse)
        p.core.balanced.interleaved_posneg = case.net
    return p


def _unit(case: Case) -> float:
    """Our level steps x input steps in CrossSim's unit of current: a cell's highest at full drive.

    Its conductances are relative to the highest, its inputs to the largest.
    """
    return (case.top + case.off) * case.largest


def _say_weights(p: Any, case: Case) -> None:
    core, top = p.core, (2**case.bits - 1) * UNIT
    core.mapping.weights.percentile = None
    core.mapping.weights.min, core.mapping.weights.max = -top, top
    core.rows_max = case.rows
    strategy = PartitionStrategy.EQUAL if case.even else PartitionStrategy.MAX
    core.mapping.weights.row_partition_strategy = strategy
    core.mapping.weights.col_partition_strategy = strategy
    core.balanced.subtract_current_in_xbar = not case.digital
    core.weight_bits = case.bits + 1
    if case.column:
        core.offset.style = OffsetCoreStyle.UNIT_COLUMN_SUBTRACTION
    if case.slices > 1:
        core.style = CoreStyle.BITSLICED
        core.bit_sliced.num_slices = case.slices
        offset = case.encoding == "offset"
        core.bit_sliced.style = BitSlicedCoreStyle.OFFSET if offset else BitSlicedCoreStyle.BALANCED
        return
    p.xbar.device.cell_bits = case.cell
    core.style = CoreStyle.OFFSET if case.encoding == "offset" else CoreStyle.BALANCED
    two = case.encoding == "balanced"
    core.balanced.style = BalancedCoreStyle.TWO_SIDED if two else BalancedCoreStyle.ONE_SIDED


def _say_cells(p: Any, case: Case) -> None:
    device = p.xbar.device
    device.infinite_on_off_ratio = math.isinf(case.ratio)
    device.Rmin = 1e6 / MAX_US
    device.Rmax = device.Rmin * (10.0 if math.isinf(case.ratio) else case.ratio)
    if case.read_v is not None:
        device.Vread = case.read_v
        device.nonlinear_IV.enable = True
        device.nonlinear_IV.model = "CubicDevice"
    if case.wires is not None:
        wires = p.xbar.array.parasitics
        wires.enable = True
        wires.Rp_row, wires.Rp_col, wires.Rp_row_terminal, wires.Rp_col_terminal = case.wires
        p.simulation.Verr_th_mvm = 1e-12
        p.simulation.Niters_max_parasitics = 10_000


def _say_adc(p: Any, case: Case) -> None:
    adc, reach = p.xbar.adc.mvm, case.full / _unit(case)
    low = -reach if case.signed_current else 0.0
    model = "QuantizerADC" if low == 0 else "SignMagnitudeADC"
    if case.lowest is not None:
        low, model = case.lowest * reach, "QuantizerADC"
    adc.model = MODELS.get(case.kind, model)
    adc = p.xbar.adc.mvm  # another object for some models
    if case.kind != "ideal":
        low, adc.gain_db = -reach, 400.0
    adc.bits = case.adc
    adc.signed = low < 0
    adc.adc_per_ibit = case.serial and not case.held
    several = case.slices > 1
    adc.calibrated_range = [[low, reach]] * case.slices if several else [low, reach]
