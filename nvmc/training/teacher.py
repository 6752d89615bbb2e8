"""Distillation: a clean network's outputs as a further goal of training."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

from nvmc.errors import ModelError
from nvmc.evaluation.reading import Reading
from nvmc.passes.widen_floats import HALVES, widen_floats
from nvmc.torchgraph.graph import Graph
from nvmc.torchgraph.tensors import Inputs

__all__ = ["TEMPERATURE", "Teacher"]

MISFITS = (ArithmeticError, LookupError, ModelError, RuntimeError, TypeError, ValueError)
"""What torch and the operators of a graph raise where its inputs have other shapes or names."""
TEMPERATURE = 2.0
"""What scores are divided by, so that a teacher that is sure of itself still ranks the classes."""


class Teacher:
    """A network in float32 on the CPU or the accelerator, without cells, whose outputs are met.

    Args:
        model: In canonical form; only read.
        scores: Name of the value that is compared.
        reading: How that value is read; of the trained network and of this one alike.
        accelerator: Where it runs.
    """

    def __init__(self, model: ir.Model, scores: str, reading: Reading, accelerator: str) -> None:
        model = model.clone()
        widen_floats(model, HALVES)
        self._graph = Graph.of(model).to(accelerator)
        self._graph.train(False)
        self._scores, self._reading = scores, reading

    def __call__(self, x: Inputs) -> Tensor:
        """Its scores or outputs (N, ...) of images (N, ...), without gradient.

        Raises:
            ModelError: It does not take these inputs.
        """
        with torch.no_grad():
            try:
                return self._graph(x, wanted=(self._scores,))[self._scores]
            except MISFITS as error:
                told = str(error).splitlines()[0]
                raise ModelError(
                    f"the teacher does not run on the inputs of the trained network: {told}; give "
                    "one that takes the same data"
                ) from error

    def loss(self, scores: Tensor, x: Inputs, probable: bool = False) -> Tensor:
        """How far the trained network's scores or outputs (N, ...) are from the teacher's.

        Args:
            scores: Of the trained network.
            x: The images that they are of.
            probable: Whether class scores are probabilities already, of both networks.

        Of class scores the Kullback-Leibler divergence of their softmax at `TEMPERATURE` times its
        square, which keeps gradients as large as those of the labels (Hinton, Vinyals and Dean,
        2015, arXiv:1503.02531, Sec. 2); of one score, or of one a label, the same of its sigmoid;
        of target values the mean squared error over the variance of the teacher's.
        """
        taught = self(x)
        if probable:
            scores, taught = (
                v.clamp(min=torch.finfo(v.dtype).tiny).log() for v in (scores, taught)
            )
        if self._reading.by_sign:
            wanted = (taught / TEMPERATURE).sigmoid()
            found = functional.binary_cross_entropy_with_logits(scores / TEMPERATURE, wanted)
            return TEMPERATURE**2 * (found - _entropy(torch.stack((wanted, 1 - wanted))))
        axis = self._reading.class_axis
        if axis is None:
            return functional.mse_loss(scores, taught) / taught.var(correction=0).clamp_min(1e-12)
        wanted = (taught / TEMPERATURE).softmax(axis)
        found = -(wanted * (scores / TEMPERATURE).log_softmax(axis)).sum(axis).mean()
        return TEMPERATURE**2 * (found - _entropy(wanted.movedim(axis, 0)))


def _entropy(shares: Tensor) -> Tensor:
    """Mean entropy of probabilities that lie along the first axis."""
    return -torch.xlogy(shares, shares).sum(0).mean()
