"""Standard normals by compiled code; see csrc/normals.cpp."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def standard_normal(state: Any, out: NDArray[np.float32]) -> dict[str, Any]: ...
def sum_of_planes(
    state: Any,
    levels: NDArray[np.float32],
    spread: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    out: NDArray[np.float32],
) -> dict[str, Any]: ...
