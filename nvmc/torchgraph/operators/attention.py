"""Attention as one operator, and the rotary embedding of positions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nvmc.torchgraph.operators.logic import dtype_of
from nvmc.torchgraph.operators.operator import Results

__all__ = ["attention", "rotary_embedding"]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int = 0,
    outputs: int,
) -> Results:
    """Attention over heads: Y, present key, present value and the scores that the mode names.

    q, k and v are (N, heads, L, size), or (N, L, heads * size) with numbers of heads. A query that
    may look nowhere gives zeros.
    """
    flat = q.dim() == 3
    if flat:
        q, k, v = _heads(q, q_num_heads), _heads(k, kv_num_heads), _heads(v, kv_num_heads)
    before = 0 if past_key is None else past_key.shape[2]
    k = k if past_key is None else torch.cat([past_key, k], 2)
    v = v if past_value is None else torch.cat([past_value, v], 2)
    right = 0 if is_causal else right_window_size
    bias = _sum(
        _given_bias(q, k, attn_mask),
        _window(q, k, nonpad_kv_seqlen, before, left_window_size, right),
    )
    factor = math.sqrt(1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    repeats = q.shape[1] // k.shape[1]
    keys, values = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    raw = (q * factor) @ (keys * factor).transpose(-1, -2)
    capped = softcap * torch.tanh(raw / softcap) if softcap else raw
    kind = dtype_of(softmax_precision) if softmax_precision else q.dtype
    masked, weights = _weights(capped, bias, kind)
    weights = weights.to(q.dtype)
    y = weights @ values
    y = y.transpose(1, 2).flatten(2) if flat else y
    scores = (raw, capped, masked, weights)[qk_matmul_output_mode]
    return (y, k, v, scores)[:outputs] if outputs > 1 else y


def _heads(x: Tensor, count: int | None) -> Tensor:
    """(N, L, heads * size) as (N, heads, L, size)."""
    return x.reshape(*x.shape[:2], count or 1, -1).transpose(1, 2)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _weights(scores: Tensor, bias: Tensor | None, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Scores with the bias, and their softmax; rows with a bias of minus infinity are zero."""
    if bias is None:
        return scores, torch.softmax(scores.to(kind), -1)
    blind = torch.isneginf(bias.amax(-1, keepdim=True))
    masked = scores + bias
    weights = torch.softmax((scores + torch.where(blind, 0.0, bias)).to(kind), -1)
    return masked, torch.where(blind, 0.0, weights)


def _given_bias(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor | None:
    """The given mask as numbers to add; keys behind its end are hidden."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = q.new_zeros(mask.shape).masked_fill(~mask, float("-inf"))
    more = k.shape[2] - mask.shape[-1]
    return F.pad(mask, (0, more), value=float("-inf")) if more > 0 else mask


def _window(
    q: Tensor, k: Tensor, lengths: Tensor | None, before: int, left: int, right: int
) -> Tensor | None:
    """What hides keys outside the window around each query, and padding; None for nothing.

    Query i stands at `before` + i, or at the end of the `lengths` valid keys.
    """
    places = torch.arange(k.shape[2], device=q.device)
    rows = torch.arange(q.shape[2], device=q.device).unsqueeze(1) + before
    hidden: Tensor | None = None
    if lengths is not None:
        ends = lengths.reshape(-1, 1, 1, 1)
        hidden = places >= ends
        rows = rows + (0 if before else ends - q.shape[2])
    for far, reach in ((rows - places, left), (places - rows, right)):
        if reach >= 0:
            hidden = far > reach if hidden is None else hidden | (far > reach)
    if hidden is None:
        return None
    return q.new_zeros(hidden.shape).masked_fill(hidden, float("-inf"))


def rotary_embedding(
    x: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    position_ids: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """RotaryEmbedding of x (N, heads, L, size) or (N, L, heads * size)."""
    flat = x.dim() == 3
    y = _heads(x, num_heads) if flat else x
    cos, sin = cos_cache, sin_cache
    if position_ids is not None:
        cos, sin = cos[position_ids.long()], sin[position_ids.long()]
    width = rotary_embedding_dim or y.shape[-1]
    cos, sin = cos[..., : width // 2].unsqueeze(1), sin[..., : width // 2].unsqueeze(1)
    turned, rest = y[..., :width], y[..., width:]
    if interleaved:
        one, two = turned[..., 0::2], turned[..., 1::2]
    else:
        one, two = turned.chunk(2, -1)
    real, imaginary = cos * one - sin * two, sin * one + cos * two
    if interleaved:
        turned = torch.stack([real, imaginary], -1).flatten(-2)
    else:
        turned = torch.cat([real, imaginary], -1)
    y = torch.cat([turned, rest], -1)
    return y.transpose(1, 2).flatten(2) if flat else y
