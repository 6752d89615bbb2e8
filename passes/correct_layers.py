"""correct-layers: outputs of crossbar layers, and statistics of normalisations, come from outside.

A compensation that is calibrated on images (`nvmc.hardware.compensation`) needs a compiled network
in two forms. One takes its corrections as inputs and runs the chip. The other runs the calibration
images and puts the corrections out: they are computed in the graph, layer after layer, so that
each layer is fitted to what the corrected layers before it give. Both have the same nodes but
for that, whatever engine runs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.compiled.operators import DOMAIN, OPS
from nvmc.errors import ModelError
from nvmc.passes.graph.attributes import int_of
from nvmc.passes.graph.layers import label
from nvmc.passes.graph.mappable import nodes_of
from nvmc.passes.graph.names import Names

__all__ = ["CONSTANT", "IDEAL", "CorrectLayers", "Correction", "hold_inputs"]

IDEAL = ".ideal"
"""Behind the name of a layer's output: the input that has the ideal chip's value of it."""
CONSTANT = 1e-10
"""A column whose variance is no more than this share of its squared mean does not vary: in float32
that is rounding."""


@dataclass(frozen=True)
class Correction:
    """What is corrected at one place.

    Attributes:
        layer: Name of the node.
        value: Name of the layer's output before it is corrected; empty for a normalisation.
        names: Of gain and offset, or of mean and variance.
        count: Columns or channels.
    """

    layer: str
    value: str
    names: tuple[str, str]
    count: int


@dataclass
class CorrectLayers(ir.passes.InPlacePass):
    """Correct layers by numbers that come in as inputs, or find those numbers.

    Layers are those in the main graph whose output has an axis of columns: Conv, ConvTranspose,
    Gemm, and MatMul by a matrix on the right. Their output y becomes gain * y + offset.
    BatchNormalization in inference form gets mean and variance.

    Attributes:
        affine: How layers are corrected (`Affine.fit`); None leaves them.
        batchnorm: Whether normalisations are.
        calibrating: Whether the numbers are found: the network then takes, behind its images, the
            ideal chip's value of every layer (`IDEAL` behind its name), and puts the numbers out
            instead of its outputs.
        found: What the last call corrected, in the order of the graph.
        left: Names of crossbar layers that it left as they are, of `affine`.

    Raises:
        ModelError: There is nothing to correct.
    """

    affine: str | None = None
    batchnorm: bool = False
    calibrating: bool = False
    found: list[Correction] = field(init=False, default_factory=list[Correction])
    left: list[str] = field(init=False, default_factory=list[str])

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Correct in place."""
        self._model, self._names = model, Names(model)
        self.found, self.left = [], []
        counts = {"affine": 0, "batchnorm": 0}
        for node in list(nodes_of(model)):
            if self.affine is not None and node.domain == DOMAIN and OPS[node.op_type].inputs[1:]:
                counts["affine"] += self._layer(node, self.affine)
            elif self.batchnorm and node.domain == "" and node.op_type == "BatchNormalization":
                counts["batchnorm"] += self._normalisation(node)
        if self.affine is not None and not counts["affine"]:
            raise ModelError(
                "--compensate affine: no crossbar layer in the main graph has output columns "
                f"(there are {', '.join(self.left[:3]) or 'none'}); leave affine out"
            )
        if self.batchnorm and not counts["batchnorm"]:
            raise ModelError(
                "--compensate batchnorm: the compiled network has no BatchNormalization in its "
                "main graph; compile it without --fold-batchnorm if it had, or use "
                "--compensate affine:fit=moments, which needs none"
            )
        if self.calibrating:
            values = {str(v.name): v for node in model.graph for v in node.outputs}
            model.graph.outputs[:] = [values[n] for one in self.found for n in one.names]
        return ir.passes.PassResult(model, True)

    def _layer(self, node: ir.Node, fit: str) -> bool:
        columns = _columns(node, self._model.graph)
        if columns is None:
            self.left.append(label(node))
            return False
        count, axes, shape = columns
        raw = node.outputs[0]
        kept = str(raw.name)
        raw.name = self._names.fresh(f"{kept}.raw")
        names = (self._names.fresh(f"{kept}.gain"), self._names.fresh(f"{kept}.offset"))
        made = _Made(self._names, opset=self._model.opset_imports[""])
        wide = made.cast(raw, raw.dtype)
        if self.calibrating:
            ideal = self._input(f"{kept}{IDEAL}", raw.shape)
            gain, offset = made.fitted(wide, ideal, axes, count, fit)
            _say(gain, names[0], shape)
            _say(offset, names[1], shape)
        else:
            gain, offset = (self._input(name, ir.Shape(shape)) for name in names)
        corrected = made.like(made("Add", made("Mul", wide, gain), offset), raw)
        corrected.name, corrected.shape, corrected.type = kept, raw.shape, raw.type
        own = {id(new) for new in made.nodes}
        for user, index in list(raw.uses()):
            if id(user) not in own:
                user.replace_input_with(index, corrected)
        outputs = self._model.graph.outputs
        outputs[:] = [corrected if value is raw else value for value in outputs]
        self._model.graph.insert_after(node, made.nodes)
        self.found.append(Correction(label(node), kept, names, count))
        return True

    def _normalisation(self, node: ir.Node) -> bool:
        scale, old = node.inputs[1], node.inputs[3]
        if node.graph is not self._model.graph or int_of(node, "training_mode", 0):
            return False
        entering = node.inputs[0]
        known = next((value for value in node.inputs[1:5] if _size(value) is not None), None)
        if scale is None or old is None or entering is None or known is None:
            return False
        count, stem = _size(known) or 0, str(node.outputs[0].name)
        names = (self._names.fresh(f"{stem}.mean"), self._names.fresh(f"{stem}.variance"))
        if self.calibrating:
            made = _Made(self._names, opset=self._model.opset_imports[""])
            mean, variance = made.statistics(made.cast(entering, entering.dtype), count)
            mean, variance = made.like(mean, old), made.like(variance, old)
            for value, name in zip((mean, variance), names, strict=True):
                _say(value, name, (count,), old.dtype)
            self._model.graph.insert_before(node, made.nodes)
        else:
            shape = ir.Shape((count,))
            mean, variance = (self._input(name, shape, old.dtype) for name in names)
        node.replace_input_with(3, mean)
        node.replace_input_with(4, variance)
        self.found.append(Correction(label(node), "", names, count))
        return True

    def _input(
        self, name: str, shape: ir.Shape | None, dtype: ir.DataType | None = None
    ) -> ir.Value:
        value = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype or ir.DataType.FLOAT))
        self._model.graph.inputs.append(value)
        return value


def _say(
    value: ir.Value, name: str, shape: tuple[int, ...], dtype: ir.DataType | None = None
) -> None:
    """Name a value that is to be an output, with its shape and type."""
    value.name, value.shape = name, ir.Shape(shape)
    value.type = ir.TensorType(dtype or ir.DataType.FLOAT)


def hold_inputs(model: ir.Model, values: Mapping[str, NDArray[Any]]) -> None:
    """Make constants of the main graph's inputs of those names."""
    graph = model.graph
    for value in [value for value in graph.inputs if value.name in values]:
        graph.inputs.remove(value)
        array = values[str(value.name)]
        value.const_value, value.shape = ir.Tensor(array, name=value.name), ir.Shape(array.shape)
        graph.register_initializer(value)


def _size(value: ir.Value | None) -> int | None:
    shape = None if value is None else value.shape
    size = shape[0] if shape is not None and len(shape) == 1 else None
    return size if isinstance(size, int) else None


def _columns(node: ir.Node, main: ir.Graph) -> tuple[int, list[int], tuple[int, ...]] | None:
    """Columns of a layer's output, the axes beside theirs, and the shape of one number a column.

    The axes are none where all but the last are meant. None for a layer that has no such axis.
    """
    op = OPS[node.op_type]
    if node.graph is not main or "B" not in op.weights and "W" not in op.weights:
        return None
    codes = node.inputs[op.function_inputs.index(f"{op.weights[0]}_codes")]
    shape = [] if codes is None or codes.shape is None else list(codes.shape)
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) != len(shape) or len(sizes) < 2:
        return None
    if op.replaces in ("Conv", "ConvTranspose"):
        groups = int_of(node, "group", 1) or 1
        count = sizes[0] if op.replaces == "Conv" else sizes[1] * groups
        spatial = len(sizes) - 2
        return count, [0, *range(2, 2 + spatial)], (1, count, *(1,) * spatial)
    if op.replaces == "Gemm":
        count = sizes[0] if int_of(node, "transB", 0) else sizes[1]
        return count, [0], (1, count)
    if op.replaces == "MatMul" and op.weights == ("B",) and len(sizes) == 2:
        return sizes[1], [], (1, sizes[1])
    return None


class _Made:
    """New nodes, to be inserted in their order."""

    def __init__(self, names: Names, opset: int) -> None:
        self.nodes: list[ir.Node] = []
        self._names = names
        self._opset = opset

    def __call__(self, op: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        node = ir.node(op, list(inputs), attributes, name=self._names.fresh(f"correct.{op}"))
        node.outputs[0].name = self._names.fresh(f"{node.name}.y")
        self.nodes.append(node)
        return node.outputs[0]

    def cast(self, value: ir.Value, dtype: ir.DataType | None) -> ir.Value:
        """The value as float32."""
        if dtype in (None, ir.DataType.FLOAT):
            return value
        return self("Cast", value, to=int(ir.DataType.FLOAT))

    def like(self, value: ir.Value, other: ir.Value) -> ir.Value:
        """A float32 value in the other's type."""
        return value if other.dtype in (None, ir.DataType.FLOAT) else self("CastLike", value, other)

    def fitted(
        self, y: ir.Value, z: ir.Value, axes: list[int], count: int, fit: str
    ) -> tuple[ir.Value, ir.Value]:
        """Gain and offset of every column; see `nvmc.hardware.compensation.affine.Affine`."""
        if not axes:
            flat = self._constant(np.array([-1, count], np.int64))
            y, z, axes = self("Reshape", y, flat), self("Reshape", z, flat), [0]
        middle, ideal = self._mean(y, axes), self._mean(z, axes)
        off, wanted = self("Sub", y, middle), self("Sub", z, ideal)
        spread = self._mean(self("Mul", off, off), axes)
        if fit == "moments":
            ratio = self("Div", self._mean(self("Mul", wanted, wanted), axes), spread)
            gain = self("Sqrt", ratio)
        else:
            gain = self("Div", self._mean(self("Mul", off, wanted), axes), spread)
        least = self("Mul", self("Mul", middle, middle), self._constant(np.float32(CONSTANT)))
        one = self._constant(np.float32(1))
        gain = self("Where", self("Greater", spread, least), gain, one)
        return gain, self("Sub", ideal, self("Mul", gain, middle))

    def statistics(self, x: ir.Value, count: int) -> tuple[ir.Value, ir.Value]:
        """Mean and variance of every channel of x (N, C, …), shape (C,)."""
        # x as (C, all else), whatever its rank: (N, C, rest) first.
        shape = self._constant(np.array([0, count, -1], np.int64))
        flat = self("Reshape", x, shape)
        mean = self._mean(flat, [0, 2])
        off = self("Sub", flat, mean)
        variance = self._mean(self("Mul", off, off), [0, 2])
        vector = self._constant(np.array([count], np.int64))
        return self("Reshape", mean, vector), self("Reshape", variance, vector)

    def _mean(self, x: ir.Value, axes: Sequence[int]) -> ir.Value:
        if self._opset >= 18:
            return self("ReduceMean", x, self._constant(np.array(axes, np.int64)), keepdims=1)
        return self("ReduceMean", x, axes=list(axes), keepdims=1)

    def _constant(self, array: Any) -> ir.Value:
        return self._names.initializer("correct.constant", np.asarray(array))
