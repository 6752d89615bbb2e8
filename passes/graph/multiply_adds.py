"""How many multiply-adds of matrix products each node takes for one image: one table of formulas.

A product is of weights where one of its sides does not depend on the network's input: a crossbar
could hold that side. Products of two activations, such as attention's, no crossbar holds. Scales,
biases, pooling and other element-wise work are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import onnx_ir as ir

from nvmc.passes.graph.attributes import MISFITS, floats_of, int_of, text_of
from nvmc.passes.graph.image_shapes import ImageShapes
from nvmc.passes.graph.mappable import initializer_of, nodes_of

__all__ = ["ASSUMED", "Counted", "MultiplyAdds", "count_multiply_adds"]

ASSUMED = 128
"""Size taken for an axis that the network leaves open, behind that of the images."""


class _UnknownError(Exception):
    """A size that a count needs is not known."""


@dataclass(frozen=True)
class Counted:
    """Multiply-adds of one node for one image.

    Attributes:
        weights: Of weights with activations; None where that is not known.
        activations: Of activations with activations, likewise.
    """

    weights: int | None = 0
    activations: int | None = 0


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds of every node of a network that has matrix products.

    Attributes:
        of: Node to its number; what is not in it has none.
        assumed: Axes that the network leaves open, `input[axis]` or by name, with the size taken.
    """

    of: dict[ir.Node, Counted]
    assumed: dict[str, int] = field(default_factory=dict[str, int])


def count_multiply_adds(
    model: ir.Model, shapes: ImageShapes, sizes: Mapping[str, Sequence[int]] | None = None
) -> MultiplyAdds:
    """Count them for one image.

    Args:
        model: In canonical form, before its layers are mapped; only read.
        shapes: Of its values.
        sizes: Of an image by input, for axes that the network leaves open.
    """
    found = _counted(model, shapes)
    if not _open(found):
        return MultiplyAdds(found)
    wider = ImageShapes(model, sizes, ASSUMED)
    more = _counted(model, wider) if wider.assumed else found
    return MultiplyAdds(found) if _open(more) == _open(found) else MultiplyAdds(more, wider.assumed)


def _open(counted: dict[ir.Node, Counted]) -> int:
    """How many nodes could not be counted."""
    return sum(None in (c.weights, c.activations) for c in counted.values())


def _counted(model: ir.Model, shapes: ImageShapes) -> dict[ir.Node, Counted]:
    constant = _constants(model)
    found: dict[ir.Node, Counted] = {}
    for node in nodes_of(model):
        operands = [value in constant for value in node.inputs]
        formula = _FORMULAS.get((node.domain, node.op_type))
        if formula is None:
            if node.domain and _holds_matrix(node, constant):
                found[node] = Counted(None, None)
            continue
        products = formula(_Sizes(node, shapes))
        weights: int | None = 0
        activations: int | None = 0
        try:
            for number, sides in products:
                if node.graph is not model.graph:
                    raise _UnknownError  # how often a subgraph runs is not known
                image, rest = divmod(number, shapes.images)
                if rest:
                    raise _UnknownError  # it has no axis along which images lie
                if sides is None or any(operands[i] for i in sides if i < len(operands)):
                    weights += image
                else:
                    activations += image
        except (_UnknownError, *MISFITS):  # or shapes that the operator cannot have
            weights = None
            activations = None
        found[node] = Counted(weights, activations)
    return found


def _constants(model: ir.Model) -> set[ir.Value | None]:
    """The values whose numbers do not depend on the network's input, though their sizes may."""
    known: set[ir.Value | None] = set()
    for graph in model.graphs():
        known.update(v for v in graph.initializers.values() if initializer_of(v) is not None)
    for node in nodes_of(model):
        given = [value for value in node.inputs if value is not None]
        random = node.op_type.startswith("Random")
        asked = node.op_type in ("Shape", "Size")
        if asked or (not random and all(v in known for v in given)):
            known.update(node.outputs)
    return known


def _holds_matrix(node: ir.Node, constant: set[ir.Value | None]) -> bool:
    """Whether an operator that is not known here has a constant of several rows and columns."""
    for value in node.inputs:
        if value in constant and value is not None and value.shape is not None:
            if sum(size != 1 for size in value.shape) > 1:
                return (node.domain, node.op_type) not in _NO_PRODUCTS
    return False


_NO_PRODUCTS = frozenset(
    ("com.microsoft", op) for op in ("EmbedLayerNormalization", "GatherBlockQuantized")
)


class _Sizes:
    """The sizes of a node's inputs and outputs for all images; what is not known raises."""

    def __init__(self, node: ir.Node, shapes: ImageShapes) -> None:
        self.node = node
        self._shapes = shapes

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def input(self, index: int) -> tuple[int, ...]:
        return self._known(self.node.inputs[index] if self.has(index) else None)

    def output(self) -> tuple[int, ...]:
        return self._known(self.node.outputs[0])

    def integer(self, name: str, default: int = 0) -> int:
        return int_of(self.node, name, default)

    def _known(self, value: ir.Value | None) -> tuple[int, ...]:
        sizes = None if value is None else self._shapes.whole(value)
        if sizes is None:
            raise _UnknownError
        known = tuple(size for size in sizes if size is not None)
        if len(known) < len(sizes):
            raise _UnknownError
        return known


_Product = tuple[int, Sequence[int] | None]
"""Multiply-adds for all images, and which inputs are its sides: a side that the node computes
itself is left out, and None are weights among the node's attributes."""
_Formula = Callable[[_Sizes], Iterator[_Product]]


def _convolution(weight: int = 1) -> _Formula:
    """Every output adds up a window: W is (M, C / group, *kernel)."""

    def formula(sizes: _Sizes) -> Iterator[_Product]:
        window = math.prod(sizes.input(weight)[1:])
        yield math.prod(sizes.output()) * window, (0, weight)

    return formula


def _transposed_convolution(sizes: _Sizes) -> Iterator[_Product]:
    """Every input goes into a window: W is (C, M / group, *kernel)."""
    yield math.prod(sizes.input(0)) * math.prod(sizes.input(1)[1:]), (0, 1)


def _matrix(right: int = 1) -> _Formula:
    """(…, M, K) times (…, K, N), broadcast over what stands in front; either may be turned."""

    def formula(sizes: _Sizes) -> Iterator[_Product]:
        a, b = sizes.input(0), sizes.input(right)
        if sizes.integer("transBatchA") or sizes.integer("transBatchB"):
            raise _UnknownError  # such nodes are undone before
        a = a if len(a) > 1 else (1, *a)
        b = b if len(b) > 1 else (*b, 1)
        m, k = (a[-1], a[-2]) if sizes.integer("transA") else (a[-2], a[-1])
        n = b[-2] if sizes.integer("transB") else b[-1]
        stacks = zip_longest(a[-3::-1], b[-3::-1], fillvalue=1)
        yield math.prod(max(pair) for pair in stacks) * m * n * k, (0, right)

    return formula


def _packed_matrix(sizes: _Sizes) -> Iterator[_Product]:
    """MatMulNBits and its like: N columns by attribute, and packed weights."""
    yield math.prod(sizes.input(0)) * sizes.integer("N"), (0, 1)


def _einsum(sizes: _Sizes) -> Iterator[_Product]:
    """Two operands: as many as there are different labels' sizes multiplied."""
    if len(sizes.node.inputs) == 1:
        return
    if len(sizes.node.inputs) > 2:
        raise _UnknownError  # it depends on the order of the products
    equation = (text_of(sizes.node, "equation", "") or "").replace(" ", "")
    found: dict[str, int] = {}
    for index, term in enumerate(equation.partition("->")[0].split(",")):
        shape = sizes.input(index)
        head, dots, tail = term.partition("...")
        middle = len(shape) - len(head) - len(tail)
        names = [*head, *(f"...{i}" for i in range(middle, 0, -1) if dots), *tail]
        for name, size in zip(names, shape, strict=True):
            found[name] = max(found.get(name, 1), size)
    yield math.prod(found.values()), (0, 1)


def _recurrent(sizes: _Sizes) -> Iterator[_Product]:
    """Each step and image passes W (directions, gates, I) and R (directions, gates, H)."""
    steps = math.prod(sizes.input(0)[:2])
    yield steps * math.prod(sizes.input(1)), (0, 1)
    yield steps * math.prod(sizes.input(2)), (2,)


def _attention(sizes: _Sizes) -> Iterator[_Product]:
    """ONNX's: Q with every key, and what comes of it with every value, past ones included."""
    keys = sizes.input(1)[-2] + (sizes.input(4)[-2] if sizes.has(4) else 0)
    yield keys * math.prod(sizes.input(0)), ()
    yield keys * math.prod(sizes.output()), ()


def _multi_head_attention(sizes: _Sizes) -> Iterator[_Product]:
    """onnxruntime's: query (N, L, D), key (N, S, D) or (N, heads, S, D / heads)."""
    query, keys, values = sizes.input(0), sizes.input(1), sizes.input(2)
    if len(query) != 3 or len(keys) not in (3, 4):
        raise _UnknownError  # packed
    length = keys[-2] + (sizes.input(6)[-2] if sizes.has(6) else 0)
    width = values[-1] if len(values) == 3 else values[1] * values[3]
    yield length * math.prod(query), ()
    yield length * query[0] * query[1] * width, ()


def _fused_attention(sizes: _Sizes) -> Iterator[_Product]:
    """Attention and QAttention of onnxruntime: projections W (I, 3 D) inside, then the core."""
    (images, length, _), weight = sizes.input(0), sizes.input(1)
    yield images * length * math.prod(weight), (0, 1)
    yield 2 * images * length * length * (weight[1] // 3), ()


def _linear_model(name: str) -> _Formula:
    """ai.onnx.ml's: as many as it has coefficients, for each row."""

    def formula(sizes: _Sizes) -> Iterator[_Product]:
        shape = sizes.input(0)
        rows = shape[0] if len(shape) > 1 else 1
        yield rows * len(floats_of(sizes.node, name, None) or ()), None

    return formula


_FORMULAS: dict[tuple[str, str], _Formula] = {
    ("", "Conv"): _convolution(),
    ("", "ConvInteger"): _convolution(),
    ("", "ConvTranspose"): _transposed_convolution,
    ("", "DeformConv"): _convolution(),
    ("", "QLinearConv"): _convolution(3),
    ("", "Gemm"): _matrix(),
    ("", "MatMul"): _matrix(),
    ("", "MatMulInteger"): _matrix(),
    ("", "QLinearMatMul"): _matrix(3),
    ("", "Einsum"): _einsum,
    ("", "GRU"): _recurrent,
    ("", "LSTM"): _recurrent,
    ("", "RNN"): _recurrent,
    ("", "Attention"): _attention,
    ("ai.onnx.ml", "LinearClassifier"): _linear_model("coefficients"),
    ("ai.onnx.ml", "LinearRegressor"): _linear_model("coefficients"),
    ("ai.onnx.ml", "SVMClassifier"): _linear_model("support_vectors"),
    ("ai.onnx.ml", "SVMRegressor"): _linear_model("support_vectors"),
    **{
        ("com.microsoft", op): formula
        for op, formula in {
            "Attention": _fused_attention,
            "ConvTransposeWithDynamicPads": _transposed_convolution,
            "DynamicQuantizeLSTM": _recurrent,
            "DynamicQuantizeMatMul": _matrix(),
            "FusedConv": _convolution(),
            "FusedGemm": _matrix(),
            "FusedMatMul": _matrix(),
            "FusedMatMulActivation": _matrix(),
            "GemmFloat8": _matrix(),
            "MatMulBnb4": _packed_matrix,
            "MatMulIntegerToFloat": _matrix(),
            "MatMulNBits": _packed_matrix,
            "MultiHeadAttention": _multi_head_attention,
            "NhwcFusedConv": _convolution(),
            "QAttention": _fused_attention,
            "QGemm": _matrix(3),
            "QLinearConv": _convolution(3),
            "TransposeMatMul": _matrix(),
        }.items()
    },
}
"""Operator to what it multiplies."""
