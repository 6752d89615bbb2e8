"""What LSTM, GRU and RNN share: directions, sequence lengths, activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Direction", "Function", "activations_of", "directions", "run", "unknown_activation"]

Function = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]

# Name: function of x, alpha and beta; the defaults of alpha and beta.
_ACTIVATIONS: Mapping[str, tuple[Callable[[Tensor, float, float], Tensor], float, float]] = {
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "elu": (lambda x, a, b: F.elu(x, a), 1.0, 0.0),
    "hardsigmoid": (lambda x, a, b: torch.clamp(a * x + b, 0, 1), 0.2, 0.5),
    "leakyrelu": (lambda x, a, b: F.leaky_relu(x, a), 0.01, 0.0),
    "relu": (lambda x, a, b: torch.relu(x), 0.0, 0.0),
    "scaledtanh": (lambda x, a, b: a * torch.tanh(b * x), 1.0, 1.0),
    "sigmoid": (lambda x, a, b: torch.sigmoid(x), 0.0, 0.0),
    "softplus": (lambda x, a, b: F.softplus(x), 0.0, 0.0),
    "softsign": (lambda x, a, b: F.softsign(x), 0.0, 0.0),
    "tanh": (lambda x, a, b: torch.tanh(x), 0.0, 0.0),
    "thresholdedrelu": (lambda x, a, b: F.threshold(x, a, 0.0), 1.0, 0.0),
}
_WITH_ALPHA = frozenset("affine elu hardsigmoid leakyrelu scaledtanh thresholdedrelu".split())
_GATE_FUNCTIONS = 2
_WITH_BETA = frozenset("affine hardsigmoid scaledtanh".split())


def unknown_activation(settings: Mapping[str, Any]) -> str | None:
    """Why the activations of a recurrent layer are not supported."""
    for name in settings.get("activations") or ():
        if name.lower() not in _ACTIVATIONS:
            return f"activation {name!r} is unknown"
    return None


def activations_of(
    names: Sequence[str] | None,
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
    default: Sequence[str],
    count: int,
    limit: float | None,
) -> list[list[Function]]:
    """The functions of each of `count` directions, the gates' input limited to `limit`.

    An LSTM's third function takes the cell state, which as in onnxruntime is not limited.
    """
    names = names or tuple(default) * count
    alpha, beta = iter(alphas or ()), iter(betas or ())
    found: list[Function] = []
    for name in map(str.lower, names):
        function, a, b = _ACTIVATIONS[name]
        a = next(alpha, a) if name in _WITH_ALPHA else a
        b = next(beta, b) if name in _WITH_BETA else b
        is_gate = len(found) % len(default) < _GATE_FUNCTIONS
        found.append(_Activation(function, a, b, limit if is_gate else None))
    each = len(default)
    return [found[i * each : (i + 1) * each] for i in range(count)]


@dataclass(frozen=True)
class _Activation:
    function: Callable[[Tensor, float, float], Tensor]
    alpha: float
    beta: float
    limit: float | None

    def __call__(self, x: Tensor) -> Tensor:
        x = x if self.limit is None else torch.clamp(x, -self.limit, self.limit)
        return self.function(x, self.alpha, self.beta)


@dataclass(frozen=True)
class Direction:
    """One direction of a recurrent layer.

    Attributes:
        x: Inputs (T, N, I) in the order of the file.
        w: Input weights (G H, I).
        r: Recurrent weights (G H, H).
        wb: Bias of the input product (G H), or None.
        rb: Bias of the recurrent product (G H), or None.
        state: States (N, H) before the first step.
        backward: Whether it runs from the last step to the first.
    """

    x: Tensor
    w: Tensor
    r: Tensor
    wb: Tensor | None
    rb: Tensor | None
    state: State
    backward: bool


def directions(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    states: Sequence[Tensor | None],
    direction: str,
) -> list[Direction]:
    """The directions of a layer; states that are left out are zero.

    Args:
        x: (T, N, I).
        w: (D, G H, I).
        r: (D, G H, H).
        b: (D, 2 G H), or None.
        states: (D, N, H) each, or None.
        direction: `forward`, `reverse` or `bidirectional`.
    """
    found: list[Direction] = []
    hidden = r.shape[2]
    for d in range(w.shape[0]):
        wb, rb = (None, None) if b is None else b[d].chunk(2)
        zero = x.new_zeros((x.shape[1], hidden))
        state = tuple(zero if s is None else s[d] for s in states)
        found.append(Direction(x, w[d], r[d], wb, rb, state, direction == "reverse" or d == 1))
    return found


def run(
    d: Direction, lengths: Tensor | None, cell: Callable[[Tensor, State], State]
) -> tuple[Tensor, State]:
    """Run one direction.

    Args:
        d: The direction.
        lengths: Steps of each entry of the batch (N), or None for all steps.
        cell: From the input product of a step (N, G H) and the states to the new states, of which
            the first is the output.

    Returns:
        Outputs (T, N, H), zero behind the end of an entry, and the states after the last step.
    """
    steps = d.x.shape[0]
    products = F.linear(d.x, d.w, d.wb)
    state = d.state
    outputs: list[Tensor | None] = [None] * steps
    for t in reversed(range(steps)) if d.backward else range(steps):
        new = cell(products[t], state)
        if lengths is None:
            state = new
            outputs[t] = new[0]
        else:
            alive = (t < lengths).unsqueeze(1)
            state = tuple(torch.where(alive, n, s) for n, s in zip(new, state, strict=True))
            outputs[t] = torch.where(alive, new[0], torch.zeros_like(new[0]))
    return torch.stack([y for y in outputs if y is not None]), state
