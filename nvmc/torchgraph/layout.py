"""How a convolutional network lies in memory on a processor."""

from __future__ import annotations

import math

import onnx_ir as ir

from nvmc.passes.graph.attributes import int_of, ints_of

__all__ = ["channels_last_pays"]

_WIDE = 256
"""Channels from which oneDNN's convolutions take longer with channels last, by up to 1.7 times."""


def channels_last_pays(graph: ir.Graph) -> bool:
    """Whether a step of training is quicker with channels last, on a processor.

    What gains is max pooling in two dimensions, which torch vectorises over channels only, and
    convolutions of one channel each; what loses are wide convolutions. The rule looks at the graph
    alone, so the same network is always computed in the same way, to the same bits.

    Args:
        graph: In canonical form, with the shapes of its weights.
    """
    gains = False
    for node in graph:
        if node.op_type == "MaxPool":
            gains |= len(ints_of(node, "kernel_shape", ())) == 2
        if node.op_type != "Conv" or node.inputs[1] is None or node.inputs[1].shape is None:
            continue
        sizes = node.inputs[1].shape
        if len(sizes) != 4 or not all(isinstance(size, int) for size in sizes):
            continue
        _, channels, *kernel = sizes.numpy()
        group = int_of(node, "group", 1)
        gains |= group > 1 and channels == 1
        if channels >= _WIDE and math.prod(kernel) > 1:
            return False
    return gains
