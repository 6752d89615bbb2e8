"""Operators of quantised networks -> what passes know: DequantizeLinear, then the float operator.

A row of the table is an operator and the function that writes standard nodes for it. A function
that cannot do so, for weights that are computed at run time say, leaves the node as it is and
returns False. The weight's own codes are kept behind it (`nvmc.passes.graph.grids`).

To add an operator: a row in the file of its family.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir

from nvmc.errors import NvmcError
from nvmc.passes.dequantize.blocks import BLOCKS
from nvmc.passes.dequantize.dynamic import DYNAMIC
from nvmc.passes.dequantize.qlinear import QLINEAR
from nvmc.passes.dequantize.qonnx import QONNX
from nvmc.passes.dequantize.rewrite import Rewrite
from nvmc.passes.fold_constants import Fold, fold_constants
from nvmc.passes.graph.assumptions import assume
from nvmc.passes.graph.attributes import MISFITS
from nvmc.passes.graph.layers import is_constant
from nvmc.passes.graph.mappable import initializer_of, nodes_of
from nvmc.passes.graph.names import Names

__all__ = ["dequantize"]

_TABLE: dict[tuple[str, str], Callable[[Rewrite], bool]] = {}
for _family in (QLINEAR, DYNAMIC, BLOCKS, QONNX):
    for _key, _function in _family.items():
        if _key in _TABLE:
            raise RuntimeError(f"{_key} has two rows in nvmc.passes.dequantize")
        _TABLE[_key] = _function


def dequantize(model: ir.Model, folds: list[Fold] | None = None) -> bool:
    """Replace every operator of the table; returns whether there was any.

    Args:
        model: With constants as initializers, in opset 21 or newer where that is possible.
        folds: Where is noted what was computed of their constants first, in order.
    """
    found = _found(model)
    if not found:
        return False
    if any(_is_computed(value) for node in found for value in node.inputs):
        fold_constants(model, folds, found)
        found = _found(model)
    names = Names(model)
    note = partial(assume, model)
    changed = [_replaced(Rewrite(node, names, note)) for node in found]
    used = {node.domain for node in nodes_of(model)}
    for domain in {domain for domain, _ in _TABLE if domain} - used:
        model.graph.opset_imports.pop(domain, None)
    return any(changed)


def _found(model: ir.Model) -> list[ir.Node]:
    return [node for node in nodes_of(model) if (node.domain, node.op_type) in _TABLE]


def _is_computed(value: ir.Value | None) -> bool:
    """Whether it is made of constants: weights behind Identity, Transpose, QuantizeLinear."""
    return is_constant(value) and initializer_of(value) is None


def _replaced(rewrite: Rewrite) -> bool:
    """Replace a node; one whose operands and attributes do not fit one another stays."""
    try:
        return _TABLE[rewrite.node.domain, rewrite.node.op_type](rewrite)
    except NvmcError:
        raise
    except MISFITS:
        return False
