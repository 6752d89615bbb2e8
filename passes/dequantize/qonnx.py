"""QONNX and Brevitas: Quant (or IntQuant), BipolarQuant and Trunc on floating-point numbers.

Source: the operators' specification, github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from nvmc.passes.dequantize.rewrite import Rewrite
from nvmc.passes.graph.attributes import int_of, text_of

__all__ = ["QONNX"]

_WIDEST = 64
"""Bits that any integer has at most."""
_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
_ROUNDING = {"ROUND": "Round", "HALF_EVEN": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}


def _quant(rewrite: Rewrite) -> bool:
    """Quant (x, scale, zero point, bits): round(clip(x / scale + zero)), and back."""
    x, scale, zero, bits = rewrite.inputs(4)
    limits, rounding = _limits(rewrite, bits), _rounding(rewrite, "ROUND")
    if x is None or limits is None or rounding is None or scale is None or zero is None:
        return False
    scaled = rewrite.op("Add", rewrite.op("Div", x, scale), zero)
    if limits == (-1, 0):  # one bit with a sign is -1 or 1
        whole = _sign(rewrite, scaled)
    else:
        whole = rewrite.op(rounding, _clipped(rewrite, scaled, limits))
    return rewrite.finish(rewrite.op("Mul", rewrite.op("Sub", whole, zero), scale))


def _bipolar(rewrite: Rewrite) -> bool:
    """BipolarQuant (x, scale): the scale with the sign of x, that of zero being +1."""
    x, scale = rewrite.inputs(2)
    if x is None:
        return False
    return rewrite.finish(rewrite.op("Mul", _sign(rewrite, x), scale))


def _trunc(rewrite: Rewrite) -> bool:
    """Trunc (x, scale, zero point, bits in, bits out): the lowest bits are dropped.

    The newer form has seven inputs: an output scale and zero point before the bits out.
    """
    x, scale, zero, wide, *rest = rewrite.inputs(len(rewrite.node.inputs))
    rounding = _rounding(rewrite, "FLOOR")
    if x is None or scale is None or zero is None or rounding is None or len(rest) not in (1, 3):
        return False
    whole = rewrite.op("Round", rewrite.op("Add", rewrite.op("Div", x, scale), zero))
    if len(rest) == 1:
        before, after = rewrite.array(wide), rewrite.array(rest[0])
        if before is None or after is None:
            return False
        dropped = rewrite.constant("dropped", np.float32(2.0) ** (before - after).reshape(()))
        kept = rewrite.op(rounding, rewrite.op("Div", whole, dropped))
        return rewrite.finish(rewrite.op("Mul", rewrite.op("Sub", kept, zero), scale))
    first, last = rewrite.array(scale), rewrite.array(rest[0])
    limits = _limits(rewrite, rest[2])
    if first is None or last is None or limits is None:
        return False
    dropped = rewrite.constant("dropped", (2 ** np.round(np.log2(last / first))).astype("f4"))
    kept = rewrite.op(rounding, _clipped(rewrite, rewrite.op("Div", whole, dropped), limits))
    shifted = rewrite.op("Sub", kept, rewrite.op("Div", zero, dropped))
    return rewrite.finish(rewrite.op("Mul", shifted, rest[0]))


def _limits(rewrite: Rewrite, bits: ir.Value | None) -> tuple[int, int] | None:
    """The least and the largest whole number; None where bits are no single constant from 1 on."""
    given = rewrite.array(bits)
    if given is None or given.size != 1 or float(given.reshape(())) % 1:
        return None
    width = int(given.reshape(()))
    if not 1 <= width <= _WIDEST:
        return None
    signed = int_of(rewrite.node, "signed", 1)
    narrow = bool(int_of(rewrite.node, "narrow", 0))
    if signed:
        return (-1, 0) if width == 1 else (-(2 ** (width - 1)) + narrow, 2 ** (width - 1) - 1)
    return 0, 2**width - 1 - narrow


def _rounding(rewrite: Rewrite, default: str) -> str | None:
    """The operator that rounds as the node says; None for a mode that is not known here."""
    mode = text_of(rewrite.node, "rounding_mode", default) or default
    return _ROUNDING.get(mode.upper())


def _clipped(rewrite: Rewrite, value: ir.Value, limits: tuple[int, int]) -> ir.Value:
    low, high = (rewrite.constant("limit", np.asarray(limit, np.float32)) for limit in limits)
    return rewrite.op("Clip", value, low, high)


def _sign(rewrite: Rewrite, value: ir.Value) -> ir.Value:
    """-1 or 1, the latter for zero. The Round changes nothing, but says that these are codes."""
    zero, one, minus = (rewrite.constant("sign", np.asarray(n, np.float32)) for n in (0, 1, -1))
    positive = rewrite.op("GreaterOrEqual", value, zero)
    return rewrite.op("Round", rewrite.op("Where", positive, one, minus))


_OPERATORS: dict[str, Callable[[Rewrite], bool]] = {
    "Quant": _quant,
    "IntQuant": _quant,
    "BipolarQuant": _bipolar,
    "Trunc": _trunc,
}
QONNX: dict[tuple[str, str], Callable[[Rewrite], bool]] = {
    (domain, name): function for domain in _DOMAINS for name, function in _OPERATORS.items()
}
