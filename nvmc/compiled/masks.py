"""The random numbers of a stochastic network, each with a name.

It is what the pass that cuts them out of the graph and the engine that feeds them agree on.

A number is named by (seed, chip, node, pass, image): an image's masks depend neither on the batch
it is run in nor on the order of batches, passes or chips.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.rng import CountedDraw

__all__ = ["ChipMasks", "Mask", "Outputs"]

Outputs = Literal["scores", "probabilities", "log-probabilities", "values", "classes"]
"""What an output holds: scores that a softmax over axis 1 makes probabilities of, or those, or
values that stand for themselves (regression), or numbers of the classes decided for."""

_BLOCK_BITS = 256


@dataclass(frozen=True)
class Mask:
    """A graph input that stands for a node which drew numbers.

    Attributes:
        node: The node's name, which names its numbers.
        input: The graph input.
        shape: Sizes; 0 for the image axis.
        axis: The axis along which images lie; None where all images of a pass share the numbers.
        dtype: What the graph wants.
        law: `keep`: scale with probability 1 - rate, else 0, 16 random bits a number, so the rate
            is met to 2^-16. `uniform`: multiples of 2^-24 of low … high. `normal`: standard normals
            times scale plus mean.
        rate: Probability of 0.
        low: Lowest number of `uniform`.
        high: End of the numbers of `uniform`, not reached but by rounding.
        mean: Of the numbers of `normal`.
        scale: Their standard deviation.
        source: The noise source whose strength scales the numbers, as `Chip.activations` names it;
            None of what the network itself draws.
    """

    node: str
    input: str
    shape: tuple[int, ...]
    axis: int | None
    dtype: str
    law: Literal["keep", "uniform", "normal"]
    rate: float = 0.0
    low: float = 0.0
    high: float = 1.0
    mean: float = 0.0
    scale: float = 1.0
    source: str | None = None

    def draw(self, numbers: CountedDraw, number: int, first: int, count: int) -> NDArray[Any]:
        """The numbers of images `first` … in pass `number`, `count` along the image axis."""
        if self.axis is None:
            return self._values(numbers, number, 0, 1).reshape(self.shape)
        others = tuple(size for i, size in enumerate(self.shape) if i != self.axis)
        values = self._values(numbers, number, first, count).reshape(count, *others)
        return values if self.axis == 0 else np.moveaxis(values, 0, self.axis)

    def zeros(self, count: int) -> NDArray[Any]:
        """Silence for `count` images, in the shape of `draw`."""
        shape = tuple(count if i == self.axis else size for i, size in enumerate(self.shape))
        return np.zeros(shape, self.dtype)

    def _values(self, numbers: CountedDraw, number: int, first: int, count: int) -> NDArray[Any]:
        """Shape (count, numbers per image). An image begins with a block of its own."""
        sizes = (size for i, size in enumerate(self.shape) if i != self.axis)
        each, bits = math.prod(sizes), 16 if self.law == "keep" else 32
        kind = np.dtype(self.dtype)
        if self.law == "normal":
            images = range(first, first + count)
            normals = [numbers.normal((number, 0, image), (each,)) for image in images]
            return (self.mean + self.scale * np.stack(normals)).astype(kind, copy=False)
        blocks = -(-each * bits // _BLOCK_BITS)
        words = numbers.blocks((number, 0, 0), first * blocks, count * blocks)
        drawn = words.view(f"<u{bits // 8}").reshape(count, -1)[:, :each]
        if self.law == "keep":
            kept = drawn >= np.uint16(min(round(self.rate * 2**16), 2**16 - 1))
            return np.multiply(kept, kind.type(1 / (1 - self.rate)), dtype=kind)
        uniform = (drawn >> np.uint32(8)) * np.float32(2**-24)
        return (self.low + (self.high - self.low) * uniform).astype(kind, copy=False)


class ChipMasks:
    """The numbers of one chip.

    Args:
        masks: Which there are.
        seed: Population of chips.
        index: Which chip; None for the ideal one, which has numbers of its own.
        strengths: Of noise on activations, by the source's name; what is not there is silent.
    """

    def __init__(
        self,
        masks: Iterable[Mask],
        seed: int,
        index: int | None,
        strengths: Mapping[str, float] | None = None,
    ) -> None:
        ideal = ("ideal",) if index is None else ()
        known = strengths or {}
        self._draws = [
            (
                mask,
                1.0 if mask.source is None else known.get(mask.source, 0.0),
                CountedDraw(seed, index or 0, mask.node, mask.source or "mask", *ideal),
            )
            for mask in masks
        ]

    def feed(self, number: int, first: int, count: int) -> dict[str, NDArray[Any]]:
        """What the graph inputs get for `count` images from `first` in pass `number`."""
        found: dict[str, NDArray[Any]] = {}
        for mask, strength, numbers in self._draws:
            if mask.source is not None and not strength:
                found[mask.input] = mask.zeros(count)
                continue
            drawn = mask.draw(numbers, number, first, count)
            found[mask.input] = drawn if mask.source is None else drawn * drawn.dtype.type(strength)
        return found
