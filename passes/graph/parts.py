"""A compiled network in parts: the digital ones, for a runtime, and the array nodes between them.

Of a network whose array nodes are all in the main graph. Stage k holds the digital nodes that read
no array of stage k or later, and then the array nodes that read no other array of that stage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nvmc.compiled.artifact import TARGET_KEY
from nvmc.compiled.operators import DOMAIN
from nvmc.errors import ModelError
from nvmc.passes.io.load import load_model

__all__ = ["ArrayNode", "PartedNetwork", "Stage"]

_OF_CONSTANT = ("value", "value_float", "value_floats", "value_int", "value_ints")


@dataclass(frozen=True, eq=False)
class ArrayNode:
    """One node of the domain `nvmc`.

    Attributes:
        inputs: Names of its inputs, empty where one is left out.
        outputs: Names of its outputs, likewise.
        fields: All that is known of it, as the provider describes nodes.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fields: Mapping[str, Any]


@dataclass
class Stage:
    """Some digital nodes, then array nodes that read what was made so far.

    Attributes:
        nodes: The digital ones.
        arrays: The array nodes.
        needs: Names of what the digital nodes read, of earlier stages and the network's inputs.
        gives: Names of what others read of them.
        frees: Names of what nobody reads after the stage.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    arrays: list[ArrayNode] = field(default_factory=list[ArrayNode])
    needs: list[str] = field(default_factory=list[str])
    gives: list[str] = field(default_factory=list[str])
    frees: list[str] = field(default_factory=list[str])


class PartedNetwork:
    """A network that can be taken apart.

    Args:
        model: A compiled network's `model.onnx`, or its content.

    Attributes:
        inputs: Names of its inputs, and their shapes, with None for a free size.
        outputs: Names of its outputs.
        target: Its cells, as JSON; None where it does not say.
        arrays: Its array nodes, in order.
        inside: What of it cannot be taken apart: an array node inside another node, such as If,
            Loop or Scan, or in a function; None where all is well.

    Raises:
        ModelError: It is no network.
    """

    def __init__(self, model: str | Path | bytes) -> None:
        self._model = _read(model)
        graph = self._model.graph
        self.inside = _inside(self._model)
        _constants_as_initializers(graph)
        given = {value.name for value in graph.input}
        self._fixed = {t.name: t for t in graph.initializer if t.name not in given}
        self._preset = {t.name: t for t in graph.initializer if t.name in given}
        self._infos = {v.name: v for v in (*graph.input, *graph.output, *graph.value_info)}
        self.inputs = {v.name: _shape(v) for v in graph.input if v.name not in self._preset}
        self.outputs = [value.name for value in graph.output]
        self.target = next(
            (p.value for p in self._model.metadata_props if p.key == TARGET_KEY), None
        )
        version = next((o.version for o in self._model.opset_import if o.domain == DOMAIN), 0)
        nodes = [(i, node) for i, node in enumerate(graph.node) if node.domain == DOMAIN]
        self.arrays = [self._described(place, node, version) for place, node in nodes]

    def _described(self, place: int, node: onnx.NodeProto, version: int) -> ArrayNode:
        attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
        fields = {
            "name": node.name,
            "op": node.op_type,
            "domain": node.domain,
            "version": version,
            "place": place,
            "graph": self._model.graph.name,
            "inputs": [self._input(name) for name in node.input],
            "outputs": list(node.output),
            "attributes": attributes,
        }
        return ArrayNode(tuple(node.input), tuple(node.output), fields)

    def _input(self, name: str) -> tuple[str, str, bool] | None:
        if not name:
            return None
        if name in self._fixed:
            return name, str(helper.tensor_dtype_to_np_dtype(self._fixed[name].data_type)), True
        info = self._infos.get(name)
        kind = info.type.tensor_type.elem_type if info is not None else onnx.TensorProto.FLOAT
        return name, str(helper.tensor_dtype_to_np_dtype(kind or onnx.TensorProto.FLOAT)), False

    def constants(self, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """The values of those of the names that have one before anything has run."""
        known = self._fixed | self._preset
        return {name: numpy_helper.to_array(known[name]) for name in names if name in known}

    @property
    def presets(self) -> list[str]:
        """Names of the inputs that have a value where none is given."""
        return list(self._preset)

    def stages(self, apart: Collection[int]) -> list[Stage]:
        """The parts, in order.

        Args:
            apart: Places of the array nodes that are to stand alone; the others are digital.
        """
        made: dict[str, tuple[int, bool]] = {}
        stages: list[Stage] = []
        arrays = {array.fields["place"]: array for array in self.arrays}
        for place, node in enumerate(self._model.graph.node):
            if node.output and node.output[0] in self._fixed:
                continue  # a constant
            number = max((made[n][0] + made[n][1] for n in _reads(node) if n in made), default=0)
            while number >= len(stages):
                stages.append(Stage())
            if place in apart:
                stages[number].arrays.append(arrays[place])
            else:
                stages[number].nodes.append(node)
            made |= {name: (number, place in apart) for name in node.output if name}
        self._link(stages)
        return stages

    def _link(self, stages: list[Stage]) -> None:
        """Fill in what each stage reads, and what others read of it."""
        last = dict.fromkeys(self.outputs, len(stages))
        for number in reversed(range(len(stages))):
            stage = stages[number]
            own = {name for node in stage.nodes for name in node.output if name}
            read = dict.fromkeys(name for node in stage.nodes for name in _reads(node))
            stage.needs = [n for n in read if n not in own and n not in self._fixed]
            between = {name for array in stage.arrays for name in array.inputs if name}
            stage.gives = sorted(n for n in own if n in between or n in last)
            for name in (*stage.needs, *between):
                if last.setdefault(name, number) == number:
                    stage.frees.append(name)

    def digital(self, stage: Stage, values: Mapping[str, NDArray[Any]]) -> bytes:
        """The digital part of a stage, as a network of its own.

        Args:
            stage: The stage.
            values: What it needs; element types are taken of these.

        Raises:
            ModelError: One value is no tensor.
        """
        part = onnx.ModelProto()
        part.CopyFrom(_without_graph(self._model))
        graph = part.graph
        graph.name = self._model.graph.name
        graph.node.extend(stage.nodes)
        read = dict.fromkeys(name for node in stage.nodes for name in _reads(node))
        graph.initializer.extend(self._fixed[name] for name in read if name in self._fixed)
        graph.input.extend(self._typed(name, values[name]) for name in stage.needs)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in stage.gives)
        own = {name for node in stage.nodes for name in node.output} - set(stage.gives)
        graph.value_info.extend(self._infos[name] for name in sorted(own) if name in self._infos)
        return part.SerializeToString()

    def _typed(self, name: str, value: Any) -> onnx.ValueInfoProto:
        if not hasattr(value, "dtype"):
            raise ModelError(f"value {name!r} is no tensor; expected one between arrays")
        info = self._infos.get(name)
        if info is not None and info.type.tensor_type.elem_type:
            return info
        return helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), None
        )


def _read(model: str | Path | bytes) -> onnx.ModelProto:
    if not isinstance(model, bytes):
        return ir.to_proto(load_model(model))
    try:
        return onnx.ModelProto.FromString(model)
    except DecodeError as error:
        raise ModelError(f"the network is damaged: {error}; compile it again") from error


def _without_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    plain = onnx.ModelProto(ir_version=model.ir_version)
    plain.opset_import.extend(model.opset_import)
    plain.functions.extend(model.functions)
    return plain


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node, not those inside these."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, the graphs inside it too."""
    yield from (name for name in node.input if name)
    for graph in _graphs(node):
        own = {value.name for value in (*graph.input, *graph.initializer)}
        own |= {name for inner in graph.node for name in inner.output}
        yield from (name for inner in graph.node for name in _reads(inner) if name not in own)
        yield from (value.name for value in graph.output if value.name not in own)


def _inside(model: onnx.ModelProto) -> str | None:
    for node in model.graph.node:
        for graph in _graphs(node):
            found = next((n for n in _all_nodes(graph) if n.domain == DOMAIN), None)
            if found is not None:
                return f"array node {found.name!r} is inside {node.op_type} {node.name!r}"
    for function in model.functions:
        if function.domain != DOMAIN and any(node.domain == DOMAIN for node in function.node):
            return f"function {function.name!r} has array nodes"
    return None


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in _graphs(node):
            yield from _all_nodes(inner)


def _constants_as_initializers(graph: onnx.GraphProto) -> None:
    """So that a part knows the constants that it reads, wherever their node stands."""
    for node in graph.node:
        if node.op_type != "Constant" or node.domain or node.attribute[0].name not in _OF_CONSTANT:
            continue
        value: Any = helper.get_attribute_value(node.attribute[0])
        if node.attribute[0].name != "value":
            kind = "float32" if "float" in node.attribute[0].name else "int64"
            value = numpy_helper.from_array(np.asarray(value, kind))
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]


def _plain(value: Any) -> Any:
    """An attribute's value with text as text."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _shape(value: onnx.ValueInfoProto) -> list[int | str | None]:
    dims = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims]
