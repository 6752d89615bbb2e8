"""A network in torch that runs several chips on the same images at once."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nvmc.errors import ModelError, NvmcError, OptionError, TrainingError
from nvmc.executors.torch_weights import tensor_of
from nvmc.hardware.chip import Chip
from nvmc.passes.weights_as_inputs import with_weights_as_inputs
from nvmc.runtime.montecarlo import Feed, Network
from nvmc.runtime.networks import masks_of
from nvmc.torchgraph.graph import Graph
from nvmc.torchgraph.operators.recurrent import gru, lstm, rnn
from nvmc.torchgraph.repeatable import repeatable

__all__ = ["ChipsNetwork", "exact_arithmetic", "prepared"]

MOST_IMAGES = 512
"""Most images at once: what is computed for nothing behind the last one stays small."""
MOST_CHIPS = 64
LEAST_CHIPS = 8
"""If fewer fit in at once, one chip is work enough for a device, and its kernels are the better."""
_TRIED_IMAGES = 2
_WITHIN = 2
"""What a run takes at most, in what its values take: operators need memory within themselves."""
_STEPPED: Mapping[str, Any] = {
    "GRU": partial(gru, fusing=False),
    "LSTM": partial(lstm, fusing=False),
    "RNN": partial(rnn, fusing=False),
}
"""torch's own recurrent kernels take one set of weights."""
_HARMLESS = (
    "There is a performance drop because we have not yet implemented the batching rule",
    "The given NumPy array is not writable",  # nothing writes to it
    "Deterministic behavior was enabled",  # cuBLAS: one stream computes the same every time
    ".* does not have a deterministic implementation",
)


@contextmanager
def exact_arithmetic() -> Generator[None]:
    """In the block torch multiplies float32 as such, not as TF32, and the same every time.

    The settings are the process's; they are as before behind the block.
    """
    backends: Any = torch.backends
    kinds = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    cudnn = backends.cudnn
    before = [kind.fp32_precision for kind in kinds]
    flags = (cudnn.deterministic, cudnn.benchmark)
    try:
        for kind in kinds:
            kind.fp32_precision = "ieee"
        cudnn.deterministic, cudnn.benchmark = True, False
        with repeatable(warn_only=True), warnings.catch_warnings():
            # An operator without a deterministic kernel only warns: the network is still to run.
            for message in _HARMLESS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision
        cudnn.deterministic, cudnn.benchmark = flags


@dataclass(frozen=True)
class ChipsNetwork:
    """A network on a device.

    Attributes:
        graph: The network, its crossbar weights being inputs.
        output: Name of the scored output.
        chips: How many run side by side; 1 where they run one after the other. This and `images`
            follow from the network, the number of all images and the memory alone, so no value
            depends on how many chips or images are asked.
        images: How many at once.
        fixed: Whether the network takes no other number of images.
        note: What was not possible, in words; empty where nothing was.
    """

    graph: Graph
    output: str
    chips: int
    images: int
    fixed: bool
    note: str = ""

    def outputs(self, chips: Mapping[str, Tensor], images: Mapping[str, Tensor]) -> Tensor:
        """The scored output, of shape (chips, images, …).

        Args:
            chips: Inputs that every chip has for itself, the chips along axis 0: weights, masks.
            images: Inputs that all chips share.

        Raises:
            ModelError: torch cannot run the network, or the output has no row per image.
        """
        try:
            found = _run(self.graph, self.output, chips, images, together=self.chips > 1)
        except (NvmcError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # torch raises many types without a common base
            raise ModelError(f"torch cannot run the network: {_first_line(error)}") from error
        size = len(next(iter(images.values())))
        if found.dim() < 2 or found.shape[1] != size:
            raise ModelError(
                f"output {self.output!r} has shape {list(found.shape[1:])} for {size} images; "
                "expected one row per image along its first axis: choose another with --output"
            )
        return found


def prepared(network: Network, feed: Feed, device: torch.device, memory: int) -> ChipsNetwork:
    """The network on `device`; whether its chips can run side by side is found out by trying.

    Args:
        network: The compiled network.
        feed: The images.
        device: Where it is to run.
        memory: Bytes that its activations may take.

    Raises:
        OptionError: It has an operator that torch's graph does not know.
        ModelError: torch cannot run it.
    """
    size = network.batch if network.fixed else min(_TRIED_IMAGES, len(feed))
    images = {k: tensor_of(x).to(device) for k, x in feed.batch(0, size).items()}
    chips = {k: x.to(device) for k, x in _two_chips(network, size).items()}
    alone = _graph(network, device, {})
    one = ChipsNetwork(alone, network.output, 1, size, network.fixed)
    expected = one.outputs(chips, images)
    inputs = {**images, **{k: x[0] for k, x in chips.items()}}
    footprint = -(-alone.footprint(inputs, [network.output]) // size)
    pairs = max(1, memory // (_WITHIN * max(1, footprint)))  # of a chip and an image
    many = size if network.fixed else min(MOST_IMAGES, len(feed), pairs)
    together = min(MOST_CHIPS, pairs // many, memory // max(1, _chip_bytes(chips)))
    one = replace(one, images=many)
    if together < LEAST_CHIPS:
        return one
    stacked = _graph(network, device, _STEPPED)
    problem = _tried(stacked, network.output, chips, images, expected)
    if problem:
        return replace(one, note=f"chips run one by one: {problem}")
    return ChipsNetwork(stacked, network.output, together, many, network.fixed)


def _chip_bytes(chips: Mapping[str, Tensor]) -> int:
    return sum(x[0].nbytes for x in chips.values())


def _graph(network: Network, device: torch.device, instead: Mapping[str, Any]) -> Graph:
    model = with_weights_as_inputs(network.model, [array.name for array in network.arrays])
    try:
        return Graph.of(model, instead).eval().to(device)
    except TrainingError as error:
        raise OptionError(
            f"the accelerator cannot run this network: {error}; leave --accelerator out"
        ) from error


def _two_chips(network: Network, images: int) -> dict[str, Tensor]:
    """The ideal chip and one with half its weights, for a trial."""
    # Two different chips: with equal ones a graph that mixes them up would pass the trial.
    chip = Chip.ideal()
    found: dict[str, Tensor] = {}
    for array in network.arrays:
        weights = tensor_of(chip.weights(array), network.dtypes[array.name])
        found[array.name] = torch.stack([weights, weights / 2])
    masks = masks_of(network, chip).feed(0, 0, images)
    return found | {k: torch.stack([tensor_of(x)] * 2) for k, x in masks.items()}


def _tried(
    graph: Graph,
    output: str,
    chips: Mapping[str, Tensor],
    images: Mapping[str, Tensor],
    expected: Tensor,
) -> str:
    """Why chips cannot run side by side; empty where they can.

    Rounding may differ, and move an activation by a step where those are quantised, so what is
    compared is the mean.
    """
    try:
        found = _run(graph, output, chips, images, together=True)
    except Exception as error:  # torch raises many types without a common base
        return _first_line(error)
    if found.shape != expected.shape:
        return f"the output has shape {list(found.shape)}; expected {list(expected.shape)}"
    difference = (found.double() - expected.double()).abs().nan_to_num().mean()
    if difference > 0.01 * expected.double().abs().nan_to_num().mean():
        return "the outputs differ from those of chips alone"
    return ""


def _run(
    graph: Graph,
    output: str,
    chips: Mapping[str, Tensor],
    images: Mapping[str, Tensor],
    *,
    together: bool,
) -> Tensor:
    def one(own: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> Tensor:
        return graph({**shared, **own}, wanted=[output])[output]

    if not together:
        count = len(next(iter(chips.values())))
        return torch.stack([one({k: x[i] for k, x in chips.items()}, images) for i in range(count)])
    side_by_side: Any = torch.func.vmap(one, in_dims=(0, None))
    return side_by_side(dict(chips), dict(images))


def _first_line(error: Exception) -> str:
    lines = [*str(error).splitlines()[:1], *getattr(error, "__notes__", [])]
    return " ".join(lines) or type(error).__name__
