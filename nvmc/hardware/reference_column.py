"""Reference columns: cells at level 0 beside those of an array, which show what idle cells conduct.

Every row of tiles of every lane has one per tile (and one per group that lies on it). Its cells are
programmed as any other, from streams of their own, so that those of the array keep their numbers.
"""

from __future__ import annotations

import numpy as np

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array
from nvmc.hardware.tiling import Place, matrix_of

__all__ = ["reference_of"]


def reference_of(array: Array) -> Array:
    """The reference columns of an array: an array of shape (groups, rows, tiles side by side).

    Raises:
        OptionError: The array does not know its place.
    """
    if array.place is None:
        raise OptionError(
            f"array {array.name!r} does not say which operator uses it, so it has no reference "
            "column; give Array its place"
        )
    target = array.target
    matrix = matrix_of(array.place, array.codes.shape)
    lowest = 0.0  # of a pair; of an offset array, the lowest code, or weight of those up to 1
    if target.encoding == "offset":
        lowest = -1.0 if target.weight_bits is None else -target.layout.shift
    shape = (matrix.groups, matrix.rows, -(-matrix.cols // target.cols))
    codes = np.full(shape, lowest, array.codes.dtype)
    return Array(
        array.name, codes, np.ones((), np.float32), target, Place("CrossbarMatMul"), beside=array
    )
