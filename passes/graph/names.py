"""Names that nothing else in a model has."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["Names", "name_nodes"]


class Names:
    """Hands out names of values and nodes that are new to a model, subgraphs included."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._taken: Counter[str | None] = Counter()
        for graph in model.graphs():
            self._taken.update({value.name for value in graph.inputs} | set(graph.initializers))
        for node in ir.traversal.RecursiveGraphIterator(model.graph):
            self._taken.update({node.name, *(value.name for value in node.outputs)})

    def fresh(self, wanted: str) -> str:
        """`wanted`, or `wanted` with the first number behind it that makes it new."""
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken[name] += 1
        return name

    def unique(self, name: str) -> str:
        """`name` where only one thing has it so far, else a fresh one."""
        return name if self._taken[name] <= 1 else self.fresh(name)

    def initializer(self, wanted: str, array: NDArray[Any]) -> ir.Value:
        """A new initializer of the main graph that holds `array` (not a copy)."""
        name = self.fresh(wanted)
        tensor = ir.Tensor(array, name=name)
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value


def name_nodes(model: ir.Model) -> bool:
    """Name every unnamed node after its operator, and make names that occur twice unique."""
    # Names decide a layer's random numbers. onnx_ir's NameFixPass counts in another way, renames
    # values too, and lets a subgraph's node have the name of one outside.
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    taken = Counter(node.name for node in nodes)
    met: set[str] = set()
    counts: Counter[str] = Counter()
    changed = False
    for node in nodes:
        if node.name and node.name not in met:
            met.add(node.name)
            continue
        stem = node.name or node.op_type
        name = f"{stem}_{counts[stem]}"
        while name in taken:
            counts[stem] += 1
            name = f"{stem}_{counts[stem]}"
        taken[name] += 1
        met.add(name)
        node.name = name
        changed = True
    return changed
