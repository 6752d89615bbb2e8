"""BayesFT: a dropout rate for every layer, found by Bayesian optimisation."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import onnx_ir as ir
import torch
from pydantic import Field
from torch import Tensor

from nvmc.errors import TrainingError
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.training.methods.searched import Searched, strengths
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["BayesFT"]

SUFFIX = "_dropout_ratio"


class BayesFT(Searched):
    """Dropout behind every layer but the last, with rates that make chips forgive their noise.

    Dropout nodes are inserted before training and stay in the file with the rates that were found;
    at inference they do nothing. A Dropout that the network already has behind a layer is taken
    for that layer's.

    Source: Ye et al., BayesFT, DAC 2021, Sec. III and Alg. 1. The released code
    (JingbiaoMei/BayesFTNA) differs from Alg. 1: it trains a new network for every trial, without
    drift, and maximises accuracy at sigma 1.5 over rates of 0.2 to 0.8.

    Attributes:
        cap: Highest rate. The paper searches [0, 1]; behind a rate of 0.8 a layer sees a fifth of
            what it will see on the chip, scaled by 5, and a few epochs no longer train it.
    """

    kind: ClassVar[str] = "bayesft"
    title: ClassVar[str] = "dropout rates by Bayesian optimisation (Ye, DAC 2021)"
    what: ClassVar[str] = "rates"

    cap: Annotated[float, Field(gt=0, lt=1)] = 0.8

    @property
    def highest(self) -> float:
        """See `Searched.highest`."""
        return self.cap

    def prepare(self, model: ir.Model, task: Task) -> None:
        """Insert the Dropout nodes, which drop nothing until the rates are written."""
        InsertDropout(rate=self.cap)(model)
        for node, layer in _dropouts(model):
            _set_ratio(model, layer, 0.0)
            node.outputs[0].name = node.outputs[0].name or f"{layer}_dropped"

    def sites(self, model: ir.Model) -> dict[str, str]:
        """The outputs of the Dropout nodes."""
        return {layer: str(node.outputs[0].name) for node, layer in _dropouts(model)}

    def disturbed(self, x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Each element is zero with probability `strength`, the others are scaled up."""
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= strength
        return x * (kept.to(x.dtype) / (1 - strength))

    def finish(self, run: Run, model: ir.Model) -> None:
        """Write the rates into the Dropout nodes.

        Raises:
            TrainingError: The source's layers are not those of its canonical form.
        """
        rates = dict(zip(run.memory["sites"], strengths(self.evaluated(run)), strict=True))
        layers = [layer for _, layer in _dropouts(model)]
        if len(layers) != len(rates):
            raise TrainingError(
                f"the network has {len(layers)} layers that dropout can follow, its canonical form "
                f"{len(rates)}; train the canonical form: nvmc transform --pass canonicalize"
            )
        if set(layers) != set(rates):  # nodes without names are called otherwise there
            rates = dict(zip(layers, rates.values(), strict=True))
        for layer, rate in rates.items():
            _set_ratio(model, layer, rate)


def _dropouts(model: ir.Model) -> list[tuple[ir.Node, str]]:
    """The nodes that `InsertDropout` set, each with its layer's name, in the graph's order."""
    found: list[tuple[ir.Node, str]] = []
    for node in model.graph:
        ratio = node.inputs[1] if node.op_type == "Dropout" and len(node.inputs) > 1 else None
        if ratio is not None and ratio.name and ratio.name.endswith(SUFFIX):
            found.append((node, ratio.name.removesuffix(SUFFIX)))
    return found


def _set_ratio(model: ir.Model, layer: str, rate: float) -> None:
    value = model.graph.initializers[f"{layer}{SUFFIX}"]
    value.const_value = ir.tensor(np.array(rate, np.float32), name=value.name)
