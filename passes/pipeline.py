"""The passes of `nvmc compile`, in order."""

from __future__ import annotations

import onnx_ir as ir

from nvmc.compiled.options import CompileOptions
from nvmc.hardware.devices import Target
from nvmc.passes import make_pass
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.clip_weights import clip_pass
from nvmc.passes.fix_batch import FixBatch
from nvmc.passes.fold_batchnorm import FoldBatchnorm
from nvmc.passes.map_bias import MapBias
from nvmc.passes.map_crossbars import MapCrossbars
from nvmc.passes.measure_outliers import MeasureOutliers
from nvmc.passes.quantize_weights import QuantizeWeights

__all__ = ["compile_passes"]


def compile_passes(
    target: Target, options: CompileOptions | None = None
) -> tuple[*tuple[ir.passes.InPlacePass, ...], MapCrossbars]:
    """The passes that make a loaded network a compiled one; the last is the `MapCrossbars`.

    Rounding activations is not among them: it needs data, and comes right before the last.

    Raises:
        OptionError: A pass of the user's is none, or has wrong options.
    """
    options = options or CompileOptions()
    passes: list[ir.passes.InPlacePass] = [Canonicalize(), FixBatch()]
    if options.fold_batchnorm:
        passes.append(FoldBatchnorm())
    passes += map(make_pass, options.passes)
    if options.clip is not None:
        passes.append(clip_pass(options.clip, target, options.skip))
    if any(part.periphery.bias == "rows" for part in target.variants):
        passes.append(MapBias(skip=options.skip, target=target))
    passes.append(MeasureOutliers(target, options.skip))
    bits = max(part.weight_bits or 0 for part in target.variants)
    if bits:
        passes.append(QuantizeWeights(bits, target.per_channel, options.skip, target))
    return (*passes, MapCrossbars(target, options))
