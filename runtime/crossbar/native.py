"""The compiled kernels, where they are built.

`KERNELS` names what can compute circuits here, the best one first: a kind of processor, or `numpy`,
which is the reference. All of them give the same bits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.curves import Curves
from nvmc.runtime.crossbar.dac import Dac, Drive
from nvmc.runtime.crossbar.dac_errors import Inl
from nvmc.runtime.missing import HOW

try:
    from nvmc.runtime.crossbar import _native
except ImportError:  # not built: NumPy computes
    _native = None
    logging.getLogger("nvmc").warning(
        "nvmc's circuits are not compiled here: NumPy gives the same numbers many times more "
        "slowly; %s",
        HOW,
    )

__all__ = ["KERNELS", "NUMPY", "Clips", "Places", "Reader", "Tile", "drive"]

Real = NDArray[np.floating[Any]]
Whole = NDArray[np.int64]
Clips = list[tuple[Whole, NDArray[np.float32]]]
"""Of each row of tiles, what it clipped; see `Reader.read`."""

NUMPY = "numpy"
KERNELS: tuple[str, ...] = (NUMPY,) if _native is None else (*_native.KERNELS, NUMPY)


@dataclass(frozen=True)
class Places:
    """Where input vectors lie in an array, counted in its elements from its first one.

    Row r of vector v of group g of entry n is at n * entry + g * group + vectors[v] + rows[r].
    """

    entry: int
    group: int
    vectors: Whole
    rows: Whole

    @classmethod
    def of(cls, x: Real) -> Places:
        """Where vectors of shape (entries, groups, vectors, rows) lie."""
        entry, group, vector, row = (step // x.itemsize for step in x.strides)
        vectors: Whole = vector * np.arange(x.shape[2], dtype=np.int64)
        rows: Whole = row * np.arange(x.shape[3], dtype=np.int64)
        return cls(entry, group, vectors, rows)


@dataclass(frozen=True)
class Tile:
    """What a reader is told of one row of tiles.

    Attributes:
        first_row: Its first row of the matrices.
        currents: Current of each column for a drive of 1, shape (groups, rows, lanes * cols).
        variance: What a drive of 1 adds to the variance of one read, or None.
        at_unit_drive: Currents where every row is driven by 1, all lanes added up, shape
            (groups, cols).
        adc: Codes in a unit of current, the lowest code and the highest; None without an ADC.
        step: What a code counts for.
        responses: What cells make of a drive; see `array.Block`.
        curves: What the converters put out that are not ideal; None where all are.
        inl: What DACs make of codes; None where they are linear.
    """

    first_row: int
    currents: Real
    variance: Real | None
    at_unit_drive: Real
    adc: tuple[float, float, float] | None
    step: float
    responses: tuple[tuple[float, ...], ...] = ()
    curves: Curves | None = None
    inl: Inl | None = None


class Reader:
    """One array between its converters, compiled, for inputs in float32.

    Args:
        kernel: One of `KERNELS` other than `numpy`.
        unit: Network units in a code step of each column, shape (groups, cols).
        coefficients: What each lane counts for, in code steps.
        shift: What the encoding adds to every code.
        dac: What drives the rows; None for numbers that are put on rows as they are.
        tiles: The rows of tiles.

    Raises:
        ValueError: There is no such kernel here.
    """

    def __init__(
        self,
        kernel: str,
        unit: Real,
        coefficients: Real,
        shift: float,
        dac: Dac | None,
        tiles: Sequence[Tile],
    ) -> None:
        if _native is None or kernel not in KERNELS[:-1]:
            raise ValueError(f"kernel is {kernel!r}; expected one of {', '.join(KERNELS[:-1])}")
        offsets, bipolar, held = False, False, False
        serial = (0, 0)
        if dac is not None:
            offsets, bipolar, held = dac.offsets, dac.bipolar, dac.accumulates
            serial = dac.serial
        self._reader = _native.Reader(
            kernel, _single(unit), _single(coefficients), shift, offsets, *serial, bipolar, held
        )
        for tile in tiles:
            variance = None if tile.variance is None else _single(tile.variance)
            self._reader.add(
                tile.first_row,
                _single(tile.currents),
                variance,
                _single(tile.at_unit_drive),
                tile.adc,
                tile.step,
                tile.responses,
                None if tile.curves is None else _bent(tile.curves),
                tile.inl and (tile.inl.bow, tile.inl.curl, tile.inl.top),
            )

    def read(
        self,
        source: Real,
        places: Places,
        drive: Drive,
        out: Real,
        bias: Real | None = None,
        noise: tuple[tuple[tuple[int, int] | None, ...], Whole, Whole] | None = None,
        clipped: bool = False,
    ) -> Clips:
        """Read all vectors; the interpreter's lock is given up meanwhile.

        Args:
            source: Holds the codes.
            places: Where.
            drive: How the entries were turned into codes.
            out: Where results go, a view of shape (entries, groups, vectors, cols).
            bias: Added to them, shape (groups, cols).
            noise: The keys of what is drawn (`Fresh.keys`), and the numbers of each entry and part.
            clipped: Whether to say what was clipped.

        Returns:
            For each row of tiles the results that it clipped: their numbers in `out`, taken as
            (entries, groups, vectors, cols), and what the conversions of each whose code was
            clipped count for, magnitudes of coefficient x pulse added up. In no order. Empty where
            nobody asks.
        """
        return self._reader.read(
            source,
            (places.entry, places.group),
            places.vectors,
            places.rows,
            _single(drive.step),
            _single(drive.offset),
            drive.signed,
            out,
            None if bias is None else _single(bias),
            noise,
            clipped,
        )


def drive(
    kernel: str, x: Real, codes: Real, *, whole: bool, top: float, half: float, limit: float | None
) -> Drive:
    """Turn inputs into codes; see `Dac.drive`.

    Args:
        kernel: One of `KERNELS` other than `numpy`.
        x: Entries along the first axis, float32.
        codes: Where the codes go, of x's shape.
        whole: Whether they are whole numbers.
        top: The largest.
        half: Offset of an entry with negative inputs; 0 for none.
        limit: The range; None for each entry's own.

    Raises:
        ValueError: There is no such kernel here.
    """
    if _native is None:
        raise ValueError(f"kernel is {kernel!r}, and none is compiled")
    return Drive(*_native.drive(kernel, x, codes, whole, top, half, limit))


def _bent(
    curves: Curves,
) -> tuple[Any, Any, NDArray[np.uint32], Any, NDArray[np.float32] | None, float]:
    """Curves as the compiled module takes them."""
    worth = None if curves.worth is None else _single(curves.worth)
    inverse = _single(curves.inverse)
    return curves.thresholds, curves.levels, curves.of_column, inverse, worth, curves.noise


def _single(numbers: Real) -> NDArray[np.float32]:
    return numbers.astype(np.float32, copy=False)
