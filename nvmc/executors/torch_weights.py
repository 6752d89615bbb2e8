"""Chips' weights for a torch device: programmed by threads ahead of the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nvmc.hardware.chip import Array, Chip
from nvmc.runtime.montecarlo import Network

__all__ = ["WeightProgrammer", "tensor_of"]


def tensor_of(array: NDArray[Any], dtype: Any = None) -> Tensor:
    """The numbers of `array` in the type that numpy calls `dtype`; may share its memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if dtype is None else tensor.to(_kind(dtype))


def _kind(dtype: Any) -> torch.dtype:
    return getattr(torch, np.dtype(dtype).name)


class WeightProgrammer:
    """The weights of groups of chips, in order; a context, behind which its threads have ended.

    Args:
        network: The network.
        chips: The chips.
        size: Chips in a group; the last chip fills up the last group.
        device: Where the weights go.
        jobs: Threads.
        memory: Bytes that groups which are programmed ahead may take; one is in any case.
    """

    def __init__(
        self,
        network: Network,
        chips: Sequence[Chip],
        size: int,
        device: torch.device,
        *,
        jobs: int,
        memory: int,
    ) -> None:
        self._network = network
        self._chips = chips
        self._size = size
        self._device = device
        self._ahead = max(1, min(-(-jobs // size), memory // max(1, size * self._chip_bytes())))
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="nvmc-program")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[range, dict[str, Tensor]]]:
        """Positions of the chips of each group, and its weights, of shape (size, …) each."""
        pending: deque[tuple[range, _Stack]] = deque()
        for first in range(0, len(self._chips), self._size):
            group = range(first, min(first + self._size, len(self._chips)))
            pending.append((group, self._begun(group)))
            if len(pending) > self._ahead:
                yield self._ended(*pending.popleft())
        while pending:
            yield self._ended(*pending.popleft())

    def _chip_bytes(self) -> int:
        kinds = self._network.dtypes
        return sum(a.codes.size * np.dtype(kinds[a.name]).itemsize for a in self._network.arrays)

    def _begun(self, group: range) -> _Stack:
        chips = [self._chips[position] for position in group]
        stack = _Stack(self._network, self._size, pinned=self._device.type == "cuda")
        stack.jobs = [
            self._pool.submit(stack.program, place, chip, array)
            for place, chip in enumerate(chips)
            for array in self._network.arrays
        ]
        return stack

    def _ended(self, group: range, stack: _Stack) -> tuple[range, dict[str, Tensor]]:
        for job in stack.jobs:
            job.result()
        stack.fill_up(len(group))
        weights = stack.weights
        return group, {k: x.to(self._device, non_blocking=True) for k, x in weights.items()}


class _Stack:
    """The weights of a group of chips in host memory, pinned where a device is to fetch them."""

    def __init__(self, network: Network, size: int, *, pinned: bool) -> None:
        self.jobs: list[Future[None]] = []
        self.weights: dict[str, Tensor] = {}
        for array in network.arrays:
            shape, kind = (size, *array.codes.shape), _kind(network.dtypes[array.name])
            self.weights[array.name] = torch.empty(shape, dtype=kind, pin_memory=pinned)

    def program(self, place: int, chip: Chip, array: Array) -> None:
        """Put the array of one chip in its place."""
        self.weights[array.name][place] = tensor_of(chip.weights(array))

    def fill_up(self, count: int) -> None:
        """Repeat the last of `count` chips."""
        for weights in self.weights.values():
            weights[count:] = weights[count - 1]
