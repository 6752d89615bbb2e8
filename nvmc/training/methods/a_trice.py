"""A-TRICE: TRICE's noise, pushed once more in the direction that hurts most.

Yan, Hu and Shi, *Compute-in-Memory based Neural Network Accelerators for Safety-Critical Systems:
Worst-Case Scenarios and Protections*, arXiv:2312.06137 (2023). Of this paper only the abstract was
at hand, which says that A-TRICE "efficiently combines adversarial training and noise-injection
training with right-censored Gaussian noise". The A is for adversarial. What is our reading:

- the adversary moves weights, as deviations of devices do, and not images;
- it takes one signed step of the gradient (the fast gradient sign method of Goodfellow et al.,
  arXiv:1412.6572, on weights), taken at the noisy point: "efficiently";
- its bound is a largest deviation of every single weight, in units of what the device's sigma does
  to that weight, as the bound on devices after write-verify in the same authors' earlier paper
  (arXiv:2207.07626, of which a summary was at hand);
- sigma_t is searched as in TRICE, the size of the step is not;
- the adversary's pass leaves running statistics as they were.

The paper's own may differ in every one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from nvmc.torchgraph.tensors import Inputs
from nvmc.training.methods.injected import Strength, device_sigma
from nvmc.training.methods.trice import Trice
from nvmc.training.replica import Replica
from nvmc.training.run import Run

__all__ = ["ATrice"]


class ATrice(Trice):
    """TRICE in which every step descends at an adversarial point near the noisy one.

    Attributes:
        reach: Size of the adversary's step on every weight, in units of the weight's standard
            deviation over chips; 0 is TRICE.
        start, end, warm, tolerance, th: As in TRICE.
    """

    kind: ClassVar[str] = "a-trice"
    title: ClassVar[str] = "TRICE with adversarial weights (Yan, arXiv:2312.06137; our reading)"

    reach: Strength = 0.1

    def loss(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The loss at the adversarial point."""
        weights = self.weights(run, replica, generator)
        if self.reach > 0:
            weights = self._pushed(run, replica, weights, x, y, generator)
        return run.criterion(replica(x, weights, generator), y)

    def _pushed(
        self,
        run: Run,
        replica: Replica,
        weights: Mapping[str, Tensor],
        x: Inputs,
        y: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """The weights one signed step up the loss; gradients still reach the clean ones."""
        with replica.untouched():
            loss = run.criterion(replica(x, weights, generator), y)
            slopes = torch.autograd.grad(loss, list(weights.values()))
        steps = replica.crossbars.spread(self.reach * device_sigma(run.task, self.kind))
        return {
            name: weight + steps[name] * slope.sign()
            for (name, weight), slope in zip(weights.items(), slopes, strict=True)
        }
