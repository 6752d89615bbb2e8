"""Ranges of calibrated DACs that are not measured, as the network's own codes fit them.

Where what enters a layer is rounded already, a DAC's code 1 stands for that step
(`nvmc.passes.graph.input_grids`).
"""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor

from nvmc.hardware.devices import Periphery, Target
from nvmc.passes.graph.input_grids import InputGrid, input_grid, limits_of
from nvmc.passes.graph.mappable import layers_of
from nvmc.training.activations import Rounding

__all__ = ["OwnRanges"]


class OwnRanges:
    """The steps that a network in training gives its layers' inputs.

    Args:
        model: The network in canonical form, its rounded tensors marked (`mark_activations`).
        target: The cells behind their DACs.
        skip: Globs of the names of nodes, or of their weights, that stay digital.
        activations: What rounds at the marks.
    """

    def __init__(
        self,
        model: ir.Model,
        target: Target,
        skip: tuple[str, ...],
        activations: Rounding | None,
    ) -> None:
        self._skip, self._activations = skip, activations
        self._around: dict[str, Periphery] = {}
        for layer in layers_of(model, skip):
            name = str(layer.weights[0].source.name)
            own = target.of_layer(layer.node.name or "", name)
            self._around.setdefault(name, own.periphery)
        self._marked = {} if activations is None else _fed_by(model, skip, activations)
        self._fixed: dict[str, float] = {}
        self.look(model)

    @property
    def looks(self) -> bool:
        """Whether there are steps of the network's own, which training may move."""
        return bool(self._fixed)

    def look(self, model: ir.Model) -> None:
        """Take the steps that stand in the network itself."""
        fed = [
            (str(layer.weights[0].source.name), input_grid(layer.node.inputs[layer.activation]))
            for layer in layers_of(model, self._skip)
        ]
        self._fixed = limits_of(fed, self._around.__getitem__)

    def of(self, array: str) -> Tensor | None:
        """The range at an array, a scalar; None where it is measured."""
        position = self._marked.get(array)
        if position is not None and self._activations is not None:
            grid = self._activations.grid(position)
            if grid is None:
                return None
            step, low, high = grid
            grid = InputGrid(1.0, low, high)
            found = limits_of([(array, grid)], self._around.__getitem__).get(array)
            return None if found is None else step * found
        fixed = self._fixed.get(array)
        return None if fixed is None else torch.tensor(fixed)


def _fed_by(model: ir.Model, skip: tuple[str, ...], activations: Rounding) -> dict[str, int]:
    """Which mark an array's inputs come from, by its number; not where there are several."""
    marks = {mark: number for number, mark in enumerate(activations.taps)}
    found: dict[str, set[int | None]] = {}
    for layer in layers_of(model, skip):
        value = layer.node.inputs[layer.activation]
        number = None if value is None else marks.get(str(value.name))
        found.setdefault(str(layer.weights[0].source.name), set()).add(number)
    alone = {name: next(iter(each)) for name, each in found.items() if len(each) == 1}
    return {name: number for name, number in alone.items() if number is not None}
