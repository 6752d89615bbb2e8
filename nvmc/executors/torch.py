"""Chips in torch, many at once: on a CUDA device, or on the CPU to check that.

The chips are those of every other engine: `Chip.program` draws their cells on the CPU, in threads,
while the device runs the chips before them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nvmc.compiled.masks import ChipMasks
from nvmc.errors import OptionError
from nvmc.evaluation.population import Workload
from nvmc.executors.torch_images import Images
from nvmc.executors.torch_network import (
    ChipsNetwork,
    exact_arithmetic,
    prepared,
)
from nvmc.executors.torch_weights import WeightProgrammer, tensor_of
from nvmc.hardware.chip import Chip
from nvmc.metrics import Total
from nvmc.runtime.averaging import mean_outputs
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.montecarlo import (
    CircuitNetwork,
    Network,
    Span,
    default_jobs,
)
from nvmc.runtime.networks import masks_of
from nvmc.runtime.tally import Tally

__all__ = ["TorchExecutor"]

_DEVICE_MEMORY = 4 << 30
"""Bytes that activations take on a CUDA device that has twice as much free."""
_HOST_MEMORY = 256 << 20
"""The same on the CPU."""

Weights = dict[str, Tensor]


class TorchExecutor:
    """Runs chips in torch, as many at once as the memory allows.

    Args:
        device: What torch calls it: `cuda`, `cuda:1`, `cpu`.
        memory: Bytes that activations may take; by default 4 GiB of a CUDA device, less where not
            twice as much is free, and 256 MiB on the CPU.
        jobs: Threads that program chips; as many as there are cores by default.

    Attributes:
        device: Where chips run.

    Raises:
        OptionError: torch does not know the device, or sees none of its kind.
    """

    def __init__(
        self,
        device: str = "cuda",
        memory: int | None = None,
        jobs: int | None = None,
    ) -> None:
        self.device = _device(device)
        self._memory = memory or _free_memory(self.device)
        self._jobs = jobs or default_jobs()
        self._ready: tuple[Workload, ChipsNetwork, Images] | None = None

    @property
    def name(self) -> str:
        """What it is, for people."""
        if self.device.type != "cuda":
            return f"torch on {self.device}"
        return f"{self.device}, {torch.cuda.get_device_name(self.device)}"

    @property
    def engine(self) -> str:
        """torch, with its version, and the kind of device."""
        return f"torch {torch.__version__} {self.device.type}"

    @property
    def plan(self) -> str:
        """How the network that was run last was run; empty before."""
        if self._ready is None:
            return ""
        found = self._ready[1]
        count = "1 chip" if found.chips == 1 else f"{found.chips} chips"
        way = f"{count} and {found.images} images at once"
        return f"{way}; {found.note}" if found.note else way

    @property
    def group(self) -> int:
        """How many chips the network that was run last takes at once; 1 before."""
        return 1 if self._ready is None else self._ready[1].chips

    def totals(
        self,
        workload: Workload,
        chips: Sequence[Chip],
        span: Span,
        done: Callable[[int, Total], None],
    ) -> None:
        """Run chips on some images; see `nvmc.evaluation.population.Executor`.

        Raises:
            OptionError: The network cannot run in torch, or does not fit into the memory.
            ModelError: torch cannot run it.
        """
        network = workload.network
        if network.trial is not None:
            raise OptionError(
                "an accelerator does not calibrate chips on images; leave --accelerator out, or "
                "--compensate affine and batchnorm"
            )
        if isinstance(network, CircuitNetwork):
            raise OptionError(
                "an accelerator runs chips at fidelity 'cells', but this network runs as circuits; "
                "use --fidelity cells or leave --accelerator out"
            )
        try:
            with single_threaded_blas(), exact_arithmetic(), torch.no_grad():
                with _fixed_order(self.device):
                    self._totals(workload, network, chips, span, done)
        except torch.OutOfMemoryError as error:
            raise OptionError(
                f"the network does not fit into the memory of {self.name}; free some of it or "
                "leave --accelerator out"
            ) from error

    def _totals(
        self,
        workload: Workload,
        network: Network,
        chips: Sequence[Chip],
        span: Span,
        done: Callable[[int, Total], None],
    ) -> None:
        if self._ready is None or self._ready[0] is not workload:
            self._ready = None  # let go of the memory first
            found = prepared(network, workload.feed, self.device, self._memory)
            images = Images(workload.feed, workload.metric, self.device, self._memory // 4)
            self._ready = workload, found, images
        _, on_device, images = self._ready
        run = _Run(workload, network, on_device, images, span)
        programming = WeightProgrammer(
            *(network, chips, run.count, self.device), jobs=self._jobs, memory=self._memory // 4
        )
        try:
            with programming:
                self._run(run, chips, programming, done)
        finally:
            self._ready = workload, run.on_device, images  # what took fewer images does so again

    def _run(
        self,
        run: _Run,
        chips: Sequence[Chip],
        programming: WeightProgrammer,
        done: Callable[[int, Total], None],
    ) -> None:
        """Run all groups, each reported once the device has the next one to compute."""
        last: tuple[range, Callable[[], list[Total]]] | None = None
        for group, weights in programming:
            totals = run.totals([chips[position] for position in group], weights)
            if last is not None:
                _report(*last, done)
            last = (group, totals)
        if last is not None:
            _report(*last, done)


@contextmanager
def _fixed_order(device: torch.device) -> Generator[None]:
    """On the CPU torch has one thread in the block: more would split its sums another way."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _report(
    group: range, totals: Callable[[], list[Total]], done: Callable[[int, Total], None]
) -> None:
    for position, total in zip(group, totals(), strict=False):  # behind the chips: what fills up
        done(position, total)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"accelerator is {name!r}; expected cuda or cuda:NUMBER") from error
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise OptionError(f"accelerator is {name!r}; expected cuda or cuda:NUMBER")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise OptionError(
            f"torch {torch.__version__} sees no CUDA device; install a CUDA build of torch or "
            "leave --accelerator out"
        )
    number: Any = device.index  # None where the name has none
    if number is not None and number >= count:
        raise OptionError(f"accelerator is {name!r}; torch sees cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", number or 0)


def _free_memory(device: torch.device) -> int:
    """What activations may take: a power of two, so that it is mostly the same number."""
    if device.type != "cuda":
        return _HOST_MEMORY
    free, _ = torch.cuda.mem_get_info(device)
    return min(_DEVICE_MEMORY, 1 << max(0, (free // 2).bit_length() - 1))


class _Run:
    """Some images of a workload, to be run by groups of chips."""

    def __init__(
        self,
        workload: Workload,
        network: Network,
        on_device: ChipsNetwork,
        images: Images,
        span: Span,
    ) -> None:
        self.network = network
        self.on_device = on_device
        self.count = on_device.chips
        self._workload = workload
        self._images = images
        self._span = span

    def totals(self, chips: Sequence[Chip], weights: Weights) -> Callable[[], list[Total]]:
        """Start a group of chips; what is returned waits for their totals.

        Raises:
            torch.OutOfMemoryError: They do not fit into the memory, one image at a time.
        """
        while True:
            try:
                return self._totals(chips, weights)
            except torch.OutOfMemoryError:
                size = self.on_device.images
                if self.on_device.fixed or size == 1:
                    raise
                self.on_device = replace(self.on_device, images=size // 2)

    def _totals(self, chips: Sequence[Chip], weights: Weights) -> Callable[[], list[Total]]:
        if self.network.masks:
            found = self._averaged(chips, weights)
            return lambda: found
        counted: Tensor | None = None
        tally = Tally(self._workload.metric, self._span.first, self.count)
        for first, outputs in self._outputs(weights, {}):
            hits = self._images.hits(outputs, first)
            if hits is None:
                tally.take(list(outputs.cpu().numpy()))
            else:
                counted = hits if counted is None else counted + hits
        return tally.totals if counted is None else _copied(counted)

    def _averaged(self, chips: Sequence[Chip], weights: Weights) -> list[Total]:
        """Totals of a network that draws numbers: all images, pass by pass."""
        masks = [masks_of(self.network, chip) for chip in chips]
        passes = (self._pass(masks, weights, number) for number in range(self.network.passes))
        means = mean_outputs(passes, self.network.holds)
        assert means is not None
        means = means.reshape(self.count, -1, *means.shape[1:])
        tally = Tally(self._workload.metric, self._span.first, self.count)
        tally.take(list(means))
        return tally.totals()

    def _pass(self, masks: list[ChipMasks], weights: Weights, number: int) -> NDArray[Any]:
        """The outputs of a pass, of shape (chips * images, …)."""
        found: list[NDArray[Any]] = []
        for first, outputs in self._outputs(weights, {"masks": masks, "number": number}):
            del first
            found.append(outputs.cpu().numpy())
        whole = np.concatenate(found, 1)
        return whole.reshape(-1, *whole.shape[2:])

    def _outputs(self, weights: Weights, drawn: dict[str, Any]) -> Iterator[tuple[int, Tensor]]:
        """The first image of each batch, and its outputs of shape (chips, images, …)."""
        size, end = self.on_device.images, self._span.end
        for first in range(self._span.first, end, size):
            images = self._images.batch(first, size)
            own = weights | (self._drawn(first, size, **drawn) if drawn else {})
            yield first, self.on_device.outputs(own, images)[:, : end - first]

    def _drawn(self, first: int, size: int, masks: list[ChipMasks], number: int) -> Weights:
        each = [mask.feed(number, first, size) for mask in masks]
        each += each[-1:] * (self.count - len(each))
        stacked = {k: np.stack([one[k] for one in each]) for k in each[0]}
        return {k: tensor_of(x).to(self._images.device) for k, x in stacked.items()}


def _copied(counted: Tensor) -> Callable[[], list[Total]]:
    """What waits until the device has computed the numbers, but not for what follows them."""
    if counted.device.type != "cuda":
        return lambda: _numbers(counted)
    host = torch.empty(counted.shape, dtype=counted.dtype, pin_memory=True)
    host.copy_(counted, non_blocking=True)
    event = torch.cuda.current_stream(counted.device).record_event()

    def values() -> list[Total]:
        event.synchronize()
        return _numbers(host)

    return values


def _numbers(counted: Tensor) -> list[Total]:
    return cast(Any, counted).double().tolist()
