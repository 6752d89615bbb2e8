"""What the pipelines ask of a model without knowing onnx_ir."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.compiled.artifact import TARGET_KEY, TensorEntry
from nvmc.errors import ModelError
from nvmc.hardware.devices import Target
from nvmc.passes.io.save import LARGEST_FILE
from nvmc.passes.io.without_weights import SMALL

__all__ = [
    "one_image",
    "opset_of",
    "serialized",
    "serialized_apart",
    "set_target",
    "shape_of",
    "tensor_entries",
]

Model = ir.Model
"""The type, for annotations."""
Shape = list[int | str | None] | None


def one_image(inputs: Sequence[TensorEntry], outputs: Sequence[TensorEntry]) -> bool:
    """Whether a network surely takes one image at a time, without an axis of images.

    Its inputs' sizes are all fixed and begin with one above 1, of which no output's first is a
    multiple: (3, 8, 8) in, (4,) out.
    """
    first: list[int] = []
    for entry in inputs:
        sizes = [size for size in entry.shape or () if isinstance(size, int)]
        if not sizes or len(sizes) < len(entry.shape or ()) or sizes[0] <= 1:
            return False
        first.append(sizes[0])
    for entry in outputs:
        size = entry.shape[0] if entry.shape else None
        if entry.shape is None or (entry.shape and not isinstance(size, int)):
            return False
        if isinstance(size, int) and any(size % images == 0 for images in first):
            return False
    return bool(first and outputs)


def opset_of(model: Model) -> int:
    """Version of the standard operators that the model uses."""
    return model.opset_imports[""]


def serialized(model: Model, watched: Sequence[str] = ()) -> bytes:
    """The model as the bytes of an ONNX file.

    Args:
        model: As before when this returns.
        watched: Values of the main graph that are outputs too, in the file.

    Raises:
        ModelError: The main graph has no such value.
    """
    outputs = list(model.graph.outputs)
    known = {value.name: value for node in model.graph for value in node.outputs}
    for name in watched:
        if name in known and known[name] not in model.graph.outputs:
            model.graph.outputs.append(known[name])
        elif name not in known and name not in {value.name for value in model.graph.inputs}:
            raise ModelError(f"the network has no value {name!r} in its main graph to watch")
    try:
        return ir.to_proto(model).SerializeToString()
    finally:
        model.graph.outputs[:] = outputs


def serialized_apart(
    model: Model, watched: Sequence[str] = ()
) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """As `serialized`, and the large initializers beside it where one message cannot hold all.

    Returns:
        The bytes, whose large initializers are external data that does not exist, and their
        values by name; none where everything is in the bytes. No copies are made.
    """
    values = list(model.graph.initializers.values())
    held = [(value, value.const_value) for value in values if value.const_value is not None]
    if sum(tensor.nbytes for _, tensor in held) <= LARGEST_FILE:
        return serialized(model, watched), {}
    apart: dict[str, NDArray[Any]] = {}
    try:
        for value, tensor in held:
            if tensor.nbytes <= SMALL or not tensor.dtype.numpy().isbuiltin:
                continue
            name = str(value.name)
            apart[name] = np.ascontiguousarray(tensor.numpy())
            value.const_value = ir.ExternalTensor(
                "apart",
                0,
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=name,
            )
        return serialized(model, watched), apart
    finally:
        for value, tensor in held:
            value.const_value = tensor


def set_target(model: Model, target: Target) -> None:
    """Let a compiled model's arrays be held by `target`."""
    model.metadata_props[TARGET_KEY] = target.model_dump_json()


def tensor_entries(values: Iterable[ir.Value]) -> list[TensorEntry]:
    """The manifest's rows for a model's inputs or outputs."""
    return [_entry(value) for value in values]


def shape_of(value: ir.Value) -> Shape:
    """The shape of a value: names or None for free sizes; None where the rank is not known."""
    if value.shape is None:
        return None
    return [size if isinstance(size, int) else size.value for size in value.shape]


def _entry(value: ir.Value) -> TensorEntry:
    shape = shape_of(value)
    dtype = value.dtype or ir.DataType.FLOAT  # UNDEFINED is 0
    return TensorEntry(name=str(value.name), dtype=dtype.numpy().name, shape=shape)
