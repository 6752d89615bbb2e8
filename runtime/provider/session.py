"""What the native half asks of Python for one onnxruntime session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from pydantic import ValidationError

from nvmc.compiled.operators import DOMAIN, OPS, VERSION
from nvmc.errors import ProviderError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target
from nvmc.hardware.options import problem
from nvmc.runtime.crossbar.observer import Observer
from nvmc.runtime.provider.claims import Claim, ClaimLog, Node, refusal
from nvmc.runtime.provider.kernels import NodeKernel, ProgrammedArrays, Watcher
from nvmc.runtime.provider.options import ProviderOptions

__all__ = [
    "ProviderSession",
    "arrays_made",
    "observe_arrays",
    "open_session",
    "use_chip",
    "watch_layers",
]

Seen = TypeVar("Seen", bound=Observer)

_chip: ContextVar[Chip | None] = ContextVar("nvmc_chip", default=None)
_observers: ContextVar[defaultdict[str, Any] | None] = ContextVar("nvmc_seen", default=None)
_watcher: ContextVar[Watcher | None] = ContextVar("nvmc_watcher", default=None)
_told: ContextVar[list[ProgrammedArrays] | None] = ContextVar("nvmc_told", default=None)


@contextmanager
def use_chip(chip: Chip) -> Generator[None]:
    """The sessions that this thread makes in the block run on `chip`, whatever their options."""
    token = _chip.set(chip)
    try:
        yield
    finally:
        _chip.reset(token)


@contextmanager
def observe_arrays(make: Callable[[], Seen]) -> Generator[defaultdict[str, Seen]]:
    """What is seen at every array of the sessions that this thread makes in the block, by name.

    Args:
        make: Makes the observer of an array.
    """
    observers = defaultdict[str, Seen](make)
    token = _observers.set(observers)
    try:
        yield observers
    finally:
        _observers.reset(token)


@contextmanager
def watch_layers(watcher: Watcher) -> Generator[None]:
    """Every run of a node of the sessions that this thread makes in the block is told `watcher`."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def arrays_made() -> Generator[list[ProgrammedArrays]]:
    """The arrays of the sessions that this thread makes in the block, in order."""
    made: list[ProgrammedArrays] = []
    token = _told.set(made)
    try:
        yield made
    finally:
        _told.reset(token)


class ProviderSession:
    """Claims nodes and makes their kernels, on one chip."""

    def __init__(self, options: ProviderOptions) -> None:
        self._options = options
        self._chip = _chip.get()
        self._observers = _observers.get()
        self._watcher = _watcher.get()
        self._claims = ClaimLog()
        self._crossbars: ProgrammedArrays | None = None
        self._graph = 0

    def claim(self, nodes: list[Mapping[str, Any]], target: str | None) -> list[bool]:
        """Which of a graph's `nvmc` nodes run here.

        Args:
            nodes: The fields of `Node`, one mapping a node.
            target: The model's metadata `nvmc.target`, JSON, or None.

        Raises:
            NvmcError: The target is damaged, the session's options do not fit it, or another
                version of nvmc compiled the network: as digital nodes it would be an ideal chip.
        """
        if target is not None and self._crossbars is None:
            cells = _parse(target)
            if self._chip is None:
                cells, chip = self._options.chip_of(cells)
            else:
                chip = self._chip
            self._crossbars = ProgrammedArrays(
                cells, chip, self._observers, self._options.start, self._watcher
            )
            told = _told.get()
            if told is not None:
                told.append(self._crossbars)
        self._graph -= 1  # onnxruntime asks about inner graphs first
        answers: list[bool] = []
        for node in map(Node.of, nodes):
            if node.domain == DOMAIN and node.version != VERSION:
                raise ProviderError(
                    f"the model imports {DOMAIN} version {node.version}; expected version "
                    f"{VERSION}: compile its source again with this nvmc"
                )
            claim = Claim(node, refusal(node, target is not None))
            self._claims.add(claim)
            answers.append(claim.accepted)
        return answers

    def compile(self, fields: Mapping[str, Any]) -> Callable[..., Any]:
        """The callable that runs a claimed node, of the graph that `claim` was asked about last.

        Raises:
            ProviderError: The operator's kernel is missing, or the node was never claimed.
        """
        node = Node.of(fields)
        if self._crossbars is None:
            raise ProviderError(f"node {node.name!r} was not claimed in this session")
        return NodeKernel(node, OPS[node.op], self._crossbars, self._graph)


def open_session(options: Mapping[str, str]) -> ProviderSession:
    """The Python half of a new onnxruntime session.

    Raises:
        OptionError: An option is unknown or no value of its kind.
    """
    return ProviderSession(ProviderOptions.of(options))


def _parse(target: str) -> Target:
    try:
        return Target.model_validate_json(target)
    except ValidationError as error:
        told = problem(error, Target)
        raise ProviderError(
            f"the model's metadata 'nvmc.target' is damaged ({told}); compile again"
        ) from error
