"""Recurrent layers by torch's own kernels, for the forms that those know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["fused"]

# Operator: torch's kernel, and the gates of ONNX in torch's order.
_KERNELS: Mapping[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "gru": (torch.gru, (1, 0, 2)),  # z r h -> r z n
    "lstm": (torch.lstm, (0, 2, 3, 1)),  # i o f c -> i f g o
    "relu": (torch.rnn_relu, (0,)),
    "tanh": (torch.rnn_tanh, (0,)),
}


def fused(
    kind: str,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    states: Sequence[Tensor | None],
    direction: str,
    layout: int,
) -> tuple[Tensor, ...]:
    """A whole layer: Y, Y_h and, for `lstm`, Y_c.

    Args:
        kind: `lstm`, `gru` (with the linear step ahead of the reset), `relu` or `tanh`.
        x: (T, N, I), or (N, T, I) with `layout` 1.
        w: (D, G H, I).
        r: (D, G H, H).
        b: (D, 2 G H), or None.
        states: (D, N, H) each, (N, D, H) with `layout` 1, or None for zeros.
        direction: `forward`, `reverse` or `bidirectional`.
        layout: Whether the batch comes first.
    """
    kernel, order = _KERNELS[kind]
    x = x.transpose(0, 1) if layout else x
    x = x.flip(0) if direction == "reverse" else x
    both, hidden = w.shape[0], r.shape[2]
    zero = x.new_zeros((both, x.shape[1], hidden))
    start = [zero if s is None else (s.transpose(0, 1) if layout else s) for s in states]
    parameters: list[Tensor] = []
    for d in range(both):
        parts = [w[d], r[d], *(() if b is None else b[d].chunk(2))]
        parameters += [_ordered(part, order) for part in parts]
    training = torch.is_grad_enabled()  # cuDNN keeps what its backward pass needs only then
    first = [s.contiguous() for s in start]
    y, *last = kernel(
        x.contiguous(),
        first if kind == "lstm" else first[0],
        parameters,
        b is not None,
        1,
        0.0,
        training,
        both == 2,
        False,
    )
    y = y.flip(0) if direction == "reverse" else y
    y = y.reshape(*y.shape[:2], both, hidden)
    if layout:
        return (y.transpose(0, 1), *(s.transpose(0, 1) for s in last))
    return (y.transpose(1, 2), *last)


def _ordered(gates: Tensor, order: tuple[int, ...]) -> Tensor:
    """The rows of the gates in another order."""
    if len(order) == 1:
        return gates
    parts = gates.chunk(len(order))
    return torch.cat([parts[i] for i in order])
