"""Operations of the nodes that run digitally, for one image, beside their multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from nvmc.compiled.operators import DOMAIN
from nvmc.passes.graph.digital import digital_reason
from nvmc.passes.graph.mappable import nodes_of

__all__ = ["DigitalWork", "digital_work"]

_PER_OUTPUT = {
    "element-wise, no multiply-accumulate": 1,
    "draws random numbers": 1,
    "fake quantisation of activations": 2,
    "normalisation, no matrix product": 4,
}
"""Operations for each value that a node gives, by why it runs digitally: scale and round; and of
normalisations two sums, a difference and a factor (a softmax: largest, exponential, sum, quotient).
"""
_BATCH_NORMALIZATION = 2
"""A factor and an offset: its sums are constants."""


@dataclass(frozen=True)
class DigitalWork:
    """What one digital node does for one image.

    Attributes:
        name: Of the node.
        operations: Additions, comparisons and the like; None where its sizes are not known.
        values: Numbers that it gives; None likewise.
    """

    name: str
    operations: int | None
    values: int | None


def digital_work(model: ir.Model, sizes: Mapping[str, int]) -> list[DigitalWork]:
    """The work of every node that is no crossbar's, subgraphs' nodes counted once.

    Args:
        model: A compiled network, its values' shapes known as far as they can be.
        sizes: Of axes that it leaves open, by name, but for that of the images.
    """
    counted = _Sizes(model, sizes)
    return [
        DigitalWork(str(node.name), counted.operations(node), counted.values(node.outputs))
        for node in nodes_of(model)
        if node.domain != DOMAIN and node.op_type != "Constant"
    ]


class _Sizes:
    """Numbers of values for one image."""

    def __init__(self, model: ir.Model, sizes: Mapping[str, int]) -> None:
        first = next(iter(model.graph.inputs[0].shape or ()), 1) if model.graph.inputs else 1
        self._batch = first if isinstance(first, int) else 1
        self._sizes = dict(sizes)
        if isinstance(first, ir.SymbolicDim) and first.value is not None:
            self._sizes[first.value] = 1

    def values(self, values: Sequence[ir.Value | None]) -> int | None:
        """How many numbers these are, for one image."""
        numbers = [self._number(value) for value in values if value is not None]
        known = [number for number in numbers if number is not None]
        return None if len(known) < len(numbers) else sum(known)

    def operations(self, node: ir.Node) -> int | None:
        """Of a node, for one image."""
        reason = digital_reason(node.domain, node.op_type)
        if reason.startswith("pooling"):
            return self._pooling(node)
        if reason.startswith("reduction"):
            return self.values(node.inputs[:1])
        each = _PER_OUTPUT.get(reason, 0)
        if node.op_type == "BatchNormalization":
            each = _BATCH_NORMALIZATION
        outputs = self.values(node.outputs[:1])
        return 0 if not each else None if outputs is None else each * outputs

    def _pooling(self, node: ir.Node) -> int | None:
        kernel = node.attributes.get("kernel_shape")
        if kernel is None:
            return self.values(node.inputs[:1])
        outputs = self.values(node.outputs[:1])
        return None if outputs is None else outputs * math.prod(kernel.as_ints())

    def _number(self, value: ir.Value) -> int | None:
        if value.shape is None:
            return None
        found = 1
        for size in value.shape:
            known = size if isinstance(size, int) else self._sizes.get(size.value or "")
            if known is None:
                return None
            found *= known
        return -(-found // self._batch)
