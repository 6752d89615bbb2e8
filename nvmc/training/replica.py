"""One network in training: its graph in torch, its crossbars, its optimiser."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nvmc.errors import ModelError, TrainingError
from nvmc.passes.vary_activations import VaryActivations
from nvmc.passes.widen_floats import HALVES, widen_floats
from nvmc.torchgraph.graph import Graph, write_values
from nvmc.torchgraph.layout import channels_last_pays
from nvmc.torchgraph.operators.convolution import conv_channels_last
from nvmc.torchgraph.tensors import Inputs
from nvmc.training.activations import LearnedRanges, rounding_of, within_half
from nvmc.training.circuit.calibration import calibrate, converter_images, is_due
from nvmc.training.circuit.choice import circuit_of
from nvmc.training.computed import Computed, ComputedWeight, Estimator, Weights
from nvmc.training.crossbars import Crossbars
from nvmc.training.feeding import inputs_of
from nvmc.training.optimizers import Pace, optimizer_of, pace_of, schedule_of
from nvmc.training.task import Task
from nvmc.training.varying import Varying

__all__ = ["Replica", "copied"]

Taps = Mapping[str, Callable[[Tensor], Tensor]]


class Replica:
    """One network in training, in float32 where the source has half precision.

    Args:
        model: The network in canonical form; only read.
        task: What it is trained for.
        steps: Optimiser steps of the whole run, for the schedule.
        scores: Name of the value that the loss is taken of.
        computed: Weights that are computed from others, which are trained instead.

    Raises:
        ModelError: The network has nothing to train.
        TrainingError: It has an operator that cannot be trained.

    Attributes:
        graph: The network as a torch module.
        computed: What computes weights of it from others.
        crossbars: Its weights as cells hold them.
        activations: Rounding of what enters the layers; None where it is not asked for.
        varying: Noise of activations.
        version: Counts changes of the weights.
    """

    def __init__(
        self,
        model: ir.Model,
        task: Task,
        steps: int,
        scores: str,
        computed: Sequence[ComputedWeight] = (),
    ) -> None:
        settings = task.settings
        model = model.clone()
        widen_floats(model, HALVES)  # half precision has too few digits for an optimiser's steps
        self.activations = rounding_of(model, task)
        varied = VaryActivations(task.target.device.noise, marking=True)
        varied(model)
        self.varying = Varying(varied.found)
        self._estimator, self._steps = Estimator(), steps
        estimated = {"Sign": self._estimator.sign} if settings.estimator == "ede" else {}
        instead = dict[str, Callable[..., Any]](estimated)
        if settings.accelerator == "cpu" and channels_last_pays(model.graph):
            instead["Conv"] = conv_channels_last
        bound = [one.name for one in computed if not one.is_weight]
        held = [stop for one in computed for stop in one.stops]
        self.circuit = circuit_of(model, task, self.activations)
        nodes = self.circuit.functions if self.circuit else None
        graph = Graph.of(model, instead, trained=bound, held=held, nodes=nodes)
        self.graph = graph.to(settings.accelerator)
        if not self.graph.weights:
            raise ModelError("the network has no layer with weights to train; give one that has")
        ours = [weight for weight in computed if weight.name in self.graph.weights]
        self.computed = Computed(ours, estimated).to(settings.accelerator)
        for name in self.computed.names:
            self.graph.weights[name].requires_grad_(False)
        weights = Weights(self.graph.weights, self.computed)
        self.crossbars = Crossbars(model, weights, task.target, task.options.skip)
        if task.times_s is not None:
            self.crossbars.times_s = task.times_s
        if self.circuit is not None:
            self.circuit.crossbars = self.crossbars
            self.crossbars.read = self.circuit.by_lanes
        trained = [w for name, w in self.graph.weights.items() if name not in self.computed.names]
        if isinstance(self.activations, LearnedRanges):
            trained.append(self.activations.reach)
        widths = self.crossbars.learn_widths() if settings.clip == "learned" else None
        self.widths = None if widths is None else widths.to(settings.accelerator)
        trained += [] if self.widths is None else self.widths.parameters()
        self.optimizer = optimizer_of([*trained, *self.computed.latent.values()], settings)
        self.schedule = schedule_of(self.optimizer, settings, steps)
        self.version = 0
        self._clip = settings.width
        self._scores = scores
        self._calibration = (model, converter_images(task), settings.accelerator)
        self._images: Inputs | None = None
        self._seen: int | None = None
        self._steps_of_epoch = max(1, steps // settings.epochs)

    def __call__(
        self,
        x: Inputs,
        weights: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
        taps: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> Tensor:
        """Class scores (N, C, ...) before any softmax, of images (N, ...).

        Args:
            x: Images, or the inputs by name.
            weights: What to compute with instead of the trained values of these names.
            generator: Where dropout draws from.
            taps: Functions on named values; where rounding stands too, it comes last.
        """
        return self.values(x, (self._scores,), weights, generator, taps)[self._scores]

    def values(
        self,
        x: Inputs,
        wanted: tuple[str, ...],
        weights: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
        taps: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """As a call, but the named values of the graph, with the scores among them."""
        with self._reading(weights, generator):
            return self._values(x, wanted, weights, generator, taps)

    def _values(
        self,
        x: Inputs,
        wanted: tuple[str, ...],
        weights: Mapping[str, Tensor] | None,
        generator: torch.Generator | None = None,
        taps: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        given = weights or {}
        own = {name: self.computed.value(name) for name in self.computed.names if name not in given}
        weights = {**own, **given}
        names = (*wanted, *(() if self._scores in wanted else (self._scores,)))
        noisy = _together(self.varying.taps(given), taps or {})
        found = self.graph(x, weights, taps=self._taps(noisy), wanted=names, generator=generator)
        return found

    def calibrate(self) -> None:
        """Find the ranges of converters that `nvmc compile` would find for the weights of now.

        Cost: one or two forward passes of the images that these come from.
        """
        if self.circuit is None or not self.circuit.target.needs_data:
            return
        if self._images is None:
            self._images = inputs_of(*self._calibration)
        circuit, training = self.circuit, self.graph.training
        if circuit.own is not None and circuit.own.looks:
            model = self._calibration[0].clone()
            write_values(model, self.numbers())
            circuit.own.look(model)
        weights = self.crossbars.quantized()
        self.train(False)
        with torch.no_grad(), circuit.reading(weights, None):
            calibrate(circuit, self._images, lambda x: self._values(x, (self._scores,), weights))
        self.train(training)

    def _reading(
        self, weights: Mapping[str, Tensor] | None, generator: torch.Generator | None
    ) -> AbstractContextManager[None]:
        """The circuit's, its ranges anew where that is due; nothing without a circuit."""
        if self.circuit is None:
            return nullcontext()
        step, training = self.schedule.last_epoch, self.graph.training
        self.circuit.exact = not training
        if training and weights is not None and step != self._seen:
            self._seen = step
            if is_due(step) or step % self._steps_of_epoch == 0:
                self.circuit.turn += 1
            if is_due(step):
                self.calibrate()
        if weights is not None and not bool(self.circuit.inputs.any()):
            self.calibrate()
        return self.circuit.reading(weights, generator)

    def numbers(self) -> dict[str, NDArray[Any]]:
        """Weights and statistics as they are now, by their names in the canonical network.

        Weights that one bit holds and that were binary in the source are so again: -s and +s.
        """
        found = {**self.graph.values(), **self.computed.values()}
        for name in self.crossbars.binary:
            found[name] = self.crossbars.held(name).ideal.cpu().numpy()
        return found

    def latent(self) -> dict[str, NDArray[Any]]:
        """As `numbers`, but what weights are computed from instead of these, by source names."""
        left = {k: v for k, v in self.numbers().items() if k not in self.computed.names}
        latent = self.computed.latent.items()
        return {**left, **{name: value.detach().cpu().numpy() for name, value in latent}}

    @property
    def scores(self) -> str:
        """Name of the value that the loss is taken of."""
        return self._scores

    def update(self, loss: Tensor) -> None:
        """One step of the optimiser and its schedule down the gradient of `loss`.

        Raises:
            TrainingError: The loss depends on no weight in a way that has a gradient.
        """
        if not loss.requires_grad:
            raise TrainingError(
                f"no gradient reaches a weight from {self._scores!r}: an operator on the way has "
                "none; export the network without it"
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.apply_gradients()

    def apply_gradients(self) -> None:
        """One step of the optimiser and its schedule along the gradients that are there."""
        with self.computed.within_half(), within_half(self.activations):
            self.optimizer.step()
        if self._clip is not None:
            self.crossbars.clip(self._clip)
        if self.widths is not None:
            self.widths.clip(self.crossbars.clipped())
        self.schedule.step()
        self._estimator.progress = min(1.0, self.schedule.last_epoch / max(1, self._steps))
        self.version += 1

    def follow(self, other: Replica, share: float) -> None:
        """Go that share of the way to the weights and statistics of `other`."""
        with torch.no_grad():
            own, wanted = self.tensors().values(), other.tensors().values()
            for mine, theirs in zip(own, wanted, strict=True):
                if mine.is_floating_point():
                    mine.lerp_(theirs, share)
                else:
                    mine.copy_(theirs)
        self.version += 1

    def copy_from(self, other: Replica) -> None:
        """Take over the weights, statistics and optimiser state of `other`."""
        self.load_state_dict(other.state_dict())

    @contextmanager
    def untouched(self) -> Generator[None]:
        """Running statistics and ranges are after the block what they were before it."""
        buffers = [buffer for module in self._modules() for buffer in module.buffers()]
        before = [buffer.clone() for buffer in buffers]
        yield
        for buffer, old in zip(buffers, before, strict=True):
            buffer.copy_(old)

    def train(self, mode: bool = True) -> None:
        """Training or evaluation mode."""
        for module in self._modules():
            module.train(mode)

    @property
    def pace(self) -> Pace:
        """How far it is; of an optimiser with betas, momentum is the first."""
        return pace_of(self.optimizer, self.schedule)

    def go_on_at(self, pace: Pace) -> None:
        """Be as far as `pace` says; the weights and the optimiser's state are not touched."""
        for group in self.optimizer.param_groups:
            group["lr"] = pace.rate
            if "betas" in group:
                group["betas"] = (pace.momentum, *group["betas"][1:])
            else:
                group["momentum"] = pace.momentum
        vars(self.schedule).update(
            last_epoch=pace.steps, _step_count=pace.steps + 1, _last_lr=[pace.rate]
        )
        self._estimator.progress = min(1.0, pace.steps / max(1, self._steps))

    @property
    def steps(self) -> int:
        """Steps of the optimiser in the whole run."""
        return self._steps

    def tensors(self) -> dict[str, Tensor]:
        """Weights, statistics and ranges, by module and name; the replica's own, not copies."""
        return {
            f"{label}.{name}": value
            for label, module in self._named_modules()
            for name, value in module.state_dict().items()
        }

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        with torch.no_grad():
            for name, own in self.tensors().items():
                own.copy_(tensors[name])
        self.version += 1

    def state_dict(self) -> dict[str, Any]:
        """All that another replica takes over; shares memory with the replica."""
        return {
            "tensors": self.tensors(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.load_tensors(state["tensors"])
        self.optimizer.load_state_dict(copied(state["optimizer"]))
        self.schedule.load_state_dict(copied(state["schedule"]))
        self._estimator.progress = min(1.0, self.schedule.last_epoch / max(1, self._steps))

    def _modules(self) -> list[nn.Module]:
        return [module for _, module in self._named_modules()]

    def _named_modules(self) -> list[tuple[str, nn.Module]]:
        computed = self.computed if self.computed.names else None
        modules = {
            "graph": self.graph,
            "activations": self.activations,
            "computed": computed,
            "circuit": self.circuit,
            "widths": self.widths,
        }
        return [(label, module) for label, module in modules.items() if module is not None]

    def _taps(self, taps: Taps) -> Taps:
        return taps if self.activations is None else _together(taps, self.activations.taps)


def _together(first: Taps, second: Taps) -> Taps:
    """Both; on a value that both act on, `second` acts on what `first` made."""
    both = {**first, **second}
    for name in first.keys() & second.keys():
        both[name] = _chained(first[name], second[name])
    return both


def _chained(
    first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    return lambda values: second(first(values))


def copied(value: Any) -> Any:
    """A deep copy of tensors in dicts and lists."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}  # pyright: ignore
    if isinstance(value, list | tuple):
        return type(value)(map(copied, value))  # pyright: ignore
    return value
