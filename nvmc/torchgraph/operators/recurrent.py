"""Recurrent layers.

By torch's own kernels where those know the form, unless `fusing` is turned off: then step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nvmc.torchgraph.operators.cells import Direction, Function, activations_of, directions, run
from nvmc.torchgraph.operators.fused import fused

__all__ = ["gru", "lstm", "rnn"]

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, State], State]


def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    fusing: bool = True,
) -> tuple[Tensor, ...]:
    """RNN: outputs Y (T, D, N, H) and Y_h (D, N, H)."""
    kind = _all_of(activations, ["Tanh", "Relu"]) if fusing else None
    if kind and clip is None and sequence_lens is None:
        return fused(kind, x, w, r, b, [initial_h], direction, layout)
    functions = activations_of(
        activations, activation_alpha, activation_beta, ["Tanh"], w.shape[0], clip
    )

    def cell_of(d: Direction, f: list[Function]) -> Cell:
        def cell(product: Tensor, state: State) -> State:
            return (f[0](product + F.linear(state[0], d.r, d.rb)),)

        return cell

    return _layer(x, w, r, b, sequence_lens, [initial_h], direction, layout, functions, cell_of)


def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    fusing: bool = True,
) -> tuple[Tensor, ...]:
    """GRU: outputs Y (T, D, N, H) and Y_h (D, N, H); gates in ONNX's order z, r, h."""
    plain = (
        fusing
        and _is_plain(activations, ["Sigmoid", "Tanh"])
        and clip is None
        and sequence_lens is None
    )
    if plain and linear_before_reset:
        return fused("gru", x, w, r, b, [initial_h], direction, layout)
    functions = activations_of(
        activations, activation_alpha, activation_beta, ["Sigmoid", "Tanh"], w.shape[0], clip
    )
    hidden = r.shape[2]

    def cell_of(d: Direction, f: list[Function]) -> Cell:
        early, late = d.r[: 2 * hidden], d.r[2 * hidden :]
        early_b = None if d.rb is None else d.rb[: 2 * hidden]
        late_b = None if d.rb is None else d.rb[2 * hidden :]

        def cell(product: Tensor, state: State) -> State:
            (h,) = state
            gates = f[0](product[:, : 2 * hidden] + F.linear(h, early, early_b))
            z, reset = gates.chunk(2, 1)
            if linear_before_reset:
                inner = reset * F.linear(h, late, late_b)
            else:
                inner = F.linear(reset * h, late, late_b)
            new = f[1](product[:, 2 * hidden :] + inner)
            return ((1 - z) * new + z * h,)

        return cell

    return _layer(x, w, r, b, sequence_lens, [initial_h], direction, layout, functions, cell_of)


def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    fusing: bool = True,
) -> tuple[Tensor, ...]:
    """LSTM: outputs Y (T, D, N, H), Y_h and Y_c (D, N, H); gates in ONNX's order i, o, f, c."""
    states = [initial_h, initial_c]
    plain = fusing and _is_plain(activations, ["Sigmoid", "Tanh", "Tanh"]) and clip is None
    if plain and sequence_lens is None and p is None and not input_forget:
        return fused("lstm", x, w, r, b, states, direction, layout)
    functions = activations_of(
        activations,
        activation_alpha,
        activation_beta,
        ["Sigmoid", "Tanh", "Tanh"],
        w.shape[0],
        clip,
    )
    peepholes: list[Any] = [None] * w.shape[0] if p is None else [q.chunk(3) for q in p]
    left = iter(peepholes)

    def cell_of(d: Direction, f: list[Function]) -> Cell:
        peep = next(left)

        def cell(product: Tensor, state: State) -> State:
            h, c = state
            i, o, forget, new = (product + F.linear(h, d.r, d.rb)).chunk(4, 1)
            if peep is not None:
                i, forget = i + peep[0] * c, forget + peep[2] * c
            i = f[0](i)
            forget = 1 - i if input_forget else f[0](forget)
            c = forget * c + i * f[1](new)
            o = f[0](o if peep is None else o + peep[1] * c)
            return o * f[2](c), c

        return cell

    return _layer(x, w, r, b, sequence_lens, states, direction, layout, functions, cell_of)


def _is_plain(activations: Sequence[str] | None, default: list[str]) -> bool:
    """Whether the activations are those that torch's kernels have."""
    names = list(activations or default)
    return names == default * (len(names) // len(default))


def _all_of(activations: Sequence[str] | None, known: list[str]) -> str | None:
    """The one activation of all directions, in small letters, if it is a known one."""
    names = set(activations or known[:1])
    return names.pop().lower() if len(names) == 1 and names <= set(known) else None


def _layer(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    states: Sequence[Tensor | None],
    direction: str,
    layout: int,
    functions: list[list[Function]],
    cell_of: Callable[[Direction, list[Function]], Cell],
) -> tuple[Tensor, ...]:
    """Run every direction of a layer and put the results together.

    With `layout` 1, x is (N, T, I), states are (N, D, H) and Y is (N, T, D, H).
    """
    if layout:
        x = x.transpose(0, 1)
        states = [None if s is None else s.transpose(0, 1) for s in states]
    outputs: list[Tensor] = []
    last: list[State] = []
    for d, f in zip(directions(x, w, r, b, states, direction), functions, strict=True):
        y, state = run(d, lengths, cell_of(d, f))
        outputs.append(y)
        last.append(state)
    results = [torch.stack(outputs, 1), *(torch.stack(parts) for parts in zip(*last, strict=True))]
    if layout:
        results = [results[0].permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in results[1:])]
    return tuple(results)
