"""A network's outputs: what they hold, and along which axis classes lie, as their nodes tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from nvmc.compiled.masks import Outputs
from nvmc.passes.feed_masks import PASSING, outputs_kinds
from nvmc.passes.graph.attributes import int_of, ints_of
from nvmc.passes.graph.describe import Shape, shape_of
from nvmc.passes.graph.layers import ACTIVATIONS, array_of, is_constant

__all__ = ["Output", "class_axis", "outputs_of", "rows_by_image"]

_CHANNELS = frozenset(
    "AveragePool BatchNormalization Conv ConvInteger ConvTranspose DepthToSpace GlobalAveragePool "
    "GroupNormalization InstanceNormalization MaxPool QLinearConv".split()
)
"""Operators whose second axis is that of channels."""
_SOFTMAX = frozenset(["LogSoftmax", "Softmax"])
_SAME_AXES = ACTIVATIONS | frozenset(
    "Add Cast Concat DequantizeLinear Div Dropout Exp Identity LayerNormalization Log Max Min Mul "
    "Neg Pad QuantizeLinear RMSNormalization Resize Slice Sqrt Sub Sum Where".split()
)
"""Operators whose output has the axes of one of their inputs."""
_RANKING = frozenset(["ReduceMax", "ReduceMin", "TopK"])
_DEPTH = 40


@dataclass(frozen=True)
class Output:
    """An output of a network.

    Attributes:
        value: In its graph.
        kind: What it holds, as the node that makes it tells.
    """

    value: ir.Value
    kind: Outputs

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.value.name)

    @property
    def is_numeric(self) -> bool:
        """Whether it is a tensor of numbers."""
        known = self.value.type is None or isinstance(self.value.type, ir.TensorType)
        return known and self.value.dtype != ir.DataType.STRING

    @property
    def dtype(self) -> str:
        """NumPy's name of its type; empty where it is not known."""
        return "" if self.value.dtype is None else self.value.dtype.numpy().name

    @property
    def shape(self) -> Shape:
        """Its shape: names or None for free sizes; None where not even the rank is known."""
        return shape_of(self.value)

    def class_axis(self) -> tuple[int, str] | None:
        """The axis of its classes, and the operator that tells; see `class_axis`."""
        return None if self.value.shape is None else class_axis(self.value, len(self.value.shape))

    def ranked_by(self) -> str | None:
        """The operator that sorted the classes' scores, or took the greatest; None where none did.

        Such an output says how much a class scored, but not which class.
        """
        value = self.value
        while (node := value.producer()) is not None:
            data = node.inputs[0] if node.inputs else None
            if data is None:
                return None
            if node.op_type in _RANKING and value is node.outputs[0]:
                return node.op_type if _over_classes(node, data) else None
            if node.op_type not in PASSING:
                return None
            value = data
        return None

    def depends_on(self, other: Output) -> bool:
        """Whether it is computed from another output."""
        pending, met = [self.value], {self.value}
        while pending:
            node = pending.pop().producer()
            for value in () if node is None else node.inputs:
                if value is other.value:
                    return True
                if value is not None and value not in met:
                    met.add(value)
                    pending.append(value)
        return False

    def learn(self, shape: Sequence[int]) -> None:
        """Note the shape of a run, whose first size is one of many, where none was known."""
        if self.value.shape is None or len(self.value.shape) != len(shape):
            self.value.shape = ir.Shape([None, *shape[1:]])


def _over_classes(node: ir.Node, data: ir.Value) -> bool:
    """Whether a ranking goes along the axis of the classes, as far as the network tells."""
    rank = _rank(data)
    found = None if rank is None else class_axis(data, rank)
    if rank is None or found is None:
        return False
    if node.op_type == "TopK":
        axes = [int_of(node, "axis", -1)]
    else:
        given = array_of(node.inputs[1]) if len(node.inputs) > 1 else None
        listed = ints_of(node, "axes", None) if given is None else given.ravel().tolist()
        axes = list(range(rank)) if listed is None else [int(axis) for axis in listed]
    return found[0] in [axis % rank for axis in axes]


def outputs_of(model: ir.Model) -> list[Output]:
    """The outputs of a network, in order."""
    kinds = outputs_kinds(model)
    return [Output(value, kinds[str(value.name)]) for value in model.graph.outputs]


def rows_by_image(model: ir.Model) -> bool:
    """Whether every output has as many rows as a NonMaxSuppression leaves boxes.

    Its first axis has another name than the inputs' first, and depends on such a node.
    """
    images = [shape[0] for value in model.graph.inputs if (shape := shape_of(value))]
    for output in model.graph.outputs:
        rows = (shape_of(output) or [None])[0]
        if not isinstance(rows, str) or rows in images or not _suppresses(output):
            return False
    return bool(model.graph.outputs)


def _suppresses(value: ir.Value) -> bool:
    """Whether a value depends on a NonMaxSuppression."""
    pending, met = [value.producer()], set[ir.Node]()
    while pending:
        node = pending.pop()
        if node is None or node in met:
            continue
        if node.op_type == "NonMaxSuppression":
            return True
        met.add(node)
        pending += [given.producer() for given in node.inputs if given is not None]
    return False


def class_axis(value: ir.Value | None, rank: int) -> tuple[int, str] | None:
    """The axis along which a network's last layer puts its classes, and the operator that tells.

    A softmax names it; a convolution has its channels along axis 1, a product with a constant
    matrix its columns along the last axis. Transposes on the way are followed, and what keeps the
    axes of its input is looked through.

    Args:
        value: The output.
        rank: Its rank.

    Returns:
        The axis from 0, and the operator's name; None where nothing tells.
    """
    found = _axis(value, rank, _DEPTH)
    return found if found is not None and 0 <= found[0] < rank else None


def _axis(value: ir.Value | None, rank: int, depth: int) -> tuple[int, str] | None:
    node = None if value is None else value.producer()
    if value is None or node is None or depth == 0:
        return None
    op, data = node.op_type.removeprefix("Crossbar"), node.inputs[0] if node.inputs else None
    if op in _CHANNELS:
        return 1, op
    if op in _SOFTMAX:
        return int_of(node, "axis", -1) % rank, op
    if op in ("Gemm", "MatMul", "MatMulInteger"):
        return _of_product(node, op, rank)
    if op == "Transpose":
        found = _axis(data, rank, depth - 1)
        order = ints_of(node, "perm", None) or range(rank)[::-1]
        return None if found is None else (list(order).index(found[0]), found[1])
    if op in ("Reshape", "Squeeze", "Unsqueeze"):
        return _of_reshaped(value, data, rank, depth)
    if op in _SAME_AXES:
        alike = (v for v in node.inputs if v is not None and _rank(v) in (None, rank))
        return next(filter(None, (_axis(v, rank, depth - 1) for v in alike)), None)
    return None


def _of_product(node: ir.Node, op: str, rank: int) -> tuple[int, str] | None:
    if node.domain or is_constant(node.inputs[1]):
        return rank - 1, op
    return (rank - 2, op) if is_constant(node.inputs[0]) and rank >= 2 else None


def _of_reshaped(
    value: ir.Value, data: ir.Value | None, rank: int, depth: int
) -> tuple[int, str] | None:
    """The last axis stays what it is where its size does."""
    inner = _rank(data)
    if inner is None or data is None or data.shape is None or value.shape is None:
        return None
    found = _axis(data, inner, depth - 1)
    kept = bool(inner) and isinstance(data.shape[-1], int) and data.shape[-1] == value.shape[-1]
    return (rank - 1, found[1]) if found is not None and found[0] == inner - 1 and kept else None


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)
