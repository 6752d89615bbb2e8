"""stack-chips: a detached network -> the same network several times over, its first layers joined.

Chips differ in their weights only, and all see the same images. So a convolution of the images
themselves, and what follows it channel by channel, is one wide layer for several chips. A narrow
first layer then fills the vector lanes that it would leave empty alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nvmc.compiled.stack import Stack, name_in_stack

__all__ = ["stacked"]

LANES = 16
"""Channels that fill the widest vector register of float32 (AVX-512)."""
MOST_WEIGHTS = 1 << 20
"""Networks with more weights are not repeated: their layers are wide, and copies take memory."""

_CHANNELWISE = frozenset(
    """Add AveragePool Clip Div Elu HardSigmoid LeakyRelu MaxPool Mul Relu Round Sigmoid Softplus
    Sub Tanh""".split()
)
_ABSENT = "detached"


def stacked(model: onnx.ModelProto, arrays: Iterable[str]) -> Stack | None:
    """The network several times over, or None where that would not pay.

    It pays for a small network whose first convolution has a number of channels that leaves vector
    lanes empty. The number of chips depends on nothing else, so that no chip's value depends on
    the machine or on how many chips there are.

    Args:
        model: The network, its arrays' weights initializers.
        arrays: Their names.
    """
    builder = _Builder(model, frozenset(arrays))
    count = builder.count()
    if count < 2:
        return None
    return Stack(builder.build(count).SerializeToString(), count, frozenset(builder.joined))


@dataclass
class _Builder:
    model: onnx.ModelProto
    arrays: frozenset[str]
    joined: set[str] = field(init=False, default_factory=set[str])

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.common = {value.name for value in graph.input}
        self.common |= {name for name in self.initializers if name not in self.arrays}
        self.common.add("")  # an input that is left out
        # In graph order, so what follows from shared values alone is shared too and computed once.
        for node in graph.node:
            if all(name in self.common for name in node.input):
                self.common.update(node.output)
        self.wide: set[str] = set()  # values that hold the channels of all chips, side by side

    def count(self) -> int:
        """Chips that fill the lanes of the first layer; 1 where it is full, or there is none."""
        graph = self.model.graph
        # A subgraph reads outer values by name, which `_copy` would not rename in it.
        weights = sum(math.prod(self.initializers[name].dims) for name in self.arrays)
        if weights > MOST_WEIGHTS or any(a.HasField("g") for n in graph.node for a in n.attribute):
            return 1
        first = next((node for node in graph.node if self._joins(node)), None)
        if first is None:
            return 1
        # The least number of chips whose channels together are a multiple of the lanes.
        return LANES // math.gcd(LANES, self.initializers[first.input[1]].dims[0])

    def build(self, count: int) -> onnx.ModelProto:
        """The stacked model."""
        nodes: list[onnx.NodeProto] = []
        tensors: list[onnx.TensorProto] = []
        channels: dict[str, int] = {}
        for node in self.model.graph.node:
            if all(name in self.common for name in node.input):
                nodes.append(node)
            elif self._joins(node):
                tensors += self._joined_weights(node, count)
                channels[node.output[0]] = self.initializers[node.input[1]].dims[0]
                self.wide.add(node.output[0])
                nodes.append(node)
            elif self._channelwise(node):
                channels[node.output[0]] = channels[node.input[0]]
                self.wide.add(node.output[0])
                nodes.append(node)
            else:
                # Behind this node chips differ, so each gets a copy of it and its own channels.
                for name in node.input:
                    if name in self.wide:
                        nodes.append(self._split(name, channels[name], count, tensors))
                        self.wide.remove(name)
                nodes += [self._copy(node, chip) for chip in range(count)]
        for value in self.model.graph.output:
            if value.name in self.wide:
                nodes.append(self._split(value.name, channels[value.name], count, tensors))
                self.wide.remove(value.name)
        return self._model(nodes, tensors, count)

    def _joins(self, node: onnx.NodeProto) -> bool:
        """Whether a node is a convolution of what all chips share, with an array of its own."""
        if node.op_type != "Conv" or node.domain or node.input[0] not in self.common:
            return False
        group = next((a.i for a in node.attribute if a.name == "group"), 1)
        bias = node.input[2] if len(node.input) > 2 else ""
        # A weight that another node reads too would be needed alone as well. With
        # groups, stacked channels would fall into other groups. A computed bias cannot be repeated.
        own = node.input[1] in self.arrays and self.uses[node.input[1]] == 1
        return (
            own and group == 1 and (not bias or bias in self.initializers and bias in self.common)
        )

    def _channelwise(self, node: onnx.NodeProto) -> bool:
        """Whether a node treats each channel of a joined layer by itself and alike."""
        if node.op_type not in _CHANNELWISE or node.domain or node.input[0] not in self.wide:
            return False
        # One number for all channels is one for all chips; a vector would have to be repeated. A
        # second reader might not be channelwise, and would then need the split as well.
        others = [name for name in node.input[1:] if name]
        single = all(
            name in self.common
            and name in self.initializers
            and math.prod(self.initializers[name].dims) == 1
            and len(self.initializers[name].dims) <= 1
            for name in others
        )
        return single and len(node.output) == 1 and self.uses[node.input[0]] == 1

    def _joined_weights(self, node: onnx.NodeProto, count: int) -> list[onnx.TensorProto]:
        """The initializers of a joined convolution; renames the bias it reads."""
        weight = self.initializers[node.input[1]]
        self.joined.add(weight.name)
        channels, *rest = weight.dims
        found = [_absent(weight.name, weight.data_type, (count * channels, *rest))]
        if len(node.input) > 2 and node.input[2]:
            values = numpy_helper.to_array(self.initializers[node.input[2]])
            name = f"stack/{node.output[0]}/bias"
            node.input[2] = name
            found.append(numpy_helper.from_array(np.tile(values, count), name))
        return found

    def _split(
        self, name: str, channels: int, count: int, tensors: list[onnx.TensorProto]
    ) -> onnx.NodeProto:
        sizes = f"stack/{name}/sizes"
        tensors.append(numpy_helper.from_array(np.full(count, channels, np.int64), sizes))
        outputs = [name_in_stack(name, chip) for chip in range(count)]
        return helper.make_node("Split", [name, sizes], outputs, f"stack/{name}", axis=1)

    def _copy(self, node: onnx.NodeProto, chip: int) -> onnx.NodeProto:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = name_in_stack(node.name, chip)
        for names in (copy.input, copy.output):
            for index, name in enumerate(names):
                if name not in self.common:
                    names[index] = name_in_stack(name, chip)
        return copy

    def _model(
        self, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], count: int
    ) -> onnx.ModelProto:
        old = self.model.graph
        outputs: list[onnx.ValueInfoProto] = []
        for chip in range(count):
            for value in old.output:
                copy = onnx.ValueInfoProto()
                copy.CopyFrom(value)
                if value.name not in self.common:
                    copy.name = name_in_stack(value.name, chip)
                if value.name not in self.common or chip == 0:
                    outputs.append(copy)
        # onnxruntime warns of initializers that nothing reads, such as a bias that was joined.
        read = {name for node in nodes for name in node.input}
        for name, tensor in self.initializers.items():
            if name in self.common and name in read:
                tensors.append(tensor)
            elif name in self.arrays - self.joined:
                copies = [name_in_stack(name, chip) for chip in range(count)]
                tensors += [_absent(copy, tensor.data_type, tuple(tensor.dims)) for copy in copies]
        graph = helper.make_graph(nodes, old.name or "stack", list(old.input), outputs, tensors)
        model = helper.make_model(graph, opset_imports=list(self.model.opset_import))
        model.ir_version = self.model.ir_version
        return model


def _absent(name: str, kind: int, shape: tuple[int, ...]) -> onnx.TensorProto:
    """An initializer whose data are put in when a session is made."""
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=_ABSENT)
    return tensor
