"""Images of a data set as a network in training is fed them."""

from __future__ import annotations

import onnx_ir as ir
import torch

from nvmc.data import Dataset
from nvmc.passes.graph.describe import tensor_entries
from nvmc.runtime.feeding import feed_of
from nvmc.torchgraph.tensors import Inputs

__all__ = ["inputs_of"]


def inputs_of(model: ir.Model, data: Dataset, accelerator: str) -> Inputs:
    """All images, in float32 where the network takes half precision.

    Raises:
        DataError: They do not fit the network.
    """
    feed = feed_of(tensor_entries(model.graph.inputs), data, 0, None).inputs
    x = {name: torch.tensor(array).to(accelerator) for name, array in feed.items()}
    x = {name: v.float() if v.dtype == torch.float16 else v for name, v in x.items()}
    return next(iter(x.values())) if len(x) == 1 else x
