"""Compiled networks ready to run as chips, and what their weights take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from nvmc.compiled.masks import ChipMasks, Mask, Outputs
from nvmc.compiled.stack import Stack, name_in_stack
from nvmc.hardware.chip import Array, Chip
from nvmc.runtime.layout import LaidOut, Layouts
from nvmc.runtime.memory import LARGE, check_memory, fitting_jobs

__all__ = [
    "CircuitNetwork",
    "Network",
    "Trial",
    "check_chips",
    "fitting_chips",
    "laid_out",
    "masks_of",
    "stack_laid_out",
    "weight_bytes",
]

SHARED_BY = 10
"""Groups of chips from which on their stack is optimised once: LeNet-5's takes 25 ms for that, and
saves each group 3 ms."""


@dataclass(frozen=True)
class _Runnable:
    """What both kinds of network have.

    Attributes:
        model: Serialised.
        output: Name of the output that is scored.
        batch: Images per run; fixed by the model or chosen for the cache, or the memory.
        fixed: Whether the model takes no other number.
        holds: What the output holds.
        masks: The random numbers that go in.
        passes: How many passes of a stochastic network are averaged.
        shape: Of the output for one image, once that is known: no chip may put out another.
        trial: How each chip finds what it corrects itself by; None where none does.
    """

    model: bytes
    output: str
    batch: int
    fixed: bool = False
    holds: Outputs = "scores"
    masks: tuple[Mask, ...] = ()
    passes: int = 1
    shape: tuple[int, ...] | None = None
    trial: Trial | None = field(default=None, compare=False, repr=False)

    @property
    def draws(self) -> bool:
        """Whether the network itself draws numbers at inference, so that passes differ."""
        return any(mask.source is None for mask in self.masks)

    @property
    def noisy_places(self) -> dict[str, tuple[str, ...]]:
        """The nodes whose inputs have noise, by its source (`Chip.activations`)."""
        sources = dict.fromkeys(mask.source for mask in self.masks if mask.source is not None)
        return {one: tuple(m.node for m in self.masks if m.source == one) for one in sources}


@dataclass(frozen=True, kw_only=True)
class Network(_Runnable):
    """A compiled network as standard ONNX without its crossbar weights.

    Every array's weight is an initializer of the array's name with external data, which is put in
    when a session is made.

    Attributes:
        arrays: The weights on crossbars.
        dtypes: What type the model wants each array's weight in, by name.
        stack: The network for several chips at once, where that pays; never where there are masks.
        layouts: The network as onnxruntime optimises it, where weights are large.
        stack_layouts: The stack as onnxruntime optimises it, where it is made often.
    """

    arrays: tuple[Array, ...]
    dtypes: dict[str, Any]
    stack: Stack | None = None
    layouts: Layouts = field(default_factory=Layouts, compare=False, repr=False)
    stack_layouts: Layouts = field(default_factory=Layouts, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class CircuitNetwork(_Runnable):
    """A compiled network for the provider; its metadata say which cells and periphery hold arrays.

    Attributes:
        turns: Steps of each image, where images are sequences for a network with states.
    """

    turns: int = 1


@dataclass(frozen=True, eq=False)
class Trial:
    """A network that each chip runs once, to find its corrections of another.

    Attributes:
        network: The network.
        inputs: All of its images, and what else it takes, in one run.
        images: How many.
        names: Its outputs, which are inputs of the other network.
    """

    network: Network | CircuitNetwork
    inputs: dict[str, NDArray[Any]]
    images: int
    names: tuple[str, ...]


def masks_of(network: Network | CircuitNetwork, chip: Chip) -> ChipMasks:
    """The numbers that a chip's network takes: those that it draws, and noise of activations."""
    return ChipMasks(network.masks, chip.seed, chip.index, chip.activations)


def weight_bytes(network: Network | CircuitNetwork) -> int:
    """Bytes that weights on crossbars take in a session; 0 of circuits, which are not estimated."""
    if isinstance(network, CircuitNetwork):
        return 0
    one = sum(a.codes.size * network.dtypes[a.name].itemsize for a in network.arrays)
    return one * (network.stack.count if network.stack else 1)


def laid_out(network: Network | CircuitNetwork) -> LaidOut | None:
    """The network as chips share it, where its weights are large and it can be; found once.

    Raises:
        OutOfMemoryError: There is too little memory for that, and so for one chip.
    """
    size = weight_bytes(network)
    if isinstance(network, CircuitNetwork) or network.stack or size < LARGE:
        return None
    return network.layouts.of(network.model, tuple(array.name for array in network.arrays), size)


def stack_laid_out(network: Network | CircuitNetwork, chips: int) -> LaidOut | None:
    """The stack as groups of chips share it, where so many chips make up for finding it.

    Raises:
        OutOfMemoryError: There is too little memory for that, and so for one group.
    """
    stack = None if isinstance(network, CircuitNetwork) else network.stack
    if stack is None or chips < SHARED_BY * stack.count:
        return None
    assert isinstance(network, Network)
    names: list[str] = []
    for array in network.arrays:
        joined = array.name in stack.joined
        copies = [name_in_stack(array.name, chip) for chip in range(stack.count)]
        names += [array.name] if joined else copies
    return network.stack_layouts.of(stack.model, names, weight_bytes(network))


def check_chips(network: Network | CircuitNetwork, jobs: int) -> None:
    """Make sure that so many chips at once have room.

    Raises:
        OutOfMemoryError: They have not.
    """
    check_memory(weight_bytes(network), jobs, laid_out(network) is not None)


def fitting_chips(network: Network | CircuitNetwork, wanted: int) -> int:
    """As many of the wanted chips at once as there is memory for, at least one."""
    size = weight_bytes(network)
    return wanted if size < LARGE else fitting_jobs(size, wanted, laid_out(network) is not None)
