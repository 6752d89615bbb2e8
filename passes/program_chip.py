"""program-chip: a compiled network and a chip -> standard ONNX with the programmed weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as common
from numpy.typing import NDArray
from pydantic import ValidationError

from nvmc.compiled.artifact import TARGET_KEY
from nvmc.compiled.operators import DOMAIN, OPS, VERSION
from nvmc.errors import ArtifactError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target
from nvmc.hardware.options import problem
from nvmc.hardware.tiling import Place
from nvmc.passes.graph.attributes import strings_of
from nvmc.passes.graph.mappable import nodes_of, place_of
from nvmc.passes.graph.names import Names
from nvmc.passes.map_crossbars import set_inputs

__all__ = ["ProgramChip", "arrays_of", "target_of"]


def target_of(model: ir.Model) -> Target:
    """The target that a compiled model carries.

    Raises:
        ArtifactError: It carries none, or a damaged one, or operators of another version.
    """
    version = model.opset_imports.get(DOMAIN, VERSION)
    if version != VERSION:
        raise ArtifactError(
            f"the model has version {version} of the operators of {DOMAIN!r}; expected {VERSION}: "
            "compile its source again with this nvmc"
        )
    text = model.metadata_props.get(TARGET_KEY)
    if text is None:
        raise ArtifactError(
            f"the model carries no {TARGET_KEY!r}; compile it with `nvmc compile` first"
        )
    try:
        return Target.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactError(
            f"{TARGET_KEY!r} in the model is damaged ({problem(error, Target)}); compile again"
        ) from error


def arrays_of(model: ir.Model) -> list[Array]:
    """The crossbar arrays of a compiled model, each once, in the order of their first use.

    Raises:
        ArtifactError: The model is not a compiled network, or is damaged.
    """
    target = target_of(model)
    arrays: dict[str, Array] = {}
    places = _places(model)
    for name, codes, scale, _ in _operands(model):
        if name not in arrays:
            cells = target.of_array(name)
            arrays[name] = Array(name, _numpy(codes), _numpy(scale), cells, places[name])
    return list(arrays.values())


@dataclass
class ProgramChip(ir.passes.InPlacePass):
    """Turn every `nvmc` operator back into its standard operator, with the chip's weights.

    Each array becomes one float initializer of the array's name. Nothing of nvmc remains.

    Attributes:
        chip: Which chip; `Chip.ideal()` gives the quantised network back.
    """

    chip: Chip

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Program in place.

        Raises:
            ArtifactError: The model is not a compiled network, or is damaged.
        """
        arrays = {array.name: array for array in arrays_of(model)}
        _free_names(model, set(arrays))
        weights: dict[str, ir.Value] = {}
        for name, _, _, dtype in _operands(model):
            if name not in weights:
                weights[name] = self._weight(model, arrays.pop(name), dtype)
        for node in nodes_of(model):
            if node.domain == DOMAIN:
                _restore(node, weights)
        common.RemoveUnusedNodesPass()(model)
        for identifier in [key for key in model.functions if key[0] == DOMAIN]:
            model.functions.pop(identifier)
        model.graph.opset_imports.pop(DOMAIN, None)
        model.metadata_props.pop(TARGET_KEY, None)
        return ir.passes.PassResult(model, True)

    def _weight(self, model: ir.Model, array: Array, dtype: ir.DataType) -> ir.Value:
        programmed = self.chip.weights(array).astype(dtype.numpy(), copy=False)
        tensor = ir.Tensor(programmed, name=array.name)
        value = ir.Value(
            name=array.name,
            shape=ir.Shape(programmed.shape),
            type=ir.TensorType(dtype),
            const_value=tensor,
        )
        model.graph.register_initializer(value)
        return value


def _operands(model: ir.Model) -> Iterator[tuple[str, ir.Value, ir.Value, ir.DataType]]:
    """Name, codes, step and the network's type, of every weight operand."""
    for node in nodes_of(model):
        if node.domain != DOMAIN:
            continue
        op = OPS.get(node.op_type)
        names = strings_of(node, "arrays", ())
        if op is None or len(names) != len(op.weights):
            raise ArtifactError(f"node {node.name!r} is not of this nvmc; compile again")
        like = next(
            (v for v, n in zip(node.inputs, op.function_inputs, strict=False) if n in op.inputs),
            None,
        )
        dtype = (like.dtype if like is not None else None) or ir.DataType.FLOAT
        for name, weight in zip(names, op.weights, strict=True):
            index = op.function_inputs.index(f"{weight}_codes")
            codes, scale = node.inputs[index], node.inputs[index + 1]
            if codes is None or scale is None:
                raise ArtifactError(f"node {node.name!r} lacks a weight; compile again")
            yield name, codes, scale, dtype


def _places(model: ir.Model) -> dict[str, Place]:
    """How the first node that uses an array uses it, which is what it was tiled for."""
    places: dict[str, Place] = {}
    for node in nodes_of(model):
        if node.domain == DOMAIN:
            place = place_of(node, node.op_type)
            for name in strings_of(node, "arrays", ()) or ():
                places.setdefault(name, place)
    return places


def _free_names(model: ir.Model, wanted: set[str]) -> None:
    """Rename what else is called like an array: a weight that a digital node still restores."""
    names = Names(model)
    for node in nodes_of(model):
        for value in node.outputs:
            if value.name in wanted:
                value.name = names.fresh(f"{value.name}.digital")


def _numpy(value: ir.Value) -> NDArray[Any]:
    if value.const_value is None:
        raise ArtifactError(f"{value.name!r} has no data in the model; compile again")
    return value.const_value.numpy()


def _restore(node: ir.Node, weights: dict[str, ir.Value]) -> None:
    """The standard operator again, reading `weights`."""
    op = OPS[node.op_type]
    arrays = list(strings_of(node, "arrays", ()) or ())
    inputs: list[ir.Value | None] = []
    for name, value in zip(op.function_inputs, node.inputs, strict=False):
        if name in op.inputs:
            inputs.append(value)
        elif name.endswith("_codes"):
            inputs.append(weights[arrays[op.weights.index(name.removesuffix("_codes"))]])
    node.attributes.pop("arrays")
    node.domain, node.op_type = "", op.replaces
    set_inputs(node, inputs)
