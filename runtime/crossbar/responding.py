"""Cells whose current is not proportional to what drives them (`nvmc.hardware.devices.currents`).

A column's current is a sum over its rows and over the responses of its cells,

    I = sum over k, r of w_k(g[r]) f_k(x[r])

so its matrices have all rows once more for each response beyond the first, and rows are driven by
f_0(x), f_1(x), ...: every f in float64, rounded once. A law of one response leaves the matrices as
they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Target
from nvmc.hardware.devices.currents import Response, polynomial
from nvmc.runtime.crossbar.array import Block, lanes_of, through_wires
from nvmc.runtime.crossbar.dac import Dac, Drive
from nvmc.runtime.crossbar.solved import Solved

__all__ = [
    "at_unit_drive",
    "driven",
    "largest_response",
    "on_rows",
    "responses_of",
    "solved_of",
    "weighed",
]

Real = NDArray[np.floating[Any]]


def responses_of(target: Target, top: float) -> tuple[Response, ...]:
    """What cells make of a drive of up to `top`; none where they are read as proportional."""
    law, read_v = target.iv, target.periphery.read_v
    return () if law is None or read_v is None else law.responses(read_v, top)


def driven(block: Block, drive: Real) -> Real:
    """What codes of a pulse put on the rows of a block's matrices, along the last axis."""
    drive = on_rows(block, drive)
    if not block.responses:
        return drive
    return np.concatenate([polynomial(each, drive) for each in block.responses], axis=-1)


def on_rows(block: Block, drive: Real) -> Real:
    """What DACs make of codes of a pulse, in input steps."""
    return drive if block.inl is None else block.inl.put(drive)


def at_unit_drive(
    matrix: Real, block: Block, dac: Dac, coefficients: Real, cols: slice = slice(None)
) -> Real:
    """Currents of a block's matrix whose every row is driven by 1, all lanes added up.

    Where cells or DACs are not linear, those of rows that the DAC drives with its offset, pulse by
    pulse, over the offset.

    Args:
        matrix: Of the block, or some columns of every lane: (groups, rows, lanes * cols).
        block: The block.
        dac: Drives its rows.
        coefficients: What each lane counts for, shape (lanes,).
        cols: Which columns these are.

    Returns:
        Shape (groups, 1, cols).
    """
    if (block.responses or block.inl is not None) and dac.half:
        zeros, half = np.zeros((1, len(matrix), 1, block.height)), np.array([dac.half])
        pulses = dac.expand(zeros, Drive(np.ones(1), half, half > 0))
        if block.solved is not None:
            reads = [p.weight * block.solved(on_rows(block, p.drive), cols)[0] for p in pulses]
            lanes: Real = (np.stack(reads).sum(axis=0) / dac.half).astype(matrix.dtype)
            lanes = lanes.reshape(len(matrix), len(coefficients), -1)
            return np.einsum("glc,l->gc", lanes, coefficients.astype(matrix.dtype))[:, None]
        put = sum(pulse.weight * driven(block, pulse.drive)[0, :, 0] for pulse in pulses)
        matrix = matrix * (np.asarray(put) / dac.half).astype(matrix.dtype)[..., None]
    lanes = matrix.sum(axis=1).reshape(len(matrix), len(coefficients), -1)
    return np.einsum("glc,l->gc", lanes, coefficients.astype(matrix.dtype))[:, None]


def solved_of(target: Target, top: float, levels: Real, sign: Real) -> Solved | None:
    """What solves every read of tiles with wires; None where matrices serve.

    Args:
        target: The cells, their conductances and wires.
        top: The highest drive.
        levels: Shape (planes, groups, rows, cols), in level steps.
        sign: The digital sign of every weight, shape (groups, rows, cols).
    """
    around, range_us = target.periphery, target.device.conductance
    bent = target.iv is not None and around.wired
    if not bent or around.wire_solution != "exact" or range_us is None:
        return None
    layout = target.layout
    parts: Real = lanes_of(layout, levels.astype(np.float64), sign, analog=False).levels
    halves: list[NDArray[np.bool_]] = [sign > 0, sign < 0] if layout.signed else [sign == sign]
    formed = np.stack([half for half in halves for _ in range(len(parts) // len(halves))])
    conducted = np.where(formed, parts * (target.step_us or 1.0) + range_us.min_us, 0.0)
    pairs = layout.encoding != "offset" and around.subtract == "analog"
    return Solved(target, top, conducted, formed, pairs, slice(0, 0))


def weighed(target: Target, top: float, levels: Real, formed: NDArray[np.bool_]) -> Real:
    """What each response of one polarity's cells counts for at the foot of the columns.

    What formed cells conduct at level 0 is taken out where it does not reach the ADC. Behind wires
    each response arrives to the share to which the cell's conductance does: exact where cells are
    linear or wires have no resistance, else an approximation (docs/parasitics.md).

    Args:
        target: The cells, their conductances and wires.
        top: The highest drive.
        levels: Shape (slices, groups, rows, cols), in level steps.
        formed: Which cells exist, shape (groups, rows, cols).

    Returns:
        Shape (slices, groups, rows, cols, responses), in level steps.
    """
    law, read_v, range_us = target.iv, target.periphery.read_v, target.device.conductance
    assert law is not None and read_v is not None
    seen = through_wires(target, levels, formed) if target.periphery.wired else levels
    step = target.step_us or 1.0
    conducted = np.where(formed, levels * step + (range_us.min_us if range_us else 0.0), 0.0)
    share = 1.0
    if seen is not levels:
        arriving = seen * step + target.off_level * step * formed
        share = np.where(conducted == 0, 0.0, arriving / np.where(conducted == 0, 1.0, conducted))
    idle = _idle(target, top)
    found = [seen]
    for weight, nominal in zip(law.weights(conducted, read_v, top)[1:], idle[1:], strict=True):
        found.append(((weight * share - nominal * formed) / step).astype(levels.dtype))
    return np.stack(found, axis=-1)


def _idle(target: Target, top: float) -> list[float]:
    """What a cell at level 0 has of each response that is taken off before the ADC, in µS."""
    law, read_v, range_us = target.iv, target.periphery.read_v, target.device.conductance
    assert law is not None and read_v is not None
    low = 0.0 if range_us is None or target.off_at_adc else range_us.min_us
    return [float(w) for w in law.weights(np.asarray(low), read_v, top)]


def largest_response(target: Target, top: float, drive: float) -> float:
    """The drive at which a proportional cell of the highest level would do what such cells can.

    So what reaches an ADC at most is rows x level x this. `drive` itself where cells are linear.

    Args:
        target: The cells.
        top: The highest drive.
        drive: The one that they get.
    """
    law, read_v, range_us = target.iv, target.periphery.read_v, target.device.conductance
    if law is None or read_v is None:
        return drive
    highest = target.layout.highest_target
    at = [float(polynomial(r, np.asarray(drive))) for r in law.responses(read_v, top)]
    levels, step = np.linspace(0, highest, 257), target.step_us or 1.0
    weights = law.weights(levels * step + (range_us.min_us if range_us else 0.0), read_v, top)
    total = (levels + target.off_at_adc) * at[0]
    for weight, nominal, each in zip(weights[1:], _idle(target, top)[1:], at[1:], strict=True):
        total += (weight - nominal) / step * each
    return float(np.max(np.abs(total)) / (highest + target.off_at_adc))
