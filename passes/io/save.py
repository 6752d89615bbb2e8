"""Write an ONNX file without a second copy of its weights in memory."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from nvmc.errors import ModelError
from nvmc.passes.io.without_weights import SMALL, bytes_of, without_weights

__all__ = ["LARGEST_FILE", "save_model"]

LARGEST_FILE = 2**31 - 2**24
"""Protobuf messages end at 2 GiB; 16 MiB are left for everything but the weights."""

# Field numbers of onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def save_model(model: ir.Model, path: Path) -> None:
    """Write `model` to `path`; weights beyond 2 GiB go to a file beside it.

    That file, `NAME.xxxxxxxxxxxxxxxx.data`, is named after its content: no other model that takes
    the place of this one, or whose place this one takes, ever finds weights that are not its own.

    A large initializer is written straight from its own memory, so this costs no copy of it.

    Raises:
        ModelError: An input or output has no shape.
        OSError: The file cannot be written.
        RuntimeError: onnx.checker refuses the model: a fault of the passes that made it.
    """
    ends = [("input", v) for v in model.graph.inputs] + [("output", v) for v in model.graph.outputs]
    for what, value in ends:
        if value.shape is None and isinstance(value.type, ir.TensorType):
            raise ModelError(
                f"{what} {str(value.name)!r} has no shape, and ONNX asks for one; give it one in "
                "the file"
            )
    try:
        onnx.checker.check_model(without_weights(model))
    except Exception as error:  # its ValidationError, or protobuf's own
        raise RuntimeError(f"{path.name} would not be valid ONNX: {error}") from error
    large = [
        (str(value.name), tensor)  # a tensor that models share may have another's name
        for value in model.graph.initializers.values()
        if (tensor := value.const_value) is not None and bytes_of(tensor) > SMALL
    ]
    if sum(tensor.nbytes for _, tensor in large) > LARGEST_FILE:
        ir.save(model, path, external_data=f"{path.name}.data")
        _name_data(path)
        return
    with _without(model, [tensor for _, tensor in large]):
        proto = ir.to_proto(model)
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    headers = [_header(name, tensor) for name, tensor in large]
    size = len(graph) + sum(
        len(_prefix(_INITIALIZER, len(header) + tensor.nbytes)) + len(header) + tensor.nbytes
        for header, (_, tensor) in zip(headers, large, strict=True)
    )
    with path.open("wb") as file:
        file.write(proto.SerializeToString())
        file.write(_prefix(_GRAPH, size) + graph)
        for header, (_, tensor) in zip(headers, large, strict=True):
            file.write(_prefix(_INITIALIZER, len(header) + tensor.nbytes) + header)
            _write(tensor, file)


def _name_data(path: Path) -> None:
    """Name a model's external data after their content."""
    data = path.with_name(f"{path.name}.data")
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    named = path.with_name(f"{path.name}.{digest[:16]}.data")
    data.rename(named)
    proto = onnx.load(path, load_external_data=False)
    for tensor in _initializers(proto.graph):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = named.name
    path.write_bytes(proto.SerializeToString())


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Those of a graph and of the graphs inside it."""
    yield from graph.initializer
    for attribute in (a for node in graph.node for a in node.attribute):
        for inner in (attribute.g, *attribute.graphs):
            yield from _initializers(inner)


@contextmanager
def _without(model: ir.Model, tensors: list[ir.TensorProtocol]) -> Generator[None]:
    """The model without those initializers, while the block runs."""
    graph = model.graph
    values = list(graph.initializers.values())
    gone = {id(tensor) for tensor in tensors}
    for value in values:
        if id(value.const_value) in gone:
            graph.initializers.pop(str(value.name))
    try:
        yield
    finally:
        graph.initializers.clear()
        for value in values:
            graph.register_initializer(value)


def _header(name: str, tensor: ir.TensorProtocol) -> bytes:
    """A TensorProto up to its raw data."""
    dims = [int(size) for size in tensor.shape.numpy()]
    proto = onnx.TensorProto(name=name, data_type=tensor.dtype.value, dims=dims)
    return proto.SerializeToString() + _prefix(_RAW_DATA, tensor.nbytes)


def _prefix(field: int, size: int) -> bytes:
    """Tag and length of a length-delimited protobuf field."""
    encoded = bytearray([field << 3 | 2])
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*encoded, size])


def _write(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    values = tensor.numpy() if isinstance(tensor, ir.Tensor) else None
    if values is not None and values.nbytes == tensor.nbytes and sys.byteorder == "little":
        file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    else:
        file.write(tensor.tobytes())
