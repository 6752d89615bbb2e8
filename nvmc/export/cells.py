"""The cells of a chip of a compiled network, from its file: what `Compiled.chip` calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvmc.compiled.artifact import Compiled
from nvmc.compiled.chip_cells import ChipCells
from nvmc.export.request import Request
from nvmc.hardware.chip import Array
from nvmc.hardware.tile_cells import ArrayCells
from nvmc.passes.program_chip import arrays_of
from nvmc.runtime.crossbar.conductances import cells_of_array

__all__ = ["arrays_by_name", "cells_of_chip", "cells_of_request"]


def cells_of_chip(
    compiled: Compiled,
    index: int | None,
    *,
    seed: int,
    range_us: tuple[float, float] | None,
    **settings: Any,
) -> ChipCells:
    """The cells of chip `index`, or those on target for None; see `WithChips.chip`."""
    return cells_of_request(Request.of(compiled, index, seed, {"range_us": range_us}, **settings))


def arrays_by_name(request: Request) -> dict[str, Array]:
    """The arrays of the network, in the order of the manifest."""
    found = {array.name: array for array in arrays_of(request.model())}
    return {entry.name: found[entry.name] for entry in request.compiled.manifest.arrays}


def cells_of_request(request: Request, arrays: Mapping[str, Array] | None = None) -> ChipCells:
    """The cells of the chip that a request is for.

    Args:
        request: Says which.
        arrays: `arrays_by_name`, where they are known.
    """
    chip, range_us = request.chip, request.options.get("range_us")
    known = arrays_by_name(request) if arrays is None else arrays

    def make(name: str) -> ArrayCells:
        return cells_of_array(known[name], chip, range_us)

    manifest = request.compiled.manifest
    layers = {layer.name: layer.arrays for layer in manifest.layers}
    name = "target conductances" if request.index is None else request.chip_text
    return ChipCells(layers, list(known), make, name)
