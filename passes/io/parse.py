"""Parse an ONNX file piece by piece, so that its bytes and its message never lie in memory twice.

Protobuf defines parsing a message in pieces, cut between fields, as merging what they hold.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError, Message

__all__ = ["ir_version_of", "parse_model"]

_GRAPH = 7
"""Field number of ModelProto.graph."""
_PIECE = 1 << 24
"""Bytes after which a piece is handed to protobuf."""
_IR_VERSION = 1
"""Field number of ModelProto.ir_version."""
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types of numbers of a fixed length -> bytes."""


def parse_model(file: BinaryIO, size: int) -> onnx.ModelProto:
    """The model in the first `size` bytes of `file`.

    Cost: the message and, beyond it, its largest field or 16 MiB.

    Raises:
        google.protobuf.message.DecodeError: The bytes are no such message.
    """
    model = onnx.ModelProto()
    _merge(model, file, size)
    return model


def ir_version_of(path: Path) -> int:
    """The IR version that a file says; 0 where it says none. The graph is passed over.

    Raises:
        google.protobuf.message.DecodeError: The file is no model.
        OSError: It cannot be read.
    """
    found = 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while file.tell() < size:
            key, _ = _varint(file)
            kind = key & 7
            if kind == _VARINT:
                value, _ = _varint(file)
                found = value if key >> 3 == _IR_VERSION else found
            elif kind in _FIXED:
                file.seek(_FIXED[kind], os.SEEK_CUR)
            elif kind == _BYTES:
                file.seek(_varint(file)[0], os.SEEK_CUR)
            else:
                raise DecodeError(f"wire type {kind} is unknown")
    return found


def _merge(message: Message, file: BinaryIO, size: int) -> None:
    """Merge the next `size` bytes into `message`; the graph of a model by its own fields."""
    end = file.tell() + size
    piece = bytearray()
    while file.tell() < end:
        key, raw = _varint(file)
        kind, field = key & 7, key >> 3
        if kind == _BYTES:
            length, prefix = _varint(file)
            if file.tell() + length > end:
                raise DecodeError("a field is longer than the message")
            if field == _GRAPH and isinstance(message, onnx.ModelProto):
                message.graph.SetInParent()
                _merge(message.graph, file, length)
                continue
            piece += raw + prefix + file.read(length)
        elif kind == _VARINT:
            piece += raw + _varint(file)[1]
        elif kind in _FIXED:
            piece += raw + file.read(_FIXED[kind])
        else:
            raise DecodeError(f"wire type {kind} is unknown")
        if len(piece) >= _PIECE:
            message.MergeFromString(bytes(piece))
            piece.clear()
    message.MergeFromString(bytes(piece))


def _varint(file: BinaryIO) -> tuple[int, bytes]:
    """The next variable-length number, and its bytes."""
    value, raw = 0, b""
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        raw += byte
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value, raw
    raise DecodeError("a number is cut short")
