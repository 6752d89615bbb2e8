"""Claimed nodes at run time: weights programmed once a session, then the operator's kernel."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.chip import Array, Chip
from nvmc.devices import Target
from nvmc.errors import ProviderError
from nvmc.ops import Op
from nvmc.runtime.provider.claims import Node

__all__ = ["Crossbars", "Kernel", "NodeKernel", "find_kernel"]

Inputs = list[NDArray[Any] | None]
Kernel = Callable[[Inputs, list[NDArray[np.float32]], dict[str, Any]], list[NDArray[Any]]]


def find_kernel(op: Op) -> Kernel:
    """The function that the operator's row names.

    Raises:
        ProviderError: There is none.
    """
    module, _, name = op.kernel.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ProviderError(f"operator {op.name} has no kernel {op.kernel!r}: {error}") from error


class Crossbars:
    """The programmed arrays of one session: each is programmed once, however many nodes use it.

    Attributes:
        target: The cells.
        chip: Which chip.
    """

    def __init__(self, target: Target, chip: Chip) -> None:
        self.target = target
        self.chip = chip
        self._lock = Lock()
        self._weights: dict[str, tuple[bytes, NDArray[np.float32]]] = {}

    def weights(self, name: str, codes: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.float32]:
        """What the array called `name` computes with on this chip, in `codes`'s shape.

        Raises:
            ProviderError: Two nodes give the array different contents.
        """
        content = _digest(codes, scale)
        with self._lock:
            if name not in self._weights:
                array = Array(name, codes, scale, self.target)
                self._weights[name] = content, np.array(self.chip.program(array).weights)
            found, weights = self._weights[name]
        if found != content:
            raise ProviderError(
                f"array {name!r} has other codes or another scale than in another node; give "
                "every array a name of its own"
            )
        return weights


def _digest(*arrays: NDArray[Any]) -> bytes:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


class NodeKernel:
    """One claimed node, called with views of its inputs, which it may not keep."""

    def __init__(self, node: Node, op: Op, crossbars: Crossbars) -> None:
        self._op = op
        self._function = find_kernel(op)
        self._crossbars = crossbars
        self._arrays: list[str] = node.attributes["arrays"]
        self._attributes = {k: v for k, v in node.attributes.items() if k != "arrays"}
        self._weights: list[NDArray[np.float32]] | None = None

    def __call__(self, inputs: Inputs) -> list[NDArray[Any]]:
        """All outputs of the operator for the node's inputs (None where one is left out)."""
        given = dict(zip(self._op.function_inputs, inputs, strict=False))
        if self._weights is None:
            self._weights = self._programmed(given)
        standard = [given.get(name) for name in self._op.inputs]
        return self._function(standard, self._weights, dict(self._attributes))

    def _programmed(self, given: dict[str, Any]) -> list[NDArray[np.float32]]:
        return [
            self._crossbars.weights(array, given[f"{weight}_codes"], given[f"{weight}_scale"])
            for weight, array in zip(self._op.weights, self._arrays, strict=True)
        ]
