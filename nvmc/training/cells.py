"""Which cells hold each weight of a network in training, and where its layers use it."""

from __future__ import annotations

import onnx_ir as ir

from nvmc.hardware.devices import Target
from nvmc.hardware.tiling import Channels, Place, shared_channels
from nvmc.passes.graph.mappable import layers_of

__all__ = ["targets_of", "uses_of"]


def targets_of(model: ir.Model, target: Target, skip: tuple[str, ...]) -> dict[str, Target]:
    """The cells of each mapped weight: of the first layer that uses it, as all must agree."""
    found: dict[str, Target] = {}
    for layer in layers_of(model, skip):
        for weight in layer.weights:
            name = str(weight.source.name)
            found.setdefault(name, target.of_layer(layer.node.name or "", name))
    return found


def uses_of(
    model: ir.Model, skip: tuple[str, ...]
) -> tuple[dict[str, list[Place]], dict[str, Channels | None]]:
    """Where each mapped weight is used, and its output channels; None where uses do not agree."""
    places: dict[str, list[Place]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers_of(model, skip):
        for weight in layer.weights:
            name = str(weight.source.name)
            places.setdefault(name, []).append(layer.place)
            shapes[name] = tuple(weight.source.shape.numpy()) if weight.source.shape else ()
    return places, {name: shared_channels(each, shapes[name]) for name, each in places.items()}
