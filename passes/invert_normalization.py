"""Affine transformation first, then normalisation, and dropout of the affine parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.errors import ModelError, OptionError
from nvmc.hardware.tiling import Channels
from nvmc.passes.graph.attributes import int_of
from nvmc.passes.graph.layers import (
    AFFINE_MARK,
    NORMALIZATIONS,
    array_of,
    is_constant,
    label,
    remove_unused,
)
from nvmc.passes.graph.mappable import Layer, ahead_of, finite_array, main_layers
from nvmc.passes.graph.names import Names
from nvmc.passes.graph.normalizations import Normalization, normalizations
from nvmc.rng import stream

__all__ = ["INVERTED", "InvertNormalization", "inverted_places"]

INVERTED = "nvmc.inverted-normalization"
"""Metadata key of a normalisation that has no affine parameters of its own."""
_NEUTRAL = {"Mul": 1, "Add": 0}
_MOVES = frozenset({"Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose"})
"""Operators that leave the numbers of a recurrent layer's output as they are."""


@dataclass
class InvertNormalization(ir.passes.InPlacePass):
    """Replace normalisation by inverted normalisation with affine dropout.

    `y = N(gamma x + beta)`, where N brings each instance, over channels and space, to mean zero
    and variance one: LayerNorm's statistics, or GroupNorm's with `groups` > 1. Replaced are
    BatchNormalization, LayerNormalization (over its own axes), GroupNormalization (in its own
    groups) and InstanceNormalization, also in exporters' decomposed form. The network computes
    something else afterwards and is to be trained again. A single group a channel would undo the
    affine step, so it becomes one group.

    Behind LSTM, GRU and RNN, where `recurrent` asks for it, N goes over the hidden units of each
    step and direction, or over each of `groups` of them; the steps Y and the last state Y_h, where
    a node reads them, have a normalisation each, with gamma and beta for every direction and unit.
    Y_c is left alone. So is a recurrent layer with a normalisation behind it already, and one from
    which no layer is reached.

    Affine dropout: gamma as a whole (or each element) becomes one with probability p, beta
    becomes zero, independently; an active pass draws them anew in every run of the graph
    (RandomUniform), once for the whole batch. Gamma and beta are initializers `NAME_gamma` and
    `NAME_beta`, NAME being the replaced node or the Conv; the two nodes that apply them carry the
    options under the metadata key `nvmc.affine-dropout`.

    Source: Ahmed et al., Inverted Normalization, Sec. III; sigma is a standard deviation.

    Attributes:
        p: Probability that gamma, or beta, is dropped.
        granularity: `vector` drops all of it at once, `element` each number by itself.
        active: Whether it also drops at inference (Bayesian inference).
        sigma_gamma: Spread of random weights about one.
        sigma_beta: Spread of random biases about zero.
        seed: Seed of random weights and biases, and of the masks.
        insert: Whether a Conv without normalisation behind it gets one, the last layer excepted.
        init: `keep` the weights and biases that are there, or draw them at `random`; inserted ones
            are always drawn.
        groups: Groups of channels, or of hidden units, where the source does not say; the paper's
            U-Net has C/8 channels a group: 8.
        recurrent: Which recurrent layers get one: `off`, `each`, or the `last`: those from which
            no other is reached.

    Raises:
        OptionError: A probability outside [0, 1], a negative spread or seed, or groups that do not
            divide the channels.
        ModelError: The opset is below 13 (17 behind recurrent layers), a layer lies inside an If,
            Loop or Scan, or a rank is unknown.
    """

    p: float = 0.3
    granularity: Literal["vector", "element"] = "vector"
    active: bool = False
    sigma_gamma: float = 0.3
    sigma_beta: float = 0.3
    seed: int = 0
    insert: bool = True
    init: Literal["keep", "random"] = "keep"
    groups: int = 1
    recurrent: Literal["off", "each", "last"] = "off"

    def __post_init__(self) -> None:
        """Check the options."""
        if not 0 <= self.p <= 1:
            raise OptionError(f"p is {self.p}; expected a probability, 0 to 1")
        if not (self.sigma_gamma >= 0 and self.sigma_beta >= 0 and self.seed >= 0):
            raise OptionError("sigma_gamma, sigma_beta and seed must not be negative")
        if self.groups < 1:
            raise OptionError(f"groups is {self.groups}; expected 1 or more")
        for name, choices in {
            "granularity": ("vector", "element"),
            "init": ("keep", "random"),
            "recurrent": ("off", "each", "last"),
        }.items():
            if getattr(self, name) not in choices:
                raise OptionError(
                    f"{name} is {getattr(self, name)!r}; expected {' or '.join(choices)}"
                )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace, insert and set the masks; returns whether anything changed."""
        opset = model.opset_imports.get("", 0)
        if opset < 13:
            raise ModelError(f"the model has opset {opset}; expected 13: canonicalize it first")
        graph, names = model.graph, Names(model)
        modified = False
        layers = main_layers(model, "affine dropout", "where every random number has a name")
        for found in normalizations(graph):
            if not _is_done(found):
                self._replace(graph, names, found)
                modified = True
        for conv in _bare_convs(layers) if self.insert else []:
            self._insert(names, conv)
            modified = True
        for layer, number in _bare_states(layers, self.recurrent):
            self._insert_recurrent(names, layer, number, opset)
            modified = True
        for node in [n for n in graph if AFFINE_MARK in n.metadata_props]:
            modified |= self._set_mask(graph, names, node)
        return ir.passes.PassResult(model, modified)

    def _replace(self, graph: ir.Graph, names: Names, found: Normalization) -> None:
        if self.init == "random":
            gamma, beta = self._drawn(found.name, found.gamma.shape, found.gamma.dtype)
            found = replace(found, gamma=gamma, beta=beta)
        new = self._built(names, found)
        graph.insert_before(found.nodes[-1], new)
        result, name = new[-1].outputs[0], found.y.name
        ir.convenience.replace_all_uses_with(found.y, result, replace_graph_outputs=True)
        constants = [value for node in found.nodes for value in node.inputs if is_constant(value)]
        graph.remove(found.nodes, safe=True)
        result.name = name
        remove_unused(graph, dict.fromkeys(constants))

    def _insert(self, names: Names, layer: Layer) -> None:
        conv, weight = layer.node, layer.weights[0]
        y, sizes = conv.outputs[0], finite_array(weight.source).shape
        shape = (Channels(layer.place, sizes).count, *[1] * (len(sizes) - 2))
        dtype = (weight.operand.dtype or ir.DataType.FLOAT).numpy()
        gamma, beta = self._drawn(label(conv), shape, dtype)
        self._append(names, Normalization(label(conv), (), y, y, gamma, beta, None, None, 1e-5))

    def _insert_recurrent(self, names: Names, layer: Layer, number: int, opset: int) -> None:
        """Normalise output `number` of a recurrent layer over its hidden units."""
        node, weight, name = layer.node, layer.weights[1], label(layer.node)
        if opset < 17:
            raise ModelError(
                f"the model has opset {opset}; behind {name!r} ({node.op_type}) "
                "LayerNormalization needs 17: canonicalize it first"
            )
        y, (directions, _, hidden) = node.outputs[number], finite_array(weight.source).shape
        steps_first = int_of(node, "layout", 0) == 0
        shape = (directions, 1, hidden) if steps_first else (directions, hidden)
        dtype = (weight.operand.dtype or ir.DataType.FLOAT).numpy()
        name = name if number == 0 else f"{name}_last"
        gamma, beta = self._drawn(name, shape, dtype)
        self._append(names, Normalization(name, (), y, y, gamma, beta, None, -1, 1e-5))

    def _append(self, names: Names, found: Normalization) -> None:
        """Put the new nodes between a layer's output and what reads it."""
        uses, producer = list(found.y.uses()), found.y.producer()
        new = self._built(names, found)
        assert producer is not None
        producer.append(new)
        for user, index in uses:
            user.replace_input_with(index, new[-1].outputs[0])

    def _drawn(self, name: str, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], ...]:
        """Random gamma ~ N(1, sigma_gamma) and beta ~ N(0, sigma_beta)."""
        laws = {"gamma": (1.0, self.sigma_gamma), "beta": (0.0, self.sigma_beta)}
        return tuple(
            (mean + sigma * stream(self.seed, 0, name, key).standard_normal(shape)).astype(dtype)
            for key, (mean, sigma) in laws.items()
        )

    def _built(self, names: Names, found: Normalization) -> list[ir.Node]:
        """Mul, Add, and the normalisation without affine parameters."""
        gamma = names.initializer(f"{found.name}_gamma", found.gamma)
        beta = names.initializer(f"{found.name}_beta", found.beta)
        mul = _node(names, found, "Mul", [found.x, gamma])
        add = _node(names, found, "Add", [mul.outputs[0], beta])
        for node in (mul, add):
            node.metadata_props[AFFINE_MARK] = ""
        if found.axis is not None and not found.nodes:
            groups = self._groups_of(found, found.gamma.shape[-1])
            return [mul, add, *_units_norm(names, found, add.outputs[0], groups)]
        if found.axis is not None:
            return [mul, add, _layer_norm(names, found, add.outputs[0], found.gamma.shape)]
        groups = self._groups_of(found, max(len(found.gamma), len(found.beta)))
        return [mul, add, *_group_norm(names, found, add.outputs[0], groups)]

    def _groups_of(self, found: Normalization, channels: int) -> int:
        groups = self.groups if found.groups is None else found.groups
        if channels % groups:
            what = "channels" if found.axis is None else "hidden units"
            raise OptionError(
                f"{found.name!r} has {channels} {what}, which {groups} groups do not divide"
            )
        return 1 if groups == channels else groups

    def _set_mask(self, graph: ir.Graph, names: Names, node: ir.Node) -> bool:
        """Give an affine node this pass's dropout; whether that changed it."""
        wanted = f"p={self.p} granularity={self.granularity} active={self.active} seed={self.seed}"
        if node.metadata_props[AFFINE_MARK] == wanted:
            return False
        node.metadata_props[AFFINE_MARK] = wanted
        parameter = _without_mask(graph, node)
        if self.active:
            masked = self._masked(names, parameter, _NEUTRAL[node.op_type])
            graph.insert_before(node, masked)
            node.replace_input_with(1, masked[-1].outputs[0])
        return True

    def _masked(self, names: Names, parameter: ir.Value, neutral: int) -> list[ir.Node]:
        """RandomUniform, Less and Where: the parameter, or `neutral` with probability p."""
        array, name = array_of(parameter), str(parameter.name)
        if array is None:
            raise ModelError(f"affine parameter {name!r} is not constant; canonicalize first")
        shape = array.shape if self.granularity == "element" else (1,)
        seed = float(stream(self.seed, 0, name, "mask").integers(2**24))
        draw = ir.node(
            "RandomUniform", [], {"shape": shape, "seed": seed}, name=names.fresh(f"{name}_draw")
        )
        rate = names.initializer(f"{name}_p", np.array(self.p, np.float32))
        drop = ir.node("Less", [draw.outputs[0], rate], name=names.fresh(f"{name}_drop"))
        other = names.initializer(f"{name}_neutral", np.array(neutral, array.dtype))
        inputs = [drop.outputs[0], other, parameter]
        where = ir.node("Where", inputs, name=names.fresh(f"{name}_where"))
        results = (
            (draw, "uniform", ir.DataType.FLOAT, shape),
            (drop, "dropped", ir.DataType.BOOL, shape),
            (where, "masked", parameter.dtype or ir.DataType.FLOAT, array.shape),
        )
        for node, suffix, kind, dimensions in results:
            output = node.outputs[0]
            output.name = names.fresh(f"{name}_{suffix}")
            output.type, output.shape = ir.TensorType(kind), ir.Shape(dimensions)
        return [draw, drop, where]


def inverted_places(model: ir.Model) -> list[str]:
    """What has an inverted normalisation behind it or in its place, by name, in order."""
    return [
        str(node.inputs[1].name).removesuffix("_gamma")
        for node in model.graph
        if node.op_type == "Mul" and AFFINE_MARK in node.metadata_props and node.inputs[1]
    ]


def _is_done(found: Normalization) -> bool:
    return any(INVERTED in node.metadata_props for node in found.nodes)


def _bare_convs(layers: list[Layer]) -> list[Layer]:
    """Convolutions with a layer behind them and no normalisation at once behind them."""
    ahead = ahead_of(layers)
    convs = [layer for layer in layers if layer.node.op_type in ("Conv", "ConvTranspose")]
    return [c for c in convs if c.node in ahead and not _is_normalized(c.node.outputs[0])]


def _bare_states(layers: list[Layer], which: str) -> list[tuple[Layer, int]]:
    """Recurrent layers with a layer behind them, and the outputs that nothing normalises."""
    kinds = () if which == "off" else ("LSTM", "GRU", "RNN")
    ahead = ahead_of(layers)
    recurrent = [layer for layer in layers if layer.node.op_type in kinds and layer.node in ahead]
    if which == "last":
        ahead = ahead_of(recurrent)
        recurrent = [layer for layer in recurrent if layer.node not in ahead]
    return [
        (layer, number)
        for layer in recurrent
        for number, value in enumerate(layer.node.outputs[:2])
        if value.uses() and not _is_normalized(value, _MOVES)
    ]


def _is_normalized(value: ir.Value, through: frozenset[str] = frozenset({"Reshape"})) -> bool:
    """Whether a normalisation stands at once behind, or behind a bias or operators `through`."""
    for node in {use.node for use in value.uses()}:
        if node.op_type in NORMALIZATIONS or AFFINE_MARK in node.metadata_props:
            return True
        bias = node.op_type == "Add" and any(map(is_constant, node.inputs))
        if (bias or node.op_type in through) and _is_normalized(node.outputs[0], through):
            return True
    return False


def _node(names: Names, found: Normalization, op: str, inputs: list[Any], **attributes: Any) -> Any:
    """A node named after the normalisation, whose output is like its x."""
    node = ir.node(op, inputs, attributes, name=names.fresh(f"{found.name}_inverted_{op.lower()}"))
    output = node.outputs[0]
    output.name = names.fresh(f"{node.name}_out")
    output.type, output.shape = found.x.type, found.x.shape
    return node


def _units_norm(names: Names, found: Normalization, value: ir.Value, groups: int) -> list[ir.Node]:
    """LayerNormalization over the hidden units, or over each of several groups of them."""
    units = found.gamma.shape[-1]
    if groups == 1:
        return [_layer_norm(names, found, value, (units,))]
    kept = [0] * (3 - (found.y.index() or 0))  # Y has steps, images and directions, Y_h no steps
    apart = names.initializer(f"{found.name}_groups", np.array([*kept, groups, -1], np.int64))
    whole = names.initializer(f"{found.name}_units", np.array([*kept, -1], np.int64))
    first = _node(names, found, "Reshape", [value, apart])
    core = _layer_norm(names, found, first.outputs[0], (units // groups,))
    for node in (first, core):
        node.outputs[0].shape = None
    return [first, core, _node(names, found, "Reshape", [core.outputs[0], whole])]


def _layer_norm(
    names: Names, found: Normalization, value: ir.Value, sizes: tuple[int, ...]
) -> ir.Node:
    ones = names.initializer(f"{found.name}_ones", np.ones(sizes, found.gamma.dtype))
    settings = {"axis": found.axis, "epsilon": found.epsilon}
    node = _node(names, found, "LayerNormalization", [value, ones], **settings)
    node.metadata_props[INVERTED] = "1"
    return node


def _group_norm(names: Names, found: Normalization, value: ir.Value, groups: int) -> list[ir.Node]:
    """Reshape to (N, groups, rest), InstanceNormalization, and back."""
    dtype = found.gamma.dtype
    flat = names.initializer(f"{found.name}_groups", np.array([0, groups, -1], np.int64))
    ones = names.initializer(f"{found.name}_ones", np.ones(groups, dtype))
    zeros = names.initializer(f"{found.name}_zeros", np.zeros(groups, dtype))
    apart = _node(names, found, "Reshape", [value, flat])
    inputs = [apart.outputs[0], ones, zeros]
    core = _node(names, found, "InstanceNormalization", inputs, epsilon=found.epsilon)
    core.metadata_props[INVERTED] = "1"
    for node in (apart, core):
        node.outputs[0].shape = None
    shape = _node(names, found, "Shape", [value])
    shape.outputs[0].type, shape.outputs[0].shape = ir.TensorType(ir.DataType.INT64), None
    back = _node(names, found, "Reshape", [core.outputs[0], shape.outputs[0]])
    return [apart, core, shape, back]


def _without_mask(graph: ir.Graph, node: ir.Node) -> ir.Value:
    """The parameter of an affine node, once the mask of an earlier run is gone."""
    value = node.inputs[1]
    where = None if value is None else value.producer()
    if where is None or value is None:
        assert value is not None
        return value
    drop = where.inputs[0].producer() if where.inputs[0] is not None else None
    parameter, other = where.inputs[2], where.inputs[1]
    assert drop is not None and drop.inputs[0] is not None and parameter is not None
    draw, rate = drop.inputs[0].producer(), drop.inputs[1]
    assert draw is not None
    node.replace_input_with(1, parameter)
    graph.remove([draw, drop, where], safe=True)
    remove_unused(graph, [rate, other])
    return parameter
