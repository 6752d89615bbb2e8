"""detach-weights: a compiled network -> standard ONNX without its crossbar weights.

The Monte Carlo engine makes one session a chip. The network is serialised once, small, and each
session gets its weights as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnx_ir as ir

from nvmc.compiled.masks import Mask
from nvmc.compiled.stack import Stack
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target
from nvmc.passes.feed_masks import FeedMasks
from nvmc.passes.graph.describe import serialized, set_target
from nvmc.passes.graph.mappable import nodes_of
from nvmc.passes.program_chip import ProgramChip, arrays_of
from nvmc.passes.stack_chips import stacked

__all__ = [
    "DetachWeights",
    "Detached",
    "detached",
    "has_fixed_batch",
    "images_a_run",
]

BATCH_BYTES = 1 << 19
"""What the largest activation of a batch should take: it stays in a core's own cache."""
SHARED_BYTES = 1 << 22
"""What it may take where the images of a batch are few, and share the weights' way from memory."""
SHARING_IMAGES = 32
MOST_IMAGES = 256


@dataclass
class DetachWeights(ProgramChip):
    """As `ProgramChip`, but each array's initializer is external data that does not exist.

    Attributes:
        dtypes: What type the network wants each array's weight in, by name.
    """

    chip: Chip = field(init=False, default_factory=Chip.ideal)
    dtypes: dict[str, Any] = field(init=False, default_factory=dict[str, Any])

    def _weight(self, model: ir.Model, array: Array, dtype: ir.DataType) -> ir.Value:
        shape = ir.Shape(array.codes.shape)
        size = array.codes.size * dtype.numpy().itemsize
        tensor = ir.ExternalTensor("detached", 0, size, dtype, shape=shape, name=array.name)
        value = ir.Value(
            name=array.name, shape=shape, type=ir.TensorType(dtype), const_value=tensor
        )
        model.graph.register_initializer(value)
        self.dtypes[array.name] = dtype.numpy()
        return value


@dataclass(frozen=True)
class Detached:
    """A network and its weights apart.

    Attributes:
        model: Serialised standard ONNX; the weight of each array is missing external data.
        arrays: The arrays.
        dtypes: What type the network wants each array's weight in, by name.
        batch: Images per run: the network's own number, or what suits the cache where that is free.
        fixed: Whether that number is the network's own.
        stack: Several chips in one model, where that pays and their masks do not differ.
        masks: The random numbers that go in through inputs of their own.
    """

    model: bytes
    arrays: tuple[Array, ...]
    dtypes: dict[str, Any]
    batch: int
    fixed: bool
    stack: Stack | None
    masks: tuple[Mask, ...]


def detached(model: ir.Model, target: Target) -> Detached:
    """`model`, a compiled network that is used up by this, its arrays held by `target`.

    Raises:
        ArtifactError: It is not a compiled network.
    """
    set_target(model, target)
    arrays = tuple(arrays_of(model))
    detach = DetachWeights()
    detach(model)
    batch, fixed = images_a_run(model, SHARING_IMAGES), has_fixed_batch(model)
    feed = FeedMasks()
    feed(model)
    content = serialized(model)
    # No output may depend on an array: then the network has lost it on the way.
    arrays = tuple(array for array in arrays if array.name in model.graph.initializers)
    dtypes = {array.name: detach.dtypes[array.name] for array in arrays}
    stack = None if feed.masks else stacked(onnx.ModelProto.FromString(content), dtypes)
    return Detached(content, arrays, dtypes, batch, fixed, stack, feed.masks)


def images_a_run(model: ir.Model, sharing: int = 1) -> int:
    """The network's own first dimension, or what suits the cache where that is free.

    So many images that their largest activation stays in a core's own cache, at most
    `MOST_IMAGES`. Where that would be fewer than `sharing`, so many while the largest activation
    stays within `SHARED_BYTES`: the images of a run share the cost of its calls, and in deep
    layers with many weights and few pixels the weights' way from memory.
    """
    first = _first_size(model)
    if isinstance(first, int):
        return first
    largest = max((_image_bytes(value) for n in nodes_of(model) for value in n.outputs), default=1)
    cached, shared = BATCH_BYTES / largest, min(sharing, SHARED_BYTES / largest)
    return max(1, min(MOST_IMAGES, 1 << int(math.log2(max(1.0, cached, shared)))))


def has_fixed_batch(model: ir.Model) -> bool:
    """Whether the network takes one number of images only."""
    return isinstance(_first_size(model), int)


def _first_size(model: ir.Model) -> Any:
    return next(iter(model.graph.inputs[0].shape or ()), None)


def _image_bytes(value: ir.Value) -> int:
    """What one image takes in `value`, as far as its shape is known."""
    sizes = [size for size in list(value.shape or ())[1:] if isinstance(size, int)]
    width = 1 if value.dtype is None else value.dtype.numpy().itemsize
    return max(1, math.prod(sizes) * width)
