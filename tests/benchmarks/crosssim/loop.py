"""A circuit of the comparison by loops, by either tool's conventions: the hand calculation.

It knows neither of them. In its units a current is in level steps x input steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crosssim.case import COLS, UNIT, Case, Real, codes_of, inputs_of
from nodal import Resistances, currents

__all__ = ["outputs"]

READ_US = 100.0


def outputs(case: Case, theirs: bool) -> Real:
    """What the columns put out, by CrossSim's conventions or by ours; shape (vectors, cols)."""
    return np.stack([_output(case, x, theirs) for x in inputs_of(case)])


def _output(case: Case, x: Real, theirs: bool) -> Real:
    top = 1.0 if case.dac is None else 2.0**case.dac - 1
    codes = x * top if case.dac is None else _rounded(x * top, case, theirs)
    lanes, shift = _lanes(case, theirs)
    result = -shift * codes.sum() * np.ones(COLS)
    for first, last in _tiles(case, theirs):
        for phase, sign in _phases(codes, case):
            for parts, count in lanes:
                held = np.zeros(COLS)
                for drive, weight in _pulses(phase, case):
                    read = [_currents(part[first:last], drive[first:last], case, theirs)
                            for part in parts]  # fmt: skip
                    current = _limited(read, case, theirs)
                    if case.held:
                        held += weight * current
                    else:
                        result += sign * weight * count * _converted(current, case, theirs)
                if case.held:
                    result += sign * count * _converted(held, case, theirs)
    if theirs and case.encoding == "offset" and case.slices == 1:
        result *= (case.top - 1) / case.top
    return result * UNIT / top


def _rounded(codes: Real, case: Case, theirs: bool) -> Real:
    """Ties go to the even code; CrossSim's of both signs are counted from the lowest."""
    low = 2**case.dac - 1 if theirs and case.signed and case.bipolar and case.dac else 0
    return np.rint(codes + low) - low


def _tiles(case: Case, theirs: bool) -> Iterator[tuple[int, int]]:
    first = 0
    for size in case.tiles(theirs):
        yield first, first + size
        first += size


def _phases(codes: Real, case: Case) -> list[tuple[Real, float]]:
    if case.signed and not case.bipolar:
        return [(np.maximum(codes, 0), 1.0), (np.maximum(-codes, 0), -1.0)]
    return [(codes, 1.0)]


def _pulses(codes: Real, case: Case) -> Iterator[tuple[Real, float]]:
    if not case.serial:
        yield codes, 1.0
        return
    for bit in range(0, case.dac or 0, case.slice_bits):
        digits = (np.abs(codes).astype(int) >> bit) & (2**case.slice_bits - 1)
        yield np.sign(codes) * digits, 2.0**bit


def _lanes(case: Case, theirs: bool) -> tuple[list[tuple[list[Real], float]], float]:
    """Cells (with what they conduct at level 0) that one conversion reads, and what it counts for.

    And what is subtracted digitally, times the sum of the inputs.
    """
    codes, lanes = codes_of(case), list[tuple[list[Real], float]]()
    if case.encoding == "offset":
        zero = 2**case.bits if theirs else 2**case.bits - 1
        shift = 0.0
        for n in range(case.slices):
            cells = (((codes + zero) >> (n * case.cell)) & case.top) + case.off
            lanes.append(([cells], 2.0 ** (n * case.cell)))
            shift += case.off * 2.0 ** (n * case.cell)
            if case.column:
                half = 2**case.cell // 2 if theirs and n == case.slices - 1 else 0
                lanes.append(([np.full(codes.shape, half + case.off)], -(2.0 ** (n * case.cell))))
        if case.column:
            return lanes, 0.0 if theirs else float(zero)
        return lanes, zero + shift
    for n in range(case.slices):
        digits = np.sign(codes) * ((np.abs(codes) >> (n * case.cell)) & case.top)
        pair = [np.maximum(digits, 0) + case.off, np.maximum(-digits, 0) + case.off]
        if case.encoding == "balanced":
            pair = [_half(case.top + sign * digits, theirs) + case.off for sign in (1, -1)]
        if case.digital:
            lanes += [([half], sign * 2.0 ** (n * case.cell))
                      for half, sign in zip(pair, (1, -1), strict=True)]  # fmt: skip
        else:
            lanes.append((pair, 2.0 ** (n * case.cell)))
    return lanes, 0.0


def _half(level: Real, theirs: bool) -> Real:
    return np.rint(level / 2) if theirs else np.floor(level / 2)


def _currents(cells: Real, drive: Real, case: Case, theirs: bool) -> Real:
    if case.wires is None and case.read_v is None:
        return drive @ cells
    step = READ_US / (case.top + case.off)
    read_v = 1.0 if case.read_v is None else case.read_v
    bend = 0.0 if case.read_v is None else 0.25
    volts = read_v * drive / case.pulse
    if case.wires is None:
        found = ((volts - bend * volts**3)[:, None] * cells * step).sum(axis=0)
    else:
        row, col, driver, sense = case.wires
        ours = Resistances(row, col, driver, sense)
        ohm = Resistances(row, col, 0.0, sense, first_row=driver) if theirs else ours
        found = currents(cells * step, volts, ohm, lambda g, v: _cubic(g, v, bend))
    return found * case.pulse / (step * read_v)


def _cubic(g: float, volts: float, bend: float) -> tuple[float, float]:
    return g * (volts - bend * volts**3), g * (1 - 3 * bend * volts**2)


def _limited(parts: list[Real], case: Case, theirs: bool) -> Real:
    """The current of one column, or of two that are subtracted before the ADC."""
    if theirs and not case.net:
        parts = [np.clip(part, -case.most, case.most) for part in parts]
    return np.clip(parts[0] - parts[1] if len(parts) > 1 else parts[0], -case.most, case.most)


def _converted(current: Real, case: Case, theirs: bool) -> Real:
    """A code in units of current."""
    if case.adc is None:
        return current
    reach = case.full
    low = -reach if case.signed_current else 0.0
    if theirs and case.kind != "ideal":
        step = 2 * reach / 2**case.adc
        code = np.clip(np.floor(current / step), -(2 ** (case.adc - 1)), 2 ** (case.adc - 1) - 1)
        return (code + 0.5) * step
    codes = 2**case.adc - (2 if low else 1)
    if case.lowest is not None:
        low, codes = case.lowest * reach, 2**case.adc - 1
        if not theirs:
            return _asymmetric(current, low, reach, codes)
    step = (reach - low) / codes
    clipped = np.clip(current, low, reach)
    if theirs:
        return np.rint((clipped - low) / step) * step + low
    return np.rint(clipped / step) * step


def _asymmetric(current: Real, low: float, high: float, codes: int) -> Real:
    """No current is a code: the least step that reaches both ends."""
    below = min(range(1, codes), key=lambda k: max(-low / k, high / (codes - k)))
    step = max(-low / below, high / (codes - below))
    return np.clip(np.rint(current / step), -below, codes - below) * step
