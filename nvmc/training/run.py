"""A training run as its method sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nvmc.data import IGNORED, Dataset
from nvmc.errors import DataError, ModelError
from nvmc.evaluation.reading import Reading
from nvmc.models.augment import Moves
from nvmc.passes.feed_masks import outputs_kinds
from nvmc.passes.graph.attributes import int_of
from nvmc.passes.two_classes import check_sign
from nvmc.runtime.averaging import kind_of
from nvmc.torchgraph.tensors import Inputs, taken
from nvmc.training.computed import ComputedWeight
from nvmc.training.draws import named_generator
from nvmc.training.evaluation import finished_network, judge
from nvmc.training.feeding import inputs_of
from nvmc.training.outcome import Judged
from nvmc.training.replica import Replica
from nvmc.training.task import Task
from nvmc.training.teacher import Teacher

__all__ = ["Run", "scores_of"]

PROBED = 8
"""Images whose outputs tell what they hold."""


class Run:
    """The networks, the data and the random streams of one training run.

    Args:
        model: The prepared network in canonical form.
        task: What it is trained for.
        replicas: Networks trained side by side, all alike at first.
        computed: Weights that are computed from others, which are trained instead.

    Attributes:
        model: The network; only read.
        task: What it is trained for.
        replicas: The networks in training.
        memory: The method's own state, by name.
        reading: How the output that is trained is read.
        steps_of_epoch: Batches that the training images make.
        teacher: A network whose outputs are to be met as well, or None.
        probable: Whether the class scores are probabilities, though no softmax stands last.
    """

    def __init__(
        self,
        model: ir.Model,
        task: Task,
        replicas: int,
        computed: Sequence[ComputedWeight] = (),
    ) -> None:
        self.model = model
        self.task = task
        self._x = inputs_of(model, task.train, task.settings.accelerator)
        self.steps_of_epoch = -(-len(task.train.x) // task.settings.batch)
        steps = self.steps_of_epoch * task.settings.epochs
        self.reading = task.read(model)
        scores = scores_of(model, self.reading) if task.classes else self.reading.output
        self.replicas = [Replica(model, task, steps, scores, computed) for _ in range(replicas)]
        some = _outputs_of(self.replicas[0], self._x)
        self._shape, axis = some.shape[1:], self.reading.class_axis
        # A softmax that the graph writes in another way, or clips, is told by its values.
        self.probable = _are_probabilities(some, axis)
        self.teacher = None if task.teacher is None else self._teacher(task.teacher, some.shape)
        self._y = self._known_of(task.train)
        self._variance = 1.0
        if task.train.targets is not None:
            self._variance = float(np.var(task.train.targets, axis=0, dtype=np.float64).mean())
        self.memory: dict[str, Any] = {}
        self._known: dict[int, tuple[int, Judged]] = {}

    @property
    def criterion(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of outputs against what is known of the images.

        Cross entropy of class scores or probabilities, with the classes along the reading's axis,
        and labels (N, ...); of a single score, which is that of class 1 of two, and of scores of
        several labels that are 0 or 1, binary cross entropy. Decisions whose label is `IGNORED` do
        not count. Where the task has values to be
        met, their mean squared error over the variance of all training targets, around each
        output's own mean: 1 - R^2, whatever the targets' unit.
        """
        if not self.task.classes:
            return partial(_squared_error, variance=self._variance)
        axis = self.reading.class_axis
        if self.single:
            return partial(_binary_cross_entropy, axis=axis)
        return partial(_cross_entropy, axis=axis or 1, probable=self.probable)

    @property
    def single(self) -> bool:
        """Whether one score a decision tells two classes apart, or yes from no of a label."""
        return self.reading.by_sign

    def _teacher(self, model: ir.Model, shape: tuple[int, ...]) -> Teacher:
        """The teacher of this run.

        Raises:
            ModelError: It does not take the same data, or has other outputs.
        """
        task = self.task
        reading = replace(task, reading=None).read(model)
        scores = scores_of(model, reading) if task.classes else reading.output
        teacher = Teacher(model, scores, reading, task.settings.accelerator)
        some = teacher(taken(self._x, slice(PROBED))).cpu().numpy()
        found = tuple(some.shape)
        if found == shape and _are_probabilities(some, reading.class_axis) != self.probable:
            raise ModelError(
                f"the outputs of the {'trained network' if self.probable else 'teacher'} are "
                "probabilities, and those of the other are not; export both with the same end"
            )
        if found != shape or reading.holds != self.reading.holds:
            raise ModelError(
                f"the teacher's output {reading.output!r} has {list(found[1:])} {reading.holds} an "
                f"image, that of the trained network {list(shape[1:])} {self.reading.holds}; give "
                "a teacher with the same outputs"
            )
        return teacher

    def right(self, scores: Tensor, y: Tensor) -> Tensor:
        """Which of the decisions that count are those of the labels, in one row."""
        axis = self.reading.class_axis
        decided = _logits(scores, axis) > 0 if self.single else scores.argmax(axis)
        return (decided == y)[y != IGNORED]

    def generator(self, *names: str | int) -> torch.Generator:
        """The random stream of these names, on the accelerator."""
        settings = self.task.settings
        return named_generator(settings.seed, *names, device=settings.accelerator)

    def batches(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Images (N, ...) with labels or targets of one epoch, in an order named by the epoch."""
        settings = self.task.settings
        order = torch.randperm(
            len(self._y), generator=named_generator(settings.seed, "order", epoch)
        ).to(self._y.device)
        moved = settings.augment and Moves(**settings.augment.model_dump())
        generator = self.generator("augment", epoch)
        for chosen in torch.split(order, settings.batch):
            x, y = taken(self._x, chosen), self._y[chosen]
            if moved and isinstance(x, Tensor):
                are_maps = self.task.train.y is not None and y.shape[1:] == x.shape[2:]
                x, maps = moved(x, generator, y if are_maps else None, IGNORED)
                y = y if maps is None else maps
            yield x, y

    def validation(self) -> tuple[Inputs, Tensor]:
        """The held-out images with their labels or targets."""
        data = self.task.validation
        x = inputs_of(self.model, data, self.task.settings.accelerator)
        return x, self._known_of(data)

    def _known_of(self, data: Dataset) -> Tensor:
        """Labels or targets, in the shape that the outputs want.

        Raises:
            DataError: They have another.
        """
        accelerator = self.task.settings.accelerator
        if data.y is None:
            return torch.tensor(data.targets_for(self._shape)).to(accelerator)
        axis = self.reading.class_axis
        wanted = tuple(size for at, size in enumerate(self._shape, 1) if at != axis)
        found = data.y.shape[1:]
        if found != wanted:
            raise DataError(
                f"{data.name} has labels of shape {list(found)} an image, but the network decides "
                f"{list(wanted)} of them; give one label a decision"
            )
        return torch.tensor(data.y).to(accelerator)

    def kpp(self, replica: Replica) -> float:
        """k-th percentile performance of the replica's chips on the held-out images.

        Cost: `Settings.chips` chips; nothing where the weights have not changed since.
        """
        return self.judged(replica).kpp

    def judged(self, replica: Replica) -> Judged:
        """The replica on the held-out images, as ideal chip and as `Settings.chips` chips."""
        position = self.replicas.index(replica)
        known = self._known.get(position)
        if known is None or known[0] != replica.version:
            model = finished_network(self.model, replica, self.task.options)
            known = self._known[position] = (replica.version, judge(model, self.task))
        return known[1]


def _are_probabilities(outputs: NDArray[Any], axis: int | None) -> bool:
    """Whether class scores (N, ...) are a softmax that the graph writes in another way."""
    return bool(axis) and kind_of(np.moveaxis(outputs, axis or 1, 1)) == "probabilities"


def _outputs_of(replica: Replica, x: Inputs) -> NDArray[Any]:
    """Of the first images."""
    replica.train(False)
    with torch.no_grad():
        return replica(taken(x, slice(PROBED))).cpu().numpy()


def _squared_error(outputs: Tensor, targets: Tensor, variance: float) -> Tensor:
    return functional.mse_loss(outputs, targets) / variance


def _logits(scores: Tensor, axis: int | None) -> Tensor:
    """Single scores in the shape of their labels: without the axis of size 1 that they may have."""
    return scores if axis is None else scores.squeeze(axis)


def _cross_entropy(scores: Tensor, labels: Tensor, axis: int, probable: bool) -> Tensor:
    if probable:
        scores = scores.clamp(min=torch.finfo(scores.dtype).tiny).log()
    if bool((labels == IGNORED).all()):
        return _nothing(scores)
    return functional.cross_entropy(scores.movedim(axis, 1), labels, ignore_index=IGNORED)


def _nothing(scores: Tensor) -> Tensor:
    """The loss of a batch without a known label, whose mean would be 0 / 0: none, and no slope."""
    return scores.sum() * 0


def _binary_cross_entropy(scores: Tensor, labels: Tensor, axis: int | None) -> Tensor:
    flat, counted = _logits(scores, axis), labels != IGNORED
    if not bool(counted.any()):
        return _nothing(scores)
    target = labels.clamp(min=0).to(flat.dtype)
    weight = None if bool(counted.all()) else counted.to(flat.dtype) / counted.double().mean()
    return functional.binary_cross_entropy_with_logits(flat, target, weight)


def scores_of(model: ir.Model, reading: Reading) -> str:
    """Name of the output that is trained, or of what enters its softmax or sigmoid.

    Raises:
        ModelError: The softmax does not run over the classes, or a sigmoid stands elsewhere than
            last.
    """
    output = next(value for value in model.graph.outputs if value.name == reading.output)
    if reading.by_sign:
        return _logit_of(model, output)
    node = output.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.op_type not in ("LogSoftmax", "Softmax"):
        return str(output.name)
    value = node.inputs[0]
    axis = int_of(node, "axis", -1)
    rank = len(output.shape or ())
    classes = reading.class_axis or 0
    if value is None or axis not in (classes, classes - rank):
        raise ModelError(
            f"output {output.name!r} is a softmax along axis {axis}, but its classes lie along "
            f"axis {classes}; give --class-axis {axis}, or export the network so"
        )
    return str(value.name)


def _logit_of(model: ir.Model, output: ir.Value) -> str:
    """The single score whose sign decides, before a sigmoid."""
    check_sign(model, str(output.name))
    if output.dtype is not None and not output.dtype.is_floating_point():
        raise ModelError(
            f"output {output.name!r} holds {output.dtype.name}, which has no gradient; export the "
            "score that it is made of"
        )
    node = output.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is not None and node.op_type == "Sigmoid" and node.inputs[0] is not None:
        return str(node.inputs[0].name)
    if outputs_kinds(model)[str(output.name)] != "scores":
        raise ModelError(
            f"output {output.name!r} is one probability, but its sigmoid is not the last node; "
            "export the network with the sigmoid last, or without it"
        )
    return str(output.name)
