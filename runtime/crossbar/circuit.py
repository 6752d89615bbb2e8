"""The product of one array as its circuit makes it.

    x_q = clip(round(x / dx))                          dac.py
    I   = sum over the rows of a tile of x_b g         array.py
    Y   = sum of 2^(iB + b) ADC(I) over tiles, slices, input bits (and polarities)
                                                       adc.py, shift_add.py
          or of 2^iB ADC(sum of 2^b I over input bits), where charges are added up
    y   = s dx (Y - shift sum(x_q))

In float32 a compiled kernel does all of it (`native.py`), vector by vector of a processor's
registers. NumPy does the same here, to the bit: every row of tiles is one product for all its
lanes, in blocks of entries that stay in a core's cache, where the ADC and shift-and-add work in
place. It is the reference, and serves float64, calibration, and where nothing is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.array import Block
from nvmc.runtime.crossbar.dac import Dac, Drive, Pulse
from nvmc.runtime.crossbar.fresh import Fresh, Rule, drawn
from nvmc.runtime.crossbar.lowering import TOGETHER_BYTES, spans
from nvmc.runtime.crossbar.mvm import ALL, BLOCK_VECTORS, FIRST, Mvm, Reads
from nvmc.runtime.crossbar.native import KERNELS, NUMPY, Places, Reader, Tile, drive
from nvmc.runtime.crossbar.observer import Observer
from nvmc.runtime.crossbar.product import Product
from nvmc.runtime.crossbar.responding import at_unit_drive, driven, on_rows
from nvmc.runtime.crossbar.shift_add import CodeSum, shift_add
from nvmc.runtime.crossbar.subtraction import Subtracted

__all__ = ["Circuit", "CircuitMvm"]

Real = NDArray[np.floating[Any]]
_NOTHING = Fresh()
_Numbers = tuple[NDArray[np.int64], NDArray[np.int64]]
_TURN = 32
"""Bits of a part's number; above them stands the turn."""


class Circuit:
    """One array between its converters, as one operator uses it.

    Args:
        blocks: The cells, a row of tiles after the other; all in the dtype to compute in.
        coefficients: What each lane counts for, in code steps, shape (lanes,).
        shift: What the encoding adds to every code, in code steps.
        unit: Network units in a code step of each column, shape (groups, cols).
        dac: Drives the rows.
        adcs: Read the columns, one for each block.
        kernel: Which of `KERNELS` computes, where it can.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        coefficients: Real,
        shift: float,
        unit: Real,
        dac: Dac,
        adcs: Sequence[Adc],
        kernel: str = KERNELS[0],
    ) -> None:
        self.blocks = blocks
        self.coefficients = coefficients
        self.shift = shift
        self.unit = unit
        self.dac = dac
        self.adcs = adcs
        self.kernel = kernel
        # By columns, since operators compute some at a time; made once, as both may hold copies.
        self._products: dict[tuple[int | None, int | None], list[Product]] = {}
        self._readers: dict[tuple[int | None, int | None], Reader] = {}

    @property
    def lanes(self) -> int:
        """Conversions for one weight."""
        return len(self.coefficients)

    @property
    def width(self) -> int:
        """Columns of a group, all lanes."""
        return self.lanes * self.unit.shape[1]

    def products(self, cols: slice) -> list[Product]:
        """What each block does for some of the columns; made once."""
        key = (cols.start, cols.stop)
        if key not in self._products:
            self._products[key] = [
                self._product(number, block, cols) for number, block in enumerate(self.blocks)
            ]
        return self._products[key]

    def _product(self, number: int, block: Block, cols: slice) -> Product:
        matrix, adc = self.columns(block.currents, cols), self.adcs[number]
        return Product(
            block,
            matrix,
            None if block.variance is None else self.columns(block.variance, cols),
            at_unit_drive(matrix, block, self.dac, self.coefficients, cols),
            adc.columns(self.lanes, cols),
            self.dac,
            number * self.dac.pulses,
            self.kernel,
            None if block.solved is None else partial(block.solved, cols=cols),
        )

    @property
    def compiled(self) -> bool:
        """Whether a compiled kernel computes."""
        if any(block.solved is not None for block in self.blocks):
            return False
        single = all(block.currents.dtype == np.float32 for block in self.blocks)
        bent = any(adc.bits is None or adc.curves is not None for adc in self.adcs)
        held = self.dac.accumulates
        if (bent or held) and any(adc.limit is not None for adc in self.adcs):
            return False  # kernels clip even codes, not currents
        return self.kernel != NUMPY and single and len(self.blocks) > 0

    def reader(self, cols: slice) -> Reader:
        """The compiled kernel of some of the columns; made once."""
        key = (cols.start, cols.stop)
        if key not in self._readers:
            tiles = [
                self._tile(block, adc, cols)
                for block, adc in zip(self.blocks, self.adcs, strict=True)
            ]
            self._readers[key] = Reader(
                self.kernel,
                self.unit[:, cols],
                self.coefficients,
                self.shift,
                self.dac,
                tiles,
            )
        return self._readers[key]

    def _tile(self, block: Block, adc: Adc, cols: slice) -> Tile:
        currents = self.columns(block.currents, cols)
        variance = None if block.variance is None else self.columns(block.variance, cols)
        nothing: Real = np.zeros((len(currents), currents.shape[2] // self.lanes), np.float32)
        at_unit = nothing
        if self.dac.offsets:
            at_unit = at_unit_drive(currents, block, self.dac, self.coefficients)[:, 0]
        first, told, inl = block.rows.start, block.responses, block.inl
        curves = adc.columns(self.lanes, cols).curves
        return Tile(first, currents, variance, at_unit, adc.limits, adc.step, told, curves, inl)

    def counts(self, cols: slice) -> Real:
        """What a current of 1 adds to the result; of shape (groups, 1, lanes * cols)."""
        lanes = self.unit[:, None, cols] * self.coefficients[:, None]
        return lanes.reshape(len(lanes), 1, -1)

    def columns(self, matrix: Real, cols: slice) -> Real:
        """Some columns of every lane of a block's matrix."""
        if cols == ALL:
            return matrix
        groups, rows, width = matrix.shape
        lanes = matrix.reshape(groups, rows, self.lanes, width // self.lanes)
        return np.ascontiguousarray(lanes[..., cols]).reshape(groups, rows, -1)


class CircuitMvm:
    """The products of one kernel call on a circuit.

    Args:
        circuit: The array.
        base: Number of the call's first entry among all that the node has seen.
        fresh: Where noise of reads and conversions draws from.
        observer: Watches while ranges are calibrated.
        turn: Number of the call among those that bring the same entries, step after step.
        subtracted: What is taken off the results.
    """

    def __init__(
        self,
        circuit: Circuit,
        base: int = 0,
        fresh: Fresh = _NOTHING,
        observer: Observer | None = None,
        turn: int = 0,
        subtracted: Sequence[Subtracted] = (),
    ) -> None:
        self._circuit = circuit
        self._base = base
        self._part = turn << _TURN
        self._fresh = fresh
        self._observer = observer
        self._subtracted = subtracted

    @property
    def width(self) -> int:
        """Currents held for each input vector of a group."""
        return self._circuit.width

    def drive(self, x: Real, out: Real | None = None) -> tuple[Real, Drive]:
        """Input codes of whole entries; see `Mvm`."""
        if self._observer is not None:
            self._observer.inputs(x)
        circuit, dac = self._circuit, self._circuit.dac
        if circuit.compiled:
            into: Real = np.empty(x.shape, x.dtype) if out is None else out
            found = drive(
                circuit.kernel,
                x,
                into,
                whole=dac.whole,
                top=dac.largest_code,
                half=dac.half,
                limit=dac.limit,
            )
            return into, found
        codes, found = dac.drive(x)
        if out is not None:
            out[...] = codes
        return codes if out is None else out, found

    def __call__(
        self, x: Real, cols: slice = ALL, reads: Reads = FIRST, drive: Drive | None = None
    ) -> Real:
        """The vectors times W as the circuit reads it, for every group; see `Mvm`."""
        if drive is None:
            x, drive = self.drive(x)
        if self.gathers:
            x = x if min(x.strides, default=0) >= 0 else np.ascontiguousarray(x)
            y: Real = np.empty((*x.shape[:3], self.columns(cols)), x.dtype)
            self.gather(x, Places.of(x), y, reads, drive, cols=cols)
            return y
        y = self._by_numpy(x, cols, reads, drive)
        for each in self._subtracted:
            each.take_off(y, cols, lambda mvm, part: mvm(x, part, reads, drive))
        return y

    def columns(self, cols: slice) -> int:
        """How many columns of a group these are."""
        return self._circuit.unit[:, cols].shape[1]

    @property
    def gathers(self) -> bool:
        """Whether `gather` can take input vectors from where they lie."""
        return self._observer is None and self._circuit.compiled

    def gather(
        self,
        source: Real,
        places: Places,
        y: Real,
        reads: Reads,
        drive: Drive,
        *,
        bias: Real | None = None,
        cols: slice = ALL,
    ) -> None:
        """Read vectors that lie within a larger array of codes.

        Args:
            source: Holds them, float32.
            places: Where.
            y: Where the results go, a view of shape (entries, groups, vectors, cols).
            reads: Which reads these are.
            drive: How to read the codes.
            bias: Added to the results, shape (groups, cols).
            cols: Which columns are read out.
        """
        noise = None
        keys = self._fresh.keys
        if keys is not None:
            entries, parts = reads.numbers(len(y))
            noise = (keys, self._base + entries, self._part + parts)
        within = None if self._subtracted else bias  # the bias comes last
        self._circuit.reader(cols).read(source, places, drive, y, within, noise)

        def product(mvm: Mvm, part: slice) -> Real:
            found: Real = np.empty((*y.shape[:3], mvm.columns(part)), y.dtype)
            mvm.gather(source, places, found, reads, drive, cols=part)
            return found

        for each in self._subtracted:
            each.take_off(y, cols, product)
        if self._subtracted and bias is not None:
            y += bias[:, None]

    def _by_numpy(self, x: Real, cols: slice, reads: Reads, drive: Drive) -> Real:
        unit = self._circuit.unit[:, None, cols].astype(x.dtype)
        batch = len(x)
        entries, parts = reads.numbers(batch)
        together = self._together(x, unit.shape[2])
        y: Real | None = None
        for block in spans(batch, together):
            numbers = (entries[block], parts[block])
            total, factor = self._codes(x[block], cols, numbers, drive[block])
            step = drive.step[block, None, None, None].astype(x.dtype)
            scale = step * (unit * x.dtype.type(factor))
            if batch <= together:
                return np.multiply(total, scale, out=total)
            if y is None:
                y = np.empty((*x.shape[:3], unit.shape[2]), x.dtype)
            np.multiply(total, scale, out=y[block])
        return np.zeros((*x.shape[:3], unit.shape[2]), x.dtype) if y is None else y

    def _together(self, x: Real, cols: int) -> int:
        """Entries handled at a time."""
        each = x.shape[1] * x.shape[2] * cols * self._circuit.lanes * x.itemsize
        number = max(1, TOGETHER_BYTES // max(1, each))
        return max(BLOCK_VECTORS, number // BLOCK_VECTORS * BLOCK_VECTORS) if number > 1 else 1

    def _codes(self, x: Real, cols: slice, reads: _Numbers, drive: Drive) -> tuple[Real, float]:
        """Output codes, and what one of them is in code steps x input steps.

        Returns:
            Shape (batch, groups, vectors, cols), and a number.
        """
        circuit = self._circuit
        codes_sum, counts = CodeSum(), None
        for product in circuit.products(cols):
            codes = x[..., product.rows]
            # Pulses count for powers of two, so that one which an entry does not need adds an exact
            # zero, and whether it is there for other entries' sake changes no bit.
            pulses = CodeSum()
            for currents, number, weight in self._read(product, codes, reads, drive):
                if self._observer is not None:
                    counts = circuit.counts(cols) * (drive.step[:, None, None, None] * weight)
                found = self._convert(product, currents, number, reads, counts)
                if weight < 0 and product.adc.curves is not None:
                    found[~drive.signed] = 0  # they have no such phase; converters that err see one
                pulses.add(found, weight)
            codes_sum.add(pulses.settled(), product.adc.step)
            if circuit.shift:
                codes_sum.add(product.sum(codes), -circuit.shift)
            if circuit.dac.offsets:
                codes_sum.add(-drive.offset[:, None, None, None] * product.at_unit_drive, 1.0)
        width = circuit.unit[:, cols].shape[1]
        return codes_sum.result((*x.shape[:3], width), x.dtype)

    def _read(
        self, product: Product, codes: Real, reads: _Numbers, drive: Drive
    ) -> Iterator[tuple[Real, int, float]]:
        """What is converted of one row of tiles, its number, and what it counts for."""
        held, accumulates = CodeSum(), self._circuit.dac.accumulates
        for pulse in self._circuit.dac.expand(codes, drive):
            if self._observer is not None:
                self._observer.drives(product.rows, pulse)
            conversion = product.first_conversion + pulse.index
            currents = self._currents(product, pulse, conversion, reads)
            if not accumulates:
                yield currents, conversion, pulse.weight
                continue
            held.add(currents, abs(pulse.weight))
            if pulse.last:
                yield held.settled(), conversion, math.copysign(1.0, pulse.weight)
                held = CodeSum()

    def _currents(self, product: Product, pulse: Pulse, conversion: int, reads: _Numbers) -> Real:
        """The currents of one pulse, of all lanes."""
        # Noise of independent cells adds up in squares: its variance is the same product with the
        # cells' variances and the squared drive, so one normal per column stands for all its cells.
        put, fresh = driven(product.block, pulse.drive), self._fresh
        if product.solved is None:
            currents = product.currents(put)
        else:
            currents = product.solved(on_rows(product.block, pulse.drive))
        if product.variance is not None and fresh.cells is not None:
            spread = product.variance(np.square(put[..., : pulse.drive.shape[-1]]))
            np.sqrt(spread, out=spread)
            spread *= self._drawn(fresh.cells.normal, conversion, reads, spread.shape)
            currents += spread
        product.ahead.saturate(currents)
        return currents

    def _convert(
        self, product: Product, currents: Real, number: int, reads: _Numbers, counts: Real | None
    ) -> Real:
        """Currents converted, and their lanes added up."""
        adc, shape = product.adc, currents.shape
        if adc.curves is not None:
            adc = adc.drawing(
                *(rule and self._drawn(rule, number, reads, shape) for rule in self._fresh.rules)
            )
        if self._observer is not None and counts is not None:
            self._observer.currents(currents, adc, counts)
        return shift_add(adc.convert(currents), self._circuit.coefficients)

    def _drawn(self, rule: Rule, conversion: int, reads: _Numbers, shape: tuple[int, ...]) -> Real:
        """Numbers of one conversion of every entry, of the shape of its currents."""
        entries, parts = reads
        return drawn(rule, conversion, (self._base + entries, self._part + parts), shape)
