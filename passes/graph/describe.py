"""What the pipelines ask of a model without knowing onnx_ir."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from nvmc.compiled.artifact import TARGET_KEY, TensorEntry
from nvmc.hardware.devices import Target

__all__ = ["opset_of", "serialized", "set_target", "tensor_entries"]

Model = ir.Model
"""The type, for annotations."""


def opset_of(model: Model) -> int:
    """Version of the standard operators that the model uses."""
    return model.opset_imports[""]


def serialized(model: Model) -> bytes:
    """The model as the bytes of an ONNX file."""
    return ir.to_proto(model).SerializeToString()


def set_target(model: Model, target: Target) -> None:
    """Let a compiled model's arrays be held by `target`."""
    model.metadata_props[TARGET_KEY] = target.model_dump_json()


def tensor_entries(values: Iterable[ir.Value]) -> list[TensorEntry]:
    """The manifest's rows for a model's inputs or outputs."""
    return [_entry(value) for value in values]


def _entry(value: ir.Value) -> TensorEntry:
    shape = None
    if value.shape is not None:
        shape = [size if isinstance(size, int) else size.value for size in value.shape]
    dtype = ir.DataType.FLOAT if value.dtype is None else value.dtype
    return TensorEntry(name=str(value.name), dtype=dtype.numpy().name, shape=shape)
