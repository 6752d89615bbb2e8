"""Activations in front of weight layers, rounded to what a DAC of so many bits can say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from nvmc.errors import ModelError, OptionError
from nvmc.hardware.options import pairs
from nvmc.passes.graph.input_grids import InputGrid, input_grid
from nvmc.passes.graph.mappable import layers_of
from nvmc.passes.graph.names import Names

__all__ = ["QuantizeActivations", "activation_tensors", "is_chain", "mark_activations"]

_MARK = "nvmc.quantize-activations"


@dataclass(frozen=True)
class _Grid:
    """What a tensor is rounded to: step times the whole numbers from low to high."""

    step: float
    low: float
    high: float


@dataclass
class QuantizeActivations(ir.passes.InPlacePass):
    """Round the activations that enter a layer to a uniform grid: `clip(round(x / D)) * D`.

    A tensor never seen below zero gets the 2^bits levels 0 ... 2^bits - 1 with D = high /
    (2^bits - 1), any other the symmetric levels -q ... q, q = 2^(bits-1) - 1, with
    D = max(|low|, |high|) / q. Halves round to even, as in ONNX. The graph stays floating point:
    Div, Round, Clip, Mul, which any runtime has and which is exact for every width, while
    QuantizeLinear knows 4, 8 and 16 bits only. One chain serves every layer that reads the tensor;
    other nodes keep the exact values. A tensor whose range is zero is left as it is. Of recurrent
    layers the input is rounded; the state between steps lies inside the operator and is not.

    Attributes:
        bits: Bits of an activation, 1 to 16; a signed tensor needs 2.
        ranges: Smallest and largest value of each tensor to round, as `calibrate` measures them,
            or text `x=0:1;a=-2:2`.
        skip: Globs over the names of layers whose input is left alone.

    Raises:
        OptionError: Bits or a range outside what they may be, or a range for a tensor that enters
            no layer.
        ModelError: The tensor's type is too narrow for so many bits.
    """

    bits: int
    ranges: Mapping[str, tuple[float, float]] | str
    skip: tuple[str, ...] = ()
    _grids: dict[str, _Grid | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options."""
        if not 1 <= self.bits <= 16:
            raise OptionError(f"activation bits is {self.bits}; expected 1 to 16")
        ranges = _parsed(self.ranges) if isinstance(self.ranges, str) else self.ranges
        self._grids = {name: _grid(name, pair, self.bits) for name, pair in ranges.items()}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert or update the chains; returns whether anything changed."""
        readers = _readers(model, self.skip)
        done = _existing(model)
        known = {value.name for value in [*readers, *done]}
        for name in self._grids:
            if name not in known:
                raise OptionError(
                    f"range for tensor {name!r}, which enters no layer; expected some of "
                    f"{', '.join(sorted(map(str, known))) or '(none)'}"
                )
        names = Names(model)
        modified = False
        for value in dict.fromkeys([*readers, *done]):
            grid = self._grids.get(str(value.name))
            if grid is None:
                continue
            if value in done:
                modified |= _updated(done[value], grid)
            else:
                done[value] = _chain(model, names, value, grid)
            for node, index in readers.get(value, ()):
                node.replace_input_with(index, done[value][-1].outputs[0])
                modified = True
        return ir.passes.PassResult(model, modified)


def activation_tensors(
    model: ir.Model, skip: tuple[str, ...] = (), bits: int | None = None
) -> list[str]:
    """Names of the tensors of the main graph that enter a layer: what there is to calibrate.

    Tensors that are already rounded are left out, also by the network itself to at most `bits`, and
    so are those of subgraphs, which no session can be asked for.
    """
    rounded = {chain[-1].outputs[0] for chain in _existing(model).values()}
    return [
        str(value.name)
        for value in _readers(model, skip)
        if value not in rounded
        and _graph_of(model, value) is model.graph
        and not _fits(input_grid(value), bits)
    ]


def _fits(grid: InputGrid | None, bits: int | None) -> bool:
    return grid is not None and bits is not None and grid.bits <= bits


def mark_activations(
    model: ir.Model, skip: tuple[str, ...] = (), bits: int | None = None
) -> dict[str, str]:
    """Put an Identity where `QuantizeActivations` would put a chain, for training to round at.

    Returns:
        Name of the Identity's output by the name of each of `activation_tensors`.
    """
    wanted = set(activation_tensors(model, skip, bits))
    names = Names(model)
    marks: dict[str, str] = {}
    for value, uses in _readers(model, skip).items():
        if value.name not in wanted:
            continue
        node = ir.node("Identity", [value], name=names.fresh(f"{value.name}_mark"))
        mark = node.outputs[0]
        mark.name, mark.shape, mark.type = str(node.name), value.shape, value.type
        producer = value.producer()
        if producer is not None:
            producer.append(node)
        else:
            model.graph.insert_before(model.graph[0], node)
        for user, index in uses:
            user.replace_input_with(index, mark)
        marks[str(value.name)] = mark.name
    return marks


def is_chain(node: ir.Node) -> bool:
    """Whether a node is the first of a chain that this pass made, of a calibrated step."""
    return node.op_type == "Div" and _MARK in node.metadata_props


def _parsed(text: str) -> dict[str, tuple[float, float]]:
    parsed: dict[str, tuple[float, float]] = {}
    form, example = "NAME=LOW:HIGH", "x=0:1;a=-2:2"
    for name, pair in pairs("ranges", text.split(";"), example, form=form, names=True).items():
        low, _, high = pair.partition(":")
        try:
            parsed[name] = (float(low), float(high))
        except ValueError:
            raise OptionError(f"ranges: {name}={pair} is not {form}; write {example}") from None
    return parsed


def _grid(name: str, pair: tuple[float, float], bits: int) -> _Grid | None:
    """The grid of a tensor; None where its range is zero."""
    low, high = float(pair[0]), float(pair[1])
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise OptionError(f"range of {name!r} is ({low}, {high}); expected finite low <= high")
    if low >= 0:
        top = 2**bits - 1
        return _Grid(high / top, 0.0, float(top)) if high > 0 else None
    if bits == 1:
        raise OptionError(
            f"{name!r} has values below zero ({low}), which 1 bit cannot represent; use 2 "
            "bits or more"
        )
    top = 2 ** (bits - 1) - 1
    return _Grid(max(-low, high) / top, -float(top), float(top))


def _readers(model: ir.Model, skip: tuple[str, ...]) -> dict[ir.Value, list[tuple[ir.Node, int]]]:
    """Every tensor that enters a layer, with the layers' inputs it enters."""
    readers: dict[ir.Value, list[tuple[ir.Node, int]]] = {}
    for layer in layers_of(model, skip):
        value = layer.node.inputs[layer.activation]
        if value is not None:
            readers.setdefault(value, []).append((layer.node, layer.activation))
    return readers


def _existing(model: ir.Model) -> dict[ir.Value, list[ir.Node]]:
    """The chains of an earlier run, by the tensor they round."""
    chains: dict[ir.Value, list[ir.Node]] = {}
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        value = node.inputs[0] if node.inputs else None
        if is_chain(node) and value is not None:
            chain = [node]
            while len(chain) < 4:
                chain.append(next(iter(chain[-1].outputs[0].uses())).node)
            chains[value] = chain
    return chains


def _graph_of(model: ir.Model, value: ir.Value) -> ir.Graph | None:
    producer = value.producer()
    if producer is not None:
        return producer.graph
    return next((graph for graph in model.graphs() if value in graph.inputs), None)


def _chain(model: ir.Model, names: Names, value: ir.Value, grid: _Grid) -> list[ir.Node]:
    """Div, Round, Clip and Mul behind `value`."""
    kind = (value.dtype or ir.DataType.FLOAT).numpy()
    if kind.itemsize == 2 and grid.high > 2048:
        raise ModelError(
            f"{value.name!r} is float16, where whole numbers end at 2048, but its grid goes to "
            f"{grid.high:.0f}; use at most 11 activation bits, or a float32 network"
        )
    numbers = {"step": grid.step, "low": grid.low, "high": grid.high}
    step, low, high = (
        names.initializer(f"{value.name}_{key}", np.asarray(number, kind))
        for key, number in numbers.items()
    )
    chain: list[ir.Node] = []
    source = value
    for op, extra in (("Div", [step]), ("Round", []), ("Clip", [low, high]), ("Mul", [step])):
        node = ir.node(
            op, [source, *extra], name=names.fresh(f"{value.name}_quantize_{op.lower()}")
        )
        output = node.outputs[0]
        wanted = f"{value.name}_quantized" if op == "Mul" else node.name
        output.name, output.shape, output.type = names.fresh(str(wanted)), value.shape, value.type
        chain.append(node)
        source = output
    chain[0].metadata_props[_MARK] = "1"
    graph = _graph_of(model, value)
    producer = value.producer()
    if producer is not None:
        producer.append(chain)
    elif graph is not None:
        graph.insert_before(graph[0], chain)
    return chain


def _updated(chain: list[ir.Node], grid: _Grid) -> bool:
    """Give a chain of an earlier run a new grid; whether that changed it."""
    div, _, clip, _ = chain
    changed = False
    constants = (div.inputs[1], clip.inputs[1], clip.inputs[2])
    for value, number in zip(constants, (grid.step, grid.low, grid.high), strict=True):
        old = None if value is None else value.const_value
        if value is not None and old is not None:
            wanted = np.asarray(number, old.numpy().dtype)
            if old.numpy() != wanted:
                value.const_value = ir.Tensor(wanted, name=value.name)
                changed = True
    return changed
