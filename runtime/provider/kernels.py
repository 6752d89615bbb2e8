"""Claimed nodes at run time: weights programmed once a session, then the operator's kernel."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
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
from nvmc.runtime.crossbar.results import Room, results_in
from nvmc.runtime.provider.claims import Node

__all__ = [
    "Call",
    "Kernel",
    "NodeKernel",
    "ProgrammedArrays",
    "Reading",
    "Watcher",
    "find_kernel",
]

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


@dataclass(frozen=True, eq=False)
class Reading:
    """One use of an array by a node; two are equal only where they are the same.

    Attributes:
        array: Name of the array.
        order: Where the node stands among all of the session's nodes.
        place: How the node uses the array.
    """

    array: str
    order: tuple[int, int] = (0, 0)
    place: Place | None = None


@dataclass(frozen=True)
class Call:
    """One run of a node, for who watches the session.

    Attributes:
        name: The node's name.
        op: Its operator.
        order: Where it stands among all of the session's nodes.
        arrays: What it reads, on target; copies.
        users: Number of the node among those that read each array.
        inputs: Of the standard operator, views that end with the run.
        outputs: What it gave, likewise.
        attributes: Its attributes.
        function: Its kernel.
    """

    name: str
    op: str
    order: tuple[int, int]
    arrays: tuple[Array, ...]
    users: tuple[int, ...]
    inputs: Inputs
    outputs: list[NDArray[Any]]
    attributes: dict[str, Any]
    function: Kernel

    def with_weights(self, weights: list[Operand]) -> list[NDArray[Any]]:
        """What the node gives for the same inputs with these weights."""
        with single_threaded_blas(), np.errstate(all="ignore"):
            return self.function(self.inputs, weights, dict(self.attributes))


Watcher = Callable[[Call], None]


class ProgrammedArrays:
    """The programmed arrays of one session: each is programmed once, however many nodes use it.

    All readings are registered while the session is made. So neither which node runs first nor
    which thread does decides their numbers, by which their noise is drawn.

    Attributes:
        target: The cells.
        chip: Which chip.
        observers: What is seen at each array, by name; None where nobody watches.
        watcher: Told of every run of a node; None where nobody watches.
        start: Where among the images of a longer run the session starts.
        weights: What each node reads on the chip.
    """

    def __init__(
        self,
        target: Target,
        chip: Chip,
        observers: defaultdict[str, Any] | None = None,
        start: Start = BEGINNING,
        watcher: Watcher | None = None,
    ) -> None:
        self.target = target
        self.chip = chip
        self.observers = observers
        self.start = start
        self.watcher = watcher
        self._lock = Lock()
        self._contents: dict[str, bytes] = {}
        self._known: dict[str, Array] = {}  # what chips share
        self._arrays: dict[str, tuple[Array, Programmed]] = {}
        self._exact: dict[str, Operand] = {}
        self._readings: dict[str, list[Reading]] = {}
        self._operands: dict[Reading, Operand] = {}
        self.weights: dict[object, list[Operand]] = {}

    def go_on(self, chip: Chip, start: Start) -> None:
        """Program another chip at the next run, as a session of its own would."""
        with self._lock:
            self.chip, self.start = chip, start
            self._arrays, self._exact, self._operands = {}, {}, {}
            self.weights = {}

    @property
    def circuit(self) -> bool:
        """Whether arrays are read through their periphery, rather than multiplied by exactly."""
        watched = self.observers is not None
        return watched or self.chip.needs_circuit or not self.target.ideal

    def register(self, reading: Reading) -> None:
        """Say that a node will read an array; before the session's first run."""
        with self._lock:
            readings = self._readings.setdefault(reading.array, [])
            readings.append(reading)
            readings.sort(key=lambda one: one.order)

    def operand(self, reading: Reading, codes: NDArray[Any], scale: NDArray[Any]) -> Operand:
        """The array of a reading on this chip, of `codes`'s shape; the same at every call.

        The first reading says how the array is tiled.

        Raises:
            ProviderError: Two nodes give the array different contents.
        """
        name, content = reading.array, _digest(codes, scale)
        with self._lock:
            if self._contents.setdefault(name, content) != content:
                raise ProviderError(
                    f"array {name!r} has other codes or another scale than in another node; give "
                    "every array a name of its own"
                )
            if name not in self._arrays and name not in self._exact:
                self._program(name, codes, scale, self._readings[name][0].place)
            if not self.circuit:
                return self._exact[name]
            if reading not in self._operands:
                self._operands[reading] = self._circuit_operand(reading)
            return self._operands[reading]

    def _circuit_operand(self, reading: Reading) -> CircuitOperand:
        name = reading.array
        observer = None if self.observers is None else self.observers[name]
        return CircuitOperand(
            *self._arrays[name], self.chip, self.user(reading), observer, self.start
        )

    def user(self, reading: Reading) -> int:
        """Number of a reading's node among those that read the array."""
        return self._readings[reading.array].index(reading)

    def array(self, reading: Reading, codes: NDArray[Any], scale: NDArray[Any]) -> Array:
        """The array of a reading, which shares no memory with the node's inputs."""
        name = reading.array
        place = self._readings[name][0].place
        return Array(name, np.array(codes), np.array(scale), self.target.of_array(name), place)

    def _program(
        self, name: str, codes: NDArray[Any], scale: NDArray[Any], place: Place | None
    ) -> None:
        """Program an array; what is kept shares no memory with the node's inputs."""
        target = self.target.of_array(name)
        if self.circuit:
            array = self._known.get(name)
            if array is None:
                array = Array(name, np.array(codes), np.array(scale), target, place)
                self._known[name] = array
            self._arrays[name] = array, self.chip.program(array)
        else:
            array = Array(name, codes, scale, target, place)
            self._exact[name] = ExactOperand(np.array(self.chip.weights(array)))


def _digest(*arrays: NDArray[Any]) -> bytes:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


class NodeKernel:
    """One claimed node, called with views of its inputs, which it may not keep.

    Args:
        node: The node.
        op: Its operator.
        crossbars: The session's arrays.
        graph: Number of the node's graph among the session's; of two, the outer one's is lower.
    """

    def __init__(self, node: Node, op: Op, crossbars: ProgrammedArrays, graph: int = 0) -> None:
        self._op = op
        self._function = find_kernel(op)
        self._crossbars = crossbars
        self._attributes = {k: v for k, v in node.attributes.items() if k != "arrays"}
        place = Place.of(op.name, self._attributes)
        self._name = node.name
        self._order = order = (graph, node.place)
        arrays: list[str] = node.attributes["arrays"]
        self._readings = [Reading(array, order, place) for array in arrays]
        for reading in self._readings:
            crossbars.register(reading)
        self._arrays: tuple[Array, ...] = ()

    def __call__(self, inputs: Inputs, room: Room | None = None) -> list[NDArray[Any]]:
        """All outputs of the operator.

        Args:
            inputs: Of the node, None where one is left out.
            room: From a shape to onnxruntime's own memory of the first output; nothing that lies
                there may be kept.
        """
        watched = self._crossbars.watcher is not None  # it may keep outputs
        given = dict(zip(self._op.function_inputs, inputs, strict=False))
        standard = [given.get(name) for name in self._op.inputs]
        # Whatever threads onnxruntime or the caller computes with; and without warnings of numbers
        # beyond float32, as onnxruntime's own kernels.
        with (
            single_threaded_blas(),
            np.errstate(all="ignore"),
            results_in(None if watched else room),
        ):
            kept = self._crossbars.weights
            if self not in kept:  # of several threads all get the same
                kept[self] = self._programmed(given)
            outputs = self._function(standard, kept[self], dict(self._attributes))
        if self._crossbars.watcher is not None:
            self._tell(self._crossbars.watcher, given, standard, outputs)
        return outputs

    def _tell(
        self,
        watcher: Watcher,
        given: dict[str, Any],
        inputs: Inputs,
        outputs: list[NDArray[Any]],
    ) -> None:
        if not self._arrays:
            self._arrays = tuple(
                self._crossbars.array(reading, given[f"{weight}_codes"], given[f"{weight}_scale"])
                for weight, reading in zip(self._op.weights, self._readings, strict=True)
            )
        users = tuple(map(self._crossbars.user, self._readings))
        op, attributes = self._op.name, self._attributes
        named = (self._name, op, self._order, self._arrays, users)
        watcher(Call(*named, inputs, outputs, attributes, self._function))

    def _programmed(self, given: dict[str, Any]) -> list[Operand]:
        return [
            self._crossbars.operand(reading, given[f"{weight}_codes"], given[f"{weight}_scale"])
            for weight, reading in zip(self._op.weights, self._readings, strict=True)
        ]
