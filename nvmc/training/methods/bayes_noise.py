"""Bayes-optimised noise injection: noise behind every layer, its strengths searched for."""

from __future__ import annotations

from typing import ClassVar, Literal

import onnx_ir as ir
import torch
from torch import Tensor

from nvmc.passes.insert_dropout import InsertDropout
from nvmc.training.methods.searched import Positive, Searched

__all__ = ["BayesNoise"]


class BayesNoise(Searched):
    """Random noise on the activations behind every layer but the last, only in training.

    With z of mean 0 and variance 1, drawn for every element, and s the layer's strength:

        multiplicative   y = x (1 + s z)
        additive         y = x + s d z,   d the standard deviation of x over the batch

    The network that comes out has the nodes that came in.

    Source: Ye et al., "Improving the robustness of analog deep neural networks through a
    Bayes-optimized noise injection approach", Communications Engineering 2, 25 (2023): noise
    injection layers behind each layer but the last, specified by a vector that Bayesian
    optimisation with a Gaussian process finds. Only its abstract and introduction were at hand,
    with the same group's arXiv 2412.02779 and released code; the search is BayesFT's. Deviations:
    that code adds one number, drawn anew in every pass and also at inference, to all elements of
    a value, with standard deviation s squared; here every element has its own draw, and chips
    are run without it. Drawing per element and in relative units is our choice, so that one range
    of strengths suits every network.

    Attributes:
        law: `gaussian` or `laplace`, both with variance 1.
        form: `multiplicative` or `additive`.
        cap: Highest strength.
    """

    kind: ClassVar[str] = "bayes-noise"
    title: ClassVar[str] = "activation noise by Bayesian optimisation (Ye, Comm. Eng. 2023)"
    what: ClassVar[str] = "strengths"

    law: Literal["gaussian", "laplace"] = "gaussian"
    form: Literal["multiplicative", "additive"] = "multiplicative"
    cap: Positive = 1.0

    @property
    def highest(self) -> float:
        """See `Searched.highest`."""
        return self.cap

    def sites(self, model: ir.Model) -> dict[str, str]:
        """The values behind which `insert-dropout` would drop; the model is not changed."""
        marked = model.clone()
        InsertDropout()(marked)
        found: dict[str, str] = {}
        for node in marked.graph:
            ratio = node.inputs[1] if node.op_type == "Dropout" and len(node.inputs) > 1 else None
            if ratio is not None and node.inputs[0] is not None and ratio.name is not None:
                layer = ratio.name.removesuffix("_dropout_ratio")
                found[layer] = str(node.inputs[0].name)
        return found

    def disturbed(self, x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """The noisy activations."""
        noise = strength * self._standard(x, generator)
        if self.form == "multiplicative":
            return x * (1 + noise)
        return x + noise * x.detach().std(correction=0)

    def _standard(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draws of mean 0 and variance 1 in the shape of `x`."""
        if self.law == "gaussian":
            return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        first, second = torch.rand((2, *x.shape), generator=generator, device=x.device)
        tiny = torch.finfo(x.dtype).tiny
        difference = torch.log(first.clamp_min(tiny)) - torch.log(second.clamp_min(tiny))
        return (difference / 2**0.5).to(x.dtype)
