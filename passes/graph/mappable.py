"""Which nodes can run on crossbars, which of their operands are the weights, and why not.

One place decides it, for every pass and every training method that asks where the layers are:
`layers_of` visits the main graph and the subgraphs of If, Loop and Scan alike. A pass that works
on the main graph only asks `main_layers`, which complains where a layer lies elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.compiled.operators import DOMAIN, OPS, PARAMETER, Op
from nvmc.compiled.options import LOOPED
from nvmc.compiled.rounding import Rounding
from nvmc.errors import ModelError
from nvmc.hardware.tiling import Place
from nvmc.passes.graph.digital import digital_reason
from nvmc.passes.graph.layers import is_constant, label

__all__ = [
    "FLOATS",
    "PARAMETERISED",
    "Layer",
    "Weight",
    "ahead_of",
    "finite_array",
    "initializer_of",
    "layer_of",
    "layers_of",
    "main_layers",
    "mark_quantized",
    "nodes_of",
    "place_of",
    "reads_by_turns",
    "refusal_of",
    "subgraphs_of",
    "weight_of",
]

_QUANTIZED = "nvmc.quantized-weight"
"""Metadata key of the node that gives a quantised weight back: JSON, the fields of `_Quantized`."""
_UNFOLDED = "is computed from constants; canonicalize the model first, which stores the result"

FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16}
)
"""Types a weight may have."""
PARAMETERISED = frozenset(
    """BatchNormalization Conv ConvTranspose GRU Gemm GroupNormalization InstanceNormalization LSTM
    LayerNormalization MatMul PRelu RNN""".split()
)
"""Standard operators that have trained parameters among their inputs."""


@dataclass(frozen=True)
class Weight:
    """A weight operand as it stands in the graph.

    Attributes:
        operand: What the node reads: the initializer, or the product that gives it back.
        source: The initializer that names it: the float weight, or its codes.
        scale: The initializer of the step where the weight is quantised, else None.
        bits: Bits of the codes where `quantize-weights` made them, else None.
        grid: What became of the grid that a quantised network gives it, in words; empty without.
        rounding: What rounding changed where `quantize-weights` made the codes, else None.
    """

    operand: ir.Value
    source: ir.Value
    scale: ir.Value | None = None
    bits: int | None = None
    grid: str = ""
    rounding: Rounding | None = None


@dataclass(frozen=True)
class Layer:
    """A node that can run on crossbars.

    Attributes:
        node: The standard operator, or the `nvmc` operator that it was mapped to.
        op: The row of `nvmc.compiled.operators` that takes its place.
        weights: One for each of `op.weights`.
    """

    node: ir.Node
    op: Op
    weights: tuple[Weight, ...]

    @property
    def place(self) -> Place:
        """How the node uses its weights."""
        return place_of(self.node, self.op.name)

    @property
    def activation(self) -> int:
        """Which input of the node carries activations."""
        names = self.op.function_inputs if self.node.domain else self.op.inputs
        return next(
            i for i, n in enumerate(names) if n in self.op.inputs and n not in self.op.weights
        )


def place_of(node: ir.Node, op: str) -> Place:
    """How `node` uses its weights as the `nvmc` operator `op`."""
    return Place.of(op, {name: attribute.value for name, attribute in node.attributes.items()})


def nodes_of(model: ir.Model) -> Iterator[ir.Node]:
    """Every node of the main graph and of its subgraphs, in order."""
    yield from ir.traversal.RecursiveGraphIterator(model.graph)


def subgraphs_of(node: ir.Node) -> list[ir.Graph]:
    """The subgraphs that a node such as If, Loop or Scan holds."""
    graphs: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graphs.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs.extend(attribute.as_graphs())
    return graphs


def layers_of(model: ir.Model, skip: tuple[str, ...] = ()) -> list[Layer]:
    """The nodes that can run on crossbars, but for those whose name matches a glob of `skip`.

    Those of subgraphs are among them; nodes that are mapped already are not.
    """
    nodes = [node for node in nodes_of(model) if not node.domain and not _skipped(node, skip)]
    return [layer for layer in map(layer_of, nodes) if isinstance(layer, Layer)]


def main_layers(model: ir.Model, purpose: str, reason: str) -> list[Layer]:
    """The layers of a model all of whose layers lie in its main graph, mapped ones included.

    Args:
        model: The network.
        purpose: What the layers are wanted for.
        reason: Why that is not possible in a subgraph.

    Raises:
        ModelError: A layer lies in a subgraph, or its weight has yet to be computed.
    """
    layers: list[Layer] = []
    for node in nodes_of(model):
        found = layer_of(node)
        if isinstance(found, str):
            if _UNFOLDED in found:
                raise ModelError(f"{label(node)!r} ({node.op_type}): {found}")
        elif node.graph is not model.graph:
            owner = next(n for n in nodes_of(model) if node.graph in subgraphs_of(n))
            raise ModelError(
                f"layer {label(node)!r} lies inside {label(owner)!r} ({owner.op_type}); {purpose} "
                f"needs all layers in the main graph, {reason}"
            )
        else:
            layers.append(found)
    return layers


def reads_by_turns(model: ir.Model) -> bool:
    """Whether a mapped node lies in a branch or loop of the network's own.

    Such a node counts its turns, so that the numbers of noisy reads depend on how images are
    batched (docs/physics.md).
    """
    if LOOPED in model.metadata_props:  # the loop of `--state`, whose steps are counted apart
        return False
    return any(node.domain == DOMAIN and node.graph is not model.graph for node in nodes_of(model))


def ahead_of(layers: Iterable[Layer]) -> set[ir.Node]:
    """The nodes of the layers' graph from which one of them can be reached."""
    ahead: set[ir.Node] = set()
    pending = [node for layer in layers for node in layer.node.predecessors()]
    while pending:
        node = pending.pop()
        if node not in ahead:
            ahead.add(node)
            pending.extend(node.predecessors())
    return ahead


def refusal_of(node: ir.Node, skip: tuple[str, ...] = ()) -> str:
    """Why `node` runs digitally."""
    found = layer_of(node)
    if isinstance(found, str):
        return found
    glob = next((pattern for pattern in skip if _matches(node, pattern)), None)
    return "left digital" if glob is None else f"skipped by {glob!r}"


def _skipped(node: ir.Node, skip: tuple[str, ...]) -> bool:
    return any(_matches(node, pattern) for pattern in skip)


def _matches(node: ir.Node, pattern: str) -> bool:
    """Whether a glob means a node: by its name, or by that of a constant among its inputs."""
    names = [node.name or ""]
    names += [str(v.name) for v in node.inputs if v is not None and initializer_of(v) is not None]
    return any(fnmatchcase(name, pattern) for name in names)


_AXES = {
    **dict.fromkeys(("CrossbarConv", "CrossbarConvTranspose"), 3),
    **dict.fromkeys(("CrossbarLSTM", "CrossbarGRU", "CrossbarRNN"), 3),
    "CrossbarGemm": 2,
}
"""Operator -> the fewest axes that its weights have; of others one."""


def layer_of(node: ir.Node) -> Layer | str:
    """The layer that `node` is, or why it is none."""
    if node.domain == DOMAIN and node.op_type in OPS and node.op_type != PARAMETER:
        return _mapped(node, OPS[node.op_type])
    rows = [op for op in OPS.values() if op.replaces == node.op_type and op.name != PARAMETER]
    if node.domain or not rows:
        return digital_reason(node.domain, node.op_type)
    problem = ""
    for op in rows:
        operands = [_operand(node, op.inputs.index(name)) for name in op.weights]
        weights = [_weight_for(value, op) for value in operands]
        good = tuple(weight for weight in weights if isinstance(weight, Weight))
        if len(good) == len(weights):
            return Layer(node, op, good)
        names = zip(op.weights, weights, strict=True)
        reasons = [f"weight {name} {text}" for name, text in names if isinstance(text, str)]
        problem = problem or "; ".join(reasons)
    return problem


def _weight_for(value: ir.Value | None, op: Op) -> Weight | str:
    """An operand as a weight of the operator, or why it is none."""
    if value is None:
        return "is left out"
    tensor, fewest = initializer_of(value), _AXES.get(op.name, 1)
    if tensor is not None and len(tensor.shape) < fewest:
        return f"has shape {list(tensor.shape)}, not {fewest} axes or more"
    return weight_of(value)


def _mapped(node: ir.Node, op: Op) -> Layer | str:
    """The layer that a `nvmc` operator is: its weights are codes and scale."""
    weights: list[Weight] = []
    for name in op.weights:
        index = op.function_inputs.index(f"{name}_codes")
        codes, scale = _operand(node, index), _operand(node, index + 1)
        if codes is None or scale is None:
            return f"weight {name} is left out"
        weights.append(Weight(codes, codes, scale))
    return Layer(node, op, tuple(weights))


def _operand(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def weight_of(value: ir.Value) -> Weight | str:
    """`value` as a weight, or why it is none.

    A weight is a float initializer, or what `mark_quantized` says is given back from codes.
    """
    tensor = initializer_of(value)
    if tensor is not None:
        if tensor.dtype not in FLOATS:
            return f"is of type {tensor.dtype.name}, not float"
        if not tensor.size:
            return "is empty"
        if value.is_graph_output():
            return "is an output of the network as well"
        return Weight(value, value)
    node = value.producer()
    stated = None if node is None else node.metadata_props.get(_QUANTIZED)
    if node is not None and node.graph is not None and stated is not None:
        quantized = _Quantized(**json.loads(stated))
        stored = node.graph.initializers
        if quantized.codes in stored and quantized.scale in stored:
            codes, scale = stored[quantized.codes], stored[quantized.scale]
            changed = Rounding.model_validate(quantized.rounding)
            return Weight(value, codes, scale, quantized.bits, quantized.grid, changed)
    return _UNFOLDED if is_constant(value) else "is computed at run time, not constant"


@dataclass(frozen=True)
class _Quantized:
    """What `quantize-weights` says of a weight: the initializers of its codes and step, and H."""

    codes: str
    scale: str
    bits: int
    grid: str
    rounding: dict[str, Any]


def mark_quantized(
    node: ir.Node, codes: ir.Value, scale: ir.Value, bits: int, grid: str, rounding: Rounding
) -> None:
    """Say that the output of `node` is a weight of so many bits, codes * scale."""
    names = str(codes.name), str(scale.name)
    fields = _Quantized(*names, bits, grid, rounding.model_dump())
    node.metadata_props[_QUANTIZED] = json.dumps(asdict(fields))


def initializer_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of a value that is an initializer and cannot be overridden by an input."""
    if value is None or not value.is_initializer() or value.is_graph_input():
        return None
    return value.const_value


def finite_array(value: ir.Value) -> NDArray[Any]:
    """The initializer's values.

    Raises:
        ModelError: It holds NaN or infinity.
    """
    tensor = initializer_of(value)
    assert tensor is not None
    values = tensor.numpy()
    if tensor.dtype in FLOATS and values.size:
        ends = np.array([values.min(), values.max()], np.float64)
        if not np.isfinite(ends).all():
            raise ModelError(
                f"weight {value.name!r} holds NaN or infinity; expected finite numbers"
            )
    return values
