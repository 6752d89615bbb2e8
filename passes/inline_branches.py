"""The branch of an If that is always taken, in the If's place.

A condition is constant where an input that decides was bound to a value (a sample rate), or where
an exporter left one. The other branch goes: none of its weights are on crossbars.
"""

from __future__ import annotations

import onnx_ir as ir

from nvmc.passes.graph.mappable import initializer_of, nodes_of
from nvmc.passes.graph.names import Names

__all__ = ["inline_branches"]


def inline_branches(model: ir.Model) -> bool:
    """Put branches that are always taken in the place of their If; returns whether there were any.

    Args:
        model: Its constants are initializers of the main graph; changed in place.
    """
    changed = False
    while (found := next(filter(_is_decided, nodes_of(model)), None)) is not None:
        _inline(found, Names(model))
        changed = True
    return changed


def _is_decided(node: ir.Node) -> bool:
    return node.op_type == "If" and not node.domain and initializer_of(node.inputs[0]) is not None


def _inline(node: ir.Node, names: Names) -> None:
    condition, graph = initializer_of(node.inputs[0]), node.graph
    assert condition is not None and graph is not None
    taken = "then_branch" if condition.numpy().item() else "else_branch"
    branch = node.attributes[taken].as_graph()
    results, nodes = list(branch.outputs), list(branch)
    branch.outputs.clear()
    branch.remove(nodes)
    for inner in nodes:
        for value in inner.outputs:
            if value.name:
                value.name = names.unique(value.name)
    for old, new in zip(node.outputs, results, strict=True):
        copy = ir.node("Identity", [new], name=names.fresh(f"{old.name}.taken"))
        result, name = copy.outputs[0], old.name
        result.type, result.shape, old.name = old.type, old.shape, None
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        result.name = name
        nodes.append(copy)
    graph.insert_before(node, nodes)
    graph.remove(node, safe=True)
