"""One form for what ONNX can say in several: explicit pads, and Gemm for MatMul + Add."""

from __future__ import annotations

import onnx_ir as ir

from nvmc.passes.graph.attributes import int_of, ints_of, text_of
from nvmc.passes.graph.mappable import initializer_of

__all__ = ["explicit_pads", "fuse_gemm"]

_WINDOWED = frozenset(["AveragePool", "Conv", "LpPool", "MaxPool"])


def explicit_pads(model: ir.Model) -> bool:
    """Replace `auto_pad` by `pads` where the spatial input shape is known."""
    changed = False
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain or node.op_type not in _WINDOWED or "auto_pad" not in node.attributes:
            continue
        mode = text_of(node, "auto_pad", "NOTSET")
        pads = None if mode == "NOTSET" else _pads(node, mode or "")
        if mode != "NOTSET" and pads is None:
            continue
        node.attributes.pop("auto_pad")
        if pads is not None:
            node.attributes.add(ir.AttrInt64s("pads", pads))
        changed = True
    return changed


def _pads(node: ir.Node, mode: str) -> list[int] | None:
    """The pads that `mode` means, or None where they depend on an unknown shape."""
    kernel = _kernel(node)
    if kernel is None:
        return None
    rank = len(kernel)
    if mode == "VALID":
        return [0] * (2 * rank)
    value = node.inputs[0]
    if value is None or value.shape is None or len(value.shape) != rank + 2:
        return None
    if int_of(node, "ceil_mode", 0):
        return None
    strides = ints_of(node, "strides", None) or [1] * rank
    dilations = ints_of(node, "dilations", None) or [1] * rank
    begin: list[int] = []
    end: list[int] = []
    for axis in range(rank):
        size = value.shape[axis + 2]
        if not isinstance(size, int):
            return None
        window = (kernel[axis] - 1) * dilations[axis] + 1
        out = -(-size // strides[axis])
        total = max(0, (out - 1) * strides[axis] + window - size)
        small, large = total // 2, total - total // 2
        begin.append(small if mode == "SAME_UPPER" else large)
        end.append(large if mode == "SAME_UPPER" else small)
    return begin + end


def _kernel(node: ir.Node) -> list[int] | None:
    given = ints_of(node, "kernel_shape", None)
    if given:
        return list(given)
    weight = node.inputs[1] if node.op_type == "Conv" and len(node.inputs) > 1 else None
    if weight is None or weight.shape is None or not weight.shape.is_static():
        return None
    return [int(size) for size in weight.shape.numpy()[2:]]


def fuse_gemm(model: ir.Model) -> bool:
    """MatMul of a matrix with a constant matrix, plus a constant row: one Gemm."""
    changed = False
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        if not node.domain and node.op_type == "MatMul":
            changed |= _fuse(node)
    return changed


def _fuse(node: ir.Node) -> bool:
    data, weight = node.inputs
    product = node.outputs[0]
    matrix = initializer_of(weight)
    if data is None or data.shape is None or len(data.shape) != 2:
        return False
    if matrix is None or len(matrix.shape) != 2 or product.is_graph_output():
        return False
    users = list(product.uses())
    if len(users) != 1:
        return False
    add, index = users[0].node, users[0].idx
    if add.op_type != "Add" or add.domain or add.graph is not node.graph:
        return False
    bias = add.inputs[1 - index]
    row = initializer_of(bias)
    columns = matrix.shape[1]
    if row is None or tuple(row.shape) not in {(columns,), (1, columns)}:
        return False
    add.op_type = "Gemm"
    add.resize_inputs(3)
    for position, value in enumerate((data, weight, bias)):
        add.replace_input_with(position, value)
    add.name = node.name or add.name
    assert node.graph is not None
    node.graph.remove(node, safe=True)
    return True
