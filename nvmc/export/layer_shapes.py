"""A layer as a line of NeuroSim's network file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nvmc.compiled.artifact import Compiled
from nvmc.compiled.work import LayerEntry
from nvmc.errors import ModelError
from nvmc.hardware.chip import Array
from nvmc.hardware.tiling import Matrix
from nvmc.passes.graph.attributes import ints_of
from nvmc.passes.graph.tile_graph import read_tile_graph

__all__ = ["Shape", "novel_mapping", "pooled_layers", "shape_of"]

_POOLS = frozenset("AveragePool MaxPool LpPool".split())
_ELEMENTWISE = frozenset(
    "BatchNormalization Cast Clip DequantizeLinear Dropout Elu Erf Gelu HardSigmoid HardSwish "
    "Identity LeakyRelu Mish PRelu QuantizeLinear Relu Selu Sigmoid Softplus Swish Tanh".split()
)
"""Operators that may stand between a layer and the pooling of its outputs."""


@dataclass(frozen=True)
class Shape:
    """One matrix of a layer.

    Attributes:
        output: Rows and columns of output positions; a vector for each.
        depth: Channels of the input.
        kernel: Rows and columns of the kernel.
        kernels: Channels of the output.
        stride: Of both axes.
    """

    output: tuple[int, int]
    depth: int
    kernel: tuple[int, int]
    kernels: int
    stride: int

    @property
    def vectors(self) -> int:
        """Input vectors of an image."""
        return math.prod(self.output)

    def row(self, pooled: bool) -> list[int]:
        """IFM rows, columns and depth, kernel rows and columns, kernels, pooled, stride.

        The size of the input is that of which NeuroSim counts as many vectors as there are,
        (rows - kernel + 1) / stride along each axis: padded, and where the last stride is not full,
        filled up.
        """
        sizes = [n * self.stride + k - 1 for n, k in zip(self.output, self.kernel, strict=True)]
        return [*sizes, self.depth, *self.kernel, self.kernels, int(pooled), self.stride]


def shape_of(node: Any, layer: LayerEntry, array: Array, matrix: Matrix) -> Shape:
    """A layer's shape for NeuroSim.

    Convolutions over one or two axes keep their kernel; what else there is, is a matrix that its
    vectors are multiplied with, one after the other, which NeuroSim takes for a kernel of 1 x 1.

    Args:
        node: The layer's node.
        layer: Its row in the manifest.
        array: What it multiplies with.
        matrix: Its matrices.

    Raises:
        ModelError: Nobody knows how many vectors an image has for it.
    """
    if layer.products is None:
        raise ModelError(
            f"the number of vectors per inference of layer {layer.name!r} is not known, since "
            "sizes are left open or it lies in a subgraph; compile with --shape, or --skip it"
        )
    vectors = layer.products // matrix.groups
    spatial = array.codes.shape[2:]
    places = [size for size in (layer.output_shape or [])[1:] if isinstance(size, int)]
    if layer.op != "CrossbarConv" or len(spatial) > 2 or math.prod(places) != vectors:
        return Shape((vectors, 1), matrix.rows, (1, 1), matrix.cols, 1)
    missing = 2 - len(spatial)
    output, kernel = (*(1,) * missing, *places), (*(1,) * missing, *spatial)
    strides = set(ints_of(node, "strides", [1] * len(spatial)))
    stride = strides.pop() if len(strides) == 1 else 1
    depth = array.codes.shape[1]
    return Shape((output[0], output[1]), depth, (kernel[0], kernel[1]), matrix.cols, stride)


def pooled_layers(compiled: Compiled) -> set[str]:
    """Names of the layers whose outputs are pooled, behind nothing but element-wise operators."""
    graph: Any = read_tile_graph(compiled.read_tiles())
    found: set[str] = set()
    for name, data in graph.nodes(data=True):
        reached = list(graph.successors(name)) if data["kind"] == "layer" else []
        seen: set[str] = set()
        while reached:
            here = reached.pop()
            op = graph.nodes[here].get("op", "")
            if op in _POOLS:
                found.add(data["name"])
            if op in _ELEMENTWISE and here not in seen:
                seen.add(here)
                reached += graph.successors(here)
    return found


def novel_mapping(network: Sequence[Sequence[int]], columns: int, rows: int) -> bool | None:
    """Which mapping NeuroSim can build the network with: its `novelMapping`.

    It stops where subarrays are too large for its hierarchy (ChipDesignInitialize and
    ChipFloorPlan in Chip.cpp): a processing element has at least 2 x 2 of them, a tile 4 x 4.

    Args:
        network: Lines of the network file.
        columns: Cells of a weight.
        rows: Of a subarray.

    Returns:
        True for kernels position by position, False where only whole matrices will do, None for
        neither.
    """
    areas = [line[3] * line[4] for line in network]
    common = max((area for area in areas if area != 1), key=areas.count, default=0)
    marked = [
        line[5]
        for line, area in zip(network, areas, strict=True)
        if area == common and line[2] * area >= rows
    ]
    if _reach(marked, columns) >= 2 * rows:
        return True
    return False if _reach([line[5] for line in network], columns) >= 4 * rows else None


def _reach(kernels: Sequence[int], columns: int) -> int:
    """Columns of the widest matrix, rounded up to a power of two."""
    widest = max(kernels, default=0) * columns
    return 1 << (widest - 1).bit_length() if widest else 0
