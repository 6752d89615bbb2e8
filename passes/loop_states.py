"""loop-states: a network that is one step -> a Scan of it over sequences.

A streaming network takes its state as an input and gives the next one as an output. Fed back, it is
a network over sequences, whose images are sequences: every other input gets an axis of steps behind
that of the images, and every other output one behind all its axes, so that scores of classes keep
their axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from nvmc.compiled.options import LOOPED, STEPS, CompileOptions
from nvmc.errors import OptionError, unknown
from nvmc.passes.bind_inputs import bound_value, constants_of, states_of
from nvmc.passes.graph.names import Names

__all__ = ["LoopStates"]


@dataclass
class LoopStates(ir.passes.InPlacePass):
    """Put the main graph into a Scan whose state is what `options.state` feeds back.

    States begin with what `options.inputs` say, zeros by default. Outputs that are states are no
    outputs any more where there are others.

    Attributes:
        options: How the network is compiled.
        watched: Values of the main graph that become outputs of all steps too.
    """

    options: CompileOptions
    watched: Sequence[str] = ()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Wrap in place.

        Raises:
            OptionError: An output is unknown, or is no next state of its input.
        """
        states = states_of(self.options)
        if not states:
            return ir.passes.PassResult(model, False)
        graph = model.graph
        inputs = {str(value.name): value for value in graph.inputs}
        outputs = {str(value.name): value for value in graph.outputs}
        pairs = [(inputs[name], _next(inputs[name], to, outputs)) for name, to in states.items()]
        befores, afters = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        fed = [value for value in graph.inputs if value not in befores]
        for value in fed:
            if value.shape is not None and not value.shape:
                raise OptionError(
                    f"input {value.name!r} is one number, so it has no step of a sequence; say "
                    f"what it holds with --input {value.name}=NUMBER"
                )
        scored = [value for value in graph.outputs if value not in afters] or list(graph.outputs)
        values = {**inputs, **{str(v.name): v for node in graph for v in node.outputs}}
        scored += [values[n] for n in self.watched if values[n] not in (*scored, *fed)]
        names = Names(model)
        body = _body(graph, befores, fed, afters, scored, names)
        new = [_new(value, 1) for value in fed]
        starts = constants_of(self.options)
        ahead: list[ir.Node] = []
        begun: list[ir.Value] = []
        for before in befores:
            text = starts.get(str(before.name), "zeros")
            made, extra = bound_value(model, before, text, new)
            begun.append(made)
            ahead += extra
        results = [_new(value, None) for value in scored]
        scan = _scan(body, begun, new, results, names)
        for value in (*body.inputs, *body.outputs):
            value.name = names.fresh(f"{value.name}.step")
        graph.inputs.extend(new)
        graph.extend([*ahead, scan])
        graph.outputs.extend(scan.outputs[len(befores) :])
        model.metadata_props[LOOPED] = "1"
        return ir.passes.PassResult(model, True)


def _next(before: ir.Value, name: str, outputs: dict[str, ir.Value]) -> ir.Value:
    """The output that is the next state.

    Raises:
        OptionError: There is none of that name, or it has another type or shape.
    """
    where = f"--state {before.name}={name}"
    if name not in outputs:
        raise OptionError(f"{where}: {unknown('output', name, outputs)}")
    after = outputs[name]
    has, gives = ([_plain(size) for size in v.shape or ()] for v in (before, after))
    known = zip(has, gives, strict=False)
    fits = len(has) == len(gives) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in known
    )
    kinds = (before.dtype, after.dtype)
    if (after.shape is not None and not fits) or (None not in kinds and kinds[0] != kinds[1]):
        raise OptionError(
            f"{where}: the input is {kinds[0]} {has}, the output {kinds[1]} {gives}; expected the "
            "same of both"
        )
    return after


def _plain(size: int | ir.SymbolicDim) -> int | str | None:
    return size if isinstance(size, int) else size.value


def _body(
    graph: ir.Graph,
    befores: Sequence[ir.Value],
    fed: Sequence[ir.Value],
    afters: Sequence[ir.Value],
    scored: Sequence[ir.Value],
    names: Names,
) -> ir.Graph:
    """The main graph's nodes as the body of a Scan; its initializers stay where they are."""
    nodes = list(graph)
    graph.outputs.clear()
    graph.inputs.clear()
    graph.remove(nodes)
    met: set[ir.Value] = set(befores) | set(fed)
    outputs: list[ir.Value] = []
    for value in (*afters, *scored):
        if value in met:  # a body gives nothing out twice, or as it came
            copy = ir.node("Identity", [value], name=names.fresh(f"{value.name}.copy"))
            made = copy.outputs[0]
            made.name, made.type, made.shape = value.name, value.type, value.shape
            nodes.append(copy)
            value = made
        met.add(value)
        outputs.append(value)
    return ir.Graph([*befores, *fed], outputs, nodes=nodes, name="step")


def _new(value: ir.Value, axis: int | None) -> ir.Value:
    """What a step's value is for all steps: with one more axis there, or behind all others."""
    shape = None
    if value.shape is not None:
        sizes: list[Any] = list(value.shape)
        sizes.insert(len(sizes) if axis is None else axis, STEPS)
        shape = ir.Shape(sizes)
    return ir.Value(name=value.name, shape=shape, type=value.type)


def _scan(
    body: ir.Graph,
    begun: Sequence[ir.Value],
    fed: Sequence[ir.Value],
    results: Sequence[ir.Value],
    names: Names,
) -> ir.Node:
    ends = [ir.Value(name=names.fresh(f"{v.name}.end"), type=v.type, shape=v.shape) for v in begun]
    attributes = [
        ir.AttrGraph("body", body),
        ir.AttrInt64("num_scan_inputs", len(fed)),
        ir.AttrInt64s("scan_input_axes", [1] * len(fed)),
        ir.AttrInt64s("scan_output_axes", [-1] * len(results)),
    ]
    name = names.fresh("steps")
    return ir.Node("", "Scan", [*begun, *fed], attributes, outputs=[*ends, *results], name=name)
