"""Activations that onnxruntime fuses into a product, and its GELUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError

__all__ = ["activated", "bias_gelu", "fast_gelu", "gelu", "quick_gelu"]

_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "HardSwish": (),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Selu": ("alpha", "gamma"),
    "Sigmoid": (),
    "Softmax": ("axis",),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}
"""Activation to its attributes, in the order of `activation_params`."""
_GELU_OPSET = 20


def activated(rw: Rewriting, value: ir.Value, numbers: Sequence[float] | None = None) -> ir.Value:
    """`value` behind the activation that the node's attributes name.

    Args:
        rw: The fused node.
        value: What goes into it.
        numbers: Its attributes' values in order; None for attributes `activation_alpha` and so on.
    """
    kind = rw.text("activation")
    if not kind:
        return value
    if kind == "Clip" and numbers is not None and len(numbers) == 2:
        low, high = (rw.constant(number, value) for number in numbers)
        return rw.op("Clip", value, low, high)
    if kind not in _PARAMETERS:
        raise UnfusableError(f"its activation is {kind!r}")
    names = _PARAMETERS[kind]
    if numbers is not None:
        attributes: dict[str, Any] = dict(zip(names, numbers, strict=False))
        return rw.op(kind, value, **attributes)
    fused = rw.node.attributes
    given = {
        name: fused[f"activation_{name}"].value for name in names if f"activation_{name}" in fused
    }
    if "axis" in given:
        given["axis"] = int(given["axis"])
    return rw.op(kind, value, **given)


def gelu(rw: Rewriting) -> list[ir.Value]:
    """Gelu (X): x Φ(x)."""
    return [_gelu(rw, rw.needed(0), "none")]


def bias_gelu(rw: Rewriting) -> list[ir.Value]:
    """BiasGelu (A, B): Gelu of A + B."""
    return [_gelu(rw, rw.op("Add", rw.needed(0), rw.needed(1)), "none")]


def fast_gelu(rw: Rewriting) -> list[ir.Value]:
    """FastGelu (X, bias): the approximation of Gelu by tanh, of X + bias."""
    bias, value = rw.input(1), rw.needed(0)
    return [_gelu(rw, value if bias is None else rw.op("Add", value, bias), "tanh")]


def quick_gelu(rw: Rewriting) -> list[ir.Value]:
    """QuickGelu (X): x σ(alpha x)."""
    x = rw.needed(0)
    scaled = rw.op("Mul", x, rw.constant(rw.float("alpha", 1.702), x))
    return [rw.op("Mul", x, rw.op("Sigmoid", scaled))]


def _gelu(rw: Rewriting, x: ir.Value, approximate: str) -> ir.Value:
    if rw.opset >= _GELU_OPSET:
        return rw.op("Gelu", x, approximate=approximate)
    like = rw.needed(0)
    half, one = rw.constant(0.5, like), rw.constant(1.0, like)
    if approximate == "none":
        inner = rw.op("Erf", rw.op("Mul", x, rw.constant(math.sqrt(0.5), like)))
    else:  # Hendrycks and Gimpel 2016, section 2
        cube = rw.op("Mul", rw.op("Mul", rw.op("Mul", x, x), x), rw.constant(0.044715, like))
        inner = rw.op("Mul", rw.op("Add", x, cube), rw.constant(math.sqrt(2 / math.pi), like))
        inner = rw.op("Tanh", inner)
    return rw.op("Mul", rw.op("Mul", x, half), rw.op("Add", inner, one))
