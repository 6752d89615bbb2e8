"""The cells of a chip of a compiled network, from its file: what `Compiled.chip` calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nvmc.budget import check_room
from nvmc.compiled.artifact import Compiled
from nvmc.compiled.chip_cells import ChipCells
from nvmc.errors import OptionError
from nvmc.export.folder import file_names
from nvmc.export.request import Request
from nvmc.hardware.chip import Array
from nvmc.hardware.tile_cells import ArrayCells
from nvmc.passes.program_chip import arrays_of
from nvmc.runtime.crossbar.conductances import cells_of_array

__all__ = [
    "CellWarnings",
    "arrays_by_name",
    "cells_of_chip",
    "cells_of_request",
    "chosen_arrays",
]

_BYTES = 60
"""Of memory for a cell while its array is made and written."""


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

    Raises:
        OptionError: Conductances are given that every device states itself.
    """
    chip, range_us = request.chip, request.options.get("range_us")
    known = arrays_by_name(request) if arrays is None else arrays

    devices = request.target.devices
    if range_us is not None and all(device.conductance is not None for device in devices):
        names = ", ".join(repr(device.name) for device in devices)
        raise OptionError(
            f"device {names} states the conductances of its levels; leave --range-us out"
        )

    def make(name: str) -> ArrayCells:
        array = known[name]
        places = array.layout.crossbars * array.codes.size
        check_room(f"the cells of array {name!r}", places * _BYTES)
        return cells_of_array(array, chip, range_us)

    manifest = request.compiled.manifest
    layers = {layer.name: layer.arrays for layer in manifest.layers}
    name = "target conductances" if request.index is None else request.chip_text
    return ChipCells(layers, list(known), make, name)


def chosen_arrays(request: Request, cells: ChipCells) -> dict[str, str]:
    """The arrays that are to be written, in the order of the manifest, and their names for files.

    Raises:
        OptionError: There is no such array.
    """
    wanted = {cells.named(name) for name in request.options.get("array") or ()}
    return file_names([name for name in cells.arrays if not wanted or name in wanted])


class CellWarnings:
    """What the conductances of a chip leave out, collected array by array."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._negative, self._lowest, self._cells = 0, 0.0, 0

    def see(self, held: ArrayCells) -> None:
        """Count what conducts less than nothing."""
        for tile in held.tiles:
            below = tile.conductance_us[tile.conductance_us < 0]
            self._negative += below.size
            self._lowest = min(self._lowest, float(below.min(initial=0.0)))
            self._cells += int(np.count_nonzero(tile.formed))

    @property
    def assumptions(self) -> list[str]:
        """A sentence each."""
        return list(self._all())

    def _all(self) -> Iterator[str]:
        request, target = self._request, self._request.target
        chip, range_us = request.chip, request.options.get("range_us")
        if range_us is not None:
            low, high = range_us
            text = f"level 0 is taken for {low:g} µS and the highest for {high:g} µS (--range-us)"
            yield text + " where the device does not say; errors in level steps stay what they are"
        if self._negative:
            yield (
                f"{self._negative:,} of {self._cells:,} cells conduct less than nothing, down to "
                f"{self._lowest:.3g} µS: nothing clips them there, and the simulator computes so"
            )
        if chip.needs_circuit:
            yield "every read of this chip is noisy; the files have its cells without that"
        sources = [source for own in target.devices for source in chip.on(own).sources]
        if request.index is not None and any(s.acts_in == "weight" and s.active for s in sources):
            yield (
                "noise that acts on whole weights is on the cells of the highest slice, as in the "
                "simulator's circuit"
            )
        if request.index is None and any(part.places is not None for part in target.variants):
            yield "levels are not evenly spaced: targets are the conductances that the device lists"
