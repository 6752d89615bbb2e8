"""map-bias: biases become rows of cells beside the weights, which a constant input drives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target
from nvmc.hardware.tiling import matrix_of
from nvmc.passes.graph.assumptions import assume
from nvmc.passes.graph.attributes import float_of, int_of, ints_of, text_of
from nvmc.passes.graph.grids import grid_of
from nvmc.passes.graph.layers import consumer, label
from nvmc.passes.graph.mappable import Layer, finite_array, initializer_of, layers_of
from nvmc.passes.graph.names import Names

__all__ = ["MapBias"]

_FEW = 128
"""Rows that any bias may take; more only where the weight has more itself."""
_BIASED = frozenset(["Conv", "Gemm", "MatMul"])


@dataclass
class MapBias(ir.passes.InPlacePass):
    """Give the weight of each Conv, Gemm and MatMul + Add n more rows, which hold bias / (n d).

    They are driven with the constant input d, which a Pad puts beside the layer's own inputs: the
    network stays standard ONNX and computes the same. n is the least number of rows that needs no
    weight beyond the largest there is, in a convolution a multiple of the kernel's taps: its
    constant is a channel, behind explicit padding with zeros. Other biases stay digital: those of
    other operators, those that are not constant, and those of weights that several nodes use or
    that have codes of their own; the pass notes which, and why.

    Source: CrossSim 3.2's `bias_rows` (d = 1, a number of rows that is given).

    Attributes:
        drive: d, in the units of the layer's inputs, where `drives` does not say.
        skip: Globs of node names, or of weights', that stay as they are.
        target: Says of which layers (`Periphery.bias`); None for all.
        drives: d by the name of the tensor that enters the layer.
        told: What `drives` are, for the notes.
    """

    drive: float = 1.0
    skip: tuple[str, ...] = ()
    target: Target | None = None
    drives: Mapping[str, float] = field(default_factory=dict[str, float])
    told: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.drive < math.inf:
            raise OptionError(f"map-bias: drive is {self.drive}; expected a finite number above 0")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Add the rows in place.

        Raises:
            OptionError: A weight of one bit cannot hold a bias, or a bias needs too many rows.
        """
        names, changed = Names(model), False
        for layer in layers_of(model, self.skip):
            own = None if self.target is None else _target_of(layer, self.target)
            if own is not None and own.periphery.bias != "rows":
                continue
            where = f"the bias of layer {label(layer.node)!r}"
            found = _bias_of(layer)
            if isinstance(found, str):
                assume(model, f"{where} stays digital: {found}")
            if isinstance(found, str) or found is None:
                continue
            if own is not None and own.weight_bits == 1:
                raise OptionError(
                    f"{where} cannot be rows of 1-bit weights, which have one magnitude; keep it "
                    "digital (--bias digital, or bias in the layer's entry of a target file)"
                )
            drive = self.drives.get(str(_input_of(layer).name), 0.0) or self.drive
            rows = _rows_of(layer, found, drive, where)
            _append(layer, found / (rows * drive), rows, drive, names)
            told = f" ({self.told})" if self.told and drive != self.drive else ""
            lines = "a row" if rows == 1 else f"{rows:,} rows"
            assume(model, f"{where} is {lines} of cells, driven with {drive:g}{told}")
            changed = True
        return ir.passes.PassResult(model, changed)


def _target_of(layer: Layer, target: Target) -> Target:
    return target.of_layer(layer.node.name or "", str(layer.weights[0].source.name))


def _input_of(layer: Layer) -> ir.Value:
    value = layer.node.inputs[layer.activation]
    assert value is not None
    return value


def _bias_of(layer: Layer) -> NDArray[np.float64] | str | None:
    """The bias of every output channel; why it cannot be rows; None where there is none."""
    node, weight = layer.node, layer.weights[0]
    operator, value = node.op_type, _value_of(node)
    if value is None:
        return None
    if operator not in _BIASED:
        return f"that of {operator} is not laid on rows"
    if initializer_of(value) is None:
        return "it is computed at run time, not constant"
    if weight.scale is not None or grid_of(weight.source) is not None:
        return "its weights have codes of their own"
    if len(weight.source.uses()) > 1:
        return "its weights are used by several nodes"
    if text_of(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "its padding depends on the size of its input"
    if int_of(node, "transA", 0):
        return "its inputs lie in columns"
    if layer.activation != 0:
        return "its weights come first"
    shape = finite_array(weight.source).shape
    if operator == "MatMul" and (len(shape) != 2 or _input_of(layer).shape is None):
        return "nobody says how many axes its inputs or its weights have"
    columns = int(shape[0]) if operator == "Conv" or int_of(node, "transB", 0) else int(shape[-1])
    bias = finite_array(value).astype(np.float64)
    if bias.ndim > 1 and bias.size not in (1, bias.shape[-1]):
        return "it differs from row to row"
    if operator == "Gemm":
        bias = bias * float_of(node, "beta", 1.0) / float_of(node, "alpha", 1.0)
    if bias.size not in (1, columns):
        return "it makes outputs of another shape"
    bias = np.broadcast_to(bias.ravel(), (columns,))
    return bias if np.any(bias) else None


def _add_of(node: ir.Node) -> ir.Node | None:
    """The Add of a constant that alone reads what a MatMul gives."""
    found = consumer(node.outputs[0]) if node.op_type == "MatMul" else None
    if found is None or found.domain or found.op_type != "Add" or found.graph is not node.graph:
        return None
    return found if any(initializer_of(value) is not None for value in found.inputs) else None


def _value_of(node: ir.Node) -> ir.Value | None:
    """The bias of a node, as it stands in the graph."""
    if (add := _add_of(node)) is not None:
        return next(value for value in add.inputs if initializer_of(value) is not None)
    place = 3 if node.op_type in ("GRU", "LSTM", "RNN") else 2
    return node.inputs[place] if len(node.inputs) > place else None


def _rows_of(layer: Layer, bias: NDArray[np.float64], drive: float, where: str) -> int:
    """The least number of rows whose weights are no larger than those that are there."""
    weight = finite_array(layer.weights[0].source)
    most, largest = float(np.abs(weight).max()), float(np.abs(bias).max())
    needed = largest / (drive * most) if most else 1.0
    taps = math.prod(weight.shape[2:]) if layer.node.op_type == "Conv" else 1
    rows = taps * max(1, math.ceil(needed * (1 - 1e-6) / taps))
    if rows > max(_FEW, matrix_of(layer.place, weight.shape).rows):
        raise OptionError(
            f"{where} needs {rows:,} rows: it is up to {largest:g}, and a row of the largest "
            f"weight, {most:g}, driven with {drive:g} adds {most * drive:g}; drive rows with more "
            "(--data: the largest input), or keep it digital"
        )
    return rows


def _append(layer: Layer, each: NDArray[np.float64], rows: int, drive: float, names: Names) -> None:
    """Add rows to the weight and what drives them to the inputs, and take the bias away."""
    node, source = layer.node, layer.weights[0].source
    weight, stem = finite_array(source), str(node.name or source.name)
    if node.op_type == "Conv":
        kernel, groups = weight.shape[2:], int_of(node, "group", 1)
        count = rows // math.prod(kernel)
        shape = (len(weight), count, *kernel)
        more = np.broadcast_to(each.reshape(-1, 1, *(1,) * len(kernel)), shape)
        axis = 1
        _pad_explicitly(node, len(kernel), names, stem)
        _add_constant(node, 1, 2 + len(kernel), count, drive, names, stem)
        _give_to_groups(node, weight.shape[1], groups, count, names, stem)
    else:
        axis = int_of(node, "transB", 0)
        more = np.repeat(np.expand_dims(each, axis), rows, axis)
        rank = len(_input_of(layer).shape or ()) if node.op_type == "MatMul" else 2
        _add_constant(node, rank - 1, rank, rows, drive, names, stem)
    found = np.concatenate([weight, more.astype(weight.dtype)], axis=axis)
    source.const_value = ir.Tensor(found, name=str(source.name))
    source.shape = ir.Shape(found.shape)
    _take_away(node)


def _take_away(node: ir.Node) -> None:
    """Take the digital bias away."""
    add = _add_of(node)
    if add is None or add.graph is None:
        node.resize_inputs(2)
        node.attributes.pop("beta", None)
        return
    old, new = add.outputs[0], node.outputs[0]
    name = old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    add.graph.remove(add, safe=True)
    new.name, new.shape, new.type = name, old.shape or new.shape, old.type or new.type


def _put_ahead(node: ir.Node, ahead: ir.Node, names: Names, name: str) -> ir.Value:
    """Let `ahead` make what enters `node`."""
    before, value = node.inputs[0], ahead.outputs[0]
    assert before is not None
    ahead.name = names.fresh(name)
    value.name, value.type = ahead.name, before.type
    node.prepend(ahead)
    node.replace_input_with(0, value)
    return value


def _pad(node: ir.Node, pads: list[int], value: float, names: Names, name: str) -> None:
    before, weight = node.inputs[0], node.inputs[1]
    assert before is not None and weight is not None and weight.const_value is not None
    dtype = weight.const_value.dtype.numpy()
    inputs = [
        before,
        names.initializer(f"{name}.pads", np.array(pads, np.int64)),
        names.initializer(f"{name}.value", np.array(value, dtype)),
    ]
    made = _put_ahead(node, ir.node("Pad", inputs), names, name)
    half = len(pads) // 2
    if before.shape is not None and len(before.shape) == half:
        sizes = zip(before.shape, pads[:half], pads[half:], strict=True)
        made.shape = ir.Shape([_grown(size, low + high) for size, low, high in sizes])


def _grown(size: Any, more: int) -> Any:
    return size if not more else (size + more if isinstance(size, int) else None)


def _pad_explicitly(node: ir.Node, rank: int, names: Names, stem: str) -> None:
    """Zeros around the image, so that the constant channel has none."""
    pads = ints_of(node, "pads", None) or [0] * (2 * rank)
    for name in ("pads", "auto_pad"):
        node.attributes.pop(name, None)
    if any(pads):
        whole = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
        _pad(node, whole, 0.0, names, f"{stem}_padded")


def _add_constant(
    node: ir.Node, axis: int, rank: int, count: int, drive: float, names: Names, stem: str
) -> None:
    pads = [0] * (2 * rank)
    pads[rank + axis] = count
    _pad(node, pads, drive, names, f"{stem}_with_bias")


def _give_to_groups(
    node: ir.Node, channels: int, groups: int, count: int, names: Names, stem: str
) -> None:
    """The constant channels beside those of every group."""
    if groups == 1:
        return
    end = channels * groups
    order = [
        index
        for group in range(groups)
        for index in (*range(group * channels, (group + 1) * channels), *range(end, end + count))
    ]
    before = node.inputs[0]
    assert before is not None
    indices = names.initializer(f"{stem}_groups.order", np.array(order, np.int64))
    gather = ir.node("Gather", [before, indices], attributes={"axis": 1})
    made = _put_ahead(node, gather, names, f"{stem}_groups")
    if before.shape is not None:
        made.shape = ir.Shape([before.shape[0], len(order), *before.shape[2:]])
