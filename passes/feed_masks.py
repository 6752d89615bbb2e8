"""feed-masks: nodes that draw random numbers -> graph inputs that the engine feeds.

onnxruntime draws from one generator a session, so what an image gets would depend on the batch it
is run in and on what was run before. Numbers that come from outside have names instead
(`nvmc.compiled.masks`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir

from nvmc.compiled.masks import Mask, Outputs
from nvmc.errors import ModelError
from nvmc.passes.graph.attributes import float_of, int_of, ints_of
from nvmc.passes.graph.layers import array_of, consumer, label, remove_unused
from nvmc.passes.graph.mappable import nodes_of
from nvmc.passes.graph.names import Names
from nvmc.passes.io.without_weights import without_weights
from nvmc.passes.vary_activations import PLACE, SOURCE

__all__ = ["PASSING", "FeedMasks", "draws_numbers", "outputs_kinds"]

_NORMAL = frozenset(["RandomNormal", "RandomNormalLike"])
_ALONE = frozenset(["RandomNormal", "RandomUniform"])
_DRAWING = frozenset(["Bernoulli", "Multinomial", "RandomUniformLike"]) | _NORMAL | _ALONE
_PROBE = 7919
"""Images that shapes are inferred for: a prime, so that a size tells what it is made of."""
PASSING = frozenset("Cast Flatten Identity Reshape Squeeze Transpose Unsqueeze".split())
"""Operators behind which an output holds what it held before."""


@dataclass
class FeedMasks(ir.passes.InPlacePass):
    """Let every random number of a network come in through a graph input.

    An active Dropout (`training_mode` true) becomes `Mul` by its mask, which holds 0 or
    1 / (1 - ratio) for every element of every image; `Where(mask, y, 0)` behind it goes, as it
    changes nothing. RandomUniformLike, RandomNormalLike, Bernoulli and Multinomial are drawn for
    every image, and so is the RandomUniform of affine dropout (`invert-normalization`): a pass runs
    every image by itself, as a chip does. Any other RandomUniform or RandomNormal is drawn once a
    pass for all images. A Dropout that is inactive stays.

    Attributes:
        masks: What the last call cut out, in the graph's order.

    Raises:
        ModelError: A node draws what cannot be named: inside a subgraph, of a shape or a rate that
            is not known.
    """

    masks: tuple[Mask, ...] = field(init=False, default=())

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Cut out in place."""
        self.masks = ()
        drawing = [node for node in nodes_of(model) if _draws(node)]
        if not drawing:
            return ir.passes.PassResult(model, False)
        for node in drawing:
            _check(node, model.graph)
        self._names, self._shapes = Names(model), _Shapes(model)
        self.masks = tuple(self._cut(model.graph, node) for node in drawing)
        return ir.passes.PassResult(model, True)

    def _cut(self, graph: ir.Graph, node: ir.Node) -> Mask:
        if node.op_type == "Dropout":
            return self._cut_dropout(graph, node)
        if node.op_type == "Multinomial":
            return self._cut_multinomial(graph, node)
        like = None if node.op_type in _ALONE else node.inputs[0]
        given = int_of(node, "dtype", None)
        kind = like.dtype if like is not None and given is None else None
        kind = kind or ir.DataType(given or ir.DataType.FLOAT)
        shape, axis = self._alone(node) if like is None else self._shapes.of(node, like)
        if node.op_type == "Bernoulli":
            drawn = self._input(
                graph, node, shape, axis, (like and like.dtype) or ir.DataType.FLOAT
            )
            _replace(graph, node, self._less(drawn, like, kind))
        else:
            drawn = self._input(graph, node, shape, axis, kind)
            output = node.outputs[0]
            output.replace_all_uses_with(drawn, replace_graph_outputs=True)
            graph.remove(node, safe=True)
        names = ("mean", "scale") if node.op_type in _NORMAL else ("low", "high")
        defaults = zip(names, (0.0, 1.0), strict=True)
        numbers = {name: float_of(node, name, default) for name, default in defaults}
        law = "normal" if node.op_type in _NORMAL else "uniform"
        return _mask(node, drawn, shape, axis, law, **numbers)

    def _cut_multinomial(self, graph: ir.Graph, node: ir.Node) -> Mask:
        """Classes by inversion: as many cumulated probabilities as a uniform number reaches."""
        scores = node.inputs[0]
        assert scores is not None
        (_, classes), axis = self._shapes.of(node, scores)
        samples = int_of(node, "sample_size", 1)
        kind = ir.DataType(int_of(node, "dtype", ir.DataType.INT32))
        shape = (0 if axis == 0 else 1, samples)
        drawn = self._input(graph, node, shape, axis, scores.dtype or ir.DataType.FLOAT)
        one, two, last = (
            self._names.initializer(f"{drawn.name}_{name}", np.array(value, np.int64))
            for name, value in (("one", [1]), ("two", [2]), ("last", classes - 1))
        )
        new: list[ir.Node] = []

        def add(op: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
            name = self._names.fresh(f"{drawn.name}_{op.lower()}")
            new.append(ir.node(op, inputs, attributes, name=name))
            new[-1].outputs[0].name = name
            return new[-1].outputs[0]

        sums = add("CumSum", [add("Softmax", [scores], axis=-1), one])
        ends = [add("Unsqueeze", [sums, one]), add("Unsqueeze", [drawn, two])]
        passed = add("Cast", [add("LessOrEqual", ends)], to=ir.DataType.INT64)
        chosen = add("ReduceSum", [passed, two], keepdims=0)
        # The last sum may be rounded to less than 1, and the number be above it.
        add("Cast", [add("Min", [chosen, last])], to=kind)
        _replace(graph, node, new)
        return _mask(node, drawn, shape, axis, "uniform")

    def _alone(self, node: ir.Node) -> tuple[tuple[int, ...], int | None]:
        """Sizes of what a RandomUniform draws, and the image axis that affine dropout gives it.

        `gamma * x` with `gamma = Where(draw < p, 1, parameter)` broadcasts, so numbers of an image
        are one row of a draw that has the rank of x.
        """
        shape = tuple(ints_of(node, "shape") or ())
        path = [node]
        for kind in (("Less",), ("Where",), ("Mul", "Add")):
            following = consumer(path[-1].outputs[0])
            if following is None or following.op_type not in kind:
                return shape, None
            path.append(following)
        *_, where, affine = path
        x = next((v for v in affine.inputs if v is not where.outputs[0]), None)
        if x is None:
            return shape, None
        sizes, axis = self._shapes.of(node, x)
        wide = (1,) * (len(sizes) - len(shape)) + shape
        if axis is None or len(wide) != len(sizes) or wide[axis] != 1:
            return shape, None
        # They have an image axis now, which the shapes written in the file do not.
        for inner in path[1:3]:
            inner.outputs[0].shape = None
        return tuple(0 if i == axis else size for i, size in enumerate(wide)), axis

    def _less(self, drawn: ir.Value, rate: Any, kind: ir.DataType) -> list[ir.Node]:
        """Whether a uniform number is below `rate`, as `kind`."""
        less = ir.node("Less", [drawn, rate], name=self._names.fresh(f"{drawn.name}_less"))
        less.outputs[0].name = self._names.fresh(f"{drawn.name}_hit")
        cast = ir.node(
            "Cast", [less.outputs[0]], {"to": kind}, name=self._names.fresh(f"{drawn.name}_cast")
        )
        return [less, cast]

    def _cut_dropout(self, graph: ir.Graph, node: ir.Node) -> Mask:
        data, rate = node.inputs[0], _rate(node)
        assert data is not None
        shape, axis = self._shapes.of(node, data)
        kind = data.dtype or ir.DataType.FLOAT
        drawn = self._input(graph, node, shape, axis, kind)
        others = node.inputs[1:]
        _unguard(graph, node)
        new = [ir.node("Mul", [data, drawn], name=self._names.fresh(f"{label(node)}_mul"))]
        if len(node.outputs) > 1 and node.outputs[1].uses():
            kept = self._names.fresh(f"{drawn.name}_kept")
            cast = ir.node("Cast", [drawn], {"to": ir.DataType.BOOL}, name=kept)
            cast.outputs[0].name = kept
            node.outputs[1].replace_all_uses_with(cast.outputs[0])
            new.insert(0, cast)
        _replace(graph, node, new)
        remove_unused(graph, others)
        return _mask(node, drawn, shape, axis, "keep", rate=rate)

    def _input(
        self,
        graph: ir.Graph,
        node: ir.Node,
        shape: tuple[int, ...],
        axis: int | None,
        kind: ir.DataType,
    ) -> ir.Value:
        """A new graph input, the image axis free."""
        sizes = [None if i == axis else size for i, size in enumerate(shape)]
        value = ir.Value(
            name=self._names.fresh(f"nvmc.mask/{label(node)}"),
            shape=ir.Shape(sizes),
            type=ir.TensorType(kind),
        )
        graph.inputs.append(value)
        return value


def _mask(
    node: ir.Node,
    drawn: ir.Value,
    shape: tuple[int, ...],
    axis: int | None,
    law: Literal["keep", "uniform", "normal"],
    **numbers: float,
) -> Mask:
    assert drawn.dtype is not None
    kind = drawn.dtype.numpy().name
    source = node.metadata_props.get(SOURCE)
    name = label(node) if source is None else node.metadata_props[PLACE]
    return Mask(name, str(drawn.name), shape, axis, kind, law, source=source, **numbers)


def outputs_kinds(model: ir.Model) -> dict[str, Outputs]:
    """What each output holds, by the node that makes it, behind casts and reshapes."""
    return {str(value.name): _kind(value) for value in model.graph.outputs}


def _kind(value: ir.Value | None) -> Outputs:
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Scan":
            value = node.attributes["body"].as_graph().outputs[value.index() or 0]
            continue
        if node.op_type in ("HardSigmoid", "Sigmoid", "Softmax"):
            return "probabilities"
        if node.op_type == "LogSoftmax":
            return "log-probabilities"
        if node.op_type in ("ArgMax", "ArgMin") or (node.op_type == "TopK" and value.index()):
            return "classes"
        value = node.inputs[0] if node.op_type in PASSING else None
    return "scores"


def draws_numbers(model: ir.Model) -> bool:
    """Whether a network draws random numbers at inference."""
    return any(map(_draws, nodes_of(model)))


def _draws(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type in _DRAWING or (node.op_type == "Dropout" and _active(node))


def _active(node: ir.Node) -> bool:
    """Whether a Dropout drops; one whose mode is computed does, as far as anyone can tell."""
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    if mode is None:
        return False
    known = array_of(mode)
    return known is None or bool(known)


def _check(node: ir.Node, graph: ir.Graph) -> None:
    problem = ""
    if node.graph is not graph:
        problem = "it lies in a subgraph; expected random numbers in the main graph only"
    elif node.op_type == "Dropout" and array_of(node.inputs[2]) is None:
        problem = "its training mode is computed; expected a constant"
    if problem:
        raise ModelError(
            f"node {label(node)!r} ({node.op_type}) draws numbers that nvmc cannot name: {problem}"
        )


def _rate(node: ir.Node) -> float:
    ratio = node.inputs[1] if len(node.inputs) > 1 else None
    known = None if ratio is None else array_of(ratio)
    rate = 0.5 if ratio is None else float("nan") if known is None else float(known)
    if not 0 <= rate < 1:
        raise ModelError(
            f"Dropout {label(node)!r} has {'a computed ratio' if rate != rate else f'ratio {rate}'}"
            "; expected a constant, 0 <= ratio < 1"
        )
    return rate


def _unguard(graph: ir.Graph, node: ir.Node) -> None:
    """Remove every `Where(mask, y, 0)` behind a Dropout: y is zero there already."""
    for use in list(node.outputs[1].uses()) if len(node.outputs) > 1 else []:
        where, zero = use.node, use.node.inputs[-1]
        other = array_of(zero)
        guards = where.op_type == "Where" and tuple(where.inputs[:2]) == node.outputs[1::-1]
        if guards and other is not None and not other.any():
            result = where.outputs[0]
            result.replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)
            graph.remove(where, safe=True)
            remove_unused(graph, [zero])


def _replace(graph: ir.Graph, node: ir.Node, new: list[ir.Node]) -> None:
    """Put `new` in the place of `node`; the last one's output takes its first output's place."""
    old, result = node.outputs[0], new[-1].outputs[0]
    result.type, result.shape = old.type, old.shape
    graph.insert_before(node, new)
    old.replace_all_uses_with(result, replace_graph_outputs=True)
    name = old.name
    graph.remove(node, safe=True)
    result.name = name


class _Shapes:
    """Shapes of values for a number of images that no other size has by chance."""

    def __init__(self, model: ir.Model) -> None:
        # Shapes in the file may name the images in several ways or hold the exporter's batch, so
        # they are inferred anew from the inputs alone.
        proto = without_weights(model)
        del proto.graph.value_info[:]
        first = model.graph.inputs[0].shape
        size = first[0] if first else None
        self._images = size if isinstance(size, int) else _PROBE
        symbol = size.value if isinstance(size, ir.SymbolicDim) else None
        own = str(model.graph.inputs[0].name)
        for value in proto.graph.input:
            dims = value.type.tensor_type.shape.dim
            for i, dim in enumerate(dims):
                named = symbol is not None and dim.dim_param == symbol
                if named or (value.name == own and i == 0):
                    dim.dim_value = self._images
        for value in proto.graph.output:
            value.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
        self._found = {
            value.name: value.type.tensor_type
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
        }
        self._weights = {name: value.shape for name, value in model.graph.initializers.items()}

    def of(self, node: ir.Node, value: ir.Value) -> tuple[tuple[int, ...], int | None]:
        """Sizes of `value`, 0 for images, and the axis along which they lie."""
        sizes = self._sizes(str(value.name))
        if sizes is None or any(size is None for size in sizes):
            shape = "an unknown shape" if sizes is None else f"shape {sizes}"
            raise ModelError(
                f"node {label(node)!r} ({node.op_type}) draws numbers for {str(value.name)!r} of "
                f"{shape}; expected fixed sizes behind the images: compile with --shape, or export "
                "it so"
            )
        known = [size for size in sizes if size is not None]
        if str(value.name) in self._weights:
            return tuple(known), None
        axes = [i for i, size in enumerate(known) if size == self._images]
        if self._images == _PROBE:
            # Images folded into another axis (N * T rows): where one ends cannot be told.
            merged = any(size > _PROBE and size % _PROBE == 0 for size in known)
            clear = len(axes) < 2 and not merged
        else:
            clear = axes[:1] == [0] or len(axes) == 1
        if not clear:
            raise ModelError(
                f"node {label(node)!r} ({node.op_type}) draws numbers for {str(value.name)!r} of "
                "which nvmc cannot tell where one image ends; expected the images along one axis"
            )
        axis = axes[0] if axes else None
        return tuple(0 if i == axis else size for i, size in enumerate(known)), axis

    def _sizes(self, name: str) -> list[int | None] | None:
        if name in self._weights:
            shape = self._weights[name]
            return None if shape is None else [s if isinstance(s, int) else None for s in shape]
        found = self._found.get(name)
        if found is None or not found.HasField("shape"):
            return None
        return [dim.dim_value if dim.HasField("dim_value") else None for dim in found.shape.dim]
