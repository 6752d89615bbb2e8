"""A graph as a list of steps, made once so that a run only walks it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from nvmc.errors import TrainingError
from nvmc.passes.graph.layers import label
from nvmc.torchgraph.operators import Context, Operator, operator_of
from nvmc.torchgraph.operators.random import affine_dropout
from nvmc.torchgraph.tensors import at_host, constant_of, numbers_of, tensor_from
from nvmc.torchgraph.trainable import statistics, trainable

__all__ = ["NOTHING", "Program", "Step", "read"]

NOTHING = 0
"""The slot of an input that is left out; it always holds None."""

# The forms in which a step can read a value: where the graph's tensors are, on the CPU, or as
# Python numbers. Shapes are computed on the CPU: Python would have to wait for a size on a GPU.
_DEVICE, _HOST, _NUMBERS = "device", "host", "numbers"
_GROWING = frozenset("ConstantOfShape Expand EyeLike OneHot Range Tile Trilu".split())
"""What these make of a shape may be large: it is made where the graph's tensors are."""
_MEASURES = frozenset(["Shape", "Size"])
_MOVING = frozenset("Flatten Identity MaxPool Reshape Squeeze Transpose Unsqueeze".split())
"""Operators that move quantised numbers about and compute nothing with them."""
_AT_HOST = Context(False, None, torch.device("cpu"))


@dataclass(frozen=True)
class Step:
    """One computation: slots in, slots out.

    Attributes:
        function: Takes the values of the inputs, and `context` where it is `contextual`.
        inputs: Slots it reads.
        outputs: Slots it writes.
        contextual: Whether it asks for the run's `Context`.
        title: Operator and name of the node, for messages.
    """

    function: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    contextual: bool
    title: str


class Program:
    """What a graph is read into.

    Attributes:
        steps: In an order in which they can run.
        template: What each slot holds before the first step: constants, or None.
        constants: Slots that hold constants which move with the graph to its device.
        weights: Slot of each trained value by its name.
        statistics: Slot of each running statistic by its name.
        slots: Slot of each value by its name.
        inputs: Names of the graph's inputs.
        outputs: Names of the graph's outputs.
        types: ONNX type of each trained value and statistic.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.template: list[Any] = [None]
        self.constants: list[int] = []
        self.weights: dict[str, int] = {}
        self.statistics: dict[str, int] = {}
        self.slots: dict[str, int] = {}
        self.inputs: tuple[str, ...] = ()
        self.outputs: tuple[str, ...] = ()
        self.types: dict[str, ir.DataType] = {}


def read(
    graph: ir.Graph,
    opset: int,
    instead: Mapping[str, Callable[..., Any]] | None = None,
    trained: Collection[str] = (),
    held: Collection[tuple[str, int]] = (),
    nodes: Mapping[str, Callable[..., Any]] | None = None,
) -> Program:
    """Read a graph.

    Args:
        graph: The graph; its nodes in an order in which they can run.
        opset: Version of the standard operators.
        instead: Other functions for some operators, which take what those of the table take.
        trained: Initializers that are trained besides those of `trainable`, by name.
        held: Nodes by name, each with the position of an operand that no gradient passes.
        nodes: Other functions for some nodes, by name, before those of `instead`.

    Raises:
        TrainingError: An operator, or an attribute or type of it, is not supported.
    """
    parameters = [*trainable(graph), *(graph.initializers[name] for name in trained)]
    return _Reader(graph, opset, instead or {}, held, nodes or {}).read(dict.fromkeys(parameters))


class _Reader:
    def __init__(
        self,
        graph: ir.Graph,
        opset: int,
        instead: Mapping[str, Callable[..., Any]],
        held: Collection[tuple[str, int]],
        nodes: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._graph = graph
        self._opset = opset
        self._instead = instead
        self._held = held
        self._nodes = nodes
        self._program = Program()
        # A value has a slot for each form it is read in; the conversion is a step, made once.
        self._slots: dict[tuple[ir.Value, str], int] = {}
        self._known: dict[ir.Value, Tensor] = {}
        self._at_host: set[ir.Value] = set()

    def read(self, trained: Iterable[ir.Value]) -> Program:
        graph, program = self._graph, self._program
        _check_operators(graph)
        inputs = [value for value in graph.inputs if not value.is_initializer()]
        self._slots |= {(value, _DEVICE): self._new(value) for value in inputs}
        # Before the nodes: what has a slot is no constant (`_constant`), so that nothing computed
        # from a trained value is folded.
        self._read_parameters(trained)
        wanted = _wanted_as_numbers(graph)
        for node in graph:
            if node.op_type != "Constant":
                self._read_node(node, wanted)
        for value in graph.outputs:
            program.slots[str(value.name)] = self._slot(value, _DEVICE)
        program.inputs = tuple(str(value.name) for value in inputs)
        program.outputs = tuple(str(value.name) for value in graph.outputs)
        return program

    def _read_parameters(self, trained: Iterable[ir.Value]) -> None:
        program = self._program
        groups = (trained, program.weights), (statistics(self._graph), program.statistics)
        for values, slots in groups:
            for value in values:
                tensor = constant_of(value)
                assert tensor is not None
                name = str(value.name)
                slot = self._new(value, tensor_from(tensor, name))
                slots[name] = self._slots[value, _DEVICE] = slot
                program.types[name] = tensor.dtype

    def _new(self, value: ir.Value | None = None, content: Any = None) -> int:
        self._program.template.append(content)
        slot = len(self._program.template) - 1
        if value is not None and value.name:
            self._program.slots.setdefault(value.name, slot)
        return slot

    def _read_node(self, node: ir.Node, wanted: set[ir.Value]) -> None:
        operator = operator_of(node)
        assert operator is not None  # `_check_operators` has seen to it
        function = self._nodes.get(node.name or "", self._instead.get(node.op_type))
        if function is not None:
            operator = replace(operator, function=function)
        kinds = [_kind(operator, i) for i in range(len(node.inputs))]
        # Attributes are filled in, and complained about, while reading: a run only calls.
        function = _prepared(operator, node, self._opset)
        if self._is_constant(operator, node):
            if "context" in operator.keywords:
                function = partial(function, context=_AT_HOST)
            self._fold(function, node, kinds)
            return
        # torch is quicker with a Python number than with a tensor of one element.
        kinds = [self._number(operator, node, i) or kind for i, kind in enumerate(kinds)]
        contextual = "context" in operator.keywords
        at_host = self._runs_at_host(operator, node, wanted)
        # A size is known wherever the tensor is, so what is measured is not copied to the CPU.
        if at_host and node.op_type not in _MEASURES:
            kinds = [_HOST if kind == _DEVICE else kind for kind in kinds]
        if at_host and contextual:
            function, contextual = partial(function, context=_AT_HOST), False
        inputs = [self._slot(v, k) for v, k in zip(node.inputs, kinds, strict=True)]
        inputs = self._with_dropout(node, inputs)
        inputs = self._without_gradient(node, inputs)
        inputs = self._with_own_statistics(operator, node, inputs)
        outputs: list[int] = []
        for value in node.outputs:
            slot = self._new(value)
            self._slots[value, _HOST if at_host else _DEVICE] = slot
            outputs.append(slot)
            if at_host:
                self._at_host.add(value)
        title = f"{node.op_type} {label(node)!r}"
        step = Step(function, tuple(inputs), tuple(outputs), contextual, title)
        self._program.steps.append(step)

    def _number(self, operator: Operator, node: ir.Node, index: int) -> str | None:
        """The kind of an input that is to be a Python number because it is a constant one."""
        value = node.inputs[index]
        known = None if value is None else self._constant(value)
        if known is None or known.dim() or operator.name_of(index) not in operator.scalars:
            return None
        return _NUMBERS

    def _is_constant(self, operator: Operator, node: ir.Node) -> bool:
        return not operator.random and all(self._constant(v) is not None for v in _given(node))

    def _runs_at_host(self, operator: Operator, node: ir.Node, wanted: set[ir.Value]) -> bool:
        if node.op_type in _MEASURES:
            return True
        # Random numbers come from the run's generator, which is where the graph's tensors are.
        if operator.random or not node.inputs:
            return False
        if node.op_type in _GROWING and wanted.isdisjoint(node.outputs):
            return False
        return all(v in self._at_host or self._constant(v) is not None for v in _given(node))

    def _constant(self, value: ir.Value) -> Tensor | None:
        """The value of a constant that is not trained; None for everything else."""
        if value in self._known:
            return self._known[value]
        tensor = None if (value, _DEVICE) in self._slots else constant_of(value)
        if tensor is None:
            return None
        self._known[value] = tensor_from(tensor, str(value.name))
        return self._known[value]

    def _fold(self, function: Callable[..., Any], node: ir.Node, kinds: list[str]) -> None:
        """Compute a node that depends on constants alone."""
        arguments: list[Any] = []
        for value, kind in zip(node.inputs, kinds, strict=True):
            known = None if value is None else self._constant(value)
            arguments.append(known.tolist() if known is not None and kind == _NUMBERS else known)
        with torch.no_grad():
            results: Any = function(*arguments)
        if isinstance(results, Tensor):
            results = (results,)
        for value, result in zip(node.outputs, results, strict=False):
            self._known[value] = result

    def _slot(self, value: ir.Value | None, kind: str) -> int:
        """Where to read `value` in that form; made where it is not there yet."""
        if value is None:
            return NOTHING
        if (value, kind) in self._slots:
            return self._slots[value, kind]
        known = self._constant(value)
        if known is not None:
            slot = self._new(content=known.tolist() if kind == _NUMBERS else known)
            if kind == _DEVICE:
                self._program.constants.append(slot)
                self._program.slots.setdefault(str(value.name), slot)
        else:
            slot = self._converted(value, kind)
        self._slots[value, kind] = slot
        return slot

    def _converted(self, value: ir.Value, kind: str) -> int:
        # One of the two is there, as every step's outputs and every input get one of them.
        source = self._slots.get((value, _DEVICE), self._slots.get((value, _HOST)))
        if source is None:
            raise TrainingError(f"value {value.name!r} is used before it is computed")
        functions = {_NUMBERS: numbers_of, _HOST: at_host, _DEVICE: _to_device}
        title = f"reading of {value.name!r}"
        return self._through(functions[kind], source, title, contextual=kind == _DEVICE)

    def _through(
        self, function: Callable[..., Any], source: int, title: str, contextual: bool = False
    ) -> int:
        """A new slot for what a step of its own makes of another."""
        slot = self._new()
        self._program.steps.append(Step(function, (source,), (slot,), contextual, title))
        return slot

    def _with_dropout(self, node: ir.Node, inputs: list[int]) -> list[int]:
        """The inputs, an inactive affine dropout in front of the second."""
        function = affine_dropout(node.metadata_props, node.op_type)
        if function is None or len(inputs) != 2:
            return inputs
        title = f"affine dropout of {label(node)!r}"
        return [inputs[0], self._through(function, inputs[1], title, contextual=True)]

    def _without_gradient(self, node: ir.Node, inputs: list[int]) -> list[int]:
        """The inputs, those that are held cut from their gradient."""
        for index, slot in enumerate(inputs):
            if (node.name, index) in self._held:
                inputs[index] = self._through(torch.detach, slot, f"operand of {label(node)!r}")
        return inputs

    def _with_own_statistics(
        self, operator: Operator, node: ir.Node, inputs: list[int]
    ) -> list[int]:
        """The inputs, computed statistics replaced by copies: no place to write them back to."""
        # torch's batch norm writes running statistics in place. On a tensor that another step reads
        # too, or that autograd has saved, that would be an error or a wrong value.
        kept = set(self._program.statistics.values())
        for index, slot in enumerate(inputs):
            if operator.name_of(index) in operator.statistics and slot not in kept:
                title = f"statistics of {label(node)!r}"
                inputs[index] = self._through(torch.clone, slot, title)
        return inputs


def _prepared(operator: Operator, node: ir.Node, opset: int) -> Callable[..., Any]:
    """The node's function with its attributes filled in.

    Raises:
        TrainingError: An attribute is not supported.
    """
    keywords = operator.keywords
    settings = {a.name: _setting(a) for a in node.attributes.values()}
    where = f"{node.op_type} {label(node)!r}"
    for name in settings:
        if name not in keywords:
            raise TrainingError(
                f"attribute {name!r} of {where} is not supported in training; export the network "
                "without it"
            )
    reason = operator.check(settings) if operator.check is not None else None
    if reason is not None:
        raise TrainingError(f"{where} cannot be trained: {reason}")
    if len(node.inputs) and not operator.name_of(len(node.inputs) - 1):
        raise TrainingError(
            f"{where} has {len(node.inputs)} inputs; expected at most {len(operator.inputs)}"
        )
    if "seed" in keywords:  # two nodes without a seed of their own must not draw the same
        settings.setdefault("seed", zlib.crc32(label(node).encode()))
    if "opset" in keywords:
        settings["opset"] = opset
    if "outputs" in keywords:
        settings["outputs"] = len(node.outputs)
    if "carried" in keywords:
        settings["carried"] = _is_carried(node.outputs[0])
    return partial(operator.function, **settings) if settings else operator.function


def _is_carried(codes: ir.Value) -> bool:
    """Whether all that read quantised numbers move them or turn them back."""
    nodes = [use.node for use in codes.uses()]
    moved = [node.outputs[0] for node in nodes if node.op_type in _MOVING]
    if not nodes or codes.is_graph_output():
        return False
    known = all(node.op_type in _MOVING | {"DequantizeLinear"} for node in nodes)
    return known and all(map(_is_carried, moved))


def _setting(attribute: ir.Attr) -> Any:
    if attribute.type == ir.AttributeType.TENSOR:
        return tensor_from(attribute.value, attribute.name)
    return attribute.value


def _kind(operator: Operator, index: int) -> str:
    name = operator.name_of(index)
    return _NUMBERS if name in operator.host else _HOST if name in operator.near else _DEVICE


def _given(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None]


def _check_operators(graph: ir.Graph) -> None:
    for node in graph:
        constant = node.op_type == "Constant" and node.domain in ("", "ai.onnx")
        if operator_of(node) is None and not constant:
            domain = node.domain or "ai.onnx"
            raise TrainingError(
                f"node {label(node)!r} is {node.op_type} of domain {domain!r}, which training "
                "does not support; docs/training-graph.md lists the operators"
            )


def _wanted_as_numbers(graph: ir.Graph) -> set[ir.Value]:
    """Values that some operator needs as Python numbers, and what they are computed from."""
    wanted: set[ir.Value] = set()
    for node in reversed(graph):  # users come before what they use, so one pass is enough
        operator = operator_of(node)
        if operator is None:
            continue
        on_way = not wanted.isdisjoint(node.outputs)
        for index, value in enumerate(node.inputs):
            name = operator.name_of(index)
            if value is not None and (on_way or name in operator.host + operator.near):
                wanted.add(value)
    return wanted


def _to_device(value: Tensor, *, context: Context) -> Tensor:
    return value.to(context.device)
