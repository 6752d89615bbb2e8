"""An ONNX graph as a torch module: the network that is trained is the one that came in."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nvmc.errors import TrainingError
from nvmc.passes.convert_opset import inline_functions
from nvmc.torchgraph.operators import Context
from nvmc.torchgraph.pooling_first import Pooled, pooled, reordered
from nvmc.torchgraph.steps import NOTHING, Program, Step, read
from nvmc.torchgraph.tensors import Inputs, array_from, constant_of

__all__ = ["Graph", "write_values"]

Tap = Callable[[Tensor], Tensor]
_Call = tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]


@dataclass(frozen=True)
class _Plan:
    """The steps that some outputs need, each with the slots that nobody reads behind it."""

    calls: tuple[_Call, ...]
    titles: tuple[str, ...]


class _Weights(Mapping[str, nn.Parameter]):
    """The parameters of a graph under their ONNX names."""

    def __init__(self, graph: Graph, fields: Mapping[str, str]) -> None:
        self._graph = graph
        self._fields = fields

    def __getitem__(self, name: str) -> nn.Parameter:
        weight = self._graph._parameters[self._fields[name]]  # pyright: ignore[reportPrivateUsage]
        assert weight is not None
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Graph(nn.Module):
    """An ONNX graph that can be trained.

    In evaluation mode it computes what onnxruntime computes. In training mode BatchNormalization
    uses the batch's statistics and updates the running ones, and every Dropout drops, as do the
    affine dropouts that `invert-normalization` notes. Round, Sign and QuantizeLinear have the
    gradient of the identity (straight-through) in both.

    Attributes:
        inputs: Names of the graph's inputs, initializers left out.
        outputs: Names of the graph's outputs.
    """

    def __init__(self, program: Program, pairs: tuple[Pooled, ...] = ()) -> None:
        super().__init__()
        self.inputs = program.inputs
        self.outputs = program.outputs
        self._program = program
        self._fields: dict[str, str] = {}
        self._places: dict[str, int] = {}
        self._input_slots = {name: program.slots[name] for name in program.inputs}
        self._plans: dict[tuple[tuple[str, ...], frozenset[str]], _Plan] = {}
        self._pairs = pairs
        self._between = frozenset(pair.between for pair in pairs)
        for name, slot in program.weights.items():
            field = self._field("weight", name, slot)
            self.register_parameter(field, nn.Parameter(program.template[slot]))
            self._fields[name] = field
        for name, slot in program.statistics.items():
            self.register_buffer(self._field("statistic", name, slot), program.template[slot])
        for slot in program.constants:
            field = self._field("constant", str(slot), slot)
            self.register_buffer(field, program.template[slot], persistent=False)
        for slot in self._places.values():
            program.template[slot] = None  # the module holds it from here on
        self._refill()

    def _field(self, kind: str, name: str, slot: int) -> str:
        """A name for torch, which takes no dots; distinct whatever the ONNX names are."""
        field = f"{kind}:{name.replace('.', ':')}"
        while field in self._places:
            field += "'"
        self._places[field] = slot
        return field

    @classmethod
    def of(
        cls,
        model: ir.Model,
        instead: Mapping[str, Callable[..., Any]] | None = None,
        *,
        trained: Collection[str] = (),
        held: Collection[tuple[str, int]] = (),
        nodes: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Self:
        """The module for a model, which is not changed; its weights are copied.

        Args:
            model: The model.
            instead: Other functions for some operators, by operator; they take the inputs and
                attributes that those of `nvmc.torchgraph.operators` take.
            trained: Initializers that are trained besides those of `trainable`, by name.
            held: Nodes by name, each with the position of an operand that no gradient passes.
            nodes: Other functions for some nodes, by the node's name, likewise.

        Raises:
            TrainingError: A node's operator is not supported; the message names node and domain.
        """
        if model.functions:
            model = model.clone()
            inline_functions(model)
        opset = model.graph.opset_imports.get("", 1)
        program = read(model.graph, opset, instead, trained, held, nodes)
        return cls(program, pooled(model.graph, program, instead or ()))

    @property
    def weights(self) -> Mapping[str, nn.Parameter]:
        """Every trained initializer under its ONNX name."""
        return _Weights(self, self._fields)

    def forward(
        self,
        x: Inputs,
        weights: Mapping[str, Tensor] | None = None,
        *,
        taps: Mapping[str, Tap] | None = None,
        wanted: Sequence[str] | None = None,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Run the graph.

        Args:
            x: The input, or the inputs by name.
            weights: Tensors used instead of the parameters of these names.
            taps: A function for each named value, applied as soon as that is computed.
            wanted: Names of values to return.
            generator: Where dropout and random nodes draw from.

        Returns:
            The first output; a dictionary by name if some are `wanted`.

        Raises:
            TrainingError: A name is unknown, an input is missing, or random numbers are to be
                drawn in training mode without a generator.
        """
        names = self.outputs[:1] if wanted is None else tuple(wanted)
        seen = self._between.intersection((*names, *(taps or ())))
        plan = self._plans.get((names, seen)) or self._plan(names, seen)
        values = list(self._template)
        device = self._feed(values, x)
        for name, tensor in (weights or {}).items():
            values[self._slot(name, self._program.weights, "trained weight")] = tensor
        context = Context(self.training, generator, device)
        self._run(plan, values, context, self._tapped(values, taps) if taps else {})
        if wanted is None:
            return values[self._program.slots[names[0]]]
        return {name: values[self._program.slots[name]] for name in names}

    def footprint(self, x: Inputs, wanted: Sequence[str] | None = None) -> int:
        """Most bytes that the values computed in a run take at any one time.

        What an operator needs within itself is not among them, and views count like copies.
        Cost: one run.

        Args:
            x: As for a run.
            wanted: Names of values to return, as for a run.
        """
        live, most = 0, 0

        def freed(size: int) -> None:
            nonlocal live
            live -= size

        def tap(value: Any) -> Any:
            nonlocal live, most
            if isinstance(value, Tensor):
                live += value.nbytes
                most = max(most, live)
                weakref.finalize(value, freed, value.nbytes)
            return value

        computed = {slot for step in self._program.steps for slot in step.outputs}
        names = [name for name, slot in self._program.slots.items() if slot in computed]
        self(x, taps=dict.fromkeys(names, tap), wanted=wanted)
        return most

    def _feed(self, values: list[Any], x: Inputs) -> torch.device:
        """Put the inputs into their slots; returns the device they are on."""
        feeds = {self.inputs[0]: x} if isinstance(x, Tensor) and self.inputs else x
        if isinstance(feeds, Tensor) or len(feeds) < len(self.inputs):
            missing = [
                name for name in self.inputs if isinstance(feeds, Tensor) or name not in feeds
            ]
            raise TrainingError(f"no value for inputs {', '.join(missing)}; give one by name")
        device = torch.device("cpu")
        for name, tensor in feeds.items():
            values[self._slot(name, self._input_slots, "input")] = tensor
            device = tensor.device
        return device

    def _run(
        self, plan: _Plan, values: list[Any], context: Context, taps: Mapping[int, Tap]
    ) -> None:
        done = 0
        try:
            for function, inputs, outputs, free, contextual in plan.calls:
                arguments = [values[slot] for slot in inputs]
                if contextual:
                    result = function(*arguments, context=context)
                else:
                    result = function(*arguments)
                if result.__class__ is tuple:
                    for slot, part in zip(outputs, result, strict=False):
                        values[slot] = part
                else:
                    values[outputs[0]] = result
                if taps:
                    for slot in outputs:
                        if slot in taps:
                            values[slot] = taps[slot](values[slot])
                for slot in free:
                    values[slot] = None
                done += 1
        except Exception as error:
            error.add_note(f"in {plan.titles[done]}")
            raise

    def _tapped(self, values: list[Any], taps: Mapping[str, Tap]) -> dict[int, Tap]:
        """The taps by slot; those of values that are there already are applied at once."""
        by_slot: dict[int, Tap] = {}
        for name, tap in taps.items():
            slot = self._slot(name, self._program.slots, "value")
            by_slot[slot] = tap
            if values[slot] is not None:
                values[slot] = tap(values[slot])
        return by_slot

    def _slot(self, name: str, slots: Mapping[str, int], kind: str) -> int:
        slot = slots.get(name)
        if slot is None:
            some = ", ".join(list(slots)[:8])
            raise TrainingError(f"the network has no {kind} {name!r}; it has {some or 'none'}")
        return slot

    def _plan(self, names: tuple[str, ...], seen: frozenset[str]) -> _Plan:
        """Find the steps that the named values need, and keep that for the next run."""
        kept = {self._slot(name, self._program.slots, "value") for name in names}
        needed, chosen = set(kept), list[Step]()
        for step in reversed(reordered(self._program.steps, self._pairs, seen)):
            if not needed.isdisjoint(step.outputs):
                needed.update(step.inputs)
                chosen.append(step)
        computed = {slot for step in chosen for slot in step.outputs}
        computed |= set(self._input_slots.values())
        met, calls = {*kept, NOTHING}, list[_Call]()
        for step in chosen:  # from the last to the first
            free = {*step.inputs, *step.outputs} - met & computed
            free = tuple(slot for slot in free if slot in computed and slot not in met)
            met.update(step.inputs)
            calls.append((step.function, step.inputs, step.outputs, free, step.contextual))
        titles = tuple(step.title for step in reversed(chosen))
        plan = self._plans[names, seen] = _Plan(tuple(reversed(calls)), titles)
        return plan

    def _refill(self) -> None:
        """Put parameters and buffers, which may be new objects, where a run starts from."""
        template = list(self._program.template)
        for field, slot in self._places.items():
            template[slot] = self._parameters.get(field, self._buffers.get(field))
        self._template = template

    def _apply(self, *arguments: Any, **options: Any) -> Self:
        super()._apply(*arguments, **options)
        self._refill()
        return self

    def values(self) -> dict[str, NDArray[Any]]:
        """Parameters and running statistics as they are now, by ONNX name, copied."""
        slots = {**self._program.weights, **self._program.statistics}
        types = self._program.types
        return {name: array_from(self._template[s], types[name]) for name, s in slots.items()}


def write_values(model: ir.Model, values: Mapping[str, NDArray[Any]]) -> None:
    """Give initializers and Constant nodes of a model other values; nodes and names stay.

    Args:
        model: The model, changed in place.
        values: New values by the name of the initializer or of the Constant's output.

    Raises:
        TrainingError: The model has no constant of that name, or one of another shape.
    """
    constants = {
        str(value.name): value
        for graph in model.graphs()
        for value in (*graph.initializers.values(), *(v for n in graph for v in n.outputs))
        if constant_of(value) is not None
    }
    for name, array in values.items():
        if name not in constants:
            raise TrainingError(f"the model has no constant {name!r} to write to")
        _write(constants[name], name, array)


def _write(value: ir.Value, name: str, array: NDArray[Any]) -> None:
    old = constant_of(value)
    assert old is not None
    shape = tuple(old.shape.numpy())
    if shape != array.shape:
        raise TrainingError(f"constant {name!r} has shape {shape}, but its value {array.shape}")
    new = ir.Tensor(np.ascontiguousarray(array, old.dtype.numpy()).reshape(shape), name=value.name)
    producer = value.producer()
    if producer is None:
        value.const_value = new
        return
    (key,) = producer.attributes
    kept = producer.attributes[key].type
    if kept == ir.AttributeType.TENSOR:
        producer.attributes[key] = ir.AttrTensor(key, new)
    elif kept == ir.AttributeType.FLOATS:
        producer.attributes[key] = ir.AttrFloat32s(key, [float(number) for number in array])
    else:
        producer.attributes[key] = ir.AttrFloat32(key, float(array))
    if value.const_value is not None:
        value.const_value = new
