"""Einsum of activations and one constant: a MatMul between transpositions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError

__all__ = ["einsum"]


@dataclass(frozen=True)
class _Roles:
    """The labels of an Einsum of X and W by what becomes of them, each in X's or W's order.

    Attributes:
        kept: Of X only, and in the output.
        shared: Of both and in the output: W holds a matrix for each.
        summed: Of both, and not in the output.
        made: Of W only, and in the output.
    """

    kept: str
    shared: str
    summed: str
    made: str


def einsum(rw: Rewriting) -> list[ir.Value]:
    """Einsum of two operands, one of them constant.

    X is brought to (kept…, shared…, 1 or the last kept, summed) and W to (shared…, summed, made),
    so that MatMul gives (kept…, shared…, made); several summed or made labels share one axis.
    """
    if len(rw.node.inputs) != 2:
        raise UnfusableError("it has not two operands")
    x, w = rw.needed(0), rw.needed(1)
    terms, output = _terms(rw, [rw.rank(x), rw.rank(w)])
    if rw.is_constant(x) == rw.is_constant(w):
        raise UnfusableError("not one of its operands is constant")
    if rw.is_constant(x):
        x, w, terms = w, x, terms[::-1]
    roles = _roles(terms[0], terms[1], output)
    shape = dict(zip(terms[1], rw.sizes(w), strict=True))
    column = not roles.kept or bool(roles.shared and len(roles.kept) < 2)
    outer = roles.kept if column or not roles.shared else roles.kept[:-1]
    rows = "" if column or not roles.shared else roles.kept[-1]
    left = _left(rw, x, terms[0], roles, outer + roles.shared + rows, column)
    right = _right(rw, w, terms[1], roles, shape)
    y = rw.op("MatMul", left, right, main=True)
    order = outer + roles.shared + rows + roles.made
    if column:
        y = rw.op("Squeeze", y, rw.constant([len(order) - len(roles.made)]))
    if len(roles.made) != 1:
        made = [shape[label] for label in roles.made]
        y = rw.op("Reshape", y, rw.constant([*[0] * (len(order) - len(made)), *made]))
    return [rw.transposed(y, [order.index(label) for label in output])]


def _left(
    rw: Rewriting, x: ir.Value, term: str, roles: _Roles, order: str, column: bool
) -> ir.Value:
    """X with its summed labels last, in one axis; `column` puts an axis of one row before it."""
    labels = order + roles.summed
    x = rw.transposed(x, [term.index(label) for label in labels])
    if len(roles.summed) > 1:
        x = rw.op("Reshape", x, rw.constant([*[0] * len(order), -1]))
    return rw.op("Unsqueeze", x, rw.constant([len(order)])) if column else x


def _right(rw: Rewriting, w: ir.Value, term: str, roles: _Roles, shape: dict[str, int]) -> ir.Value:
    """W as a matrix of (summed, made) for each of its shared labels."""
    labels = roles.shared + roles.summed + roles.made
    w = rw.transposed(w, [term.index(label) for label in labels])
    if len(roles.summed) == len(roles.made) == 1:
        return w
    rows, columns = (
        math.prod(shape[label] for label in part) for part in (roles.summed, roles.made)
    )
    return rw.op("Reshape", w, rw.constant([*(shape[s] for s in roles.shared), rows, columns]))


def _terms(rw: Rewriting, ranks: list[int]) -> tuple[list[str], str]:
    """The labels of both operands and of the output; axes of `...` get signs of their own."""
    equation = rw.text("equation").replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    operands = inputs.split(",")
    if len(operands) != 2:
        raise UnfusableError("it has not two operands")
    widths = [rank - len(t.replace("...", "")) for rank, t in zip(ranks, operands, strict=True)]
    if any("..." not in t and width for t, width in zip(operands, widths, strict=True)):
        raise UnfusableError("its operands do not fit its equation")
    if min(widths) > 0:
        raise UnfusableError("both its operands have axes of `...`")
    most = max(widths)
    extra = "".join(chr(0x2460 + i) for i in range(most))
    if not arrow:
        letters = [c for c in sorted(set(inputs)) if c.isalpha() and inputs.count(c) == 1]
        output = ("..." if "..." in inputs else "") + "".join(letters)
    terms = [
        t.replace("...", extra[most - max(n, 0) :]) for t, n in zip(operands, widths, strict=True)
    ]
    output = output.replace("...", extra)
    if any(len(set(t)) < len(t) for t in (*terms, output)):
        raise UnfusableError("it takes a diagonal")
    return terms, output


def _roles(x: str, w: str, output: str) -> _Roles:
    alone = [label for label in x + w if label not in output and (label in x) != (label in w)]
    roles = _Roles(
        kept="".join(c for c in x if c not in w),
        shared="".join(c for c in x if c in w and c in output),
        summed="".join(c for c in x if c in w and c not in output),
        made="".join(c for c in w if c not in x),
    )
    if alone or not roles.summed:
        raise UnfusableError("it sums an axis of one operand alone, or none of both")
    return roles
