"""Relu behind a max pooling instead of before it: the same numbers from a fourth of the elements.

The maximum of a window commutes with any function that rises. So does the gradient of Relu, which
goes to the first of a window's largest elements if that is above zero, both ways. LeakyRelu and
Clip differ only where they make unequal elements equal, at a bound or by rounding: the gradient
then goes to the largest element, otherwise to the first of the equal ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from nvmc.passes.graph.attributes import float_of, int_of, ints_of, text_of
from nvmc.torchgraph.steps import NOTHING, Program, Step

__all__ = ["Pooled", "pooled", "reordered"]


@dataclass(frozen=True)
class Pooled:
    """Two steps of a program that may change places.

    Attributes:
        between: Name of the value between them, which nothing else reads.
        first: Position of the step of the rising function.
        pool: Position of the step of the pooling.
    """

    between: str
    first: int
    pool: int


def pooled(graph: ir.Graph, program: Program, other: Collection[str] = ()) -> tuple[Pooled, ...]:
    """The poolings of `graph` that may go before the function they follow.

    Args:
        graph: What `program` was read from.
        program: Its steps.
        other: Operators that are computed in another way than by the table.
    """
    return tuple(_found(graph, program, other))


def _found(graph: ir.Graph, program: Program, other: Collection[str]) -> Iterator[Pooled]:
    written = {slot: at for at, step in enumerate(program.steps) for slot in step.outputs}
    for node in graph:
        value = node.inputs[0] if node.inputs else None
        before = None if value is None else value.producer()
        if value is None or before is None or before.op_type in other or node.op_type in other:
            continue
        alone = len(value.uses()) == 1 and not value.is_graph_output()
        if not (alone and _rises(before) and _is_max_pool(node)):
            continue
        # What is folded has no step; what is converted in between is read from another slot.
        slot, result = (program.slots.get(str(v.name), NOTHING) for v in (value, node.outputs[0]))
        first, pool = written.get(slot), written.get(result)
        if first is not None and pool is not None and program.steps[pool].inputs == (slot,):
            yield Pooled(str(value.name), first, pool)


def reordered(
    steps: Sequence[Step], pairs: Sequence[Pooled], seen: Collection[str]
) -> tuple[Step, ...]:
    """The steps, poolings first.

    Args:
        steps: In an order in which they can run.
        pairs: Those that may change places.
        seen: Names of values that somebody looks at, which must be what they are called.
    """
    found = list(steps)
    for pair in pairs:
        if pair.between not in seen:
            rising, pool = found[pair.first], found[pair.pool]
            (between,) = rising.outputs
            found[pair.first] = replace(pool, inputs=rising.inputs[:1], outputs=rising.outputs)
            inputs = (between, *rising.inputs[1:])
            found[pair.pool] = replace(rising, inputs=inputs, outputs=pool.outputs)
    return tuple(found)


def _rises(node: ir.Node) -> bool:
    """Whether it is a function of each element that never falls, in floating point too."""
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "LeakyRelu":
        return float_of(node, "alpha", 0.01) >= 0
    return node.op_type in ("Clip", "Relu")


def _is_max_pool(node: ir.Node) -> bool:
    """Whether every window holds an element, so that it gives one of them and never -infinity."""
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
        return False
    if node.op_type == "GlobalMaxPool":
        return True
    kernel = ints_of(node, "kernel_shape", ())
    dilated = max(ints_of(node, "dilations", ()), default=1) > 1
    if node.op_type != "MaxPool" or dilated or int_of(node, "ceil_mode", 0):
        return False
    if text_of(node, "auto_pad", "NOTSET") == "NOTSET":
        pads = ints_of(node, "pads", ())
        return all(0 <= pad < size for pad, size in zip(pads, [*kernel, *kernel], strict=False))
    return True
