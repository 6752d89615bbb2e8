"""Bounds and steps of quantisers that were learned with the network, and are trained on.

PACT (Choi et al., 2018, arXiv 1805.06085) clips at a learned bound a and rounds in steps of
a / (2^n - 1); LSQ (Esser et al., ICLR 2020, arXiv 1902.08153) rounds x / s to a range of codes and
multiplies by the learned step s. Both are recognised by what the graph does around Round, before
constants are folded: one constant decides the step ahead of Round, the step behind it, and where
the range ends. Numbers of which the step is not computed (ReLU6) are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.passes.fold_constants import Fold
from nvmc.passes.graph.mappable import FLOATS
from nvmc.passes.quantize_activations import is_chain

__all__ = ["Bound", "Leaves", "bounds_apart", "learned_bounds"]

_WALKED = frozenset(
    """Abs Add Cast Ceil Clip Div Floor Identity Max Min Mul Neg Relu Reshape Sub Unsqueeze
    Where""".split()
)
"""What quantisers are made of, besides Round."""


@dataclass(frozen=True)
class Bound:
    """A learned bound or step.

    Attributes:
        kind: `PACT`: the bound of a range, with gradient where values lie beyond it. `LSQ`: a step,
            with the gradient that Div, Round (straight-through) and Mul give.
        held: Nodes, or folds, with the operand that is a step made of a PACT bound: the gradient
            of PACT does not go there.
    """

    kind: str
    held: tuple[tuple[ir.Node | Fold, int], ...] = ()


class Leaves:
    """Which constants of the source every constant of a canonical network is computed from."""

    def __init__(self, folds: Sequence[Fold]) -> None:
        self._producers = {value: fold for fold in folds for value in fold.outputs}
        self._known: dict[ir.Value, frozenset[ir.Value]] = {}

    def of(self, value: ir.Value) -> frozenset[ir.Value]:
        """None where the value is no constant."""
        if value not in self._known:
            fold = self._producers.get(value)
            if fold is not None:
                given = [self.of(one) for one in fold.inputs if one is not None]
                self._known[value] = frozenset[ir.Value]().union(*given)
            else:
                constant = value.producer() is None and value.const_value is not None
                self._known[value] = frozenset([value] if constant else [])
        return self._known[value]


def learned_bounds(model: ir.Model, folds: Sequence[Fold]) -> dict[ir.Value, Bound]:
    """The constants of the source that are learned bounds and steps.

    Args:
        model: The canonical network.
        folds: What was folded into it.
    """
    finder = _Finder(model, folds)
    found: dict[ir.Value, Bound] = {}
    for step in finder.rounds:
        for leaf, bound in finder.around(step):
            old = found.get(leaf)
            kind = bound.kind if old is None or old.kind == bound.kind else "PACT"
            found[leaf] = Bound(kind, (*(old.held if old else ()), *bound.held))
    return found


def bounds_apart(model: ir.Model) -> tuple[str, ...]:
    """Names of bounds that may have been learned, but whose steps stand as numbers of their own.

    An exporter that folds constants writes k = 15 / a as a number: a k is whole then. A fixed bound
    looks alike, so these are not trained; whole numbers and powers of two are not named.

    Args:
        model: The canonical network.
    """
    finder = _Finder(model, ())
    found: dict[str, None] = {}
    for step in finder.rounds:
        before, scales = finder.met(step)
        for bound in before.bounds - scales:
            if _is_learnable(bound) and not _is_counted(bound):
                if any(_is_multiple(bound, scale) for scale in scales):
                    found[str(bound.name)] = None
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Op:
    """A node of the network, or one that was folded."""

    name: str
    inputs: Sequence[ir.Value | None]
    outputs: Sequence[ir.Value]
    source: ir.Node | Fold

    def operand(self, at: int) -> ir.Value | None:
        return self.inputs[at] if at < len(self.inputs) else None


@dataclass
class _Around:
    """What is met on the way from Round, by constants of the source.

    Attributes:
        scales: Operands of Mul and Div.
        limits: Largest code of the range, of scales that a clip stands between Round and them.
        bounds: Constants that a range ends at.
    """

    scales: dict[ir.Value, list[tuple[_Op, int]]]
    limits: dict[ir.Value, float]
    bounds: set[ir.Value]


class _Finder:
    def __init__(self, model: ir.Model, folds: Sequence[Fold]) -> None:
        nodes = [n for n in model.graph if not n.domain]
        ops = [_Op(fold.op, fold.inputs, fold.outputs, fold) for fold in folds]
        ops += [_Op(node.op_type, node.inputs, node.outputs, node) for node in nodes]
        self._leaves = Leaves(folds)
        self._producers = {value: op for op in ops for value in op.outputs}
        self._users: dict[ir.Value, list[_Op]] = {}
        for op in ops:
            for value in op.inputs:
                if value is not None:
                    self._users.setdefault(value, []).append(op)
        chains = {one for node in nodes if is_chain(node) for one in node.outputs}
        self.rounds = [
            op for op in ops if op.name == "Round" and chains.isdisjoint(_given(op.inputs))
        ]

    def around(self, op: _Op) -> Iterator[tuple[ir.Value, Bound]]:
        """The learned constants of one Round."""
        before, behind = self._before(op), self._behind(op)
        for leaf in before.scales.keys() & behind.scales.keys():
            if not _is_learnable(leaf):
                continue
            limit = max(before.limits.get(leaf, 0.0), behind.limits.get(leaf, 0.0))
            if leaf in before.bounds:
                held = [*before.scales[leaf], *behind.scales[leaf]]
                yield leaf, Bound("PACT", tuple((one.source, at) for one, at in held))
            elif limit and not (limit > 1 and _is_counted(leaf)):
                yield leaf, Bound("LSQ")

    def met(self, op: _Op) -> tuple[_Around, set[ir.Value]]:
        """What is met ahead of one Round, and the constants that scale it on both sides."""
        before = self._before(op)
        return before, before.scales.keys() & self._behind(op).scales.keys()

    def _before(self, op: _Op) -> _Around:
        """What scales and bounds the numbers that are rounded."""
        found = _Around({}, {}, set())
        stack = [(value, 0.0) for value in _given(op.inputs)]
        met: set[ir.Value] = set()
        while stack:
            value, limit = stack.pop()
            step = self._producers.get(value)
            if value in met or step is None or step.name not in _WALKED:
                continue
            met.add(value)
            data = self._data(step)
            for at, one in enumerate(step.inputs):
                if one is not None and at not in data:
                    self._note(found, step, at, limit)
                    if self._bounds(step, at):
                        found.bounds |= self._leaves.of(one)
            limit = self._limit(step) or limit
            stack += [(one, limit) for at in data if (one := step.inputs[at]) is not None]
        return found

    def _behind(self, op: _Op) -> _Around:
        """What scales rounded numbers back."""
        found = _Around({}, {}, set())
        stack = [(value, 0.0) for value in op.outputs]
        met: set[_Op] = set()
        while stack:
            value, limit = stack.pop()
            for step in self._users.get(value, ()):
                if step in met or step.name not in _WALKED:
                    continue
                met.add(step)
                data = self._data(step)
                if all(step.inputs[at] is not value for at in data):
                    continue
                for at in range(len(step.inputs)):
                    if at not in data:
                        self._note(found, step, at, limit)
                limit = self._limit(step) or limit
                stack += [(one, limit) for one in step.outputs]
        return found

    def _note(self, found: _Around, op: _Op, at: int, limit: float) -> None:
        value = op.inputs[at]
        if value is None or op.name not in ("Div", "Mul"):
            return
        for leaf in self._leaves.of(value):
            found.scales.setdefault(leaf, []).append((op, at))
            if limit:
                found.limits[leaf] = limit

    def _data(self, op: _Op) -> list[int]:
        """The operands that numbers pass; the others say what is done to them."""
        if op.name in ("Clip", "Div", "Reshape", "Unsqueeze"):
            return [0]
        several = [at for at, value in enumerate(op.inputs) if value is not None]
        if op.name == "Where":
            several = [at for at in several if at]
        fed = [at for at in several if not self._leaves.of(_at(op, at))]
        sizes = {at: _size(_at(op, at)) for at in several}
        # A weight is a constant too: the largest.
        return fed or [max(several, key=lambda at: sizes[at])]

    def _bounds(self, op: _Op, at: int) -> bool:
        """Whether an operand is where a range ends.

        Of Clip, Min and Where; and of |x| - |x - a| + a and Relu(x) - Relu(x - a).
        """
        if op.name in ("Min", "Where"):
            return True
        if op.name == "Sub":
            users = self._users.get(op.outputs[0], ())
            return at == 1 and any(user.name in ("Abs", "Relu") for user in users)
        return op.name == "Clip" and at == 2

    def _limit(self, op: _Op) -> float:
        """Where Clip or Min end a range; 0 where they do not."""
        ends = [one for at, one in enumerate(op.inputs) if one is not None and at]
        if op.name == "Clip":
            high = op.operand(2)
            ends = [high] if high is not None else []
        elif op.name == "Min":
            ends = [one for one in _given(op.inputs) if self._leaves.of(one)]
        else:
            return 0.0
        return max((float(_array(one).max()) for one in ends if _size(one)), default=0.0)


def _given(values: Sequence[ir.Value | None]) -> list[ir.Value]:
    return [value for value in values if value is not None]


def _at(op: _Op, at: int) -> ir.Value:
    value = op.inputs[at]
    assert value is not None
    return value


def _size(value: ir.Value) -> int:
    return 0 if value.const_value is None else int(value.const_value.size)


def _array(value: ir.Value) -> NDArray[Any]:
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)


def _is_learnable(value: ir.Value) -> bool:
    """Whether it is one positive number, or one per channel."""
    tensor = value.const_value
    if tensor is None or tensor.dtype not in FLOATS:
        return False
    numbers = _array(value)
    return sum(size > 1 for size in numbers.shape) <= 1 and bool((numbers > 0).all())


def _is_multiple(bound: ir.Value, scale: ir.Value) -> bool:
    """Whether a bound is whole steps, but for rounding; a scale is a step, or one by it."""
    a, b = _array(bound).ravel(), _array(scale).ravel()
    if not bool(b.all()) or (a.size != b.size and 1 not in (a.size, b.size)):
        return False
    steps = (a * b, a / b)
    return any(bool((np.rint(n) > 0).all()) and np.allclose(n, np.rint(n), 1e-5, 0) for n in steps)


def _is_counted(value: ir.Value) -> bool:
    """Whether it is whole numbers (of levels) or powers of two (fixed point): nobody learned it."""
    numbers = _array(value)
    return bool(((numbers % 1 == 0) | (np.frexp(numbers)[0] == 0.5)).all())
