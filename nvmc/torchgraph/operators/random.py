"""Operators that draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from nvmc.passes.graph.layers import AFFINE_MARK
from nvmc.torchgraph.operators.logic import dtype_of
from nvmc.torchgraph.operators.operator import Context, Results
from nvmc.torchgraph.operators.straight import straight

__all__ = [
    "affine_dropout",
    "bernoulli",
    "dropout",
    "random_normal",
    "random_normal_like",
    "random_uniform",
    "random_uniform_like",
]


def dropout(
    data: Tensor,
    ratio_input: float | None = None,
    training_input: bool | None = None,
    *,
    ratio: float = 0.5,
    seed: int | None = None,
    outputs: int,
    context: Context,
) -> Results:
    """Dropout, which in training mode always drops; at inference only if the node says so."""
    p = ratio if ratio_input is None else float(ratio_input)
    if p == 0 or not (context.training or training_input):
        return data if outputs == 1 else (data, torch.ones_like(data, dtype=torch.bool))
    mask = context.uniform(tuple(data.shape), seed) >= p
    y = data * (mask.to(data.dtype) / (1 - p)) if p < 1 else torch.zeros_like(data)
    return y if outputs == 1 else (y, mask)


def random_uniform(
    *,
    dtype: int = 1,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
    shape: Sequence[int],
    context: Context,
) -> Tensor:
    """RandomUniform."""
    return (context.uniform(tuple(shape), seed) * (high - low) + low).to(dtype_of(dtype))


def random_uniform_like(
    x: Tensor,
    *,
    dtype: int = 0,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
    context: Context,
) -> Tensor:
    """RandomUniformLike."""
    numbers = context.uniform(tuple(x.shape), seed) * (high - low) + low
    return numbers.to(dtype_of(dtype) if dtype else x.dtype)


def random_normal(
    *,
    dtype: int = 1,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    shape: Sequence[int],
    context: Context,
) -> Tensor:
    """RandomNormal."""
    return (context.normal(tuple(shape), seed) * scale + mean).to(dtype_of(dtype))


def random_normal_like(
    x: Tensor,
    *,
    dtype: int = 0,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    context: Context,
) -> Tensor:
    """RandomNormalLike."""
    numbers = context.normal(tuple(x.shape), seed) * scale + mean
    return numbers.to(dtype_of(dtype) if dtype else x.dtype)


def bernoulli(x: Tensor, *, dtype: int = 0, seed: float | None = None, context: Context) -> Tensor:
    """Bernoulli: one with the probability x; straight-through."""
    drawn = (context.uniform(tuple(x.shape), seed) < x).to(dtype_of(dtype) if dtype else x.dtype)
    return straight(x, drawn) if drawn.dtype == x.dtype else drawn


def affine_dropout(metadata: Mapping[str, str], kind: str) -> Callable[..., Tensor] | None:
    """Dropout of an affine parameter as `invert-normalization` notes it on the node.

    Returns:
        A function of the parameter and the context; None without a note, or where the graph
        itself draws.
    """
    pairs = [pair.partition("=") for pair in metadata.get(AFFINE_MARK, "").split()]
    options = {key: value for key, _, value in pairs}
    if not options or options.get("active") == "True":
        return None
    neutral = 1.0 if kind == "Mul" else 0.0
    whole = options.get("granularity") != "element"
    return partial(_neutralized, p=float(options["p"]), neutral=neutral, whole=whole)


def _neutralized(
    parameter: Tensor, *, p: float, neutral: float, whole: bool, context: Context
) -> Tensor:
    """The parameter, which in training is `neutral` with probability p, whole or by element."""
    if not context.training or p == 0:
        return parameter
    drop = context.uniform((1,) if whole else tuple(parameter.shape)) < p
    return torch.where(drop, neutral, parameter)
