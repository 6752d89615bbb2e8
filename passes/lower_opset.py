"""lower-opset: standard operators of an older opset, so that older compilers take the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx
import onnx.helper
import onnx_ir as ir
import onnx_ir.passes.common as common

from nvmc.errors import ModelError, OptionError
from nvmc.passes.graph.attributes import MISFITS
from nvmc.passes.graph.mappable import nodes_of
from nvmc.passes.graph.names import Names
from nvmc.passes.infer_shapes import infer_shapes
from nvmc.passes.lowered_forms import LOWERED
from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError
from nvmc.passes.unfuse_operators import replace_node

__all__ = ["LOWEST", "LowerOpset"]

LOWEST = 13
"""The oldest opset: from here on axes and weights are where they are today."""

_STANDARD = ("", "ai.onnx.ml")

_NEW_VALUES: dict[tuple[str, str], dict[str, int]] = {
    ("GridSample", "mode"): {"linear": 20, "cubic": 20},
    ("Pad", "mode"): {"wrap": 19},
    ("ScatterElements", "reduction"): {"add": 16, "mul": 16, "max": 18, "min": 18},
    ("ScatterND", "reduction"): {"add": 16, "mul": 16, "max": 18, "min": 18},
    ("Resize", "coordinate_transformation_mode"): {"half_pixel_symmetric": 19},
}
"""Operator and attribute -> the opsets that brought values; elsewhere new values came with new
attributes, inputs or types, which are compared."""


@dataclass
class LowerOpset(ir.passes.InPlacePass):
    """Say a network of standard operators in an older opset.

    A node keeps its operator where the older one has the attributes, inputs and types that the node
    uses; attributes at their default are left out where the older one lacks them. Else it becomes
    the older form, or its parts (`nvmc.passes.lowered_forms`).

    Attributes:
        opset: 13 or newer; None for the oldest that can say the network. One newer than the
            model's own is the model's own.
    """

    opset: int | None = None

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Lower in place.

        Raises:
            OptionError: There is no such opset.
            ModelError: An operator is not standard, or cannot be said in that opset.
        """
        found = model.graph.opset_imports[""]
        newest = onnx.defs.onnx_opset_version()
        if self.opset is not None and not LOWEST <= self.opset <= newest:
            raise OptionError(f"--opset is {self.opset}; expected {LOWEST} to {newest}")
        infer_shapes(model)
        nodes = list(nodes_of(model))
        for node in nodes:
            if node.domain not in _STANDARD or model.functions:
                raise ModelError(
                    f"node {node.name!r} is {node.domain or 'a function'}.{node.op_type}, which is "
                    "no standard operator, so no standard compiler knows it"
                )
        wanted = self._choice(model, nodes, found)
        changed = _lower(model, nodes, wanted, found) or wanted != found
        model.graph.opset_imports[""] = wanted
        for node in nodes_of(model):
            node.version = None
        model.ir_version = _ir_version(wanted)
        return ir.passes.PassResult(model, changed)

    def _choice(self, model: ir.Model, nodes: list[ir.Node], found: int) -> int:
        """The opset to say the network in.

        Raises:
            ModelError: It cannot be said in the one that is wanted.
        """
        problems = {o: _problem(model, nodes, o, found) for o in range(LOWEST, found)}
        lowest = next((o for o, problem in problems.items() if problem is None), found)
        if self.opset is None or self.opset >= found:
            return lowest if self.opset is None else found
        problem = problems[self.opset]
        if problem is not None:
            fits = [o for o, p in problems.items() if o > self.opset and p is None]
            raise ModelError(
                f"the network cannot be written in opset {self.opset}: {problem}; use --opset "
                f"{min(fits, default=found)}"
            )
        return self.opset


def _lower(model: ir.Model, nodes: list[ir.Node], opset: int, found: int) -> bool:
    changed = False
    names = Names(model)
    for node in nodes:
        if _misfit(node, opset, found) is None:
            changed |= _drop_defaults(node, opset, found)
            continue
        rewriting = Rewriting(node, opset, names)
        replace_node(node, rewriting.nodes, LOWERED[node.op_type][1](rewriting))
        changed = True
    if changed:
        common.RemoveUnusedNodesPass()(model)
    return changed


def _problem(model: ir.Model, nodes: list[ir.Node], opset: int, found: int) -> str | None:
    """Why the network cannot be said in an opset; None where it can."""
    names = Names(model)
    for node in nodes:
        problem = _misfit(node, opset, found)
        if problem is None:
            continue
        since, build = LOWERED.get(node.op_type, (0, None))
        if build is not None and opset < since:
            rewriting = Rewriting(node, opset, names)
            try:
                build(rewriting)
                continue
            except (UnfusableError, *MISFITS) as error:
                problem = str(error) or problem
            finally:
                for built in reversed(rewriting.nodes):
                    built.resize_inputs(0)
        return f"{node.op_type} {node.name!r}: {problem}"
    return None


def _misfit(node: ir.Node, opset: int, found: int) -> str | None:
    """What the operator of an older opset lacks that a node uses; None for nothing."""
    if node.domain:
        return None
    new = onnx.defs.get_schema(node.op_type, found, "")
    try:
        old = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return f"it exists from opset {_first(node.op_type, found)} on"
    if old.since_version == new.since_version:
        return None
    lacking = [name for name in _lacking(node, old, new) if name not in _unset(node, old, new)]
    if lacking:
        return f"it has no {lacking[0]!r} there"
    if len(node.inputs) > old.max_input or len(node.outputs) > old.max_output:
        return "it has fewer inputs or outputs there"
    if node.op_type == "GroupNormalization":
        return "its scale is per group there"
    if node.op_type == "Split" and "num_outputs" in node.attributes:
        return "it has no 'num_outputs' there"
    for (kind, name), opsets in _NEW_VALUES.items():
        if kind == node.op_type and name in node.attributes:
            text = node.attributes[name].as_string()
            if opset < opsets.get(text, 0):
                return f"its {name} {text!r} exists from opset {opsets[text]} on"
    return _foreign_type(node, old)


def _lacking(node: ir.Node, old: Any, new: Any) -> list[str]:
    return [n for n in node.attributes if n in new.attributes and n not in old.attributes]


def _unset(node: ir.Node, old: Any, new: Any) -> set[str]:
    """Attributes that an older operator lacks and whose value says what it does anyway."""
    found: set[str] = set()
    for name in _lacking(node, old, new):
        value, default = node.attributes[name].value, new.attributes[name].default_value
        same = default.name and onnx.helper.get_attribute_value(default) == value
        ones = name == "dilations" and all(number == 1 for number in value)
        if same or ones:
            found.add(name)
    return found


def _drop_defaults(node: ir.Node, opset: int, found: int) -> bool:
    if node.domain:
        return False
    old, new = (onnx.defs.get_schema(node.op_type, o, "") for o in (opset, found))
    names = _unset(node, old, new)
    for name in names:
        node.attributes.pop(name)
    return bool(names)


def _foreign_type(node: ir.Node, old: Any) -> str | None:
    # Not `formal.types`, which onnx 1.20 cannot hand to Python.
    classes = {one.type_param_str: one.allowed_type_strs for one in old.type_constraints}
    for values, formals in ((node.inputs, old.inputs), (node.outputs, old.outputs)):
        for value, formal in zip(values, _repeated(formals, len(values)), strict=False):
            if value is None or not isinstance(value.type, ir.TensorType):
                continue
            text = f"tensor({value.type.dtype.name.lower()})"
            if text not in classes.get(formal.type_str, [formal.type_str]):
                return f"it takes no {text} there"
    return None


def _repeated(formals: Any, count: int) -> Iterator[Any]:
    """The formal of each operand: the last may stand for several."""
    return (formals[min(index, len(formals) - 1)] for index in range(count) if formals)


def _first(op: str, newest: int) -> int:
    """The opset that brought an operator."""
    return min(
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and schema.name == op and schema.since_version <= newest
    )


def _ir_version(opset: int) -> int:
    """The version of the file's format that came with an opset, which its readers know."""
    table: Any = onnx.helper.OP_SET_ID_VERSION_MAP
    return max(7, int(table[("ai.onnx", opset)]))
