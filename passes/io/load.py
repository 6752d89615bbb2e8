"""Read an ONNX file safely: whatever is wrong with it is one line, before anything else happens."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from nvmc.budget import check_room
from nvmc.errors import ModelError
from nvmc.passes.graph.attributes import check_attributes, int_of
from nvmc.passes.graph.mappable import FLOATS, PARAMETERISED
from nvmc.passes.io.free_sizes import free_sizes
from nvmc.passes.io.parse import parse_model
from nvmc.passes.io.without_weights import SMALL, without_weights
from nvmc.passes.io.zipmap import cut_zip_maps

__all__ = ["NEWEST_IR", "NEWEST_OPSET", "OLDEST_OPSET", "load_model"]

OLDEST_OPSET = 7
NEWEST_OPSET = 26
"""The newest opset that a released onnxruntime (1.31) runs."""

NEWEST_IR = 13
"""The newest IR version that a released onnxruntime (1.31) reads.

Version 14 adds types of six bits, which it does not compute either, and nothing else; so what has
none of them is the same in version 13.
"""

_TYPES = ("to", "dtype", "output_dtype")
"""Attributes that name a type."""
_LAYER_NORMALIZATION = 17
"""The opset from which on LayerNormalization is an operator of ONNX."""
_SPARSE = (onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.SPARSE_TENSORS)
_FREE_INITIALIZERS = 4
"""IR version from which on an initializer need not be an input."""


def load_model(
    path: str | Path, *, opened: BinaryIO | None = None, folder: Path | None = None
) -> ir.Model:
    """The model in an ONNX file, checked.

    Cost: the file is read once; weights stay in the parsed message or, when external, in their
    memory-mapped file. The source files are never written to.

    Args:
        path: The file.
        opened: The file itself, where it is open already.
        folder: Where its external data are, if not beside it.

    Raises:
        ModelError: The file is missing, is not ONNX or is damaged; its opset or IR version is not
            supported; its external data is missing, too short or outside the model's folder; a
            weight holds NaN or infinity; an output holds maps that no ZipMap makes; an attribute
            is none that its operator can have; or `onnx.checker` refuses it.
        OutOfMemoryError: The file is larger than what may be taken.
    """
    where = repr(str(path))
    proto = _parse(Path(path), opened, where)
    newer = _settle_version(proto, where)
    inside = (_has_sparse(function.node) for function in proto.functions)
    if proto.graph.sparse_initializer or _has_sparse(proto.graph.node) or any(inside):
        raise ModelError(f"{where} has sparse constants; make them dense first")
    _check_references(proto, where)
    cut_zip_maps(proto, where)
    try:
        model = ir.from_proto(proto)
    except MemoryError:
        raise
    except Exception as error:  # any fault of the file surfaces here, in many types
        raise ModelError(f"{where} is damaged: {_first_line(error)}; export it again") from error
    _check_opset(model, where)
    for node in _nodes(model):
        if node.domain == "ai.onnx":  # another name of the standard domain
            node.domain = ""
        if node.op_identifier() not in model.functions:
            node.overload = ""  # of functions alone
        if hasattr(node, "device_configurations"):  # which of another runtime's devices it runs on
            node.device_configurations = ()
        for value in node.outputs:
            if value.dtype == ir.DataType.UNDEFINED:  # said of a value that nothing is said of
                value.type = None
    free_sizes(model)
    folder = (folder or Path(path).parent).absolute()
    for graph in _graphs(model):
        ir.external_data.set_base_dir(graph, folder)
    for name, tensor in _tensors(model):
        if isinstance(tensor, ir.ExternalTensor):
            _check_external(tensor, name, folder, where)
    _adopt_external(model)
    _name_contributed(model)
    _check_structure(model, where)
    check_attributes(_nodes(model), where)
    _check_values(model, where)
    if newer:
        _check_types(model, where)
    return model


def _parse(path: Path, opened: BinaryIO | None, where: str) -> onnx.ModelProto:
    try:
        with path.open("rb") if opened is None else nullcontext(opened) as file:
            size = os.fstat(file.fileno()).st_size
            check_room(f"the file {where}", size)
            proto = parse_model(file, size)
    except DecodeError as error:
        raise ModelError(
            f"{where} is not an ONNX model, or is cut short or damaged (it does not parse); "
            "expected the .onnx file of a network"
        ) from error
    except IsADirectoryError as error:
        raise ModelError(f"{where} is a folder; expected an ONNX file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"cannot read {where}: {reason}; give the path of an ONNX file") from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(
            f"{where} is not an ONNX model (no graph in it); expected the .onnx file of a network"
        )
    if not proto.graph.output:
        raise ModelError(f"{where} is a network without an output; export it again")
    return proto


def _settle_version(proto: onnx.ModelProto, where: str) -> bool:
    """Lower the IR version to what onnxruntime reads; whether it was newer.

    Raises:
        ModelError: It is one of which nobody here knows what it adds.
    """
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{where} has IR version {proto.ir_version}; expected at most {NEWEST_IR}: export it "
            f"with ir_version={NEWEST_IR}"
        )
    newer = proto.ir_version > NEWEST_IR
    proto.ir_version = min(proto.ir_version, NEWEST_IR)
    return newer


def _check_types(model: ir.Model, where: str) -> None:
    """Complain of what IR version 14 added.

    Raises:
        ModelError: It is there.
    """
    added = {number for name, number in onnx.TensorProto.DataType.items() if "FLOAT6" in name}
    found = {tensor.dtype.value for _, tensor in _tensors(model)}
    found |= {value.dtype.value for value in model.graph.inputs if value.dtype is not None}
    for node in _nodes(model):
        found |= {int_of(node, name, 0) for name in _TYPES if name in node.attributes}
    if found & added:
        raise ModelError(
            f"{where} has numbers of six bits, which are of IR version {NEWEST_IR + 1}; expected "
            f"what version {NEWEST_IR} has, which onnxruntime computes: export it without them"
        )


def _has_sparse(nodes: Iterable[onnx.NodeProto]) -> bool:
    """Whether a sparse constant is among nodes' attributes, or in their subgraphs."""
    for attribute in (a for node in nodes for a in node.attribute):
        if attribute.type in _SPARSE:
            return True
        for graph in (attribute.g, *attribute.graphs):
            if graph.sparse_initializer or _has_sparse(graph.node):
                return True
    return False


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".;") if lines else type(error).__name__


def _check_opset(model: ir.Model, where: str) -> None:
    """Settle on one import of the standard domain, within what is supported."""
    imports = model.graph.opset_imports
    if "ai.onnx" in imports:
        alias = imports.pop("ai.onnx")
        imports.setdefault("", alias)
    for opset in [imports.get("")] + [f.opset_imports.get("") for f in model.functions.values()]:
        if opset is not None and not OLDEST_OPSET <= opset <= NEWEST_OPSET:
            raise ModelError(
                f"{where} uses opset {opset}; expected {OLDEST_OPSET} to {NEWEST_OPSET}: "
                "convert it with onnx.version_converter or export it again"
            )


def _check_references(proto: onnx.ModelProto, where: str) -> None:
    """Complain of attributes that stand for one of a function, outside of functions; of graphs too.

    Raises:
        ModelError: There is one.
    """
    for node, inside in _proto_nodes(proto):
        for attribute in node.attribute:
            graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
            if attribute.ref_attr_name and (not inside or attribute.type in graphs):
                raise ModelError(
                    f"{where}: attribute {attribute.name!r} of {node.op_type} node {node.name!r} "
                    f"refers to {attribute.ref_attr_name!r} of a function, and it is in none, or "
                    "holds a graph; export it again"
                )


def _proto_nodes(proto: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, bool]]:
    """Every node, subgraphs' too, and whether it is in a function."""
    left = [(node, False) for node in proto.graph.node]
    left += [(node, True) for function in proto.functions for node in function.node]
    while left:
        node, inside = left.pop()
        yield node, inside
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                left += [(inner, inside) for inner in graph.node]


def _graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """Every graph: the main one, functions' bodies and subgraphs of both."""
    yield from model.graphs()
    for function in model.functions.values():
        yield function.graph


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Every node, those of functions and subgraphs too."""
    for graph in [model.graph, *(function.graph for function in model.functions.values())]:
        yield from ir.traversal.RecursiveGraphIterator(graph)


def _tensors(model: ir.Model) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Every initializer and tensor attribute, with its name."""
    for graph in _graphs(model):
        for name, value in graph.initializers.items():
            if value.const_value is not None:
                yield name, value.const_value
    for node in _nodes(model):
        for attribute in node.attributes.values():
            if attribute.is_ref():
                continue
            if attribute.type == ir.AttributeType.TENSOR:
                yield attribute.value.name or node.outputs[0].name or "", attribute.value
            elif attribute.type == ir.AttributeType.TENSORS:
                for tensor in attribute.value:
                    yield tensor.name or node.outputs[0].name or "", tensor


def _check_external(tensor: ir.ExternalTensor, name: str, folder: Path, where: str) -> None:
    """External data must be a regular file inside the model's folder, and long enough."""
    location = str(cast(Any, tensor).location)
    problem = f"{where}: external data {location!r} of tensor {name!r}"
    if tensor.dtype == ir.DataType.STRING:
        raise ModelError(f"{problem} holds strings, which ONNX keeps in the model; export it again")
    root = os.path.realpath(folder)
    target = os.path.realpath(os.path.join(root, location))
    if os.path.isabs(location) or os.path.commonpath([root, target]) != root:
        raise ModelError(f"{problem} lies outside the model's folder; move it beside the model")
    try:
        status = os.stat(target)
    except OSError as error:
        raise ModelError(f"{problem} is missing; put the file beside the model") from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{problem} is not a file; put the data file beside the model")
    expected = tensor.nbytes
    if tensor.length is not None and tensor.length != expected:
        raise ModelError(
            f"{problem} says length {tensor.length}, but its shape needs {expected} bytes; "
            "export the model again"
        )
    start = tensor.offset or 0
    if start < 0 or start + expected > status.st_size:
        raise ModelError(
            f"{problem} is too short: {expected} bytes at offset {start} expected, the file has "
            f"{status.st_size}; copy the file again"
        )


def _adopt_external(model: ir.Model) -> None:
    """Make external tensors ordinary ones, so that no copy of the model points to the files.

    Large ones stay memory-mapped and are read when they are used.
    """
    for graph in _graphs(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = _in_memory(tensor)
        for node in graph:
            for key, attribute in list(node.attributes.items()):
                if isinstance(attribute.value, ir.ExternalTensor):
                    node.attributes[key] = ir.AttrTensor(key, _in_memory(attribute.value))


def _in_memory(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    values = tensor.numpy()
    values = values.copy() if tensor.nbytes <= SMALL else values
    return ir.Tensor(values, dtype=tensor.dtype, name=tensor.name)


def _name_contributed(model: ir.Model) -> None:
    """Give operators of onnxruntime's own that it saves without a domain the one of the others.

    Its optimizer makes them in networks of any opset; onnx.checker does not know them.
    """
    opset = model.graph.opset_imports.get("", _LAYER_NORMALIZATION)
    own = {"SimplifiedLayerNormalization"}
    own |= {"LayerNormalization"} if opset < _LAYER_NORMALIZATION else set()
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if not node.domain and node.op_type in own:
            node.domain = "com.microsoft"
            model.graph.opset_imports.setdefault("com.microsoft", 1)


def _check_structure(model: ir.Model, where: str) -> None:
    """onnx.checker on everything but the large weights.

    Three things that onnxruntime does not mind either are let through: nodes out of order (they are
    sorted), initializers that an IR version below 4 wants to see among the inputs, and inputs and
    outputs without a shape.
    """
    model.ir_version = max(model.ir_version, _FREE_INITIALIZERS)
    try:
        onnx.checker.check_model(_with_shapes(model))
        return
    except Exception as error:
        problem = error
    try:
        model.graph.sort()
        onnx.checker.check_model(_with_shapes(model))
    except Exception:
        raise ModelError(f"{where} is not valid ONNX: {_first_line(problem)}") from problem


def _with_shapes(model: ir.Model) -> onnx.ModelProto:
    """The model for the checker, which wants a shape, any, of every input and output."""
    proto = without_weights(model)
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return proto


def _holds_data(tensor: ir.TensorProtocol) -> bool:
    """Whether there is anything to read; onnx_ir takes zeros where a file holds none."""
    stored = tensor.raw
    return not isinstance(stored, onnx.TensorProto) or any(
        field.name.endswith("_data") for field, _ in stored.ListFields()
    )


def _check_values(model: ir.Model, where: str) -> None:
    """Every tensor has the data its shape needs; no NaN anywhere and no infinite weight.

    An infinite constant elsewhere may be meant (attention masks).
    """
    weights = {
        value.name
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        if node.op_type in PARAMETERISED
        for value in node.inputs
        if value is not None
    }
    for name, tensor in _tensors(model):
        if tensor.dtype == ir.DataType.STRING:
            continue
        if tensor.size and not _holds_data(tensor):
            raise ModelError(
                f"{where}: tensor {name!r} of shape {list(tensor.shape)} has no data; export it "
                "again"
            )
        try:
            values = tensor.numpy()
        except MemoryError:
            raise
        except Exception as error:
            raise ModelError(
                f"{where}: tensor {name!r} is damaged: {_first_line(error)}; export it again"
            ) from error
        if tensor.dtype not in FLOATS or not values.size:
            continue
        with np.errstate(invalid="ignore"):  # of NaN that signals
            ends = np.array([values.min(), values.max()], np.float64)
        kind = "NaN" if np.isnan(ends).any() else "infinity" if np.isinf(ends).any() else ""
        if kind == "NaN" or (kind and name in weights):
            raise ModelError(f"{where}: weight {name!r} holds {kind}; expected finite numbers")
