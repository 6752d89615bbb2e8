"""The operands and attributes of an LSTM, GRU or RNN, checked and brought to one layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import ModelError
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.activations import activations_of
from nvmc.runtime.crossbar.lowering import computing, expect
from nvmc.runtime.crossbar.operand import Operand
from nvmc.runtime.crossbar.recurrent import Gates, gru_step, lstm_step, rnn_step, scan, sequences

__all__ = ["recurrent_layer"]

Tensor = NDArray[Any]
Real = NDArray[np.floating[Any]]
Attributes = Mapping[str, Any]

_STEPS = {"LSTM": lstm_step, "GRU": gru_step, "RNN": rnn_step}
_COUPLING = {"LSTM": "input_forget", "GRU": "linear_before_reset"}


@dataclass(frozen=True)
class _Sizes:
    steps: int
    batch: int
    directions: int
    hidden: int
    gates: int


def recurrent_layer(
    op: str,
    gates: int,
    functions: tuple[str, ...],
    inputs: Sequence[Tensor | None],
    weights: Sequence[Operand],
    attributes: Attributes,
) -> list[Tensor]:
    """Run one recurrent operator.

    Args:
        op: `LSTM`, `GRU` or `RNN`.
        gates: Gates per hidden unit: 4, 3 or 1.
        functions: The operator's default activations for one direction.
        inputs: X, -, -, B, sequence_lens, initial_h and, of an LSTM, initial_c and P.
        weights: W (directions, gates * hidden, size) and R (directions, gates * hidden, hidden).
        attributes: The operator's.

    Returns:
        Y, Y_h and, of an LSTM, Y_c.

    Raises:
        ModelError: The shapes or attributes do not fit.
    """
    given, _, _, bias, lengths, hidden, cell, peepholes = (*inputs, *(None,) * (8 - len(inputs)))
    if given is None:
        raise ModelError(f"X of {op} is missing; expected the sequences")
    batch_first = bool(attributes.get("layout", 0))
    direction = _direction(op, attributes)
    expect(
        f"X of {op}",
        given.shape,
        ("batch", "steps", weights[0].shape[-1])
        if batch_first
        else ("steps", "batch", weights[0].shape[-1]),
    )
    x = computing(given)
    x = x.swapaxes(0, 1) if batch_first else x
    sizes = _sizes(op, gates, x, weights, direction, attributes)
    counts = _lengths(op, lengths, sizes)
    states = [hidden, cell] if op == "LSTM" else [hidden]
    start = tuple(_state(op, value, sizes, batch_first, x.dtype) for value in states)
    shared = _gates(op, sizes, functions, bias, peepholes, weights[1], attributes, x.dtype)
    mvm = weights[0].mvm(Place(f"Crossbar{op}"), entries=sizes.batch, dtype=x.dtype)
    step = partial(_STEPS[op], shared)
    y, last = scan(sequences(x, direction, counts), mvm, step, start, counts)
    y = sequences(y, direction, counts)
    if batch_first:
        outputs = [y.swapaxes(0, 1), *last]
    else:
        outputs = [y.swapaxes(1, 2), *(value.swapaxes(0, 1) for value in last)]
    return [value.astype(given.dtype, copy=False) for value in outputs]


def _direction(op: str, attributes: Attributes) -> str:
    direction = attributes.get("direction", "forward")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise ModelError(
            f"direction of {op} is {direction!r}; expected forward, reverse or bidirectional"
        )
    return direction


def _sizes(
    op: str,
    gates: int,
    x: Real,
    weights: Sequence[Operand],
    direction: str,
    attributes: Attributes,
) -> _Sizes:
    directions = 2 if direction == "bidirectional" else 1
    hidden = weights[1].shape[-1]
    expect(f"R of {op}", weights[1].shape, (directions, gates * hidden, hidden))
    expect(f"W of {op}", weights[0].shape, (directions, gates * hidden, x.shape[2]))
    if attributes.get("hidden_size", hidden) != hidden:
        raise ModelError(
            f"hidden_size of {op} is {attributes['hidden_size']}; expected {hidden}, as R has"
        )
    return _Sizes(x.shape[0], x.shape[1], directions, hidden, gates)


def _lengths(op: str, lengths: Tensor | None, sizes: _Sizes) -> NDArray[np.int64]:
    if lengths is None:
        return np.full(sizes.batch, sizes.steps)
    expect(f"sequence_lens of {op}", lengths.shape, (sizes.batch,))
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= sizes.steps:
        raise ModelError(
            f"sequence_lens of {op} go from {lengths.min()} to {lengths.max()}; expected 0 to "
            f"{sizes.steps}, the steps of X"
        )
    return lengths.astype(np.int64)


def _state(
    op: str, value: Tensor | None, sizes: _Sizes, batch_first: bool, dtype: np.dtype[Any]
) -> Real:
    """An initial state, shape (batch, directions, hidden)."""
    if value is None:
        return np.zeros((sizes.batch, sizes.directions, sizes.hidden), dtype)
    first, second = sizes.directions, sizes.batch
    if batch_first:
        first, second = second, first
    expect(f"an initial state of {op}", value.shape, (first, second, sizes.hidden))
    return (value if batch_first else value.swapaxes(0, 1)).astype(dtype)


def _gates(
    op: str,
    sizes: _Sizes,
    functions: tuple[str, ...],
    bias: Tensor | None,
    peepholes: Tensor | None,
    recurrence: Operand,
    attributes: Attributes,
    dtype: np.dtype[Any],
) -> Gates:
    width = sizes.gates * sizes.hidden
    both = _vectors(f"B of {op}", bias, (sizes.directions, 2 * width), dtype)
    inputs, state = np.split(both, 2, axis=1)
    clip = float(attributes.get("clip", np.inf))
    if not clip > 0:
        raise ModelError(f"clip of {op} is {clip}; expected more than 0")
    return Gates(
        recurrence=recurrence.mvm(Place(f"Crossbar{op}"), entries=sizes.batch, dtype=dtype),
        activations=activations_of(attributes, functions, sizes.directions),
        bias=inputs if op == "GRU" else inputs + state,
        state_bias=state,
        peepholes=_vectors(f"P of {op}", peepholes, (sizes.directions, 3 * sizes.hidden), dtype),
        clip=clip,
        coupled=bool(attributes.get(_COUPLING.get(op, ""), 0)),
    )


def _vectors(what: str, value: Tensor | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Real:
    if value is None:
        return np.zeros(shape, dtype)
    expect(what, value.shape, shape)
    return value.astype(dtype, copy=False)
