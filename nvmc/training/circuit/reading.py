"""One array read through its converters, by torch.

    I   = sum over the rows of a tile of x_b g       (+ the noise of a read)
    Y   = sum of c_l 2^b D clip(round(I / D)) over tiles, lanes and pulses
          (of c_l D clip(round(sum of 2^b I / D)) where charges are added up)
    y   = s dx (Y - shift sum(x_q))

Codes are those of `nvmc.runtime.crossbar.circuit`. This runs on a GPU too, and where currents are
watched; on a processor `compiled.py` does the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.lowering import spans
from nvmc.training.circuit.clipped import Clipped
from nvmc.training.circuit.converters import Codes, convert, pulses
from nvmc.training.circuit.products import Product

__all__ = ["Reading"]

TOGETHER = 1 << 18
"""Currents of a row of tiles that are handled at a time."""


@dataclass(frozen=True)
class Reading:
    """How an array is read; no gradient flows through any of it.

    Attributes:
        product: What it computes.
        lanes: Current of each column for a drive of 1, shape (lanes, *shape of the weight).
        variance: What a drive of 1 adds to the variance of one read, like `lanes`; None where
            every read is the same.
        coefficients: What each lane counts for, in code steps.
        shift: What the encoding adds to every code.
        unit: Network units in a code step, a scalar or of the weight's rank.
        dac: Drives the rows.
        adcs: Read the columns, one for each row of tiles.
        rows: Of each row of tiles.
        normal: Standard normals of a shape, for reads.
        watched: Sees the currents that an ADC is about to convert; None while training.
        digital: A product of the codes that is taken off digitally, like a lane of a number per
            weight; None where there is none.
    """

    product: Product
    lanes: Tensor
    variance: Tensor | None
    coefficients: Sequence[float]
    shift: float
    unit: Tensor
    dac: Dac
    adcs: Sequence[Adc]
    rows: Sequence[slice]
    normal: Callable[[tuple[int, ...]], Tensor] | None = None
    watched: Callable[[Tensor], None] | None = None
    digital: Tensor | None = None

    def result(self, codes: Codes) -> tuple[Tensor, Clipped | None]:
        """The outputs (entries, groups, cols, ...), and which were clipped; None where none was."""
        count, whole = len(codes.values), None
        shares: list[Tensor | None] = [None] * len(self.rows)
        for block in spans(count, self._together(codes.values)) if count else (slice(0),):
            part, some = self._result(codes[block])
            if len(part) == count:
                return part, Clipped.of_shares(some)
            if whole is None:
                whole = part.new_empty((count, *part.shape[1:]))
            whole[block] = part
            for number, share in enumerate(some):
                if share is not None:
                    kept = shares[number]
                    shares[number] = kept = torch.ones_like(whole) if kept is None else kept
                    kept[block] = share
        assert whole is not None
        return whole, Clipped.of_shares(shares)

    def _together(self, x: Tensor) -> int:
        """Entries handled at a time: what stays in a core's cache."""
        each = len(self.coefficients) * self.product.outputs(x)
        return len(x) if x.device.type != "cpu" else max(1, TOGETHER // max(1, each))

    def _result(self, codes: Codes) -> tuple[Tensor, list[Tensor | None]]:
        total: Tensor | None = None
        shares: list[Tensor | None] = []
        for rows, adc in zip(self.rows, self.adcs, strict=True):
            part, share = self._tiles(codes, rows, adc)
            if adc.step != 1:
                part *= adc.step
            if self.shift:
                part -= self.shift * self._driven(codes.values, rows)
            if self.digital is not None:
                part -= self.product.currents(codes.values, self.digital, rows).squeeze(2)
            if codes.offset is not None:
                part -= self._of_offset(codes.offset, codes.values, rows)
            total = part if total is None else total.add_(part)
            shares.append(share)
        assert total is not None
        step = codes.step.view(-1, *(1,) * (total.dim() - 1))
        return total.mul_(step * self.product.by_column(self.unit)), shares

    def _tiles(self, codes: Codes, rows: slice, adc: Adc) -> tuple[Tensor, Tensor | None]:
        """Codes of one row of tiles, added up over pulses and lanes, and their share in range."""
        total: Tensor | None = None
        lost: Tensor | None = None
        counted: Tensor | float = 0.0
        weights = [abs(c) for c in self.coefficients]
        for currents, counts in self._read(codes, rows):
            if self.watched is not None:
                self.watched(currents)
            converted, clipped = convert(adc, currents)
            each = abs(counts) * sum(weights)
            # An entry without negative inputs has no phase for them.
            counted = counted + (each * codes.signed if counts < 0 else each)
            if clipped is not None:
                some = _weighted(clipped, [abs(counts) * weight for weight in weights])
                lost = some if lost is None else lost.add_(some)
            part = _added(converted, self.coefficients)
            if total is None:
                total = part if counts == 1 else part * counts
            else:
                total = total.add_(part, alpha=counts)
        assert total is not None
        if lost is None:
            return total, None
        if isinstance(counted, Tensor):
            counted = counted.view(-1, *(1,) * (lost.dim() - 1))
        return total, 1 - lost.div_(counted)

    def _read(self, codes: Codes, rows: slice) -> Iterator[tuple[Tensor, float]]:
        """What is converted of one row of tiles, and what it counts for."""
        held: Tensor | None = None
        for pulse in pulses(self.dac, codes):
            currents = self._currents(pulse.drive, rows)
            if not self.dac.accumulates:
                yield currents, pulse.weight
                continue
            held = currents if held is None else held.add_(currents, alpha=abs(pulse.weight))
            if pulse.last:
                yield held, math.copysign(1.0, pulse.weight)
                held = None

    def _currents(self, drive: Tensor, rows: slice) -> Tensor:
        currents = self.product.currents(drive, self.lanes, rows)
        if self.variance is not None and self.normal is not None:
            spread = self.product.currents(drive.square(), self.variance, rows).sqrt_()
            currents.addcmul_(spread, self.normal(tuple(spread.shape)))
        return currents

    def _driven(self, values: Tensor, rows: slice) -> Tensor:
        """Sum of the codes that drive the rows; the same for all columns."""
        ones = torch.ones_like(self.lanes[:1])
        return self.product.currents(values, ones, rows).squeeze(2)

    def _of_offset(self, offset: Tensor, values: Tensor, rows: slice) -> Tensor:
        """What an offset adds, all lanes added up; of a column, whatever drives it."""
        ones = torch.ones_like(values[:1])
        currents = self.product.currents(ones, self.lanes, rows)
        added = _added(currents, self.coefficients)
        return offset.view(-1, *(1,) * (added.dim() - 1)) * added


def _added(codes: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Lanes added up, as `shift_add` does it; shape (entries, groups, cols, ...)."""
    first, *others = coefficients
    total = codes[:, :, 0] if first == 1 else codes[:, :, 0] * first
    for lane, coefficient in enumerate(others, 1):
        part = codes[:, :, lane]
        total = (
            total.add(part, alpha=coefficient) if lane == 1 else total.add_(part, alpha=coefficient)
        )
    return total


def _weighted(lanes: Tensor, weights: Sequence[float]) -> Tensor:
    """Sum over lanes of zeros and ones, each by its weight."""
    total = lanes[:, :, 0].to(torch.float32)
    total *= weights[0]
    for lane, weight in enumerate(weights[1:], 1):
        total.add_(lanes[:, :, lane], alpha=weight)
    return total
