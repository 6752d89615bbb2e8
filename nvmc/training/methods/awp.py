"""Adversarial weight perturbation: descend where the loss is worst nearby."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from nvmc.torchgraph.tensors import Inputs
from nvmc.training.method import Method
from nvmc.training.replica import Replica
from nvmc.training.run import Run

__all__ = ["Awp", "ascended", "projected"]

Loss = Callable[[Mapping[str, Tensor]], Tensor]


class Awp(Method):
    """The perturbation of the weights that raises the loss most, then a step down from there.

    min over w of max over v of loss(w + v), with |v_l| <= gamma |w_l| for the weight w_l of every
    layer. In each step v is found by `steps` steps of projected gradient ascent on the codes'
    weights, the gradient is taken at w + v and goes to w, and v is forgotten.

    Source: Wu, Xia and Wang, Adversarial Weight Perturbation Helps Robust Generalization, NeurIPS
    2020, arXiv 2004.05884: the layer-wise bound and the update of v of its Sec. 4, with the
    defaults of its experiments (gamma 5e-3, one step). What is left out: its adversarial inputs,
    since here weights move and not images (BayesFT uses it in the same way). As in the authors'
    code, biases and norm parameters are not perturbed, and the ascent leaves running statistics
    as they were.

    Attributes:
        gamma: Radius of the perturbation, relative to each weight tensor's norm.
        steps: Steps of ascent, each another pass forward and back.
        rate: Length of one of them, relative to that norm; None for gamma.
    """

    kind: ClassVar[str] = "awp"
    title: ClassVar[str] = "adversarial weight perturbation (Wu, NeurIPS 2020)"

    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-3
    steps: Annotated[int, Field(ge=1)] = 1
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def loss(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The loss at the perturbed weights."""
        weights = replica.crossbars.quantized()

        def at(moved: Mapping[str, Tensor]) -> Tensor:
            return run.criterion(replica(x, moved, generator), y)

        with replica.untouched():
            rate = self.gamma if self.rate is None else self.rate
            found = ascended(at, weights, self.gamma, self.steps, rate)
        return at({**weights, **{name: weights[name] + v for name, v in found.items()}})


def ascended(
    loss: Loss, weights: Mapping[str, Tensor], gamma: float, steps: int, rate: float
) -> dict[str, Tensor]:
    """Perturbations that raise the loss, of the weights of rank two and more.

    v <- P(v + rate |w| g / |g|) with g the gradient of the loss at w + v and P the projection onto
    |v| <= gamma |w|, for each tensor by itself, from v = 0.

    Args:
        loss: The loss as a function of the weights.
        weights: By name; only their values count.
        gamma: Radius, relative to |w|.
        steps: How often v is moved.
        rate: How far, relative to |w|.

    Returns:
        The perturbations by name, without gradients.
    """
    fixed = {name: weight.detach() for name, weight in weights.items()}
    found = {name: torch.zeros_like(w) for name, w in fixed.items() if w.ndim > 1}
    for _ in range(steps):
        moved = {name: (fixed[name] + v).requires_grad_() for name, v in found.items()}
        gradients = torch.autograd.grad(
            loss({**fixed, **moved}), list(moved.values()), materialize_grads=True
        )
        for name, gradient in zip(moved, gradients, strict=True):
            ahead = _unit(gradient) * (rate * _norm(fixed[name]))
            found[name] = projected(found[name] + ahead, fixed[name], gamma)
    return found


def projected(perturbation: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """The nearest perturbation of norm at most gamma times the weight's."""
    longest = gamma * _norm(weight)
    norm = _norm(perturbation)
    return torch.where(norm > longest, perturbation * (longest / norm), perturbation)


def _unit(direction: Tensor) -> Tensor:
    """The direction at length one; zero stays zero."""
    norm = _norm(direction)
    return direction / torch.where(norm == 0, 1.0, norm)


def _norm(tensor: Tensor) -> Tensor:
    return tensor.square().sum().sqrt()
