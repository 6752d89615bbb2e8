"""Marks: which weights of a network are write-verified, the same on all of its chips."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.chip import Array

__all__ = ["Marks"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Marks:
    """The marked weights of a network's arrays; two are equal where their SHA-256 is.

    Attributes:
        sha256: Of the names, shapes and marks of all arrays, in the order of their names.
        marked: How many weights are marked.
        weights: How many there are.
        data: What the images are that say which; None where none do.
    """

    sha256: str
    marked: int = field(compare=False)
    weights: int = field(compare=False)
    data: str | None = field(default=None, compare=False)
    _bits: Mapping[str, bytes] = field(default_factory=dict[str, bytes], compare=False, repr=False)

    @classmethod
    def of(cls, masks: Mapping[str, Mask]) -> Self:
        """The marks of arrays by name, each of the shape of its codes."""
        digest = hashlib.sha256()
        bits: dict[str, bytes] = {}
        for name, mask in sorted(masks.items()):
            bits[name] = np.packbits(mask).tobytes()
            digest.update(f"{name} {mask.shape} ".encode())
            digest.update(bits[name])
        marked = sum(int(np.count_nonzero(mask)) for mask in masks.values())
        weights = sum(mask.size for mask in masks.values())
        return cls(digest.hexdigest(), marked, weights, None, bits)

    def mask(self, array: Array) -> Mask:
        """Whether each weight of an array is marked, an array of the shape of its codes.

        None is of an array that is not known, on which no scored output depends.
        """
        bits = self._bits.get(array.name)
        if bits is None:
            return np.zeros(array.codes.shape, np.bool_)
        found = np.unpackbits(np.frombuffer(bits, np.uint8), count=array.codes.size)
        return found.reshape(array.codes.shape).astype(np.bool_)
