"""map-crossbars: nodes with constant weights -> `nvmc` operators whose weights lie on tiles."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from nvmc.compiled.artifact import TARGET_KEY
from nvmc.compiled.operators import DOMAIN, OPS, PARAMETER, VERSION, Op, function_text
from nvmc.compiled.options import CompileOptions
from nvmc.compiled.work import DigitalEntry, LayerEntry
from nvmc.hardware.devices import Target
from nvmc.passes.graph.arrays import ArrayTable, Mapping, Placed
from nvmc.passes.graph.image_shapes import ImageShapes, Traffic
from nvmc.passes.graph.mappable import Layer, layers_of, nodes_of, refusal_of
from nvmc.passes.graph.multiply_adds import Counted, MultiplyAdds, count_multiply_adds
from nvmc.passes.graph.names import Names
from nvmc.passes.graph.node_parameters import NodeParameter, parameters_of
from nvmc.passes.guard_products import GuardProducts

__all__ = ["MapCrossbars", "set_inputs"]


@dataclass
class MapCrossbars(ir.passes.InPlacePass):
    """Replace every node that can be mapped by its `nvmc` operator, in subgraphs too.

    With quantised weights, `quantize-weights` runs before. Analog weights are their own codes,
    with step 1. A weight that several nodes share becomes one array. The model then carries the
    operators' function bodies and the target, so it runs in any onnxruntime.

    Attributes:
        target: The cells; behind a call with the arrays that each of its `layers` uses.
        options: Which nodes stay digital, and which parameters beside the weights cells hold.
        sizes: Of an image by input, for axes that the network leaves free: layers are counted so.
        mapping: What the last call mapped where.
    """

    target: Target
    options: CompileOptions = field(default_factory=CompileOptions)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    mapping: Mapping = field(init=False, default_factory=Mapping)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Map in place.

        Raises:
            OptionError: A weight is not quantised as the target asks.
            ModelError: A weight holds NaN or infinity.
        """
        self.mapping = Mapping()
        names = Names(model)
        table = ArrayTable(self.target, names, self.mapping)
        layers = layers_of(model, self.options.skip)
        parameters = parameters_of(layers, nodes_of(model), self.options.store)
        used = {layer.op.name for layer in layers}
        if parameters:
            used.add(PARAMETER)
        if not used and TARGET_KEY in model.metadata_props:
            return ir.passes.PassResult(model, False)
        shapes = ImageShapes(model, self.sizes)
        traffic = [shapes.traffic(layer) for layer in layers]
        work = count_multiply_adds(model, shapes, self.sizes)
        self.mapping.assumed = work.assumed
        self._store(model, parameters, table, names)
        for layer, sizes in zip(layers, traffic, strict=True):
            sizes["multiply_adds"] = work.of[layer.node].weights
            self._replace(layer, table, sizes)
            _complete_outputs(layer, names)
        common.RemoveUnusedNodesPass()(model)
        GuardProducts()(model)
        self._list_digital(model, work)
        for name in sorted(used):
            _add_function(model, OPS[name])
        self.target = self.target.placed(table.layers)
        model.metadata_props[TARGET_KEY] = self.target.model_dump_json()
        return ir.passes.PassResult(model, True)

    def _replace(self, layer: Layer, table: ArrayTable, sizes: Traffic) -> None:
        """Turn a node into its `nvmc` operator; its outputs stay what they are."""
        node, op = layer.node, layer.op
        arrays: list[str] = []
        inputs: list[ir.Value | None] = []
        for name, value in zip(op.inputs, node.inputs, strict=False):
            if name in op.weights:
                placed = table.of_layer(layer, layer.weights[op.weights.index(name)])
                arrays.append(placed.name)
                inputs += [placed.codes, placed.scale]
            else:
                inputs.append(value)
        for key in [key for key in node.attributes if key not in op.attributes]:
            node.attributes.pop(key)
        node.domain, node.op_type, node.version = DOMAIN, op.name, None
        set_inputs(node, inputs)
        self._name_arrays(node, arrays, sizes)

    def _name_arrays(self, node: ir.Node, arrays: list[str], sizes: Traffic) -> None:
        node.attributes.add(ir.AttrStrings("arrays", arrays))
        entry = LayerEntry(name=node.name or "", op=node.op_type, arrays=arrays, **sizes)
        self.mapping.layers.append(entry)

    def _store(
        self, model: ir.Model, parameters: list[NodeParameter], table: ArrayTable, names: Names
    ) -> None:
        """Read each parameter from cells through a node of its own."""
        stored: dict[ir.Value, ir.Value] = {}
        for parameter in parameters:
            source = parameter.value
            if source not in stored:
                dtype = source.dtype or ir.DataType.FLOAT
                stored[source] = self._parameter_node(model, table.of_parameter(source), names)
                stored[source] = _cast(model, stored[source], dtype, names)
            parameter.node.replace_input_with(parameter.index, stored[source])

    def _parameter_node(self, model: ir.Model, placed: Placed, names: Names) -> ir.Value:
        node = ir.Node(DOMAIN, PARAMETER, [placed.codes, placed.scale], num_outputs=1)
        node.name = names.fresh(f"{placed.name}.cells")
        output = node.outputs[0]
        output.name = names.fresh(f"{placed.name}.read")
        output.shape, output.dtype = placed.codes.shape, ir.DataType.FLOAT
        model.graph.insert_before(next(iter(model.graph)), node)
        self._name_arrays(node, [placed.name], {})
        return output

    def _list_digital(self, model: ir.Model, work: MultiplyAdds) -> None:
        for node in nodes_of(model):
            if node.domain != DOMAIN:
                counted = work.of.get(node, Counted())
                self.mapping.digital.append(
                    DigitalEntry(
                        name=node.name or "",
                        op=node.op_type,
                        domain=node.domain,
                        reason=refusal_of(node, self.options.skip),
                        multiply_adds=counted.weights,
                        activation_multiply_adds=counted.activations,
                    )
                )


def _complete_outputs(layer: Layer, names: Names) -> None:
    """Give the node every output of its function: onnx's inference counts on it."""
    node = layer.node
    node.resize_outputs(len(layer.op.outputs))
    for output in node.outputs:
        output.name = output.name or names.fresh(f"{node.name}.unused")


def set_inputs(node: ir.Node, inputs: list[ir.Value | None]) -> None:
    """Make `inputs` the inputs of `node`."""
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)


def _cast(model: ir.Model, value: ir.Value, dtype: ir.DataType, names: Names) -> ir.Value:
    """`value`, which is float32, as `dtype`."""
    producer = value.producer()
    if dtype == ir.DataType.FLOAT or producer is None:
        return value
    node = ir.node("Cast", [value], {"to": dtype}, name=names.fresh(f"{value.name}.cast"))
    node.outputs[0].name = names.fresh(f"{value.name}.as")
    node.outputs[0].shape, node.outputs[0].dtype = value.shape, dtype
    model.graph.insert_after(producer, node)
    return node.outputs[0]


def _add_function(model: ir.Model, op: Op) -> None:
    """The operator's body, which makes the model run without nvmc.

    It passes on what any of the operator's nodes sets; one that leaves that out gets the default.
    """
    opset = model.graph.opset_imports[""]
    nodes = [n for n in nodes_of(model) if (n.domain, n.op_type) == (DOMAIN, op.name)]
    passed = [key for key in op.attributes if any(key in node.attributes for node in nodes)]
    defaults = onnx.defs.get_schema(op.replaces, opset).attributes
    for key in passed:
        default = defaults[key].default_value
        if default.type != onnx.AttributeProto.UNDEFINED:
            for node in nodes:
                node.attributes.setdefault(key, ir.from_proto(default))
    text = function_text(op, opset, passed)
    function = ir.from_proto(onnx.parser.parse_function(text))
    model.functions[function.identifier()] = function
    model.graph.opset_imports[DOMAIN] = VERSION
