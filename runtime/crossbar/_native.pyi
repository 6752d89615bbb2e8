"""Compiled kernels; see csrc/."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Float = NDArray[np.float32]
_Whole = NDArray[np.int64]

KERNELS: tuple[str, ...]

def drive(
    kernel: str,
    x: NDArray[Any],
    codes: NDArray[Any],
    whole: bool,
    top: float,
    half: float,
    limit: float | None,
) -> tuple[_Float, _Float, NDArray[np.bool_]]: ...

class Reader:
    def __init__(
        self,
        kernel: str,
        unit: _Float,
        coefficients: _Float,
        shift: float,
        offsets: bool,
        bits: int,
        slice: int = 1,
        bipolar: bool = False,
        accumulates: bool = False,
    ) -> None: ...
    def add(
        self,
        first_row: int,
        currents: _Float,
        variance: _Float | None,
        at_unit: _Float,
        adc: tuple[float, float, float] | None,
        step: float,
        responses: tuple[tuple[float, ...], ...] = (),
        curves: tuple[_Float, _Float, NDArray[np.uint32], _Float, _Float | None, float]
        | None = None,
        inl: tuple[NDArray[np.float64], NDArray[np.float64], float] | None = None,
    ) -> None: ...
    def read(
        self,
        source: NDArray[Any],
        strides: tuple[int, int],
        vectors: _Whole,
        rows: _Whole,
        step: _Float,
        offset: _Float,
        signed: NDArray[np.bool_],
        out: NDArray[Any],
        bias: _Float | None,
        noise: tuple[tuple[tuple[int, int] | None, ...], _Whole, _Whole] | None,
        counted: float | None = None,
    ) -> list[tuple[_Whole, _Float]]: ...
