"""Attributes of nodes: what no operator can have is one line, whoever would read it.

`check_attributes` looks at every node of a file. Passes read attributes by `int_of` and its like,
never by onnx_ir's own `get_int`, which raises a TypeError where an attribute is of another type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import onnx_ir as ir

from nvmc.errors import ModelError
from nvmc.passes.graph.layers import label

__all__ = [
    "check_attributes",
    "float_of",
    "floats_of",
    "int_of",
    "ints_of",
    "strings_of",
    "tensor_of",
    "text_of",
]

MISFITS = (ArithmeticError, AttributeError, IndexError, TypeError, ValueError)
"""What NumPy and Python raise where operands and attributes of a node do not fit one another."""
_COUNTS = frozenset(
    "blocksize group hidden_size num_groups num_outputs offset_group sample_size".split()
)
_WINDOWS = frozenset("dilations kernel_shape strides".split())
_FINITE = frozenset(
    """activation_alpha activation_beta alpha beta bias coefficients epsilon gamma intercepts lambd
    momentum offset ratio scale scales""".split()
)
_WORDS = {
    "auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    "direction": ("forward", "reverse", "bidirectional", "LEFT", "RIGHT"),
}
_KNOWN = frozenset(ir.DataType) - {ir.DataType.UNDEFINED}
_TYPES = {"dtype": _KNOWN, "output_datatype": _KNOWN, "output_dtype": {*_KNOWN, 0}, "to": _KNOWN}
_WEIGHTS = {
    "Conv": 1,
    "ConvInteger": 1,
    "ConvTranspose": 1,
    "CrossbarConv": 1,
    "CrossbarConvTranspose": 1,
    "FusedConv": 1,
    "QLinearConv": 3,
}
"""Convolution -> place of its weight, whose first axis holds all groups' channels."""
_WINDOWED = frozenset("AveragePool LpPool MaxPool MaxUnpool".split()) | _WEIGHTS.keys()
"""Operators whose `pads` add to what a window moves over."""


_SIZES = {"ConstantOfShape": 0, "Expand": 1, "Pad": 1, "Resize": 3, "Tile": 1}
"""Operator -> place of the operand that says how large its output is."""
_MOST = 2**31 - 1
"""Largest size along an axis: beyond, products of sizes overflow, here and in onnxruntime."""


def check_attributes(nodes: Iterable[ir.Node], where: str) -> None:
    """Complain about attributes that no operator can have, whatever its domain.

    Args:
        nodes: Those of a model, of its functions and of subgraphs.
        where: The file, to begin the message with.

    Raises:
        ModelError: An attribute has such a value.
    """
    for node in nodes:
        for name, attribute in node.attributes.items():
            problem = None if attribute.is_ref() else _problem(name, attribute.value)
            if problem is not None:
                raise ModelError(f"{where}: {_title(node)} has {problem}")
        problem = _misfit(node) if node.op_type in _WINDOWED else _endless(node)
        if problem is not None:
            raise ModelError(f"{where}: {_title(node)} has {problem}")


def _problem(name: str, value: Any) -> str | None:
    """What is wrong with an attribute of that name, and what was expected; None if nothing is."""
    numbers: Sequence[Any] = [value] if isinstance(value, int | float) else []
    if isinstance(value, tuple | list):
        numbers = list(cast(Sequence[Any], value))
    shown = f"{name} = {value if isinstance(value, int | float | str) else numbers}"
    if name in _COUNTS and isinstance(value, int) and value < 1:
        return f"{shown}; expected a number from 1 on"
    if name in _WINDOWS and any(isinstance(n, int) and not 1 <= n <= _MOST for n in numbers):
        return f"{shown}; expected numbers from 1 to {_MOST:,}"
    if name in _FINITE and not all(math.isfinite(n) for n in numbers if isinstance(n, float)):
        return f"{shown}; expected a finite number"
    if name in _WORDS and isinstance(value, str) and value not in _WORDS[name]:
        return f"{name} = {value!r}; expected {', '.join(_WORDS[name])}"
    if name in _TYPES and isinstance(value, int) and value not in _TYPES[name]:
        return f"{shown}; expected the number of a type of ONNX"
    return None


def _misfit(node: ir.Node) -> str | None:
    """What of a window's attributes does not fit its weight or one another."""
    given = {k: a.value for k, a in node.attributes.items() if not a.is_ref()}
    index = _WEIGHTS.get(node.op_type, len(node.inputs))
    weight = node.inputs[index] if index < len(node.inputs) else None
    shape = None if weight is None else weight.shape
    channels = shape[0] if shape is not None and len(shape) else None
    group = given.get("group", 1)
    if isinstance(channels, int) and isinstance(group, int) and channels % group:
        return f"group = {group} for {channels} channels; expected a divisor of these"
    if node.op_type in ("Conv", "ConvTranspose") and isinstance(group, int):
        taken = _size(weight, 0)
        if node.op_type == "Conv":
            each = _size(weight, 1)
            taken = None if each is None else each * group
        found = _size(node.inputs[0], 1)
        if None not in (found, taken) and found != taken:
            return f"group = {group}: the weight takes {taken} channels, but {found} enter"
    kernel = list(given.get("kernel_shape", ()))
    axes = len(kernel) or (len(shape) - 2 if shape is not None else None)
    sizes = [] if shape is None else [size for size in shape[2:] if isinstance(size, int)]
    if kernel and len(sizes) == len(kernel) and sizes != kernel:
        return f"kernel_shape = {kernel} for a weight of {list(shape or ())}; expected {sizes}"
    for name, each in (("strides", 1), ("dilations", 1), ("output_padding", 1), ("pads", 2)):
        numbers: Sequence[Any] = given.get(name, ())
        if axes is not None and numbers and len(numbers) != each * axes:
            return f"{len(numbers)} {name} for a window of {axes} axes; expected {each * axes}"
        if any(isinstance(n, int) and not 0 <= n <= _MOST for n in numbers):
            return f"{name} = {list(numbers)}; expected numbers from 0 to {_MOST:,}"
    return None


def _endless(node: ir.Node) -> str | None:
    """What of the constants that say how large an output is asks for too much."""
    index = _SIZES.get(node.op_type, len(node.inputs))
    value = node.inputs[index] if index < len(node.inputs) else None
    constant = None if value is None else value.const_value
    numbers: list[Any] = []
    if constant is not None and constant.dtype == ir.DataType.INT64:
        numbers = constant.numpy().reshape(-1).tolist()
    elif (pads := node.attributes.get("pads")) is not None and not pads.is_ref():
        numbers = [n for n in pads.value if isinstance(n, int)]
    if all(-_MOST <= number <= _MOST for number in numbers):
        return None
    name = "pads" if node.op_type == "Pad" else "sizes"
    return f"{name} = {numbers}; expected numbers up to {_MOST:,}"


def _size(value: ir.Value | None, axis: int) -> int | None:
    """The size of an axis, where it is known."""
    shape = None if value is None else value.shape
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return size if isinstance(size, int) else None


def _title(node: ir.Node) -> str:
    return f"{node.op_type} {label(node)!r}"


def int_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """A whole number among the attributes; the default where it is left out.

    Raises:
        ModelError: It is of another type; so below.
    """
    return _read(node, name, node.attributes.get_int, default, "a whole number")


def ints_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """Whole numbers."""
    return _read(node, name, node.attributes.get_ints, default, "whole numbers")


def float_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """A number."""
    return _read(node, name, node.attributes.get_float, default, "a number")


def floats_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """Numbers."""
    return _read(node, name, node.attributes.get_floats, default, "numbers")


def text_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """A text."""
    return _read(node, name, node.attributes.get_string, default, "a text")


def strings_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """Texts."""
    return _read(node, name, node.attributes.get_strings, default, "texts")


def tensor_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """A tensor."""
    return _read(node, name, node.attributes.get_tensor, default, "a tensor")


def _read(node: ir.Node, name: str, get: Callable[..., Any], default: Any, expected: str) -> Any:
    try:
        return get(name, default)
    except TypeError as error:
        found = node.attributes[name].type.name
        raise ModelError(
            f"attribute {name!r} of {_title(node)} is of type {found}; expected {expected}: export "
            "the model again"
        ) from error
