"""The passes of `nvmc compile`, in order."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from nvmc.hardware.devices import Target
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.fold_batchnorm import FoldBatchnorm
from nvmc.passes.graph.node_parameters import Kind
from nvmc.passes.map_crossbars import MapCrossbars
from nvmc.passes.quantize_weights import QuantizeWeights

__all__ = ["compile_passes"]


def compile_passes(
    target: Target,
    *,
    skip: tuple[str, ...] = (),
    parameters: tuple[Kind, ...] = (),
    fold_batchnorm: bool = False,
    extra: Sequence[ir.passes.InPlacePass] = (),
) -> tuple[*tuple[ir.passes.InPlacePass, ...], MapCrossbars]:
    """The passes that make a loaded network a compiled one; the last is the `MapCrossbars`.

    Args:
        target: The cells.
        skip: Globs of names of nodes that stay digital.
        parameters: Which parameters beside the weights are stored in cells.
        fold_batchnorm: Whether BatchNormalization is folded into the layer before it.
        extra: The user's passes, run on the float network.
    """
    passes: list[ir.passes.InPlacePass] = [Canonicalize()]
    if fold_batchnorm:
        passes.append(FoldBatchnorm())
    passes += extra
    if target.weight_bits is not None:
        passes.append(QuantizeWeights(target.weight_bits, target.per_channel, skip))
    return (*passes, MapCrossbars(target, skip, parameters))
