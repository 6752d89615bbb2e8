"""LSTM, GRU and RNN: what ONNX says of them, over two arrays.

The arrays W (inputs) and R (state) have one group per direction. All steps' products with W are
made at once, those with R step by step, both directions together: a reverse direction is run
forward over each sequence turned around within its own length.

Gates, biases, peepholes, clipping and activations are digital. Symbols as in the ONNX
specification of the operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.activations import Activation
from nvmc.runtime.crossbar.mvm import ALL, Mvm, Reads

__all__ = ["Gates", "State", "Step", "gru_step", "lstm_step", "rnn_step", "scan", "sequences"]

Real = NDArray[np.floating[Any]]
Index = NDArray[np.int64]
State = tuple[Real, ...]
Step = Callable[[int, Real, State], State]


@dataclass(frozen=True)
class Gates:
    """What the steps of the three operators share.

    Attributes:
        recurrence: The product with R; groups are directions.
        activations: For each role (f, g, h) one function per direction.
        bias: Wb + Rb, or for a GRU Wb alone; shape (directions, gates * hidden).
        state_bias: Rb of a GRU; shape (directions, gates * hidden).
        peepholes: P, shape (directions, 3 * hidden).
        clip: Largest magnitude of a gate's sum; infinite for none.
        coupled: `input_forget`, or `linear_before_reset` of a GRU.
    """

    recurrence: Mvm
    activations: Sequence[Sequence[Activation]]
    bias: Real
    state_bias: Real
    peepholes: Real
    clip: float = np.inf
    coupled: bool = False

    def act(self, role: int, x: Real) -> Real:
        """The role's activation of each direction; x is (batch, directions, hidden)."""
        return np.stack([f(x[:, d]) for d, f in enumerate(self.activations[role])], axis=1)

    def gate(self, role: int, x: Real) -> Real:
        """Clip, then the activation."""
        return self.act(role, x if self.clip == np.inf else np.clip(x, -self.clip, self.clip))

    def recur(self, part: int, state: Real, cols: slice = ALL) -> Real:
        """The state (batch, directions, hidden) by R, the product of that number.

        Returns:
            Shape (batch, directions, cols).
        """
        return self.recurrence(state[:, :, None], cols, Reads(part=part))[:, :, 0]


def lstm_step(gates: Gates, number: int, inputs: Real, state: State) -> State:
    """One step of an LSTM.

    Args:
        gates: The layer.
        number: Of the step, from 0.
        inputs: x W, shape (batch, directions, 4 * hidden), gates in the order i, o, f, c.
        state: h and c, each (batch, directions, hidden).

    Returns:
        The next h and c. As in onnxruntime the cell state is not clipped on its way into h.
    """
    hidden, cell = state
    i, o, f, c = np.split(inputs + gates.recur(number, hidden) + gates.bias, 4, axis=2)
    peep_i, peep_o, peep_f = np.split(gates.peepholes, 3, axis=1)
    i = gates.gate(0, i + peep_i * cell)
    f = 1 - i if gates.coupled else gates.gate(0, f + peep_f * cell)
    cell = f * cell + i * gates.gate(1, c)
    o = gates.gate(0, o + peep_o * cell)
    return o * gates.act(2, cell), cell


def gru_step(gates: Gates, number: int, inputs: Real, state: State) -> State:
    """One step of a GRU.

    Args:
        gates: The layer.
        number: Of the step, from 0.
        inputs: x W, shape (batch, directions, 3 * hidden), gates in the order z, r, h.
        state: h, (batch, directions, hidden).

    Returns:
        The next h.
    """
    (hidden,) = state
    size = hidden.shape[2]
    first, last = slice(0, 2 * size), slice(2 * size, 3 * size)
    inputs = inputs + gates.bias
    if gates.coupled:
        product = gates.recur(2 * number, hidden) + gates.state_bias
        z, r = np.split(gates.gate(0, inputs[..., first] + product[..., first]), 2, axis=2)
        candidate = r * product[..., last]
    else:
        product = gates.recur(2 * number, hidden, first) + gates.state_bias[:, first]
        z, r = np.split(gates.gate(0, inputs[..., first] + product), 2, axis=2)
        candidate = gates.recur(2 * number + 1, r * hidden, last) + gates.state_bias[:, last]
    return ((1 - z) * gates.gate(1, inputs[..., last] + candidate) + z * hidden,)


def rnn_step(gates: Gates, number: int, inputs: Real, state: State) -> State:
    """One step of an RNN: h = f(x W + h R + Wb + Rb)."""
    return (gates.gate(0, inputs + gates.recur(number, state[0]) + gates.bias),)


def sequences(x: Real, direction: str, lengths: Index) -> Real:
    """Sequences as each direction reads them; its own inverse on a result of two directions.

    Args:
        x: Shape (steps, batch, size) for one of all directions, or (steps, batch, directions,
            size).
        direction: `forward`, `reverse` or `bidirectional`.
        lengths: Steps of each sequence, shape (batch,).

    Returns:
        Shape (steps, batch, directions, size); a reverse direction's sequences are turned around
        within their lengths.
    """
    directions = 2 if direction == "bidirectional" else 1
    if x.ndim == 3:
        x = np.broadcast_to(x[:, :, None], (*x.shape[:2], directions, x.shape[2]))
    if direction == "forward":
        return x
    steps: Index = np.arange(x.shape[0], dtype=np.int64).reshape(-1, 1)
    turned: Index = np.where(steps < lengths, lengths - 1 - steps, steps)
    last = np.take_along_axis(x[:, :, -1], turned[..., None], axis=0)
    return np.concatenate([x[:, :, :-1], last[:, :, None]], axis=2)


def scan(x: Real, mvm: Mvm, step: Step, state: State, lengths: Index) -> tuple[Real, State]:
    """Run a recurrent layer over sequences.

    Args:
        x: Sequences, shape (steps, batch, directions, size).
        mvm: The product with W; groups are directions.
        step: From a step's number, its x W and the state to the next state, h first.
        state: The initial state, each (batch, directions, hidden).
        lengths: Steps of each sequence; beyond it the state stays and the output is zero. A
            sequence of no steps ends in a state of zeros, as in onnxruntime.

    Returns:
        h after every step, shape (steps, batch, directions, hidden), and the last state.
    """
    steps, batch, directions, size = x.shape
    vectors = x.reshape(steps * batch, directions, 1, size)
    inputs = mvm(vectors, ALL, Reads(batch=batch))
    inputs = inputs.reshape(steps, batch, directions, inputs.shape[-1])
    y = np.zeros((steps, *state[0].shape), x.dtype)
    for t in range(steps):
        running = (t < lengths)[:, None, None]
        moved = step(t, inputs[t], state)
        state = tuple(np.where(running, new, old) for new, old in zip(moved, state, strict=True))
        y[t] = np.where(running, state[0], 0)
    some = (lengths > 0)[:, None, None]
    return y, tuple(np.where(some, last, 0) for last in state)
