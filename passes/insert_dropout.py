"""Dropout behind every layer but the last: what makes a network forgive drifting weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import onnx_ir as ir

from nvmc.errors import ModelError, OptionError
from nvmc.hardware.options import pairs
from nvmc.passes.graph.layers import (
    ACTIVATIONS,
    AFFINE_MARK,
    NORMALIZATIONS,
    array_of,
    consumer,
    is_constant,
    label,
    new_initializer,
    remove_unused,
)
from nvmc.passes.graph.mappable import ahead_of, layers_of, main_layers
from nvmc.passes.infer_shapes import infer_shapes
from nvmc.rng import stream

__all__ = ["InsertDropout"]

_SHAPERS = frozenset(
    "AveragePool Flatten GlobalAveragePool GlobalMaxPool Identity MaxPool Reshape Squeeze "
    "Transpose Unsqueeze".split()
)
_BIASES = frozenset(["Add", "Div", "Mul", "Sub"])


@dataclass
class InsertDropout(ir.passes.InPlacePass):
    """Insert ONNX Dropout behind the activation of every layer from which another is reached.

    The layers are those that `map-crossbars` maps; all must lie in the main graph. From a layer
    the pass walks over constant biases and normalisation to the activation; where none follows, it
    inserts where the walk ends (before a residual sum, say). A Dropout that the layer already has
    gets the rate instead of a second one. A rate of zero inserts nothing.

    onnxruntime takes every Dropout whose mask is not used for a no-op, training mode or not, so
    behind an active Dropout stands `Where(mask, y, 0)`, which changes no value.

    Spatial dropout drops whole feature maps: a value of shape (N, C, ...) of rank 3 or more is
    multiplied by a Dropout of ones of shape (N, C, 1, ...).

    Source: Ye et al., BayesFT, Sec. III-B ("dropout layers after each DNN layer except the last");
    spatial: Tompson et al., CVPR 2015.

    Attributes:
        rate: Probability that an activation is dropped, 0 <= rate < 1.
        rates: The rate of single layers, as a mapping from a glob over the names of nodes or of
            their weights, or as text `conv1=0.1;fc*=0.3`; the first that matches counts.
        after: Operator types to insert after instead, such as `Relu,MaxPool`, wherever a layer
            still follows; `rates` then matches the names of those nodes.
        active: Whether it also drops at inference (Monte Carlo dropout). The training methods
            drop in either case.
        seed: Seed of an active Dropout; every node has its own, from this and its name.
        spatial: Whether what is inserted drops feature maps instead of single numbers.

    Raises:
        OptionError: A rate outside [0, 1), or a glob that matches nothing.
        ModelError: The model's opset is below 13, a layer lies inside an If, Loop or Scan, or
            spatial dropout meets an unknown rank.
    """

    rate: float = 0.5
    rates: Mapping[str, float] | str = field(default_factory=dict[str, float])
    after: tuple[str, ...] = ()
    active: bool = False
    seed: int = 0
    spatial: bool = False
    _rates: dict[str, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options."""
        self._rates = _parsed(self.rates)
        for name, rate in {"rate": self.rate, **self._rates}.items():
            if not 0 <= rate < 1:
                raise OptionError(f"dropout rate {name!r} is {rate}; expected 0 <= rate < 1")
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}; expected 0 or more")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert or update; returns whether anything changed."""
        opset = model.opset_imports.get("", 0)
        if opset < 13:
            raise ModelError(
                f"the model has opset {opset}; Dropout needs 13: canonicalize it first"
            )
        graph = model.graph
        places = self._places(model)
        guarded = self.active and any(value.dtype is None for _, value, _ in places)
        if guarded or (self.spatial and any(value.shape is None for _, value, _ in places)):
            infer_shapes(model)  # a guard's zero is of the type of what it stands behind
        weights = _weights_of(model)
        self._check_globs({name: weights.get(name, ()) for name, _, _ in places})
        modified = False
        for name, value, dropout in places:
            rate = self._rate_of((name, *weights.get(name, ())))
            if dropout is None and rate > 0:
                maps = self.spatial and _rank(name, value) > 2
                dropout = (_inserted_for_maps if maps else _inserted)(graph, name, value)
            if dropout is not None:
                modified |= self._set(graph, name, dropout, rate)
        return ir.passes.PassResult(model, modified)

    def _places(self, model: ir.Model) -> list[tuple[str, ir.Value, ir.Node | None]]:
        """Name, value to drop and the Dropout already there, in the graph's order."""
        layers = main_layers(model, "dropout", "where every random number has a name")
        ahead = ahead_of(layers)
        if not self.after:
            nodes = [layer.node for layer in layers if layer.node in ahead]
            starts = [(label(node), _output(node)) for node in nodes]
            return [(name, _site(value), _dropout_behind(value)) for name, value in starts]
        chosen = [n for n in model.graph if n.op_type in self.after and n in ahead]
        return [(label(n), n.outputs[0], _direct_dropout(n.outputs[0])) for n in chosen]

    def _rate_of(self, names: Iterable[str]) -> float:
        return next((r for glob, r in self._rates.items() if _fits(names, glob)), self.rate)

    def _check_globs(self, weights: Mapping[str, tuple[str, ...]]) -> None:
        for glob in self._rates:
            if not any(_fits((name, *arrays), glob) for name, arrays in weights.items()):
                known = [f"{n} ({', '.join(a)})" if a else n for n, a in weights.items()]
                raise OptionError(
                    f"rates: {glob!r} matches no layer that dropout can follow; the layers "
                    f"(weights) are {', '.join(known) or '(none)'}"
                )

    def _set(self, graph: ir.Graph, name: str, node: ir.Node, rate: float) -> bool:
        """Give a Dropout its rate, mode and seed; whether that changed it."""
        ratio, training = _settings(node)
        seed = _seed(self.seed, name) if self.active else None
        found = node.attributes.get("seed")
        same_seed = (None if found is None else found.as_int()) == seed
        if ratio == np.float32(rate) and training == self.active and (same_seed or not self.active):
            return False
        old = node.inputs[1:]
        node.resize_inputs(3)
        node.replace_input_with(1, None)
        node.replace_input_with(2, None)
        remove_unused(graph, old)
        ratio_value = new_initializer(graph, f"{name}_dropout_ratio", np.array(rate, np.float32))
        mode_value = new_initializer(graph, f"{name}_dropout_training", np.array(self.active))
        node.replace_input_with(1, ratio_value)
        node.replace_input_with(2, mode_value)
        if seed is not None:
            node.attributes["seed"] = ir.AttrInt64("seed", seed)
        _unguard(graph, node)
        if self.active:
            _guard(graph, node)
        return True


def _weights_of(model: ir.Model) -> dict[str, tuple[str, ...]]:
    """The names of each layer's weights, by the layer's."""
    return {
        label(layer.node): tuple(str(weight.operand.name) for weight in layer.weights)
        for layer in layers_of(model)
    }


def _fits(names: Iterable[str], glob: str) -> bool:
    return any(fnmatchcase(name, glob) for name in names)


def _parsed(rates: Mapping[str, float] | str) -> dict[str, float]:
    if isinstance(rates, Mapping):
        return dict(rates)
    parsed: dict[str, float] = {}
    form, example = "GLOB=RATE", "conv1=0.1;fc*=0.3"
    for glob, text in pairs("rates", rates.split(";"), example, form=form, names=True).items():
        try:
            parsed[glob] = float(text)
        except ValueError:
            raise OptionError(f"rates: {glob}={text} is not {form}; write {example}") from None
    return parsed


def _seed(seed: int, name: str) -> int:
    return int(stream(seed, 0, name, "dropout").integers(2**31))


def _output(layer: ir.Node) -> ir.Value:
    """The output that goes on: of recurrent layers, Y if it is used, else Y_h."""
    return next((value for value in layer.outputs if value.uses()), layer.outputs[0])


def _site(value: ir.Value) -> ir.Value:
    """Behind bias, normalisation and activation, as far as they are the only way on."""
    while (gate := _gate(value)) is None:
        node = consumer(value)
        if node is None or not (node.op_type in ACTIVATIONS or _is_step(node, value)):
            return value
        value = node.outputs[0]
        if node.op_type in ACTIVATIONS:
            return value
    return gate.outputs[0]


def _gate(value: ir.Value) -> ir.Node | None:
    """The product of `value` and a function of it: SiLU, GELU and the like, as exported."""
    users = {use.node for use in value.uses()}
    for product in (node for node in users if node.op_type == "Mul" and len(users) == 2):
        node: ir.Node | None = (users - {product}).pop()
        for _ in range(4):
            node = None if node is None else consumer(node.outputs[0])
            if node is product:
                return product
    return None


def _is_step(node: ir.Node, value: ir.Value) -> bool:
    """Whether the node adds a bias or normalises, groups' reshaping included."""
    if node.op_type in NORMALIZATIONS or AFFINE_MARK in node.metadata_props:
        return True
    if node.op_type in _BIASES:
        return all(other is value or is_constant(other) for other in node.inputs)
    around = (value.producer(), consumer(node.outputs[0]))
    return node.op_type == "Reshape" and any(
        other is not None and other.op_type == "InstanceNormalization" for other in around
    )


def _dropout_behind(value: ir.Value) -> ir.Node | None:
    """The Dropout that the layer with output `value` already has."""
    node = consumer(value) or _gate(value)
    while node is not None and node.op_type != "Dropout":
        if (maps := _dropout_of_maps(node)) is not None:
            return maps
        passing = node.op_type in ACTIVATIONS | _SHAPERS or _is_step(node, value)
        passing = passing or node is _gate(value)
        value = node.outputs[0]
        node = (consumer(value) or _gate(value)) if passing else None
    return node


def _direct_dropout(value: ir.Value) -> ir.Node | None:
    node = consumer(value)
    if node is None or node.op_type == "Dropout":
        return node
    return _dropout_of_maps(node)


def _dropout_of_maps(node: ir.Node) -> ir.Node | None:
    """The Dropout of spatial dropout whose product `node` is."""
    value = node.inputs[1] if node.op_type == "Mul" else None
    source = None if value is None else value.producer()
    if source is not None and source.op_type == "Where" and source.inputs[1] is not None:
        source = source.inputs[1].producer()
    if source is None or source.op_type != "Dropout" or source.inputs[0] is None:
        return None
    ones = source.inputs[0].producer()
    return source if ones is not None and ones.op_type == "ConstantOfShape" else None


def _rank(name: str, value: ir.Value) -> int:
    if value.shape is None:
        raise ModelError(
            f"the rank of {value.name!r} behind {name!r} is unknown, so its feature maps are too; "
            "canonicalize the model first"
        )
    return len(value.shape)


def _settings(node: ir.Node) -> tuple[Any, Any]:
    """Ratio and training mode where they are constants, else None."""
    inputs = [*node.inputs, None, None]
    return array_of(inputs[1]), array_of(inputs[2])


def _inserted(graph: ir.Graph, name: str, value: ir.Value) -> ir.Node:
    """A Dropout between `value` and the nodes that use it; graph outputs stay as they are."""
    uses = list(value.uses())
    node = ir.node("Dropout", [value], name=f"{name}_dropout")
    output = node.outputs[0]
    output.name, output.shape, output.type = f"{value.name}_dropped", value.shape, value.type
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], node)
    else:
        producer.append(node)
    for user, index in uses:
        user.replace_input_with(index, output)
    return node


def _inserted_for_maps(graph: ir.Graph, name: str, value: ir.Value) -> ir.Node:
    """A Dropout of ones, one for each feature map, that multiplies `value`."""
    assert value.shape is not None and value.dtype is not None
    uses, spatial = list(value.uses()), len(value.shape) - 2
    first = new_initializer(graph, f"{name}_dropout_axes", np.array([0, 1], np.int64))
    rest = new_initializer(graph, f"{name}_dropout_ones", np.ones(spatial, np.int64))
    one = ir.tensor(np.ones(1, value.dtype.numpy()))
    shape = ir.node("Shape", [value], name=f"{name}_dropout_shape")
    maps = ir.node("Gather", [shape.outputs[0], first], name=f"{name}_dropout_maps")
    sizes = ir.node("Concat", [maps.outputs[0], rest], {"axis": 0}, name=f"{name}_dropout_sizes")
    ones = ir.node(
        "ConstantOfShape", [sizes.outputs[0]], {"value": one}, name=f"{name}_dropout_fill"
    )
    node = ir.node("Dropout", [ones.outputs[0]], name=f"{name}_dropout")
    product = ir.node("Mul", [value, node.outputs[0]], name=f"{name}_dropout_product")
    new = [shape, maps, sizes, ones, node, product]
    for part in new:
        part.outputs[0].name = f"{part.name}_out"
    node.outputs[0].name = f"{value.name}_maps_dropped"
    output = product.outputs[0]
    output.name, output.shape, output.type = f"{value.name}_dropped", value.shape, value.type
    for part in (ones, node):
        part.outputs[0].type = value.type
        part.outputs[0].shape = ir.Shape([*list(value.shape)[:2], *[1] * spatial])
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], new)
    else:
        producer.append(new)
    for user, index in uses:
        user.replace_input_with(index, output)
    return node


def _guard(graph: ir.Graph, node: ir.Node) -> None:
    """Use the mask of an active Dropout, so that onnxruntime keeps it."""
    node.resize_outputs(2)
    dropped, mask = node.outputs
    mask.name = mask.name or f"{dropped.name}_mask"
    uses = list(dropped.uses())
    numbers = (dropped.dtype or ir.DataType.FLOAT).numpy()
    zero = new_initializer(graph, f"{dropped.name}_zero", np.zeros((), numbers))
    where = ir.node("Where", [mask, dropped, zero], name=f"{label(node)}_guard")
    kept = where.outputs[0]
    kept.name, kept.shape, kept.type = f"{dropped.name}_kept", dropped.shape, dropped.type
    node.append(where)
    for user, index in uses:
        user.replace_input_with(index, kept)


def _unguard(graph: ir.Graph, node: ir.Node) -> None:
    """Undo `_guard`."""
    where = consumer(node.outputs[1]) if len(node.outputs) == 2 else None
    if where is None or where.op_type != "Where" or where.inputs[1] is not node.outputs[0]:
        return
    zero = where.inputs[2]
    ir.convenience.replace_all_uses_with(where.outputs[0], node.outputs[0])
    graph.remove(where, safe=True)
    remove_unused(graph, [zero])
    node.resize_outputs(1)
