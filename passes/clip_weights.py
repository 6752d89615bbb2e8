"""clip-weights: bound the weights of crossbar layers, whose largest sets the step of all codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target
from nvmc.hardware.expected_error import CodeErrors, code_errors
from nvmc.hardware.tiling import Channels, shared_channels
from nvmc.passes.graph.clipping import widths_of
from nvmc.passes.graph.grids import grid_of
from nvmc.passes.graph.mappable import Layer, finite_array, layers_of
from nvmc.passes.graph.names import Names

__all__ = ["ClipWeights", "clip_pass"]


_KPP = "; nvmc.evaluation.best_clip finds the width of the best KPP"


@dataclass
class ClipWeights(ir.passes.InPlacePass):
    """Clip every weight that can be mapped to a range around zero.

    One of `std`, `percentile` and `target` says how wide. Weights of a quantised network, whose
    codes are given, stay as they are, and where `target` says how wide those of one bit, which have
    no range; a use that is not mapped
    keeps the weight as it was.

    Attributes:
        std: Standard deviations of the weight, or channel, around zero that are kept.
        percentile: Percentile of the magnitudes that is kept, such as 99.9.
        per_channel: Each output channel by itself; where `target` or `cells` is given, as that
            says.
        skip: Globs of node names, or of weights', that stay as they are.
        target: The cells the weights will be in: the width of least expected squared error under
            their noise (`nvmc.passes.graph.clipping`).
        sigma: Strength of that noise; None for the device's own.
        cells: Says of each layer whether channels have scales of their own.
    """

    std: float | None = None
    percentile: float | None = None
    per_channel: bool = False
    skip: tuple[str, ...] = ()
    target: Target | None = None
    sigma: float | None = None
    cells: Target | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.std, self.percentile, self.target) if value is not None]
        if len(given) != 1:
            raise OptionError(
                f"clip-weights has {len(given)} widths; give one: std=K, or percentile=P"
            )
        if self.std is not None and not 0 < self.std < float("inf"):
            raise OptionError(f"clip-weights: std is {self.std}; expected a finite number above 0")
        if self.percentile is not None and not 0 < self.percentile <= 100:
            raise OptionError(
                f"clip-weights: percentile is {self.percentile}; expected above 0 to 100"
            )
        self._errors: dict[Target, CodeErrors] = {}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Clip in place.

        Raises:
            ModelError: A weight holds NaN or infinity.
        """
        users: dict[ir.Value, list[tuple[Layer, str]]] = {}
        for layer in layers_of(model, self.skip):
            for name, weight in zip(layer.op.weights, layer.weights, strict=True):
                if weight.scale is None and grid_of(weight.source) is None:
                    users.setdefault(weight.source, []).append((layer, name))
        names = Names(model)
        changed = [self._clip(names, source, layers) for source, layers in users.items()]
        return ir.passes.PassResult(model, any(changed))

    def _clip(self, names: Names, source: ir.Value, users: list[tuple[Layer, str]]) -> bool:
        weight = finite_array(source)
        channels = shared_channels((layer.place for layer, _ in users), weight.shape)
        width = self._width(source, weight, channels, users[0][0])
        if width is None or not np.any(np.abs(weight) > width):
            return False
        clipped = np.clip(weight, -width, width).astype(weight.dtype)
        kept = str(source.name)
        found = names.initializer(f"{kept}.clipped", clipped)
        for layer, name in users:
            layer.node.replace_input_with(layer.op.inputs.index(name), found)
        if source.uses():
            source.name = names.fresh(f"{kept}.digital")
        elif source.graph is not None:
            source.graph.initializers.pop(kept)
        found.name = kept
        return True

    def _width(
        self,
        source: ir.Value,
        weight: NDArray[Any],
        channels: Channels | None,
        layer: Layer,
    ) -> NDArray[Any] | None:
        """Where the weight is clipped, to be broadcast against it; None where it is not."""
        if self.target is not None:
            target = self.target.of_layer(layer.node.name or "", str(source.name))
            if target.layout.binary:
                return None
            if target not in self._errors:
                # a layer's own device keeps its sigma
                sigma = self.sigma if target.device == self.target.device else None
                self._errors[target] = code_errors(target, sigma)
            errors = self._errors[target]
            own = channels if target.per_channel else None
            return widths_of(weight, target.weight_bits, errors, own).best
        per_channel = self.per_channel
        if self.cells is not None:
            name = layer.node.name or ""
            per_channel = self.cells.of_layer(name, str(source.name)).per_channel
        if per_channel and channels is not None:
            return _of_channels(self._plain_width, weight, channels)
        return np.asarray(self._plain_width(weight))

    def _plain_width(self, weight: NDArray[Any]) -> float:
        if self.percentile is not None:
            return float(np.percentile(np.abs(weight), self.percentile))
        return (self.std or 0.0) * float(np.std(weight, dtype=np.float64))


def clip_pass(text: str, target: Target, skip: tuple[str, ...]) -> ClipWeights:
    """The pass that `--clip` asks for: `auto`, `auto:SIGMA`, `2.5` standard deviations, `99.9%`.

    Raises:
        OptionError: It is none of these.
    """
    kind, _, strength = text.partition(":")
    try:
        if kind == "auto":
            sigma = float(strength) if strength else None
            return ClipWeights(target=target, sigma=sigma, skip=skip)
        number = float(text.removesuffix("%"))
    except ValueError:
        raise OptionError(
            f"clip is {text!r}; expected auto, auto:SIGMA, kpp, standard deviations such as 2.5, "
            "or a percentile such as 99.9%" + (_KPP if kind == "kpp" else "")
        ) from None
    if text.endswith("%"):
        return ClipWeights(percentile=number, cells=target, skip=skip)
    return ClipWeights(std=number, cells=target, skip=skip)


def _of_channels(
    width: Callable[[NDArray[Any]], float], weight: NDArray[Any], channels: Channels
) -> NDArray[Any]:
    """The width of each channel, to be broadcast against the weight."""
    numbers = np.broadcast_to(channels.numbers, weight.shape).reshape(-1)
    order = np.argsort(numbers, kind="stable")
    parts = np.split(weight.reshape(-1)[order], np.flatnonzero(np.diff(numbers[order])) + 1)
    return np.array([width(part) for part in parts])[channels.numbers]
