"""Claimed nodes at run time: weights programmed once a session, then the operator's kernel."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.operators import Op
from nvmc.errors import ProviderError
from nvmc.hardware.chip import Array, Chip, Programmed
from nvmc.hardware.devices import Target
from nvmc.hardware.tiling import Place
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.crossbar.operand import BEGINNING, CircuitOperand, ExactOperand, Operand, Start
from nvmc.runtime.crossbar.ranges import RangeObserver
from nvmc.runtime.provider.claims import Node

__all__ = ["Kernel", "NodeKernel", "ProgrammedArrays", "find_kernel"]

Inputs = list[NDArray[Any] | None]
Kernel = Callable[[Inputs, list[Operand], dict[str, Any]], list[NDArray[Any]]]


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


class ProgrammedArrays:
    """The programmed arrays of one session: each is programmed once, however many nodes use it.

    Attributes:
        target: The cells.
        chip: Which chip.
        observers: What is seen at each array, by name; None where nobody watches.
        start: Where among the images of a longer run the session starts.
    """

    def __init__(
        self,
        target: Target,
        chip: Chip,
        observers: dict[str, RangeObserver] | None = None,
        start: Start = BEGINNING,
    ) -> None:
        self.target = target
        self.chip = chip
        self.observers = observers
        self.start = start
        self._lock = Lock()
        self._contents: dict[str, bytes] = {}
        self._arrays: dict[str, tuple[Array, Programmed]] = {}
        self._exact: dict[str, Operand] = {}
        self._users: dict[str, int] = {}

    @property
    def circuit(self) -> bool:
        """Whether arrays are read through their periphery, rather than multiplied by exactly."""
        watched = self.observers is not None
        return watched or self.chip.needs_circuit or not self.target.periphery.ideal

    def operand(
        self, name: str, codes: NDArray[Any], scale: NDArray[Any], place: Place | None = None
    ) -> Operand:
        """The array called `name` on this chip, of `codes`'s shape, for one more node.

        `place` is how the node uses it: what the first node says is what the array is tiled for.

        Raises:
            ProviderError: Two nodes give the array different contents.
        """
        content = _digest(codes, scale)
        with self._lock:
            if self._contents.setdefault(name, content) != content:
                raise ProviderError(
                    f"array {name!r} has other codes or another scale than in another node; give "
                    "every array a name of its own"
                )
            if name not in self._users:
                self._program(name, codes, scale, place)
            user = self._users[name]
            self._users[name] = user + 1
            if not self.circuit:
                return self._exact[name]
            observer = None
            if self.observers is not None:
                observer = self.observers.setdefault(name, RangeObserver())
            return CircuitOperand(*self._arrays[name], self.chip, user, observer, self.start)

    def _program(
        self, name: str, codes: NDArray[Any], scale: NDArray[Any], place: Place | None
    ) -> None:
        """Program an array; what is kept shares no memory with the node's inputs."""
        target = self.target.of_array(name)
        if self.circuit:
            array = Array(name, np.array(codes), np.array(scale), target, place)
            self._arrays[name] = array, self.chip.program(array)
        else:
            array = Array(name, codes, scale, target, place)
            self._exact[name] = ExactOperand(np.array(self.chip.program(array).weights))
        self._users[name] = 0


def _digest(*arrays: NDArray[Any]) -> bytes:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


class NodeKernel:
    """One claimed node, called with views of its inputs, which it may not keep."""

    def __init__(self, node: Node, op: Op, crossbars: ProgrammedArrays) -> None:
        self._op = op
        self._function = find_kernel(op)
        self._crossbars = crossbars
        self._arrays: list[str] = node.attributes["arrays"]
        self._attributes = {k: v for k, v in node.attributes.items() if k != "arrays"}
        self._weights: list[Operand] | None = None

    def __call__(self, inputs: Inputs) -> list[NDArray[Any]]:
        """All outputs of the operator for the node's inputs (None where one is left out)."""
        given = dict(zip(self._op.function_inputs, inputs, strict=False))
        standard = [given.get(name) for name in self._op.inputs]
        with single_threaded_blas():  # whatever threads onnxruntime or the caller computes with
            if self._weights is None:
                self._weights = self._programmed(given)
            return self._function(standard, self._weights, dict(self._attributes))

    def _programmed(self, given: dict[str, Any]) -> list[Operand]:
        place = Place.of(self._op.name, self._attributes)
        operand = self._crossbars.operand
        return [
            operand(array, given[f"{weight}_codes"], given[f"{weight}_scale"], place)
            for weight, array in zip(self._op.weights, self._arrays, strict=True)
        ]
