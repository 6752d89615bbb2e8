"""CorrectNet's error suppression: layers that do not amplify what variation adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

import onnx_ir as ir
import torch
from pydantic import Field
from torch import Tensor

from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.tiling import Place, matrices
from nvmc.passes.graph.mappable import layers_of
from nvmc.torchgraph.tensors import Inputs
from nvmc.training.draws import TorchDraw
from nvmc.training.method import Method
from nvmc.training.methods.gaussian import NoiseInjection
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["Bound", "CorrectNet", "amplification", "penalty"]

DRAWS = 16
"""Chips that the variation is measured on."""


class Bound(Strict, frozen=True):
    """What a checkpoint keeps of `CorrectNet`: lambda."""

    bound: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CorrectNet(Method):
    """Regularisation of every layer's Lipschitz constant, variation included.

    loss + beta sum_l |W_l^T W_l - lambda^2 I|^2 (Frobenius), which draws all singular values of a
    weight matrix towards lambda, its spectral norm with them. A layer whose weights become
    W' = W (m + s z) amplifies by up to about lambda (m + 3 s), so

        lambda = k / (m + 3 s).

    For log-normal variation W' = W e^theta, theta ~ N(0, sigma^2), this is the paper's
    k / (e^(sigma^2/2) + 3 sqrt((e^(sigma^2) - 1) e^(sigma^2))). For any other device m and s are
    measured: gain and relative spread of the weights over chips, before the first epoch.

    Source: Eldebiky et al., CorrectNet, DATE 2023, arXiv 2211.14917, Sec. III (error
    suppression). Its text was not at hand beyond the abstract: lambda and the penalty follow what
    is known of it and an independent public implementation, and the default of beta is that
    implementation's. Left out: its second half, error compensation, which adds digital layers at
    places that reinforcement learning chooses; TRICE compares with the first half as well.

    Attributes:
        beta: Weight of the regularisation.
        k: Bound on a layer's amplification, chips included.
        bound: lambda itself; None for the rule above.
    """

    kind: ClassVar[str] = "correctnet"
    title: ClassVar[str] = "CorrectNet: Lipschitz regularisation with variation (DATE 2023)"

    keeps: ClassVar[type[Strict]] = Bound

    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2
    k: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    bound: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def check(self, task: Task) -> None:
        """Complain where the device's variation cannot be measured.

        Raises:
            NvmcError: It needs a sigma that nobody stated, or to know its tile.
        """
        if self.bound is None:
            NoiseInjection().check(task)

    def begin(self, run: Run) -> None:
        """Find lambda, and which matrices the weights are."""
        replica = run.replicas[0]
        run.memory["layers"] = _layers(run.model, run.task.options.skip, replica)
        run.memory["bound"] = self.bound or self.k / amplification(run, replica)

    def loss(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The criterion plus the regularisation."""
        weights = self.weights(run, replica, generator)
        plain = run.criterion(replica(x, weights, generator), y)
        return plain + self.beta * penalty(_views(weights, run), run.memory["bound"])

    def summary(self, run: Run) -> dict[str, Any]:
        """The bound, and every layer's spectral norm."""
        with torch.no_grad():
            weights = self.evaluated(run).crossbars.quantized()
            norms = {
                name: float(_spectral_norms(matrices(place, weights[name])).max())
                for name, place in run.memory["layers"].items()
            }
        return {"lambda": run.memory["bound"], "spectral_norms": norms}

    def state(self, run: Run) -> Bound:
        """The bound, which was measured with the threads that the run began with."""
        return Bound(bound=run.memory["bound"])

    def restore(self, run: Run, state: Bound, done: int) -> None:
        """See `state`."""
        run.memory["bound"] = state.bound


def amplification(run: Run, replica: Replica) -> float:
    """What a weight is multiplied by at most, m + 3 s where a chip has W' = W (m + s z).

    m is the slope of programmed weights against clean ones, s the root mean square of what is
    left over that of the clean weights; over all crossbars and `DRAWS` chips.
    """
    sources = run.task.target.device.sources(run.task.sigma)
    generator = run.generator("correctnet")
    with torch.no_grad():
        clean = replica.crossbars.quantized()
        chips = [replica.crossbars.programmed(sources, TorchDraw(generator)) for _ in range(DRAWS)]
        pairs = [(clean[name], chip[name]) for chip in chips for name in clean]
        square = sum(float((w.double() ** 2).sum()) for w, _ in pairs)
        if square == 0:
            return 1.0
        m = sum(float((w.double() * v).sum()) for w, v in pairs) / square
        rest = sum(float(((v - m * w.double()) ** 2).sum()) for w, v in pairs)
    return m + 3 * (rest / square) ** 0.5


def penalty(weights: Iterable[Tensor], bound: float) -> Tensor:
    """The sum of |W^T W - bound^2 I|^2 over matrices, with W W^T where that is smaller.

    The two differ by a constant. Equal to sum (s^2 - bound^2)^2 over the singular values s.

    Args:
        weights: Matrices of shape (..., rows, columns).
        bound: Where singular values are drawn to.
    """
    total = torch.zeros(())
    for weight in weights:
        gram = weight @ weight.mT if weight.shape[-2] < weight.shape[-1] else weight.mT @ weight
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        total = total.to(gram.device) + ((gram - bound**2 * identity) ** 2).sum()
    return total


def _spectral_norms(weights: Tensor) -> Tensor:
    values: list[Tensor] = [torch.linalg.matrix_norm(weight, 2) for weight in weights]
    return torch.stack(values)


def _layers(model: ir.Model, skip: tuple[str, ...], replica: Replica) -> dict[str, Place]:
    """How every trained crossbar weight is used, by its first use."""
    found: dict[str, Place] = {}
    for layer in layers_of(model, skip):
        for weight in layer.weights:
            name = str(weight.source.name)
            if name in replica.crossbars.names:
                found.setdefault(name, layer.place)
    return found


def _views(weights: Mapping[str, Tensor], run: Run) -> Iterable[Tensor]:
    return (matrices(place, weights[name]) for name, place in run.memory["layers"].items())
