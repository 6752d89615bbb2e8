"""Whether a serialised network holds float16, without onnx_ir's copy of it."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

__all__ = ["holds_float16"]

PARSED = 1 << 26
"""Bytes of a network above which it is not looked at."""


def holds_float16(model: bytes | str) -> bool:
    """Whether an input, output, weight or described value of a network is float16.

    Args:
        model: Serialised, or its file.

    Returns:
        False too where the network is larger than 64 MB, or none: others say what is wrong.
    """
    size = len(model) if isinstance(model, bytes) else Path(model).stat().st_size
    if size > PARSED:
        return False
    try:
        content = model if isinstance(model, bytes) else Path(model).read_bytes()
        graph = onnx.ModelProto.FromString(content).graph
    except DecodeError:
        return False
    kinds = {tensor.data_type for tensor in graph.initializer}
    values = (*graph.input, *graph.output, *graph.value_info)
    kinds |= {value.type.tensor_type.elem_type for value in values}
    return onnx.TensorProto.FLOAT16 in kinds
