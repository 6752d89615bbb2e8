"""The pipeline behind `nvmc inspect`: one chip, layer by layer.

The images run twice, side by side: on the chip, where every array is watched, and on the ideal
chip, where every layer is also read with one source of errors at a time
(`nvmc.evaluation.error_sources`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from nvmc.arguments import checked
from nvmc.budget import check_room
from nvmc.compiled.artifact import Compiled, Manifest
from nvmc.data.items import counted_items
from nvmc.errors import OptionError, unknown
from nvmc.evaluation.captions import name_of
from nvmc.evaluation.converters import ArrayInspection, ArrayWatch
from nvmc.evaluation.description import Description
from nvmc.evaluation.error_sources import (
    ErrorSources,
    LayerErrors,
    known,
    quiet_chip,
    variants_of,
)
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.workload import Options, set_up
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Device, NoiseSource, Periphery, Target
from nvmc.hardware.devices.checks import check_cells_only
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.crossbar.operand import Start
from nvmc.runtime.montecarlo import ChipSession, CircuitNetwork, Feed
from nvmc.runtime.provider import Call, observe_arrays, watch_layers
from nvmc.tables import Cell, Shown, Table

__all__ = ["FORMAT", "IMAGES", "Inspection", "inspect", "rows_of"]

FORMAT = "nvmc.evaluation.inspection/1"
IMAGES = 64
"""Images when nobody says how many."""
BATCH = 16
"""Most images in a run: what a layer gives for them is held until the chip has run them too."""
_BYTES = 12
"""Of each cell, for each way to read it: its level, its current, and what they are made from."""


@checked
@dataclass(frozen=True, repr=False)
class Inspection(Shown):
    """What passes through the arrays of one chip, and where its errors come from.

    Attributes:
        description: Network, chip and images.
        chip: Number of the chip.
        arrays: What passed through each array that activations enter.
        layers: The errors of each layer.
        rounding: Of each array, |W - s q| / |W|: what rounding its weights to codes changed. It is
            no error against the ideal chip, whose weights are rounded already. Arrays of which the
            compiled network does not say it are not there.
        seconds: Wall time.
    """

    description: Description
    chip: int
    arrays: tuple[ArrayInspection, ...]
    layers: tuple[LayerErrors, ...]
    rounding: dict[str, float]
    seconds: float

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of errors, in the order in which they act."""
        return tuple(self.layers[0].errors) if self.layers else ()

    def headline(self) -> str:
        """What it is, in one line."""
        one = self.description
        of = f"{name_of(one)} on {one.setup.target.device.name}: {len(self.layers)} layers"
        items = f"{counted_items(one.images, one.data)} of {one.data}"
        return f"Inspection of chip {self.chip} of {of}, {items}"

    def shown(self) -> Table:
        """A row for each layer: its errors, in percent of the RMS of its ideal outputs."""
        columns = ("layer", *self.sources, "together", "rest", "arriving")
        rows = tuple(
            (
                layer.name,
                *(
                    f"{100 * value:.3g}"
                    for value in (
                        *layer.errors.values(),
                        layer.together,
                        layer.remainder,
                        layer.arriving,
                    )
                ),
            )
            for layer in self.layers
        )
        return Table(columns, rows, "Errors in % of the RMS of the layer's ideal outputs")

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each layer and array."""
        return rows_of(self)

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc inspect --json` prints it; docs/inspect.md names the keys."""
        return {
            "format": FORMAT,
            "description": self.description.to_json(),
            "chip": self.chip,
            "arrays": [array.to_json() for array in self.arrays],
            "layers": [layer.to_json() for layer in self.layers],
            "rounding": dict(self.rounding),
            "seconds": self.seconds,
        }


def rows_of(result: Inspection) -> Iterator[dict[str, str | int | float | None]]:
    """A row per layer and array, for CSV: what passed through the array, and the layer's errors."""
    seen = {array.name: array for array in result.arrays}
    for layer in result.layers:
        for name in layer.arrays:
            array = seen.get(name)
            codes = None if array is None else array.codes
            yield {
                "layer": layer.name,
                "op": layer.op,
                "array": name,
                "input_low": array and array.inputs.low,
                "input_high": array and array.inputs.high,
                "beyond_dac_range": array and array.beyond,
                "current_low": array and array.currents.low,
                "current_high": array and array.currents.high,
                "full_scale": array and array.full_scale,
                "codes_available": codes and codes.available,
                "codes_used": codes and codes.used,
                "code_lowest": codes and codes.lowest,
                "code_highest": codes and codes.highest,
                "clipped_low": codes and codes.below,
                "clipped_high": codes and codes.above,
                "rounding": result.rounding.get(name),
                "output_rms": layer.output,
                **{f"error {source}": known(layer.errors[source]) for source in result.sources},
                "error together": known(layer.together),
                "remainder": known(layer.remainder),
                "arriving": known(layer.arriving),
            }


@checked
def inspect(
    compiled: Compiled,
    *,
    layer: str | Sequence[str] = (),
    chip: int = 0,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    time_s: float | None = None,
    temperature_c: float | None = None,
    seed: int = 0,
    on_images: Callable[[int], None] | None = None,
    **options: Unpack[Options],
) -> Inspection:
    """Watch the arrays of one chip, and split the errors of its layers by source.

    Cost: a circuit in NumPy for the watched arrays, and a compiled one for each source of errors;
    memory for all of these circuits.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        layer: Names of layers' nodes, or of arrays; all layers by default.
        chip: Number of the chip.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources behind the device's own: sources, or texts as after `--noise`.
        sigma: Strength of the device's noise instead of its default.
        time_s: Seconds since programming; the device's own time by default.
        temperature_c: Of all cells since programming, degrees Celsius.
        seed: Population of chips.
        on_images: Told how many images are done.
        **options: Data and the like; see `nvmc.evaluation.workload.Options`. `limit` is 64 where
            it is not given, and chips are always circuits.

    Raises:
        OptionError, DataError, ModelError: By what is wrong, such as a layer that there is not.
        OutOfMemoryError: The circuits would take more memory than there is.
    """
    started = time.perf_counter()
    manifest = compiled.manifest
    if options.get("fidelity") == "cells":
        raise OptionError("an inspection looks at circuits; leave fidelity out")
    chosen = _chosen(manifest, [layer] if isinstance(layer, str) else layer)
    setup = Setup.of(manifest.target, device, noise, sigma, time_s, temperature_c=temperature_c)
    check_cells_only(setup.target.device.noise, "an inspection looks at circuits")
    setup = replace(setup, target=_scaled(setup.target))
    drawn = setup.chip(seed, chip)
    _check_memory(manifest, setup.target, drawn, chosen)
    told: Options = {**options, "fidelity": "circuit"}
    if told.get("limit") is None:
        told["limit"] = IMAGES
    workload = set_up(compiled, setup.target, seed=seed, **told)
    exact = set_up(compiled, _exact(setup.target), seed=seed, **told).network
    found = _run((exact, workload.network), workload.feed, setup.target, drawn, chosen, on_images)
    rounded = {a.name: a.rounding for a in manifest.arrays if a.name in chosen}
    rounding = {name: one.error for name, one in rounded.items() if one is not None}
    described = workload.describe(setup, seed, 1, chip)
    return Inspection(described, chip, *found, rounding, time.perf_counter() - started)


def _run(
    networks: tuple[Any, Any],
    feed: Feed,
    target: Target,
    chip: Chip,
    chosen: frozenset[str],
    on_images: Callable[[int], None] | None,
) -> tuple[tuple[ArrayInspection, ...], tuple[LayerErrors, ...]]:
    """The images on the ideal chip and on the chip, some at a time."""
    exact, real = (_small(network, len(feed)) for network in networks)

    def wanted(call: Call) -> bool:
        return any(array.name in chosen for array in call.arrays)

    start = Start(images=real.batch, turns=real.turns)
    sources = ErrorSources(target, chip, wanted, start)
    with single_threaded_blas():
        with watch_layers(sources.ideal):
            ideal = ChipSession(exact, quiet_chip(chip))
        with watch_layers(sources.noisy), observe_arrays(ArrayWatch) as watches:
            noisy = ChipSession(real, chip)
        for name in chosen:
            limits = target.of_array(name).periphery
            known_range = limits.range_of(name) if limits.clips else None
            watches[name].limited(None if known_range is None else known_range.input)
        for (first, outputs), _ in zip(ideal.batches(feed), noisy.batches(feed), strict=True):
            if on_images is not None:
                on_images(first + len(outputs))
    layers = tuple(sources.results)
    names = dict.fromkeys(name for one in layers for name in one.arrays)
    found = (watches[name].result(name) for name in names)
    return tuple(one for one in found if one is not None), layers


def _small(network: Any, images: int) -> CircuitNetwork:
    """The network with few images in a run."""
    return network if network.fixed else replace(network, batch=min(network.batch, BATCH, images))


def _scaled(target: Target) -> Target:
    """The target; without ADCs, currents are compared with the worst case of a tile."""
    if any(part.periphery.adc_bits is not None for part in target.variants):
        return target
    return target.everywhere(adc_range="full")


def _exact(target: Target) -> Target:
    """The target behind an ideal periphery."""
    ideal = Periphery()
    return target.everywhere(**{name: getattr(ideal, name) for name in Periphery.model_fields})


def _chosen(manifest: Manifest, names: Sequence[str]) -> frozenset[str]:
    """The arrays of the layers of those names; all without any.

    Raises:
        OptionError: There is no such layer.
    """
    arrays = {entry.name: [entry.name] for entry in manifest.arrays}
    nodes = {entry.name: entry.arrays for entry in manifest.layers if entry.name}
    known_names = {**nodes, **arrays}
    for name in names:
        if name not in known_names:
            raise OptionError(unknown("layer", name, [*arrays, *nodes]))
    chosen = [known_names[name] for name in names] or list(arrays.values())
    return frozenset(array for one in chosen for array in one)


def _check_memory(manifest: Manifest, target: Target, chip: Chip, chosen: frozenset[str]) -> None:
    """Complain where the circuits have no room.

    Raises:
        OutOfMemoryError: They have not.
    """
    ways = len(variants_of(target, chip)) + 1
    cells = sum(entry.cells for entry in manifest.arrays if entry.name in chosen)
    check_room(
        f"{ways} circuits of {len(chosen)} arrays at once (fewer with --layer)",
        _BYTES * ways * cells,
    )
