"""Digital nodes in MLIR: standard operations that have the same values, or `cim.digital`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nvmc.errors import ModelError
from nvmc.export.mlir.layers import Values, broadcast
from nvmc.export.mlir.text import Text, Value, number, quoted
from nvmc.passes.graph.image_graph import Step

__all__ = ["LOWERED", "digital"]


def digital(values: Values, step: Step) -> None:
    """Write a digital node.

    Raises:
        ModelError: A shape is not known, or a type is none of MLIR's.
    """
    maker = LOWERED.get(step.op) if not step.domain else None
    found = None if maker is None else maker(values, step)
    if found is not None:
        values.known[step.outputs[0]] = found
    else:
        _opaque(values, step)


def _inputs(values: Values, step: Step) -> list[Value]:
    return [values.get(name) for name in step.inputs if name]


def _reshape(values: Values, step: Step) -> Value | None:
    name = step.inputs[0]
    if name is None:
        return None
    return values.text.reshaped(values.get(name), values.nodes.graph.shape(step.outputs[0]))


def _relu(values: Values, step: Step) -> Value | None:
    (x,) = _inputs(values, step)
    if x.type != "float32":
        return None
    body = [("arith.maximumf", "a", values.text.scalar(0.0))]
    return values.text.generic(x.shape, [(x, _whole(x))], body)


def _pointwise(operation: str) -> Callable[[Values, Step], Value | None]:
    def made(values: Values, step: Step) -> Value | None:
        left, right = _inputs(values, step)
        if (left.type, right.type) != ("float32", "float32"):
            return None
        shape = np.broadcast_shapes(left.shape, right.shape)
        inputs = [(each, broadcast(each.shape, shape)) for each in (left, right)]
        return values.text.generic(shape, inputs, [(operation, "a", "b")])

    return made


def _transpose(values: Values, step: Step) -> Value | None:
    (x,) = _inputs(values, step)
    order = step.attributes.get("perm", tuple(reversed(range(len(x.shape)))))
    return values.text.transposed(x, order)


def _max_pool(values: Values, step: Step) -> Value | None:
    """A pooling of two axes whose windows lie within the padded image."""
    (x,), given = _inputs(values, step), step.attributes
    plain = given.get("auto_pad", "NOTSET") == "NOTSET" and len(x.shape) == 4
    if not plain or x.type != "float32" or len(step.outputs) != 1:
        return None
    kernel, ones = given["kernel_shape"], (1, 1)
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    pads = given.get("pads", (0, 0, 0, 0))
    (name,) = step.outputs
    shape = values.nodes.graph.shape(name)
    sizes = zip(x.shape[2:], pads[:2], pads[2:], kernel, strides, dilations, strict=True)
    fits = [(n + a + b - (k - 1) * d - 1) // s + 1 for n, a, b, k, s, d in sizes]
    if fits != list(shape[2:]):  # the ceiling mode, with windows beyond the end
        return None
    text = values.text
    padded = text.padded(x, pads[:2], pads[2:], -math.inf)
    window, start = text.empty(kernel), text.filled(shape, -math.inf)
    ends = [f"dense<[{each[0]}, {each[1]}]> : tensor<2xi64>" for each in (dilations, strides)]
    line = (
        f"linalg.pooling_nchw_max {{dilations = {ends[0]}, strides = {ends[1]}}} "
        f"ins({padded.name}, {window.name} : {padded.text}, {window.text}) "
        f"outs({start.name} : {{type}}) -> {{type}}"
    )
    return text.value(shape, "float32", line)


def _whole(x: Value) -> list[str]:
    return [f"d{axis}" for axis in range(len(x.shape))]


LOWERED: dict[str, Callable[[Values, Step], Value | None]] = {
    "Add": _pointwise("arith.addf"),
    "Div": _pointwise("arith.divf"),
    "Flatten": _reshape,
    "Identity": _reshape,
    "MaxPool": _max_pool,
    "Mul": _pointwise("arith.mulf"),
    "Relu": _relu,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Sub": _pointwise("arith.subf"),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
"""ONNX operator -> what writes it, or gives None where this node cannot be written so."""


def _opaque(values: Values, step: Step) -> None:
    """The node by its name, operator and attributes."""
    graph, text = values.nodes.graph, values.text
    operands = _inputs(values, step)
    places, count = list[str](), 0
    for name in step.inputs:
        places.append(str(count) if name else "-1")
        count += bool(name)
    results = [
        Value(text.fresh(), graph.shape(name), graph.types.get(name, "float32"))
        for name in step.outputs
        if name
    ]
    shown = [f"{key} = {_attribute(each, step)}" for key, each in sorted(step.attributes.items())]
    order = f"array<i64: {', '.join(places)}>" if places else "array<i64>"
    told = (
        f"attributes = {{{', '.join(shown)}}}, domain = {quoted(step.domain)}, "
        f"node = {quoted(step.name)}, op = {quoted(step.op)}, operands = {order}"
    )
    names = ", ".join(value.name for value in operands)
    types = ", ".join(value.text for value in operands)
    given = ", ".join(value.text for value in results)
    text.add(
        f'{", ".join(value.name for value in results)} = "cim.digital"({names}) {{{told}}} : '
        f"({types}) -> ({given})"
    )
    used = [name for name in step.outputs if name]
    values.known.update(zip(used, results, strict=True))


def _attribute(value: Any, step: Step) -> str:
    """An attribute of ONNX as one of MLIR."""
    match value:
        case bool() | int():
            return f"{int(value)} : i64"
        case float():
            return f"{number(value)} : f32"
        case str():
            return quoted(value)
        case tuple():
            return f"[{', '.join(_attribute(part, step) for part in value)}]"  # pyright: ignore
        case np.ndarray():
            return _tensor(value)
        case _:
            raise ModelError(
                f"{step.op} {step.name!r} has an attribute of type {type(value).__name__}, which "
                "the text cannot say; keep it out of the network"
            )


def _tensor(value: Any) -> str:
    scratch = Text()
    scratch.constant(value, "")
    return scratch.lines[-1].partition("arith.constant ")[2]
