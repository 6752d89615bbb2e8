"""Inverted normalisation with affine dropout."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import onnx_ir as ir
from pydantic import Field

from nvmc.errors import TrainingError
from nvmc.passes.graph.layers import AFFINE_MARK
from nvmc.passes.invert_normalization import InvertNormalization, inverted_places
from nvmc.training.method import Method
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["Invnorm"]


class Invnorm(Method):
    """A Bayesian network whose randomness lies in its normalisation.

    Normalisation becomes N(gamma x + beta), also behind convolutions that had none, and behind
    recurrent layers where `recurrent` asks for it; gamma and beta are drawn anew (Sec. III-C) and
    dropped to one and zero with probability p in every step (Sec. III-B), each for the whole batch.
    Training is otherwise plain. What stands behind the normalisation (the scale of one and bias of
    zero that ONNX wants there) is not trained. KPPs in training are those of the network that drops
    nothing, which costs one pass; the mean of stochastic passes is `nvmc simulate --mc-passes`.

    Source: Ahmed et al., Inverted Normalization with Stochastic Affine Transformations, DATE 2024.

    Attributes:
        p: Probability that gamma, or beta, is dropped.
        granularity: `vector` drops all of it at once, `element` each number by itself.
        sigma_gamma: Standard deviation of new weights about one.
        sigma_beta: Standard deviation of new biases about zero.
        groups: Groups of channels, or of hidden units, that are normalised apart, where the network
            does not say.
        recurrent: Which LSTM, GRU and RNN get one over their hidden units: `off`, `each`, or the
            `last` ones.
        active: Whether the written network drops at inference too (Bayesian inference).
    """

    kind: ClassVar[str] = "invnorm"
    title: ClassVar[str] = "inverted normalisation and affine dropout (Ahmed et al., DATE 2024)"

    p: float = Field(0.3, ge=0, le=1)
    granularity: Literal["vector", "element"] = "vector"
    sigma_gamma: float = Field(0.3, ge=0, allow_inf_nan=False)
    sigma_beta: float = Field(0.3, ge=0, allow_inf_nan=False)
    groups: int = Field(1, ge=1)
    recurrent: Literal["off", "each", "last"] = "off"
    active: bool = True

    def prepare(self, model: ir.Model, task: Task) -> None:
        """Invert the normalisations; they drop in training only as yet.

        Raises:
            TrainingError: There is neither a normalisation nor a layer to put one behind.
        """
        self._inverting(task, active=False)(model)
        if not any(AFFINE_MARK in node.metadata_props for node in model.graph):
            raise TrainingError(
                "the network has no normalisation, and no convolution with a layer behind it to "
                "put one there; behind recurrent layers ask for it with "
                "--method-option recurrent=each, or use another method, such as spindrop"
            )

    def summary(self, run: Run) -> dict[str, Any]:
        """The layers or nodes that have an inverted normalisation, in the network's order."""
        return {"normalised": ", ".join(inverted_places(run.model))}

    def finish(self, run: Run, model: ir.Model) -> None:
        """Let the network drop at inference, where that is wanted."""
        if self.active:
            self._inverting(run.task, active=True)(model)

    def _inverting(self, task: Task, active: bool) -> InvertNormalization:
        return InvertNormalization(
            p=self.p,
            granularity=self.granularity,
            active=active,
            sigma_gamma=self.sigma_gamma,
            sigma_beta=self.sigma_beta,
            seed=task.settings.seed,
            init="random",
            groups=self.groups,
            recurrent=self.recurrent,
        )
