"""Sizes that activations are asked for, but that are the same for every input -> constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.passes.fold_constants import fold_constants
from nvmc.passes.graph.attributes import int_of
from nvmc.passes.graph.mappable import initializer_of
from nvmc.passes.graph.names import Names
from nvmc.passes.io.without_weights import without_weights

__all__ = ["Shape", "concrete_shapes", "fold_shapes", "open_axes"]

_IMAGES = (2, 5, 65_537)
"""Numbers of images for which sizes are compared: small ones and a large one, since a size may be
that of the images up to some bound, or a remainder."""
_ROUNDS = 16
"""Most times that what became known is asked for more."""

_LONGEST = 64
"""Elements of a constant that may be a shape or a part of one."""

Shape = tuple[int | None, ...]
"""Sizes of a value; None for those that are not known."""

Sizes = NDArray[Any]
"""Whole numbers of rank 0 or 1, as objects; None for those that depend on the input."""


class _NotKnownError(Exception):
    """Nothing is known of a node's result."""


def fold_shapes(model: ir.Model) -> bool:
    """Replace sizes that are the same for any number of images by constants.

    Exporters that fold nothing reshape weights to sizes they ask activations for. A size counts as
    the same where it is for each of `_IMAGES` images; those of other axes that the network leaves
    open stay computed. Sizes that a file states for values inside are not believed, but inferred
    anew from those of its inputs.
    """
    if not _asks(model):
        return False
    several = [concrete_shapes(model, dict.fromkeys(open_axes(model), n)) for n in _IMAGES]
    same: dict[str, Shape] = {}
    for name, first in several[0].items():
        others = [shapes.get(name) for shapes in several[1:]]
        if all(other is not None and len(other) == len(first) for other in others):
            columns = zip(first, *(other or () for other in others), strict=True)
            same[name] = tuple(c[0] if len(set(c)) == 1 else None for c in columns)
    return _settle(model, same)


def open_axes(model: ir.Model) -> list[tuple[int, int]]:
    """The first axes of inputs, as (input, axis), that the network leaves open."""
    firsts = enumerate(next(iter(value.shape or ()), 0) for value in model.graph.inputs)
    return [(index, 0) for index, size in firsts if not isinstance(size, int)]


def concrete_shapes(model: ir.Model, sizes: Mapping[tuple[int, int], int]) -> dict[str, Shape]:
    """Shapes of the main graph's values where open axes of inputs have some sizes.

    Shape inference, which gives up at a size that is computed in ways it does not know; so sizes
    that are known then become constants in a copy without weights, until no more become known.

    Args:
        model: Only read.
        sizes: (input, axis) to its size.
    """
    proto = without_weights(model)
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    for (index, axis), size in sizes.items():
        proto.graph.input[index].type.tensor_type.shape.dim[axis].dim_value = size
    shapes = _inferred(proto)
    copy = ir.from_proto(proto) if _asks(model) else None
    for _ in range(_ROUNDS):
        if copy is None or not _settle(copy, shapes):
            break
        fold_constants(copy)
        proto = ir.to_proto(copy)
        del proto.graph.value_info[:]
        computed = {name for node in proto.graph.node for name in node.output}
        shapes |= {name: shape for name, shape in _inferred(proto).items() if name in computed}
    return shapes


def _asks(model: ir.Model) -> bool:
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    return any(node.op_type in ("Shape", "Size") and not node.domain for node in nodes)


def _inferred(proto: onnx.ModelProto) -> dict[str, Shape]:
    try:
        graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return {}  # nothing is known
    return {
        value.name: tuple(
            size.dim_value if size.HasField("dim_value") else None
            for size in value.type.tensor_type.shape.dim
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _settle(model: ir.Model, shapes: Mapping[str, Shape]) -> bool:
    """Put constants in the place of sizes that those shapes tell."""
    known: dict[ir.Value, Sizes] = {}
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        rule = None if node.domain else _RULES.get(node.op_type)
        try:
            if node.op_type in ("Shape", "Size") and not node.domain:
                known[node.outputs[0]] = _asked(node, shapes)
            elif rule is not None:
                known[node.outputs[0]] = rule(node, lambda value: _value(value, known))
        except (_NotKnownError, IndexError, ValueError):
            continue  # an index beyond a shape, or the like: the network is wrong, which is not
            # said here
    return _replace(model, {value for value, sizes in known.items() if _complete(sizes)}, known)


def _replace(model: ir.Model, complete: set[ir.Value], known: dict[ir.Value, Sizes]) -> bool:
    """Let those who compute something else from complete sizes read constants."""
    names: Names | None = None
    for value in (value for value in known if value in complete):
        readers = [use for use in value.uses() if not complete.intersection(use.node.outputs)]
        if not readers:
            continue
        names = names or Names(model)
        constant = names.initializer(f"{value.name}.known", known[value].astype(np.int64))
        for reader in readers:
            reader.node.replace_input_with(reader.idx, constant)
    return names is not None


def _complete(sizes: Sizes) -> bool:
    return None not in sizes.reshape(-1).tolist()


def _asked(node: ir.Node, shapes: Mapping[str, Shape]) -> Sizes:
    """What Shape or Size says of a value of the main graph, or of a constant."""
    value = node.inputs[0]
    tensor = initializer_of(value)
    found = None if value is None else shapes.get(str(value.name))
    sizes = found if tensor is None else tuple(int(size) for size in tensor.shape.numpy())
    if sizes is None:
        raise _NotKnownError
    if node.op_type == "Size":
        total = None if None in sizes else int(np.prod(np.array(sizes, np.int64)))
        return np.array(total, object)
    start = int_of(node, "start", 0)
    return np.array(sizes, object)[start : int_of(node, "end", None)]


def _value(value: ir.Value | None, known: dict[ir.Value, Sizes]) -> Sizes:
    """What is known of an operand: sizes, or the whole numbers of a constant."""
    if value is not None and value in known:
        return known[value]
    tensor = initializer_of(value)
    if tensor is None or tensor.dtype != ir.DataType.INT64 or tensor.size > _LONGEST:
        raise _NotKnownError
    if len(tensor.shape) > 1:
        raise _NotKnownError
    return tensor.numpy().astype(object)


_Read = Callable[[ir.Value | None], Sizes]


def _numbers(node: ir.Node, index: int, read: _Read, default: int | None = None) -> list[int]:
    """A constant operand as a list."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None and default is not None:
        return [default]
    found = read(value)
    if not _complete(found):
        raise _NotKnownError
    return [int(number) for number in found.reshape(-1)]


def _same(node: ir.Node, read: _Read) -> Sizes:
    if node.op_type == "Cast" and int_of(node, "to", 0) != ir.DataType.INT64:
        raise _NotKnownError
    return read(node.inputs[0])


def _gathered(node: ir.Node, read: _Read) -> Sizes:
    data, index = read(node.inputs[0]), read(node.inputs[1])
    if int_of(node, "axis", 0) not in (0, -1) or not _complete(index) or not data.ndim:
        raise _NotKnownError
    return np.array(data[index.astype(np.int64)], object)


def _sliced(node: ir.Node, read: _Read) -> Sizes:
    data = read(node.inputs[0])
    (start,), (end,) = (_numbers(node, index, read) for index in (1, 2))
    (step,) = _numbers(node, 4, read, 1)
    if step < 1:
        raise _NotKnownError
    return data[start:end:step]


def _joined(node: ir.Node, read: _Read) -> Sizes:
    return np.concatenate([read(value) for value in node.inputs])


def _unsqueezed(node: ir.Node, read: _Read) -> Sizes:
    data = read(node.inputs[0])
    if data.ndim or len(_numbers(node, 1, read)) != 1:
        raise _NotKnownError
    return data.reshape(1)


def _squeezed(node: ir.Node, read: _Read) -> Sizes:
    data = read(node.inputs[0])
    if data.shape != (1,):
        raise _NotKnownError
    return data.reshape(())


_RULES: dict[str, Callable[[ir.Node, _Read], Sizes]] = {
    "Cast": _same,
    "Concat": _joined,
    "Gather": _gathered,
    "Identity": _same,
    "Slice": _sliced,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
}
"""Operators that a part of a shape passes through; what is complete is left to fold-constants."""
