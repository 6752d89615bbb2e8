"""weights-as-inputs: a network without its crossbar weights -> one that takes them as inputs.

It is for engines that run many chips of one graph side by side, their weights stacked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx
import onnx_ir as ir

__all__ = ["WeightsAsInputs", "with_weights_as_inputs"]


@dataclass
class WeightsAsInputs(ir.passes.InPlacePass):
    """Turn initializers into graph inputs of the same name, behind those that there are.

    Attributes:
        names: Of the initializers; others stay. Their data are not looked at, and may be missing.
    """

    names: tuple[str, ...]

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Change `model` in place; it is changed where it holds one of the initializers."""
        graph = model.graph
        found = [graph.initializers.pop(n) for n in self.names if n in graph.initializers]
        for value in found:
            value.const_value = None
            if value not in graph.inputs:
                graph.inputs.append(value)
        return ir.passes.PassResult(model, bool(found))


def with_weights_as_inputs(content: bytes, names: Iterable[str]) -> ir.Model:
    """The serialised model `content`, its initializers `names` being inputs."""
    model = ir.from_proto(onnx.ModelProto.FromString(content))
    WeightsAsInputs(tuple(names))(model)
    return model
