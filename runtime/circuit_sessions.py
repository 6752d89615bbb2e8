"""Sessions of a circuit that go on from chip to chip.

What onnxruntime makes of a network, and what an array is before it is programmed, are the same for
all chips. So a thread's next chip is programmed into the session of the one before.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from nvmc.hardware.chip import Chip
from nvmc.runtime.crossbar.operand import Start
from nvmc.runtime.networks import CircuitNetwork
from nvmc.runtime.provider import make_session
from nvmc.runtime.provider.kernels import ProgrammedArrays
from nvmc.runtime.provider.session import arrays_made

__all__ = ["CircuitSessions", "circuit_session"]


def circuit_session(network: CircuitNetwork, chip: Chip, first_image: int, count: int) -> Any:
    """A one-thread `onnxruntime.InferenceSession` of one chip.

    Args:
        network: The network.
        chip: The chip.
        first_image: Number of the first image that will be run: reads go on from there.
        count: Images that will be run.

    Raises:
        ModelError: onnxruntime refuses the network.
    """
    return make_session(
        network.model,
        chip=chip,
        quiet=True,
        first_image=first_image,
        images=_images_a_run(network, count),
        turns=network.turns,
    )


def _images_a_run(network: CircuitNetwork, count: int) -> int:
    return network.batch if network.fixed else min(network.batch, count)


@dataclass(frozen=True)
class _Held:
    session: Any
    arrays: list[ProgrammedArrays]


class CircuitSessions:
    """As many sessions of a network as there are chips at once.

    Args:
        network: The network.
    """

    def __init__(self, network: CircuitNetwork) -> None:
        self._network = network
        self._lock = Lock()
        self._idle: list[_Held] = []

    @contextmanager
    def on(self, chip: Chip, first_image: int, count: int) -> Generator[Any]:
        """A session that runs a chip, as `circuit_session` gives it; for the block."""
        with self._lock:
            held = self._idle.pop() if self._idle else None
        if held is None:
            with arrays_made() as arrays:
                held = _Held(circuit_session(self._network, chip, first_image, count), arrays)
        else:
            network = self._network
            start = Start(first_image, _images_a_run(network, count), network.turns)
            for each in held.arrays:
                each.go_on(chip, start)
        yield held.session  # where a run fails, its session is not used again
        with self._lock:
            self._idle.append(held)
