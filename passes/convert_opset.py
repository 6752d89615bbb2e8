"""Inline functions and raise the opset, with onnx's own C++ tools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
import onnx_ir as ir

from nvmc.budget import check_room
from nvmc.errors import ModelError
from nvmc.passes.graph.attributes import int_of
from nvmc.passes.graph.mappable import initializer_of
from nvmc.passes.graph.names import Names
from nvmc.passes.graph.sizes import node_bytes
from nvmc.passes.infer_shapes import infer_shapes
from nvmc.passes.io.without_weights import without_weights

__all__ = ["FUNCTION_OPSET", "convert_opset", "inline_functions"]

NODE_BYTES = 16_000
"""What a node takes while a network is compiled (measured: 12 to 16 kB)."""
_GROUPS_BY_CHANNEL = 21

FUNCTION_OPSET = 15
"""The `nvmc` operators' bodies need CastLike, so at least this opset."""


def inline_functions(model: ir.Model) -> bool:
    """Replace every call of a model-local function by its body.

    Raises:
        ModelError: A function uses an opset that cannot be converted to the model's.
    """
    if not model.functions:
        return False
    _check_inlined(model)
    # onnx_ir's InlinePass cannot convert a function of another opset, and names what it inlines in
    # another way: the layers would have other random numbers.
    try:
        inlined = onnx.inliner.inline_local_functions(without_weights(model), True)
    except MemoryError:
        raise
    except Exception as error:
        raise ModelError(f"the model's functions cannot be inlined: {error}") from error
    if inlined.functions:
        left = ", ".join(f"{f.domain}.{f.name}" for f in inlined.functions)
        raise ModelError(
            f"functions {left} cannot be inlined, since they use another opset than the model; "
            "export the model with one opset"
        )
    _adopt(model, inlined)
    return True


def _check_inlined(model: ir.Model) -> None:
    """Complain where inlined functions would take more than there may be.

    Raises:
        ModelError: Functions call one another in a circle.
        OutOfMemoryError: They would.
    """
    counted: dict[Any, tuple[int, int]] = {}

    def count(nodes: Iterable[ir.Node], callers: tuple[Any, ...]) -> tuple[int, int]:
        """Nodes, and bytes of tensors among their attributes, once functions are inlined."""
        found, size = 0, 0
        for node in nodes:
            key = node.op_identifier()
            if key in callers:
                raise ModelError(
                    f"function {node.domain}.{node.op_type} calls itself, at once or through "
                    "others; expected functions that end: export the model without them"
                )
            if key in model.functions and key not in counted:
                body = ir.traversal.RecursiveGraphIterator(model.functions[key].graph)
                counted[key] = count(body, (*callers, key))
            more = counted.get(key, (1, node_bytes(node)))
            found, size = found + more[0], size + more[1]
        return found, size

    nodes, size = count(ir.traversal.RecursiveGraphIterator(model.graph), ())
    check_room(f"{nodes:,} nodes, which the model's functions come to,", NODE_BYTES * nodes + size)


def convert_opset(model: ir.Model, opset: int) -> bool:
    """Raise the standard opset to `opset`; a newer model keeps its own.

    Large weights stay out of it. Where a converter for some operator is missing, the model keeps
    its opset if that is new enough for the passes behind this one.

    Raises:
        ModelError: No converter, and the opset is too old to stay.
    """
    found = model.graph.opset_imports.get("")
    if found is None:
        model.graph.opset_imports[""] = opset
        return True
    if found >= opset:
        return False
    try:
        converted = onnx.version_converter.convert_version(without_weights(model), opset)
    except MemoryError:
        raise
    except Exception as error:
        if found >= FUNCTION_OPSET:
            return False
        detail = str(error).strip().splitlines()[0] if str(error).strip() else "no converter"
        raise ModelError(
            f"opset {found} cannot be converted to {opset}: {detail}; export the model with "
            f"opset {FUNCTION_OPSET} or newer"
        ) from error
    _adopt(model, converted)
    if found < _GROUPS_BY_CHANNEL <= opset:
        _widen_group_norms(model)
    return True


def _widen_group_norms(model: ir.Model) -> None:
    """Give GroupNormalization one scale and bias a channel instead of one a group.

    onnx has a converter for that change of opset 21 but does not call it, since the older form is
    deprecated.
    """
    norms = [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if _is_group_norm(n)]
    if not norms:
        return
    infer_shapes(model)
    names = Names(model)
    for node in norms:
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        channels = shape[1] if shape is not None and len(shape) > 1 else None
        groups = int_of(node, "num_groups", 1)
        for index in (1, 2):
            value = node.inputs[index]
            tensor = initializer_of(value)
            if value is None or tensor is None or not isinstance(channels, int):
                raise ModelError(
                    f"GroupNormalization {node.name!r} cannot be converted to opset "
                    f"{_GROUPS_BY_CHANNEL}: its channels are not known; export with that opset"
                )
            told = f"a scale of {channels:,} channels, of GroupNormalization {node.name!r},"
            check_room(told, channels * tensor.numpy().itemsize)
            repeated = np.repeat(tensor.numpy(), channels // groups)
            wide = names.initializer(f"{value.name}.channels", repeated)
            node.replace_input_with(index, wide)


def _is_group_norm(node: ir.Node) -> bool:
    return not node.domain and node.op_type == "GroupNormalization"


def _adopt(model: ir.Model, proto: onnx.ModelProto) -> None:
    """Take over the graph of `proto`, a changed skeleton of `model`, and give it its weights."""
    held = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    graph = ir.from_proto(proto).graph
    _restore_types(graph, ir.convenience.create_value_mapping(model.graph))
    _restore_notes(graph, model.graph)
    kept: list[ir.Value] = []
    for value in graph.inputs:
        if value.name in held and value.name not in graph.initializers:
            value.const_value = held[value.name]
            graph.register_initializer(value)
        else:
            kept.append(value)
    graph.inputs.clear()
    graph.inputs.extend(kept)
    for domain, version in model.graph.opset_imports.items():
        graph.opset_imports.setdefault(domain, version)
    model.graph = graph
    model.functions.clear()


def _restore_notes(graph: ir.Graph, before: ir.Graph) -> None:
    """Take nodes' metadata from the source: the version converter drops them."""
    old = {
        node.outputs[0].name: node
        for node in ir.traversal.RecursiveGraphIterator(before)
        if node.outputs and node.metadata_props
    }
    for node in ir.traversal.RecursiveGraphIterator(graph):
        same = old.get(node.outputs[0].name) if node.outputs else None
        if same is not None and same.op_type == node.op_type:
            node.metadata_props.update(same.metadata_props)


def _restore_types(graph: ir.Graph, before: dict[str, ir.Value]) -> None:
    """Take types from the source: the version converter makes tensors of sequences."""
    for name, value in ir.convenience.create_value_mapping(graph).items():
        old = before.get(name)
        if old is not None and old.type is not None:
            value.type, value.shape = old.type, old.shape
        elif not value.is_graph_input() and not value.is_graph_output():
            value.type = value.shape = None
