"""How large what a node or a model gives will be, from shapes, before it is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import onnx
import onnx.shape_inference
import onnx_ir as ir

from nvmc.budget import check_room
from nvmc.errors import ModelError
from nvmc.passes.graph.layers import label
from nvmc.passes.graph.mappable import initializer_of
from nvmc.passes.infer_shapes import infer_shapes
from nvmc.passes.io.without_weights import SMALL, bytes_of

__all__ = ["SHRINKING", "TRIPS", "check_runs", "node_bytes", "result_bytes"]

SHRINKING = {"Compress": 1, "NonZero": 64, "Unique": 25}
"""Operators whose results' size depends on the values of the first operand -> bytes, at most, for
each of its bytes: places of int64, for every axis (of eight at most) or of three kinds."""
_SAME_SIZE = frozenset("Flatten Identity Reshape Squeeze Transpose Unsqueeze".split())
TRIPS = 10**8
"""Trips of a Loop that nothing ends before: onnxruntime takes 1 µs and more for each."""
_NAMED = frozenset({ir.DataType.STRING, ir.DataType.UNDEFINED})


def result_bytes(node: ir.Node, tensors: Sequence[ir.TensorProtocol | None], opset: int) -> int:
    """Most bytes of all outputs of a standard node on these constant operands; -1 if not known.

    Shape inference says it. It sees the values of small operands, among which are all that decide
    the size of a result (but for those of `SHRINKING`).
    """
    if node.op_type in SHRINKING:
        return bytes_of(tensors[0]) * SHRINKING[node.op_type]
    if node.op_type in _SAME_SIZE:
        return bytes_of(tensors[0])
    proto = ir.to_proto(node)
    graph = onnx.GraphProto(name="fold", node=[proto])
    for name, tensor in dict(zip(proto.input, tensors, strict=True)).items():
        if tensor is None:
            continue
        if bytes_of(tensor) <= SMALL and tensor.dtype != ir.DataType.STRING:
            stored = ir.to_proto(tensor)
            stored.name = name
            graph.initializer.append(stored)
        else:
            shape = tensor.shape.numpy()
            graph.input.append(
                onnx.helper.make_tensor_value_info(name, int(tensor.dtype), list(shape))
            )
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in proto.output if name)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception:  # the node is wrong, or unknown
        return -1
    sizes = [_bytes_of_type(output.type.tensor_type) for output in inferred.graph.output]
    return -1 if min(sizes, default=-1) < 0 else sum(sizes)


def _bytes_of_type(kind: onnx.TypeProto.Tensor) -> int:
    if not kind.HasField("shape") or not all(d.HasField("dim_value") for d in kind.shape.dim):
        return -1
    dtype = ir.DataType(kind.elem_type)
    return -1 if dtype in _NAMED else _bytes(dtype, [d.dim_value for d in kind.shape.dim])


def _bytes(dtype: ir.DataType, sizes: Iterable[int]) -> int:
    return math.ceil(math.prod(sizes) * dtype.itemsize)


def node_bytes(node: ir.Node) -> int:
    """Bytes of the tensors among a node's attributes."""
    tensors = [a.value for a in node.attributes.values() if a.type == ir.AttributeType.TENSOR]
    return sum(map(bytes_of, tensors))


def check_runs(model: ir.Model) -> None:
    """Complain where a run of one image makes a value that is larger than what may be taken.

    Shapes are inferred from those of the inputs; what the file says of others is not believed. Axes
    that are free count as 1, and Loops as often as they certainly run, so that no more is counted
    than any run takes.

    Args:
        model: Only read.

    Raises:
        OutOfMemoryError: There is such a value.
        ModelError: A Loop ends after more than `TRIPS` trips.
    """
    copy = model.clone()
    for node in ir.traversal.RecursiveGraphIterator(copy.graph):
        for value in node.outputs:
            value.shape = None
    infer_shapes(copy)
    made = [(_least(value), f"input {value.name!r}") for value in copy.graph.inputs]
    for node in ir.traversal.RecursiveGraphIterator(copy.graph):
        told = f"what {node.op_type} {label(node)!r} gives"
        made += [(_least(value), told) for value in node.outputs]
        if node.op_type == "Loop" and not node.domain:
            made.append((_looped(node), told))
    if made:
        most, which = max(made)
        check_room(which, most)


def _looped(node: ir.Node) -> int:
    """Bytes, at least, of what a Loop joins of its trips; 0 where these are not known before."""
    body = node.attributes["body"].as_graph()
    trips = _trips(node) if len(body.inputs) > 1 and len(body.outputs) else 0
    if trips > TRIPS:
        raise ModelError(
            f"Loop {label(node)!r} runs {trips:,} times whatever its input; expected at most "
            f"{TRIPS:,}: export the network without it"
        )
    joined = body.outputs[1 + max(0, len(node.inputs) - 2) :]
    return trips * max(map(_least, joined), default=0)


def _trips(node: ir.Node) -> int:
    """How often a Loop certainly runs."""
    most, condition = (initializer_of(v) for v in (*node.inputs[:2], None, None)[:2])
    given = node.inputs[1] if len(node.inputs) > 1 else None
    body = node.attributes["body"].as_graph()
    kept = body.outputs[0]
    while (producer := kept.producer()) is not None and producer.op_type == "Identity":
        kept = producer.inputs[0]
        if kept is None:
            return 0
    stored = initializer_of(kept)
    goes_on = kept is body.inputs[1] if stored is None else bool(stored.numpy().all())
    begins = given is None or (condition is not None and bool(condition.numpy().all()))
    if most is None or most.size != 1 or not goes_on or not begins:
        return 0
    return int(most.numpy().item())


def _least(value: ir.Value) -> int:
    """Bytes of a value at least; 0 if not known."""
    if value.shape is None or value.dtype is None or value.dtype in _NAMED:
        return 0
    return _bytes(value.dtype, (s for s in value.shape if isinstance(s, int)))
