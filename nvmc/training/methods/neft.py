"""Negative feedback training: what noisier or earlier outputs say is subtracted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx_ir as ir
import torch
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional

from nvmc.errors import TrainingError
from nvmc.passes.graph.layers import (
    ACTIVATIONS,
    NORMALIZATIONS,
    consumer,
    is_constant,
)
from nvmc.passes.graph.mappable import ahead_of, main_layers
from nvmc.torchgraph.tensors import Inputs, taken
from nvmc.training.draws import TorchDraw
from nvmc.training.method import Method
from nvmc.training.methods.gaussian import NoiseInjection
from nvmc.training.methods.injected import device_sigma
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["Neft", "fed_back", "pooled", "snapshot_values"]

BETAS = {"ovf": 1e-3, "irs": 1e-2}
"""The authors' beta for VGG-8 on MNIST."""
POOL = 4
"""A snapshot's image is averaged to at most so many rows and columns."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _parts(value: object) -> object:
    """The numbers of a text such as `0.15,0.1`, or a single one."""
    if isinstance(value, str):
        return value.split(",")
    return (value,) if isinstance(value, int | float) else value


Offsets = Annotated[tuple[Positive, ...], Field(min_length=1), BeforeValidator(_parts)]


class Neft(Method):
    """Noise injection whose output is corrected by weighted outputs that vary more.

    With the scores o of the network at the device's sigma_d and feedback outputs o_i,

        loss = CE((o - beta sum_i 10^-i o_i) / (n + 1), y),     i = 0 ... n - 1.

    Oriented variational forward (`ovf`): o_i are the scores of the same network under more noise
    than the chips have, sigma_d + 0.15, + 0.10 and + 0.05. Intermediate representation snapshot
    (`irs`): o_i are the scores of small heads on hidden values, from the shallowest on; the heads
    (average pooling, a hidden layer with ReLU, an output layer) train along and are not written.

    Source: Qin et al., NeFT: Negative Feedback Training to Improve Robustness of Compute-In-Memory
    DNN Accelerators, TCAD 2025, arXiv 2305.14561. Of the paper only the abstract was at hand; the
    loss, the offsets of sigma, the heads and beta follow the authors' published code
    (YifanQin-ND/NF_Training). Differences: noise is this device's own; the heads are free of
    noise, which is their code's default; they sit behind evenly spaced layers of any network, and
    pool to 4x4 where theirs pool to 6x6, 4x4 and 3x3.

    Attributes:
        variant: `ovf` or `irs`.
        beta: Strength of the feedback; None for 1e-3 (ovf) or 1e-2 (irs).
        offsets: What is added to sigma_d in each oriented forward, in its unit.
        snapshots: How many hidden values have a head.
        hidden: Width of a head.
    """

    kind: ClassVar[str] = "neft"
    title: ClassVar[str] = "negative feedback training (Qin, arXiv 2305.14561)"

    variant: Literal["ovf", "irs"] = "ovf"
    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    offsets: Offsets = (0.15, 0.10, 0.05)
    snapshots: Count = 3
    hidden: Count = 512

    def check(self, task: Task) -> None:
        """Complain where the device's noise cannot be injected, or has no sigma to add to.

        Raises:
            OptionError: By what is missing.
            TrainingError: There are no classes, or heads are to tell those of single pixels apart.
        """
        if not task.classes:
            raise TrainingError(
                "method 'neft' feeds back class scores, which are free of scale; the values of a "
                "regression are not: use method 'gaussian'"
            )
        if self.variant == "irs" and np.asarray(task.train.y).ndim != 1:
            raise TrainingError(
                "method 'neft' with variant=irs has heads for whole images and needs one label "
                "per image; use variant=ovf for dense prediction"
            )
        NoiseInjection().check(task)
        if self.variant == "ovf":
            device_sigma(task, self.kind)

    def begin(self, run: Run) -> None:
        """Make the heads of the snapshots."""
        if self.variant == "irs":
            names = snapshot_values(run.model, self.snapshots, _images_first(run))
            heads = self._heads(run, names)
            parameters = [part for head in heads for part in head]
            run.memory.update(names=names, heads=heads, optimizer=_adam(parameters))

    def step(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """One step of the network and of its heads."""
        if self.variant == "ovf":
            return super().step(run, replica, x, y, generator)
        optimizer: torch.optim.Optimizer = run.memory["optimizer"]
        optimizer.param_groups[0]["lr"] = replica.optimizer.param_groups[0]["lr"]
        optimizer.zero_grad()
        loss = super().step(run, replica, x, y, generator)
        optimizer.step()
        return loss

    def loss(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The criterion of the corrected scores."""
        weights = self.weights(run, replica, generator)
        if self.variant == "ovf":
            scores = replica(x, weights, generator)
            others = [
                replica(x, self._noisy(run, replica, generator, more), generator)
                for more in self.offsets
            ]
        else:
            names = tuple(run.memory["names"])
            values = replica.values(x, names, weights, generator)
            scores = values[replica.scores]
            heads = zip(names, run.memory["heads"], strict=True)
            others = [_scores(head, values[name]) for name, head in heads]
        beta = BETAS[self.variant] if self.beta is None else self.beta
        return run.criterion(fed_back(scores, others, beta), y)

    def weights(
        self, run: Run, replica: Replica, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """The weights of a fresh chip."""
        return self._noisy(run, replica, generator, 0.0)

    def tensors(self, run: Run) -> Mapping[str, Tensor]:
        """The heads."""
        heads: list[list[Tensor]] = run.memory.get("heads", [])
        return {
            f"heads.{number}.{at}": part
            for number, head in enumerate(heads)
            for at, part in enumerate(head)
        }

    def optimizers(self, run: Run) -> Mapping[str, torch.optim.Optimizer]:
        """The heads'; its rate is the network's in every step."""
        return {"optimizer": run.memory["optimizer"]} if self.variant == "irs" else {}

    def _noisy(
        self, run: Run, replica: Replica, generator: torch.Generator, more: float
    ) -> Mapping[str, Tensor]:
        sigma = device_sigma(run.task, self.kind) + more if more else run.task.sigma
        sources = run.task.target.device.sources(sigma)
        return replica.crossbars.programmed(sources, TorchDraw(generator))

    def _heads(self, run: Run, names: Sequence[str]) -> list[list[Tensor]]:
        """Weights and biases of each head, as the authors draw them (He, fan-out)."""
        replica = run.replicas[0]
        replica.train(False)
        with torch.no_grad():
            values = replica.values(taken(run.validation()[0], slice(1)), tuple(names))
        classes = values[replica.scores].shape[1]
        heads: list[list[Tensor]] = []
        for name in names:
            generator = run.generator("snapshot", name)
            head: list[Tensor] = []
            inputs = pooled(values[name]).shape[1]
            for width in (self.hidden, classes):
                weight = torch.empty(width, inputs, device=generator.device)
                weight.normal_(std=(2 / width) ** 0.5, generator=generator)
                head += [weight, torch.zeros(width, device=generator.device)]
                inputs = width
            heads.append([part.requires_grad_() for part in head])
        return heads


def fed_back(scores: Tensor, others: Sequence[Tensor], beta: float) -> Tensor:
    """(o - beta sum_i 10^-i o_i) / (n + 1) for n outputs o_i that feed back.

    Args:
        scores: The network's, of shape (N, C).
        others: The outputs fed back, of that shape, the most important first.
        beta: Strength of the feedback.
    """
    for i, other in enumerate(others):
        scores = scores - beta * 10.0**-i * other
    return scores / (len(others) + 1)


def pooled(values: Tensor) -> Tensor:
    """Hidden values as rows, images averaged to at most POOL x POOL; shape (N, features).

    Written as products with fixed matrices, whose gradients are the same on every run.
    """
    if values.ndim == 4:
        for axis in (2, 3):
            average = _averages(values.shape[axis], POOL).to(values)
            values = torch.movedim(torch.movedim(values, axis, -1) @ average.mT, -1, axis)
    return values.flatten(1)


def _averages(size: int, most: int) -> Tensor:
    """Means over `most` even parts of `size` places, as adaptive average pooling takes them."""
    parts = min(size, most)
    rows = torch.zeros(parts, size)
    for part in range(parts):
        start, stop = part * size // parts, -(-(part + 1) * size // parts)
        rows[part, start:stop] = 1 / (stop - start)
    return rows


def snapshot_values(
    model: ir.Model, count: int, usable: Callable[[list[str]], list[str]] = list
) -> list[str]:
    """Names of `count` hidden values, evenly spread, the shallowest first.

    Those are what layers give behind bias, normalisation and activation, wherever another layer
    still follows; all of them where there are fewer than `count`.

    Args:
        model: The network.
        count: Most values.
        usable: Which of the named values can have a head.

    Raises:
        TrainingError: The network has no hidden layer.
        ModelError: A layer lies in a subgraph.
    """
    layers = main_layers(model, "variant=irs", "where each image has one value of each layer")
    ahead = ahead_of(layers)
    names = usable([_site(la.node.outputs[0]) for la in layers if la.node in ahead])
    if not names:
        raise TrainingError(
            "the network has no hidden layer to take a snapshot of, with an image in each row; "
            "use variant=ovf"
        )
    count = min(count, len(names))
    return [names[i * len(names) // count] for i in range(count)]


def _images_first(run: Run) -> Callable[[list[str]], list[str]]:
    """Which values have images along their first axis, unlike steps of a recurrent layer."""

    def usable(names: list[str]) -> list[str]:
        images, replica = run.validation()[0], run.replicas[0]
        replica.train(False)
        with torch.no_grad():
            first = {n: taken(images, torch.zeros(n, dtype=torch.int64)) for n in (1, 2)}
            found = {n: replica.values(image, tuple(names)) for n, image in first.items()}
        return [k for k in names if all(v[k].ndim > 1 and len(v[k]) == n for n, v in found.items())]

    return usable


def _site(value: ir.Value) -> str:
    """The value behind the bias, normalisation and activation of a layer."""
    while (node := consumer(value)) is not None:
        biased = node.op_type == "Add" and any(map(is_constant, node.inputs))
        if not (biased or node.op_type in NORMALIZATIONS | ACTIVATIONS):
            break
        value = node.outputs[0]
        if node.op_type in ACTIVATIONS:
            break
    return str(value.name)


def _scores(head: Sequence[Tensor], values: Tensor) -> Tensor:
    first, bias, last, offset = head
    hidden = functional.relu(functional.linear(pooled(values), first, bias))
    return functional.linear(hidden, last, offset)


def _adam(parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters)
