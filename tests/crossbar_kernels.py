"""Run a standard node's case on the kernels: its weights moved to the `weights` argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.operators import OPS
from nvmc.runtime.crossbar import kernels
from nvmc.runtime.crossbar.operand import ExactOperand, Operand
from strategies import Case

__all__ = ["run"]


def run(
    case: Case,
    name: str | None = None,
    operand: Callable[[NDArray[Any]], Operand] = ExactOperand,
) -> list[NDArray[Any]]:
    """All outputs of the `nvmc` operator `name` (by default the case's own).

    `operand` makes what the kernel is given of each weight.
    """
    op = OPS[f"Crossbar{name or case.op}"]
    given = [*case.inputs, *(None,) * (len(op.inputs) - len(case.inputs))]
    named = dict(zip(op.inputs, given, strict=True))
    weights = [np.asarray(named[n], np.float32) for n in op.weights]
    inputs = [None if n in op.weights else value for n, value in named.items()]
    for value in (*inputs, *weights):
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    operands = [operand(weight) for weight in weights]
    return getattr(kernels, op.kernel.split(":")[1])(inputs, operands, case.attributes)
