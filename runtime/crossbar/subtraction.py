"""What is subtracted from the results of an array digitally, column by column.

Either what its reference columns read (`nvmc.hardware.reference_column`), or, where nothing stands
for the off-current in the array, its nominal sum over the rows that a column has formed cells in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.mvm import ALL, Mvm

__all__ = ["Subtracted"]

Real = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Subtracted:
    """A product with the inputs of another one, to be taken off its results.

    Attributes:
        mvm: The product, in code steps times the step of the inputs.
        unit: Network units in a code step of each column of the other, shape (groups, cols).
        columns: Which of the product's columns each of the other's is compared with; None where
            it has as many.
    """

    mvm: Mvm
    unit: Real
    columns: NDArray[np.intp] | None = None

    def take_off(self, y: Real, cols: slice, product: Callable[[Mvm, slice], Real]) -> None:
        """Subtract from results, in place.

        Args:
            y: Shape (entries, groups, vectors, cols).
            cols: Which columns they are.
            product: From the product and the columns asked of it to its results.
        """
        if self.columns is None:
            found = product(self.mvm, cols)
        else:
            found = product(self.mvm, ALL)[..., self.columns[cols]]
        y -= found * self.unit[:, None, cols].astype(y.dtype)
