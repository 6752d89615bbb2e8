"""Writing some nodes in the place of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from nvmc.passes.graph.layers import label
from nvmc.passes.graph.names import Names

__all__ = ["Replacement"]


class Replacement:
    """The nodes that take the place of one node, whose outputs keep their names.

    Args:
        names: Of the model.
        node: What is replaced; it stays until `finish`.
    """

    def __init__(self, names: Names, node: ir.Node) -> None:
        self.node = node
        self._names = names
        self._graph = node.graph

    def constant(self, what: str, array: Any) -> ir.Value:
        """A new initializer called after the node and `what`."""
        return self._names.initializer(f"{label(self.node)}.{what}", np.asarray(array))

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """The only output of a new node of the standard domain, in front of the old one."""
        name = self._names.fresh(f"{label(self.node)}.{op_type.lower()}")
        new = ir.node(op_type, list(inputs), attributes, name=name)
        new.outputs[0].name = self._names.fresh(f"{name}.out")
        assert self._graph is not None
        self._graph.insert_before(self.node, new)
        return new.outputs[0]

    def finish(self, results: Sequence[ir.Value | None]) -> None:
        """Remove the node; its readers take `results`, None for an output that nobody reads.

        The result that a layer's node gives keeps that node; each takes the name and the type of
        the output that it replaces.
        """
        for old, new in zip(self.node.outputs, results, strict=True):
            if new is None:
                continue
            name, kind, shape = old.name, old.type, old.shape
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            old.name = None
            new.name, new.type, new.shape = name, kind, shape
        assert self._graph is not None
        self._graph.remove(self.node, safe=True)
