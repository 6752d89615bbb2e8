"""Constants become initializers of the main graph; constant subgraphs are computed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.passes.graph.attributes import tensor_of
from nvmc.passes.graph.grids import Grid, grid_of, grid_of_result, note_grid
from nvmc.passes.graph.layers import label
from nvmc.passes.graph.mappable import PARAMETERISED, initializer_of
from nvmc.passes.graph.names import Names
from nvmc.passes.graph.sizes import SHRINKING, result_bytes
from nvmc.passes.io.without_weights import bytes_of

__all__ = ["VIEWS", "Fold", "fold_constants", "lift_constants"]

SMALL = 1 << 16
"""Bytes of a constant that is computed even though no weight depends on it."""

COPIES = 3
"""Times the folded constants that compiling a network takes, and more (measured: 3.8)."""
_FOLDED = "nvmc.folded"
"""Key of an initializer's `meta` that this pass made."""

_KEEP = frozenset(
    """Bernoulli Constant If Loop Multinomial RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Scan SequenceConstruct SequenceEmpty SequenceMap Optional""".split()
)
"""Not computed: random, control flow, no tensors."""
_GROWING = frozenset("Expand Tile Pad Resize Range OneHot Upsample EyeLike".split())
"""The result may be far larger than the operands."""
VIEWS = frozenset(
    """Cast DequantizeLinear Flatten Identity QuantizeLinear Reshape Squeeze Transpose
    Unsqueeze""".split()
)
"""The result is the first operand in another form, so it keeps its name."""
_RESHAPED = VIEWS - {"Cast", "DequantizeLinear", "QuantizeLinear"}
"""The result shares the memory of the first operand."""


def lift_constants(model: ir.Model) -> bool:
    """Every Constant node and every initializer becomes an initializer of the main graph only.

    Initializers are no longer inputs, and so cannot be overridden. Nothing is copied.
    """
    graph = model.graph
    # Of the main graph only: the inputs of a loop's body have places, which onnx_ir's
    # RemoveInitializersFromInputsPass would change.
    inputs = [value for value in graph.inputs if not value.is_initializer()]
    changed = len(inputs) < len(graph.inputs)
    graph.inputs.clear()
    graph.inputs.extend(inputs)
    lifting = common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
    changed |= bool(lifting(model).modified)
    # onnx_ir's LiftSubgraphInitializersToMainGraphPass compares names with the main graph's only; a
    # weight that has the name of a value in another subgraph would be hidden there.
    inner = [g for g in model.graphs() if g is not graph and g.initializers]
    names = Names(model) if inner else None
    for subgraph in inner:
        for name, value in list(subgraph.initializers.items()):
            if names is None or value.is_graph_input() or value.is_graph_output():
                continue
            subgraph.initializers.pop(name)
            value.name = names.unique(name)
            graph.register_initializer(value)
            changed = True
    return changed


@dataclass(frozen=True, eq=False)
class Fold:
    """A node that was computed: what it read, and the initializers that took its outputs' place."""

    op: str
    attributes: tuple[ir.Attr, ...]
    inputs: tuple[ir.Value | None, ...]
    outputs: tuple[ir.Value, ...]


def fold_constants(
    model: ir.Model, folds: list[Fold] | None = None, feeding: Collection[ir.Node] = ()
) -> bool:
    """Compute the constant subgraphs that feed weights, and small ones.

    The operators are computed by onnx's reference evaluator; one that it cannot compute stays. A
    weight behind a chain of operators keeps its own name. Two equal computations on one weight
    give one weight, so that it stays shared.

    Args:
        model: The model, changed in place.
        folds: Where what was computed is noted, in order; None notes nothing.
        feeding: Nodes whose operands count as weights, beside those of layers and norms.
    """
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    folder = _Folder(model, nodes, folds)
    wanted = _feeding_weights(nodes, feeding)
    changed = False
    for node in nodes:
        changed |= folder.fold(node, node in wanted)
    folder.tidy()
    return changed


def _feeding_weights(nodes: list[ir.Node], feeding: Collection[ir.Node]) -> set[ir.Node]:
    """The constant nodes that a layer's or a norm's inputs depend on, or those of `feeding`."""
    constant: set[ir.Node] = set()
    for node in nodes:
        if _foldable(node) and all(
            value is None or initializer_of(value) is not None or value.producer() in constant
            for value in node.inputs
        ):
            constant.add(node)
    wanted: set[ir.Node] = set()
    stack = [n for n in nodes if n.op_type in PARAMETERISED and not n.domain]
    stack += feeding
    while stack:
        for value in stack.pop().inputs:
            producer = None if value is None else value.producer()
            if producer in constant and producer not in wanted:
                wanted.add(producer)
                stack.append(producer)
    return wanted


def _foldable(node: ir.Node) -> bool:
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return (
        not node.domain
        and node.op_type not in _KEEP
        and any(value is not None for value in node.inputs)
        and not any(a.is_ref() or a.type in graphs for a in node.attributes.values())
        and not any(value.is_graph_output() for value in node.outputs)
    )


class _Folder:
    """Folds node after node, in order; then tidies up.

    What a folded node read stays until all are done: an equal node further on reads it too.
    """

    def __init__(
        self, model: ir.Model, nodes: list[ir.Node], folds: list[Fold] | None = None
    ) -> None:
        self._folds = folds
        self._graph = model.graph
        self._names = Names(model)
        self._met = Counter(value.name for node in nodes for value in node.outputs)
        self._opset = model.graph.opset_imports.get("", 1)
        self._done: dict[tuple[Any, ...], list[ir.Value]] = {}
        self._read: dict[ir.Value, ir.Value | None] = {}
        self._folded = sum(map(_folded_bytes, model.graph.initializers.values()))

    def fold(self, node: ir.Node, wanted: bool) -> bool:
        """Replace the node by its results where all its operands are constant."""
        tensors = [initializer_of(value) for value in node.inputs]
        operands = zip(tensors, node.inputs, strict=True)
        if not all(t is not None or v is None for t, v in operands) or not _foldable(node):
            return False
        if not wanted and not _small(node, tensors):
            return False
        key = _key(node)
        values = self._done.get(key)
        if values is None:
            values = self._computed(node, tensors, wanted)
            if values is None:
                return False
            self._done[key] = values
            if self._folds is not None and values[0] is not node.inputs[0]:
                attributes, inputs = tuple(node.attributes.values()), tuple(node.inputs)
                self._folds.append(Fold(node.op_type, attributes, inputs, tuple(values)))
        for old, new in zip(node.outputs, values, strict=True):
            old.replace_all_uses_with(new)
        sources = [value for value in node.inputs if value is not None]
        for source in sources:
            self._read.pop(source, None)  # the last reader decides, at its place in the order
            self._read[source] = (
                values[0] if source is sources[0] and node.op_type in VIEWS else None
            )
        assert node.graph is not None
        node.graph.remove(node, safe=True)
        return True

    def tidy(self) -> None:
        """Remove what only folded nodes read; a reshaped weight takes the source's name."""
        for source, view in self._read.items():
            if source.uses() or source.is_graph_output() or source is view:
                continue
            self._graph.initializers.pop(str(source.name), None)
            if view is not None:
                view.name = source.name

    def _computed(self, node: ir.Node, tensors: list[Any], wanted: bool) -> list[ir.Value] | None:
        most = math.inf if wanted else max(SMALL, sum(map(bytes_of, tensors)))
        size = result_bytes(node, tensors, self._opset)
        if size < 0 or (size > most and node.op_type not in SHRINKING):
            return None
        folded = self._folded + (0 if node.op_type in _RESHAPED else size)
        where = f"{node.op_type} {label(node)!r}"
        check_room(f"the constants that {where} and others give", COPIES * folded)
        arrays = [None if tensor is None else tensor.numpy() for tensor in tensors]
        results = _evaluate(node, arrays, self._opset)
        if results is None or sum(result.nbytes for result in results) > most:
            return None
        self._folded = folded
        first, given = node.inputs[0], arrays[0]
        if node.op_type in VIEWS and first is not None and given is not None:
            if results[0].dtype == given.dtype and np.array_equal(results[0], given):
                return [first]
        grids = self._grids(node, arrays, results)
        values: list[ir.Value] = []
        for output, result, grid in zip(node.outputs, results, grids, strict=True):
            name, output.name = self._name(output), None
            value = ir.Value(
                name=name,
                shape=ir.Shape(result.shape),
                type=ir.TensorType(ir.DataType.from_numpy(result.dtype)),
                const_value=ir.Tensor(result, name=name),
            )
            value.meta[_FOLDED] = True
            self._graph.register_initializer(value)
            values.append(value)
            if grid is not None:
                note_grid(value, grid)
        return values

    def _name(self, output: ir.Value) -> str:
        """The output's name, or another where two subgraphs' values share it, or it has none."""
        name = output.name or "constant"
        return name if self._met[output.name] == 1 and output.name else self._names.fresh(name)

    def _grids(
        self, node: ir.Node, arrays: list[Any], results: list[NDArray[Any]]
    ) -> list[Grid | None]:
        """Which grids the results lie on, where they are weights of a quantised network."""
        known = [None if value is None else grid_of(value) for value in node.inputs]
        return grid_of_result(
            node, arrays, known, results, lambda given: _evaluate(node, list(given), self._opset)
        )


def _evaluate(
    node: ir.Node, arrays: list[NDArray[Any] | None], opset: int
) -> list[NDArray[Any]] | None:
    """What a node computes from its operands, or None where the evaluator cannot tell."""
    if node.op_type == "ConstantOfShape" and arrays[0] is not None:
        tensor = tensor_of(node, "value", None)
        fill = np.zeros(1, np.float32) if tensor is None else tensor.numpy().reshape(1)
        return [np.full(tuple(arrays[0].tolist()), fill[0], fill.dtype)]
    from onnx.reference import ReferenceEvaluator  # a tenth of a second, for few networks

    proto = ir.to_proto(node)
    inputs = [name for name in dict.fromkeys(proto.input) if name]
    function = onnx.helper.make_function(
        "nvmc.fold",
        "fold",
        inputs,
        list(proto.output),
        [proto],
        [onnx.helper.make_opsetid("", opset)],
    )
    feeds = {n: a for n, a in zip(proto.input, arrays, strict=True) if n}
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(function).run(None, feeds, {})
    except MemoryError:
        raise
    except Exception:  # no implementation, or one that fails: the node stays and is listed
        return None
    good = all(isinstance(result, np.ndarray | np.generic) for result in results)
    return [np.asarray(result) for result in results] if good else None


def _folded_bytes(value: ir.Value) -> int:
    return bytes_of(value.const_value) if _FOLDED in value.meta else 0


def _small(node: ir.Node, tensors: list[Any]) -> bool:
    if node.op_type in _GROWING:
        return False
    if node.op_type == "ConstantOfShape" and tensors[0] is not None:
        return math.prod(tensors[0].numpy().tolist()) * 8 <= SMALL
    return sum(map(bytes_of, tensors)) <= 16 * SMALL


def _key(node: ir.Node) -> tuple[Any, ...]:
    """Equal for two nodes that compute the same from the same values."""
    attributes = sorted((a.name, repr(a.value)) for a in node.attributes.values())
    return (node.op_type, tuple(node.inputs), tuple(attributes), len(node.outputs))
