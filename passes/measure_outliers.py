"""measure-outliers: what the largest weights cost the others; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from nvmc.compiled.rounding import Outliers
from nvmc.errors import OptionError
from nvmc.hardware.devices import Target
from nvmc.hardware.expected_error import CodeErrors, code_errors
from nvmc.hardware.tiling import Channels, Place, shared_channels
from nvmc.passes.graph.clipping import widths_of
from nvmc.passes.graph.grids import grid_of
from nvmc.passes.graph.mappable import finite_array, layers_of

__all__ = ["MeasureOutliers"]


@dataclass
class MeasureOutliers(ir.passes.InPlacePass):
    """Find each weight's expected error on chips as it is, and clipped where that is least.

    It runs on the float weights, before `quantize-weights`. Those of a quantised network, of one
    bit, and all on a device that needs a strength of noise and has none, are left out.

    Attributes:
        target: The cells.
        skip: Globs of node names, or of weights', that stay digital.
        found: By name of the weight, after a call.
    """

    target: Target
    skip: tuple[str, ...] = ()
    found: dict[str, Outliers] = field(init=False, default_factory=dict[str, Outliers])

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Measure.

        Raises:
            ModelError: A weight holds NaN or infinity.
        """
        places: dict[ir.Value, list[Place]] = {}
        targets: dict[ir.Value, Target] = {}
        for layer in layers_of(model, self.skip):
            for weight in layer.weights:
                source = weight.source
                if weight.scale is None and grid_of(source) is None:
                    places.setdefault(source, []).append(layer.place)
                    own = self.target.of_layer(layer.node.name or "", str(source.name))
                    targets.setdefault(source, own)
        errors: dict[Target, CodeErrors | None] = {}
        for source, target in targets.items():
            if target not in errors:
                errors[target] = _errors_of(target)
            known = errors[target]
            if known is not None:
                self.found[str(source.name)] = _measured(source, places[source], target, known)
        return ir.passes.PassResult(model, False)


def _errors_of(target: Target) -> CodeErrors | None:
    try:
        return None if target.layout.binary else code_errors(target)
    except OptionError:  # the device says neither how strong its noise is nor at which rate it acts
        return None


def _measured(
    source: ir.Value, places: list[Place], target: Target, errors: CodeErrors
) -> Outliers:
    weight = finite_array(source)
    channels: Channels | None = None
    if target.per_channel:
        channels = shared_channels(places, weight.shape)
    widths = widths_of(weight, target.weight_bits, errors, channels)
    std = float(np.std(weight, dtype=np.float64)) if weight.size else 0.0
    peak = float(np.max(np.abs(weight), initial=0.0))
    return Outliers(peak=peak / std if std else 0.0, error=widths.unclipped, best=widths.error)
