"""A weight operand as the kernels see it: its shape, and the products with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nvmc.errors import ModelError, OptionError
from nvmc.hardware.chip import REFERENCE, Array, Chip, Programmed
from nvmc.hardware.devices import Periphery
from nvmc.hardware.devices.currents import Response
from nvmc.hardware.reference_column import reference_of
from nvmc.hardware.rows import first_rows, reads_of_rows
from nvmc.hardware.tiling import Matrix, Place, matrices
from nvmc.rng import CountedDraw
from nvmc.runtime.crossbar.adc import Adc, adc_of
from nvmc.runtime.crossbar.array import (
    Lanes,
    View,
    beside,
    blocks_of,
    lanes_of,
    levels_of,
    through_wires,
    with_off_current,
)
from nvmc.runtime.crossbar.circuit import Circuit, CircuitMvm
from nvmc.runtime.crossbar.converters import erring, fresh_of
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.dac_errors import Inl, inl_of
from nvmc.runtime.crossbar.fresh import Fresh
from nvmc.runtime.crossbar.interleaved import pairs_through_wires
from nvmc.runtime.crossbar.mvm import ExactMvm, Mvm
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.runtime.crossbar.observer import Observer
from nvmc.runtime.crossbar.responding import responses_of, solved_of, weighed
from nvmc.runtime.crossbar.subtraction import Subtracted

__all__ = ["BEGINNING", "CircuitOperand", "ExactOperand", "Operand", "Start"]

Real = NDArray[np.floating[Any]]


class Operand(Protocol):
    """One weight of one node, on crossbars."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's ONNX shape."""
        ...

    def mvm(self, place: Place, *, entries: int, dtype: DTypeLike) -> Mvm:
        """The products with the weight, for one call of the kernel.

        Args:
            place: How the node uses the weight.
            entries: Entries of the call's batch.
            dtype: float32 or float64, of the inputs and the outputs.
        """
        ...

    def values(self) -> NDArray[np.float32]:
        """The weight itself, read out of the cells."""
        ...


class ExactOperand:
    """Weights behind an ideal periphery.

    Args:
        weights: What the array computes with, in the ONNX shape.
    """

    def __init__(self, weights: NDArray[Any]) -> None:
        self._weights = weights

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's ONNX shape."""
        return self._weights.shape

    def mvm(self, place: Place, *, entries: int, dtype: DTypeLike) -> ExactMvm:
        """Floating-point products with the weight; see `Operand`."""
        del entries
        return ExactMvm(matrices(place, self._weights), dtype)

    def values(self) -> NDArray[np.float32]:
        """The weight itself."""
        return self._weights


@dataclass(frozen=True)
class Start:
    """Where among the images of a longer run an operand's reads begin.

    Attributes:
        first: Images that were run before.
        images: Images that each call of the kernel belongs to.
        turns: Calls that bring the same images, one step of each after the other.
    """

    first: int = 0
    images: int = 1
    turns: int = 1

    def entry(self, array: str, entries: int) -> int:
        """Number of the first entry of a first call that brings so many.

        Raises:
            ModelError: Entries do not belong to images, so that nobody knows how many went before.
        """
        if entries % self.images and self.first % self.images:
            raise ModelError(
                f"array {array!r} is read {entries} times for {self.images} images, so its reads "
                f"cannot go on from image {self.first}; start at a multiple of {self.images}"
            )
        return self.first * entries // self.images


BEGINNING = Start()


@dataclass(frozen=True)
class _Built:
    """A circuit, what its reads draw, and what is subtracted from its results.

    Of that each with its unit and its columns, as in `Subtracted`.
    """

    circuit: Circuit
    fresh: Fresh = Fresh()
    subtracted: tuple[tuple[_Built, Real, NDArray[np.intp] | None], ...] = ()


class CircuitOperand:
    """One array behind the periphery of its target, as one node reads it.

    Args:
        array: What the array holds.
        programmed: Its state on the chip.
        chip: The chip.
        user: Number of the node among those that read the array: reads of two are independent.
        observer: Watches while ranges are calibrated.
        start: Which entries other sessions have seen.
        kernel: Which of `KERNELS` computes in float32.

    Raises:
        OptionError: A range is calibrated, but this array's is not known; or the target's
            reference columns could do nothing.
    """

    def __init__(
        self,
        array: Array,
        programmed: Programmed,
        chip: Chip,
        user: int = 0,
        observer: Observer | None = None,
        start: Start = BEGINNING,
        kernel: str = KERNELS[0],
    ) -> None:
        array.target.check_reference()
        array.target.check_reading()
        self._kernel = kernel
        self._array = array
        self._chip = chip
        self._user = user
        self._programmed = programmed
        self._observer = observer
        self._gain = chip.gain(array)
        self._fresh = fresh_of(array.target.periphery, chip, (array.name,), user)
        self._spread: Real | None = None
        sources = chip.on(array.target.device).sources
        moved = any(s.acts_in == "weight" and s.active for s in sources)
        self._levels = levels_of(array, programmed, moved and chip.index is not None)
        read = None if chip.index is None else chip.read(array, self._levels)
        if read is not None and chip.index is not None:
            cells = CountedDraw(chip.seed, chip.index, array.name, "read", f"node {user}")
            self._fresh = replace(self._fresh, cells=cells)
            self._levels, self._spread = read
        self._circuits: dict[tuple[Any, ...], _Built] = {}
        self._start = start
        self._seen: int | None = None
        self._turn = 0
        self._lock = Lock()
        self._check_ranges()

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's ONNX shape."""
        return self._programmed.weights.shape

    def values(self) -> NDArray[np.float32]:
        """The weight itself, read cell by cell, without the noise of reads."""
        return self._array.scaled(self._programmed.weights, self._gain)

    def mvm(self, place: Place, *, entries: int, dtype: DTypeLike) -> CircuitMvm:
        """The circuit's products with the weight; see `Operand`.

        Raises:
            ModelError: The entries that other sessions have seen cannot be told.
        """
        key = (place, np.dtype(dtype))
        with self._lock:
            first = self._seen
            if first is None:
                first = (
                    0 if self._fresh.keys is None else self._start.entry(self._array.name, entries)
                )
            turn, self._turn = self._turn, (self._turn + 1) % self._start.turns
            self._seen = first if self._turn else first + entries
            if key not in self._circuits:
                self._circuits[key] = self._build(place, dtype)
            built = self._circuits[key]
        subtracted = [
            Subtracted(CircuitMvm(each.circuit, first, each.fresh, turn=turn), unit, columns)
            for each, unit, columns in built.subtracted
        ]
        return CircuitMvm(built.circuit, first, self._fresh, self._observer, turn, subtracted)

    def circuit(self, place: Place, dtype: DTypeLike = np.float32) -> Circuit:
        """The array between its converters, made anew."""
        return self._build(place, dtype).circuit

    def _build(self, place: Place, dtype: DTypeLike) -> _Built:
        view = partial(matrices, place)
        target = self._array.target
        periphery, layout = target.periphery, target.layout
        analog = periphery.subtract == "analog"
        sign, off = view(self._programmed.sign), target.off_at_adc
        limits = periphery.range_of(self._array.name)
        dac = Dac(periphery, limits.input if limits and periphery.clips else None)
        responses = responses_of(target, dac.largest)
        cells = _matrices(self._levels, view, dtype)
        lanes, currents = self._currents(cells, sign, dac.largest, responses, dtype)
        solved, variance = solved_of(target, dac.largest, cells, sign), None
        if self._spread is not None:
            cells = np.square(_matrices(self._spread, view, dtype))
            summed = lanes_of(layout, cells, sign, analog=analog, squared=True)
            variance = beside(summed.levels, dtype)
        matrix = Matrix(*lanes.levels.shape[1:])
        inl = inl_of(periphery, self._chip, self._array.name, matrix, dac.largest)
        parts = reads_of_rows(target, matrix.rows)
        blocks = blocks_of(currents, variance, parts, responses, inl, solved)
        signed = lanes.signed or dac.bipolar or (periphery.wired and target.off_level > off)
        current = limits.current if limits else None
        adcs = [adc_of(target, b.height, dac, signed, current) for b in blocks]
        for adc in adcs:
            adc.spread(len(lanes.coefficients), limits)
        columns = self._unit_of_columns(view, lanes.levels)
        # What converted lanes count for is digital, and so is the chip's factor on it.
        counts = lanes.coefficients * self._gain
        shift, taken = layout.shift, list[tuple[_Built, Real, NDArray[np.intp] | None]]()
        if target.reference == "column":
            reference = self._reference(place, dtype, counts, dac, adcs, inl)
            tile: NDArray[np.intp] = np.arange(columns.shape[1], dtype=np.intp) // target.cols
            taken.append((reference, columns, tile))
        elif off and layout.encoding == "offset":  # whose shift needs the sum of the inputs anyway
            shift += off * float(counts.sum())
        elif off and layout.signed:
            nominal = off * float(counts[counts > 0].sum()) * sign
            taken.append((_Built(self._digital(nominal.astype(dtype))), columns, None))
        firsts = first_rows(target, matrix.rows)
        size, names = (target.rows, target.cols), (self._array.name,)
        adcs = erring(adcs, firsts, matrix, size, periphery, self._chip, names)
        circuit = Circuit(blocks, counts, shift, columns, dac, adcs, self._kernel)
        return _Built(circuit, subtracted=tuple(taken))

    def _currents(
        self, cells: Real, sign: Any, top: float, responses: tuple[Response, ...], dtype: DTypeLike
    ) -> tuple[Lanes, list[Real]]:
        """What each conversion reads, and the matrices of each of the cells' responses."""
        target = self._array.target
        analog, layout = target.periphery.subtract == "analog", target.layout
        wired, several = target.periphery.wired, len(responses) > 1
        seen = partial(through_wires, target) if wired else None
        seen = partial(weighed, target, top) if several else seen
        apart = not wired or target.periphery.polarity == "separate"
        together = None if apart else partial(pairs_through_wires, target)
        lanes = lanes_of(layout, cells, sign, analog=analog, seen=seen, together=together)
        planes = [lanes.levels[..., k] for k in range(len(responses))] if several else []
        lanes = replace(lanes, levels=planes[0]) if several else lanes
        lanes = with_off_current(layout, lanes, sign, target.off_at_adc)
        return lanes, [beside(each, dtype) for each in (lanes.levels, *planes[1:])]

    def _reference(
        self,
        place: Place,
        dtype: DTypeLike,
        counts: Real,
        dac: Dac,
        adcs: list[Adc],
        inl: Inl | None,
    ) -> _Built:
        """The reference columns, which the ADCs of the array's rows of tiles convert."""
        reference, chip = reference_of(replace(self._array, place=place)), self._chip
        levels, target = chip.program(reference).levels, self._array.target
        sign, variance = np.ones(levels.shape[1:], levels.dtype), None
        names = (reference.name, REFERENCE)
        fresh = fresh_of(target.periphery, chip, names, self._user)
        read = None if chip.index is None else chip.read(reference, levels)
        if read is not None and chip.index is not None:
            draws = CountedDraw(chip.seed, chip.index, *names, "read", f"node {self._user}")
            fresh, (levels, spread) = replace(fresh, cells=draws), read
            squares = np.square(spread)
            squared = lanes_of(target.layout, squares, sign, analog=False, squared=True)
            variance = beside(squared.levels, dtype)
        responses = responses_of(target, dac.largest)
        cells = self._currents(levels, sign, dac.largest, responses, dtype)[1]
        groups, rows, tiles = reference.codes.shape
        blocks = blocks_of(cells, variance, reads_of_rows(target, rows), responses, inl)
        ones, firsts = np.ones((groups, tiles)), first_rows(target, rows)
        matrix, size = Matrix(*reference.codes.shape), (target.rows, 1)
        adcs = erring(adcs, firsts, matrix, size, target.periphery, chip, names)
        return _Built(Circuit(blocks, counts, 0.0, ones, dac, adcs, self._kernel), fresh)

    def _digital(self, matrix: Real) -> Circuit:
        """A product of the input codes that is no array's."""
        exact = Adc(None, 0.0, signed=True, aligned=False)
        whole = [slice(0, matrix.shape[1])]
        blocks, ones = blocks_of(matrix, None, whole), np.ones(matrix.shape[::2])
        dac = Dac(Periphery())
        return Circuit(blocks, np.ones(1), 0.0, ones, dac, [exact] * len(blocks), self._kernel)

    def _unit_of_columns(self, view: View, levels: Real) -> Real:
        """The unit of each column, shape (groups, cols), where levels are (lanes, groups, …)."""
        unit = self._array.unit
        if unit.size == 1:
            return np.full((levels.shape[1], levels.shape[3]), unit.item(), unit.dtype)
        return _of_columns(view(np.broadcast_to(unit, self.shape)))

    def _check_ranges(self) -> None:
        periphery, name = self._array.target.periphery, self._array.name
        known = periphery.range_of(name)
        if self._observer is not None or not periphery.needs_data:
            return
        unknown = known is None or (periphery.adc_calibrated and known.current is None)
        if unknown or (known is not None and not periphery.spread_by(known)):
            raise OptionError(
                f"array {name!r} has no calibrated range; compile with --data, or choose "
                "--dac-range dynamic and --adc-range full"
            )


def _matrices(planes: Real, view: View, dtype: DTypeLike) -> Real:
    """Tensors of the weight's shape as matrices, shape (planes, groups, rows, cols)."""
    return np.stack([view(plane) for plane in planes]).astype(dtype, copy=False)


def _of_columns(unit: Real) -> Real:
    """The unit of each column, shape (groups, cols), which all its rows must share."""
    first = unit[:, :1]
    if not np.array_equal(unit, np.broadcast_to(first, unit.shape)):
        raise OptionError(
            "the weights have scales that differ along a column, which no ADC can tell apart; "
            "compile without --per-channel"
        )
    return first[:, 0]
