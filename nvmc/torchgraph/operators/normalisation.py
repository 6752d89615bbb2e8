"""Normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nvmc.torchgraph.operators.operator import Context, Results

__all__ = [
    "batch_normalization",
    "group_normalization",
    "instance_normalization",
    "layer_normalization",
    "local_response_normalization",
    "lp_normalization",
    "mean_variance_normalization",
    "rms_normalization",
]


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
    outputs: int,
    context: Context,
) -> Results:
    """BatchNormalization over axis 1.

    In training the batch's statistics are used, and the running ones, `input_mean` and
    `input_var`, are updated in place: running = momentum * running + (1 - momentum) * batch, the
    batch's variance being the unbiased one, as in `torch.nn.BatchNorm2d`. A node whose own
    `training_mode` is set always uses the batch's statistics, and gives the running ones as
    outputs, with the biased variance, as ONNX defines it.
    """
    if not training_mode:
        update = 1 - momentum
        y = F.batch_norm(x, input_mean, input_var, scale, b, context.training, update, epsilon)
        return y if outputs == 1 else (y, input_mean, input_var)
    axes = (0, *range(2, x.dim()))
    var, mean = torch.var_mean(x.detach(), axes, correction=0)
    new_mean = input_mean * momentum + mean * (1 - momentum)
    new_var = input_var * momentum + var * (1 - momentum)
    if context.training:
        input_mean.copy_(new_mean)
        input_var.copy_(new_var)
    y = F.batch_norm(x, None, None, scale, b, True, 0.0, epsilon)
    return y if outputs == 1 else (y, new_mean, new_var)


def instance_normalization(x: Tensor, scale: Tensor, b: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """InstanceNormalization."""
    return torch.group_norm(x, x.shape[1], scale, b, epsilon)


def group_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: int = 1,
    opset: int,
) -> Tensor:
    """GroupNormalization; before opset 21 with one scale and bias a group."""
    if opset < 21:
        repeats = x.shape[1] // num_groups
        scale, b = scale.repeat_interleave(repeats), b.repeat_interleave(repeats)
    return torch.group_norm(x, num_groups, scale, b, epsilon)


def layer_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int,
) -> Results:
    """LayerNormalization over the axes from `axis` on."""
    shape = x.shape[axis:]
    plain = scale.shape == shape and (b is None or b.shape == shape)
    if plain and outputs == 1:
        return F.layer_norm(x, shape, scale, b, epsilon)
    axes = tuple(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    inverse = torch.rsqrt((x - mean).square().mean(axes, keepdim=True) + epsilon)
    y = F.layer_norm(x, shape, None, None, epsilon) * scale
    y = y if b is None else y + b
    return (y, mean, inverse)[:outputs] if outputs > 1 else y


def rms_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """RMSNormalization over the axes from `axis` on."""
    axes = tuple(range(axis % x.dim() - x.dim(), 0))
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    mean = wide.square().mean(axes, keepdim=True)
    return (wide * torch.rsqrt(mean + epsilon)).to(x.dtype) * scale


def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """LpNormalization; zeros stay zeros."""
    norm = (x.abs() if p == 1 else x.square()).sum(axis, keepdim=True)
    norm = torch.where(norm == 0, 1.0, norm)
    return x / (norm if p == 1 else norm.sqrt())


def local_response_normalization(
    x: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Tensor:
    """LRN over `size` channels around each."""
    squares = x.square().movedim(1, -1)
    padded = F.pad(squares, ((size - 1) // 2, size // 2))
    sums = padded.unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return x / (bias + alpha / size * sums).pow(beta)


def mean_variance_normalization(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """MeanVarianceNormalization."""
    mean = x.mean(tuple(axes), keepdim=True)
    deviation = (x - mean).square().mean(tuple(axes), keepdim=True).sqrt()
    return (x - mean) / (deviation + 1e-9)
