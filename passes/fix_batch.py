"""fix-batch: one image a run where a network's values depend on what else is in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from nvmc.passes.graph.assumptions import assume
from nvmc.passes.graph.mappable import nodes_of

__all__ = ["FixBatch"]

_WHOLE = frozenset(["DynamicQuantizeLinear"])
"""Operators that look at all images of a run: its range is that of the whole tensor."""
_FIXED = (
    "input {!r} has a first axis of {}, and DynamicQuantizeLinear takes the range of all of it: if "
    "images lie there, an image's result depends on the others of its run"
)


@dataclass
class FixBatch(ir.passes.InPlacePass):
    """Give a network with DynamicQuantizeLinear one image a run, as its inputs' first axis.

    An image's result would otherwise depend on those that happen to share its batch. An axis whose
    size the network fixes stays, and is said.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fix it in place."""
        if not any(not n.domain and n.op_type in _WHOLE for n in nodes_of(model)):
            return ir.passes.PassResult(model, False)
        free: set[str] = set()
        changed = False
        for value in model.graph.inputs:
            first = next(iter(value.shape or ()), 0)
            if isinstance(first, int) or value.shape is None:
                if isinstance(first, int) and first > 1:
                    assume(model, _FIXED.format(value.name, first))
                continue
            if first.value is not None:
                free.add(first.value)
            value.shape = ir.Shape([1, *value.shape[1:]])
            changed = True
        for value in [*model.graph.outputs, *(v for n in nodes_of(model) for v in n.outputs)]:
            if value.shape is not None:
                sizes = [d if isinstance(d, int) else d.value for d in value.shape]
                value.shape = ir.Shape([1 if size in free else size for size in sizes])
        if changed:
            assume(model, "DynamicQuantizeLinear takes the range of a whole run: one image a run")
        return ir.passes.PassResult(model, changed)
