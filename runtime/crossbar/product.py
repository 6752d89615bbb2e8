"""What some columns of one row of tiles do for every pulse, by NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.array import Block
from nvmc.runtime.crossbar.chain import Currents
from nvmc.runtime.crossbar.dac import Dac

__all__ = ["Product"]

Real = NDArray[np.floating[Any]]


class Product:
    """Some columns of one row of tiles.

    Args:
        block: The row of tiles.
        matrix: Its currents, of these columns.
        variance: Likewise, or None.
        at_unit_drive: Currents where every row is driven by 1, all lanes added up.
        adc: The converters of the columns.
        dac: Drives the rows.
        first_conversion: Number of the first conversion.
        kernel: Which of `KERNELS` computes in float32.
        solved: From what is put on rows to the currents, where that is no product; None for one.

    Attributes:
        block: The row of tiles.
        rows: Which rows of the matrices.
        currents: The product with the cells.
        variance: With what a drive of 1 adds to the variance of one read; None for no noise.
        sum: With ones.
        adc: The converters.
        ahead: Converters whose limit is that of currents before they are added up.
    """

    def __init__(
        self,
        block: Block,
        matrix: Real,
        variance: Real | None,
        at_unit_drive: Real,
        adc: Adc,
        dac: Dac,
        first_conversion: int,
        kernel: str,
        solved: Callable[[Real], Real] | None = None,
    ) -> None:
        self.block, self.rows = block, block.rows
        # Columns saturate ahead of what adds their currents up.
        self.adc, self.ahead = adc.unlimited() if dac.accumulates else adc, adc
        self.first_conversion = first_conversion
        self.currents = Currents(matrix, kernel)
        self.variance = None if variance is None else Currents(variance, kernel)
        ones = np.ones((len(matrix), block.height, 1), matrix.dtype)
        self.sum = Currents(ones, kernel)
        self.at_unit_drive = at_unit_drive
        self.solved = solved
