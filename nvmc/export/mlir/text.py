"""Text of MLIR: values, constants, and the operations of `tensor` and `linalg` that are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import ModelError

__all__ = ["Body", "Text", "Value", "number", "quoted"]

INLINE_BYTES = 2**16
"""Larger constants lie in weights.npz, and so do those behind `TEXT_BYTES` of others."""

TEXT_BYTES = 2**22

_TYPES = {
    "float16": "f16",
    "float32": "f32",
    "float64": "f64",
    "bool": "i1",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "ui8",
    "uint16": "ui16",
    "uint32": "ui32",
    "uint64": "ui64",
}

Body = Sequence[tuple[str, str, str]]
"""Of a `linalg.generic`: operation and two operands; `a`, `b` … are its inputs, `0`, `1` … what
the operations before gave."""


def number(value: float) -> str:
    """A float32 number as MLIR reads it."""
    if math.isinf(value):
        return "0xFF800000" if value < 0 else "0x7F800000"
    return f"{float(np.float32(value)):.9e}"


@dataclass(frozen=True)
class Value:
    """An SSA value of a tensor type.

    Attributes:
        name: With its `%`.
        shape: Its sizes.
        type: Of its elements, as NumPy calls it.
    """

    name: str
    shape: tuple[int, ...]
    type: str = "float32"

    @property
    def element(self) -> str:
        """Type of its elements in MLIR."""
        if self.type not in _TYPES:
            raise ModelError(f"MLIR text knows no elements of type {self.type}")
        return _TYPES[self.type]

    @property
    def text(self) -> str:
        """Its type."""
        return f"tensor<{''.join(f'{size}x' for size in self.shape)}{self.element}>"


@dataclass
class Text:
    """Lines of one function.

    Attributes:
        lines: Of its body.
        stored: Arrays of weights.npz.
    """

    lines: list[str] = field(default_factory=list[str])
    stored: dict[str, Any] = field(default_factory=dict[str, Any])
    _count: int = 0
    _inline: int = 0
    _scalars: dict[str, str] = field(default_factory=dict[str, str])

    def fresh(self) -> str:
        """A name that is new."""
        self._count += 1
        return f"%{self._count - 1}"

    def add(self, line: str) -> None:
        """Add a line."""
        self.lines.append(f"    {line}")

    def value(self, shape: Sequence[int], kind: str, line: str) -> Value:
        """A new value, defined by a line with `{type}` for its type."""
        found = Value(self.fresh(), tuple(shape), kind)
        self.add(f"{found.name} = {line.replace('{type}', found.text)}")
        return found

    def scalar(self, value: float) -> str:
        """The name of a float32 constant."""
        text = number(value)
        if text not in self._scalars:
            name = self.fresh()
            self.lines.insert(0, f"    {name} = arith.constant {text} : f32")
            self._scalars[text] = name
        return self._scalars[text]

    def constant(self, values: NDArray[Any], name: str) -> Value:
        """A constant tensor; `name` is what weights.npz calls it where it is large.

        Without a name it stands in the text.
        """
        values = np.ascontiguousarray(values)
        kind = values.dtype.name
        self._inline += values.nbytes
        if name and (values.nbytes > INLINE_BYTES or self._inline > TEXT_BYTES):
            name = self._kept(name, values)
            line = f'"cim.load"() {{array = {quoted(name)}}} : () -> {{type}}'
            return self.value(values.shape, kind, line)
        return self.value(values.shape, kind, f"arith.constant dense<{_dense(values)}> : {{type}}")

    def _kept(self, name: str, values: NDArray[Any]) -> str:
        """Put an array into weights.npz; the name that it has there."""
        free, count = name, 0
        while free in self.stored and not np.array_equal(
            self.stored[free], values, equal_nan=values.dtype.kind == "f"
        ):
            count += 1
            free = f"{name}~{count}"
        self.stored[free] = values
        return free

    def empty(self, shape: Sequence[int], kind: str = "float32") -> Value:
        """A tensor whose elements nobody reads."""
        return self.value(shape, kind, "tensor.empty() : {type}")

    def filled(self, shape: Sequence[int], number: float) -> Value:
        """A tensor of one number."""
        start, scalar = self.empty(shape), self.scalar(number)
        line = f"linalg.fill ins({scalar} : f32) outs({start.name} : {{type}}) -> {{type}}"
        return self.value(shape, "float32", line)

    def reshaped(self, x: Value, shape: Sequence[int]) -> Value:
        """The same elements in another shape."""
        if x.shape == tuple(shape):
            return x
        sizes = self.constant(np.array(shape, np.int64), "")
        line = f"tensor.reshape {x.name}({sizes.name}) : ({x.text}, {sizes.text}) -> {{type}}"
        return self.value(shape, x.type, line)

    def transposed(self, x: Value, order: Sequence[int]) -> Value:
        """Axes in another order."""
        if list(order) == sorted(order):
            return x
        shape = [x.shape[axis] for axis in order]
        start = self.empty(shape, x.type)
        axes = ", ".join(map(str, order))
        line = (
            f"linalg.transpose ins({x.name} : {x.text}) outs({start.name} : {{type}}) "
            f"permutation = [{axes}]"
        )
        return self.value(shape, x.type, line)

    def padded(
        self, x: Value, before: Sequence[int], after: Sequence[int], filling: float
    ) -> Value:
        """The last axes between numbers."""
        if not any(before) and not any(after):
            return x
        rest = (0,) * (len(x.shape) - len(before))
        low, high = (*rest, *before), (*rest, *after)
        shape = [a + size + b for a, size, b in zip(low, x.shape, high, strict=True)]
        scalar, found = self.scalar(filling), Value(self.fresh(), tuple(shape), x.type)
        ends = f"low[{_listed(low)}] high[{_listed(high)}]"
        indices = ", ".join(f"{self.fresh()} : index" for _ in shape)
        self.add(f"{found.name} = tensor.pad {x.name} {ends} {{")
        self.add(f"^bb0({indices}):")
        self.add(f"  tensor.yield {scalar} : {x.element}")
        self.add(f"}} : {x.text} to {found.text}")
        return found

    def part(
        self,
        x: Value,
        offsets: Sequence[int],
        sizes: Sequence[int],
        strides: Sequence[int] | None = None,
    ) -> Value:
        """A block of a tensor, or elements at even distances."""
        if x.shape == tuple(sizes):
            return x
        place = _place(offsets, sizes, strides)
        return self.value(
            sizes, x.type, f"tensor.extract_slice {x.name}{place} : {x.text} to {{type}}"
        )

    def inserted(
        self,
        x: Value,
        into: Value,
        offsets: Sequence[int],
        strides: Sequence[int] | None = None,
    ) -> Value:
        """A tensor with such elements of it replaced."""
        if x.shape == into.shape:
            return x
        place = _place(offsets, x.shape, strides)
        line = f"tensor.insert_slice {x.name} into {into.name}{place} : {x.text} into {{type}}"
        return self.value(into.shape, into.type, line)

    def generic(
        self,
        shape: Sequence[int],
        inputs: Sequence[tuple[Value, Sequence[str]]],
        body: Body,
        *,
        reduced: int = 0,
        start: Value | None = None,
    ) -> Value:
        """A `linalg.generic`; dimensions are `d0` …, those of the result first.

        Args:
            shape: Of the result.
            inputs: Tensors, and which element of each is read, an expression for every axis.
            body: What is done with them; the last operation gives the result, and without any the
                first input is it. With `reduced`, `o` is the result so far.
            reduced: Dimensions behind those of the result that are added up.
            start: What the result begins with.
        """
        rank = len(shape) + reduced
        dims = ", ".join(f"d{axis}" for axis in range(rank))
        outs = [f"d{axis}" for axis in range(len(shape))]
        maps = [list(places) for _, places in inputs] + [outs]
        written = ", ".join(f"affine_map<({dims}) -> ({', '.join(places)})>" for places in maps)
        kinds = ", ".join(['"parallel"'] * len(shape) + ['"reduction"'] * reduced)
        kind = inputs[0][0].type
        begin = self.empty(shape, kind) if start is None else start
        names = ", ".join(value.name for value, _ in inputs)
        types = ", ".join(value.text for value, _ in inputs)
        found = Value(self.fresh(), tuple(shape), kind)
        told = f"{{indexing_maps = [{written}], iterator_types = [{kinds}]}}"
        ends = f"ins({names} : {types}) outs({begin.name} : {begin.text})"
        self.add(f"{found.name} = linalg.generic {told} {ends} {{")
        known = {chr(ord("a") + n): self.fresh() for n in range(len(inputs))}
        known["o"] = self.fresh()
        elements = [*(value.element for value, _ in inputs), begin.element]
        pairs = zip(known.values(), elements, strict=True)
        self.add(f"^bb0({', '.join(f'{name} : {element}' for name, element in pairs)}):")
        last = known["a"]
        for index, (operation, left, right) in enumerate(body):
            last = self.fresh()
            operands = f"{known.get(left, left)}, {known.get(right, right)}"
            self.add(f"  {last} = {operation} {operands} : {found.element}")
            known[str(index)] = last
        self.add(f"  linalg.yield {last} : {found.element}")
        self.add(f"}} -> {found.text}")
        return found


def quoted(text: str) -> str:
    """A string attribute; other control characters than tab and line feed become `?`."""
    known = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(known.get(c, c if c.isprintable() else "?") for c in text) + '"'


def _dense(values: NDArray[Any]) -> str:
    if values.size == 0:
        return ""
    if values.dtype == np.bool_:
        return _nested(np.where(values, "true", "false"))
    little = values.astype(values.dtype.newbyteorder("<"))
    return f'"0x{little.tobytes().hex().upper()}"'


def _nested(words: Any) -> str:
    """Words in brackets, axis by axis."""
    if words.ndim == 0:
        return str(words)
    return f"[{', '.join(_nested(part) for part in words)}]"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _place(offsets: Sequence[int], sizes: Sequence[int], strides: Sequence[int] | None) -> str:
    steps = [1] * len(sizes) if strides is None else strides
    return f"[{_listed(offsets)}] [{_listed(sizes)}] [{_listed(steps)}]"
