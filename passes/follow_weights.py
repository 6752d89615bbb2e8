"""Where weights are in a network that onnxruntime has optimised, and how they lie there.

The network is optimised with weights that are zero but for some numbers, by which each is found in
what onnxruntime saves: as it was, or in blocks of channels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["Form", "Marks", "Optimised", "marked", "read_optimised"]

Float = NDArray[np.float32]
Marks = Mapping[str, tuple[tuple[int, ...], NDArray[np.int64], Float]]
"""Of each weight its shape, and the flat places and values of its numbers that are not zero."""

_MOST = 1 << 30
"""Bytes of other initializers that the optimised network may hold."""
_BLOCKS = (8, 16, 4)
"""Channels of a block, by kind of processor."""
_LINE = 16
"""Numbers in a cache line."""
_USED_AS_THEY_ARE = frozenset(["Conv", "ConvTranspose"])
"""Operators whose kernels compute with what a session is given; others pack it for themselves."""


@dataclass(frozen=True)
class Form:
    """How an initializer of the optimised network follows from a weight.

    Attributes:
        source: The weight's name.
        shape: The initializer's.
        block: Output channels of a block; 0 where it is the weight itself.
        both: Whether input channels come in blocks too.
    """

    source: str
    shape: tuple[int, ...]
    block: int = 0
    both: bool = False

    def of(self, weight: Float) -> Float:
        """The initializer: the very array, or a new one, padded with zeros."""
        if not self.block:
            return weight
        found = _aligned(self.shape)
        if self.shape != weight.shape:
            found[weight.shape[0] // self.block * self.block :] = 0
        size, inputs, window = self.block, self.shape[1], self.shape[2:]
        steps = (inputs // size, size) if self.both else (inputs, 1)
        blocks = found.reshape(-1, steps[0], *window, steps[1], size)
        missing = [(0, inputs - weight.shape[1]) if axis == 1 else (0, 0) for axis in range(4)]
        for number, block in enumerate(blocks):
            rows = weight[number * size : (number + 1) * size]
            if missing[1][1]:
                rows = np.pad(rows, missing)
            parts = rows.reshape(len(rows), *steps, *window)
            block[..., : len(rows)] = parts.transpose(1, 3, 4, 2, 0)
        return found


@dataclass(frozen=True)
class Optimised:
    """An optimised network without its weights.

    Attributes:
        model: Serialised; made for this kind of processor and version of onnxruntime.
        forms: By the name of each initializer that it lacks.
        packed: Bytes of those which kernels may pack for themselves.
    """

    model: bytes
    forms: Mapping[str, Form]
    packed: int


def marked(model: bytes, weights: Sequence[str], file: Path) -> tuple[bytes, Marks] | None:
    """The network with weights in a file, zeros but for some numbers, other ones in each.

    Args:
        model: Serialised; the weights are initializers whose external data do not exist.
        weights: Their names.
        file: Is written; the network names it as beside itself. Zeros take no room on the disk.

    Returns:
        None where the network has branches or loops, or some weight is not float32.
    """
    proto = onnx.ModelProto.FromString(model)
    if any(entry.HasField("g") for node in proto.graph.node for entry in node.attribute):
        return None
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in weights]
    if len(tensors) < len(weights) or any(t.data_type != onnx.TensorProto.FLOAT for t in tensors):
        return None
    marks = _write(tensors, file)
    return proto.SerializeToString(), marks


def read_optimised(
    model: bytes, weights: Marks, file: Path, data: Path, named: str
) -> Optimised | None:
    """What onnxruntime saved of a network that was `marked`.

    Args:
        model: The network that was marked.
        weights: How.
        file: The optimised network.
        data: Its initializers, all of them.
        named: File beside the network that its missing weights are said to be in.

    Returns:
        None where some weight is found less often than the network uses it, so that onnxruntime
        has computed with it.
    """
    before = onnx.ModelProto.FromString(model).graph.node
    uses = Counter(name for node in before for name in node.input if name in weights)
    proto = onnx.load(str(file), load_external_data=False)
    firsts = {float(values[0]): name for name, (_, _, values) in weights.items()}
    forms: dict[str, Form] = {}
    others = 0
    for tensor in proto.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if "location" not in entries:
            continue
        length = int(entries["length"])
        saved = np.fromfile(data, np.uint8, length, offset=int(entries["offset"]))
        form = _form(tensor, saved, firsts, weights)
        if form is not None:
            forms[tensor.name] = form
            _be_external(tensor, named, 0, length)
            continue
        others += length
        if others > _MOST:
            return None
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
        tensor.raw_data = saved.tobytes()
    kept: Counter[str] = Counter()
    packed: dict[str, int] = {}
    for node in proto.graph.node:
        for name in node.input:
            if name not in forms:
                continue
            kept[forms[name].source] += 1
            if node.op_type not in _USED_AS_THEY_ARE:
                packed[name] = 4 * math.prod(forms[name].shape)
    if kept != uses or len(kept) < len(weights):
        return None
    return Optimised(proto.SerializeToString(), forms, sum(packed.values()))


def _write(tensors: Sequence[Any], path: Path) -> Marks:
    random, start = np.random.default_rng(0), 0
    marks: dict[str, tuple[tuple[int, ...], NDArray[np.int64], Float]] = {}
    with path.open("wb") as file:
        for number, tensor in enumerate(tensors, 1):
            shape = tuple(int(size) for size in tensor.dims)
            size = math.prod(shape)
            places = np.unique(np.append(random.integers(0, max(1, size), 64), 0))[:size]
            values = number + random.random(len(places), np.float32)
            marks[tensor.name] = shape, places, values
            for place, value in zip(places.tolist(), values, strict=True):
                file.seek(start + 4 * place)
                file.write(value.tobytes())
            _be_external(tensor, path.name, start, 4 * size)
            start += -(-4 * size // 4096) * 4096
        file.truncate(start)  # what was not written is a hole
    return marks


def _be_external(tensor: Any, location: str, offset: int, size: int) -> None:
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", size)):
        tensor.external_data.add(key=key, value=str(value))


def _aligned(shape: tuple[int, ...]) -> Float:
    """An array that begins with a cache line, so that no register is loaded across two."""
    held = np.empty(math.prod(shape) + _LINE, np.float32)
    first = -held.ctypes.data // held.itemsize % _LINE
    return held[first : first + math.prod(shape)].reshape(shape)


def _form(
    tensor: Any, saved: NDArray[np.uint8], firsts: Mapping[float, str], marks: Marks
) -> Form | None:
    """Which weight an initializer was saved from, and in what form, if both are known."""
    if tensor.data_type != onnx.TensorProto.FLOAT or not len(saved):
        return None
    values = saved.view(np.float32)
    source = firsts.get(float(values[0]))  # all forms begin with the same element
    if source is None:
        return None
    shape, places, numbers = marks[source]
    weight = np.zeros(shape, np.float32)
    np.put(weight, places, numbers)
    for form in _forms(source, shape, tuple(tensor.dims)):
        if np.array_equal(form.of(weight).reshape(-1), values):
            return form
    return None


def _forms(source: str, shape: tuple[int, ...], dims: tuple[int, ...]) -> Iterator[Form]:
    if dims == shape:
        yield Form(source, dims)
    if len(shape) != 4 or dims[2:] != shape[2:]:
        return
    for block in _BLOCKS:
        whole = tuple(-(-size // block) * block for size in shape[:2])
        if dims[0] != whole[0]:
            continue
        if dims[1] == shape[1]:
            yield Form(source, dims, block)
        if dims[1] == whole[1]:
            yield Form(source, dims, block, both=True)
