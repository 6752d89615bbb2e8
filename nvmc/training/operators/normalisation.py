"""Normalisations."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from nvmc.training.operators.operator import Context, Results

__all__ = ["batch_normalization"]


def batch_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor,
    input_mean: Tensor,
    input_var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
    context: Context,
) -> Results:
    """BatchNormalization over axis 1.

    In training mode the batch's statistics are used, and the running ones, `input_mean` and
    `input_var`, are updated in place: running = momentum * running + (1 - momentum) * batch.
    """
    return F.batch_norm(
        x, input_mean, input_var, scale, b, context.training, 1 - momentum, epsilon
    )
