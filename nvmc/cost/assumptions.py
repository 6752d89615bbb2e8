"""What an estimate of cost takes for granted, a sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from nvmc.compiled.artifact import Manifest
from nvmc.cost.components import COMPONENTS
from nvmc.cost.hardware import Hardware
from nvmc.cost.network import target_of, use_of
from nvmc.hardware.devices import Periphery

__all__ = ["UNPLACED", "some", "told"]

UNPLACED = (
    "Weights are stored once: no layer has copies that share its vectors.",
    "Layers are one hop apart; a vector is read from the buffers for each product.",
    "Digital nodes work on values as they pass, on the digital units of all tiles.",
)
"""What is assumed where no schedule says it."""


def told(manifest: Manifest, hardware: Hardware) -> list[str]:
    """What is assumed of any network and hardware."""
    said = [*UNPLACED]
    for device in manifest.target.devices:
        if device.conductance is not None:
            continue
        array = hardware.array
        said.append(
            f"Device {device.name!r} states no conductance: its levels conduct "
            f"{array.low.si * 1e6:g} to {array.high.si * 1e6:g} µS, as {hardware.name} has it."
        )
    said += dict.fromkeys(
        line for own in manifest.target.variants for line in _other_adcs(own.periphery, hardware)
    )
    if any(layer.op == "CrossbarParameter" for layer in manifest.layers):
        said.append("Parameters in cells are read once, when the chip starts; not counted.")
    if hardware.left_out:
        left = ", ".join(hardware.left_out)
        said.append(f"Not counted, since {hardware.name} states no constants for it: {left}.")
    if manifest.target.layers:
        said.append(f"Peak figures are for arrays as {manifest.arrays[0].name!r} is.")
    return [*said, *hardware.notes(use_of(target_of(manifest, manifest.arrays[0].name)))]


def _other_adcs(periphery: Periphery, hardware: Hardware) -> list[str]:
    """Where the ADCs that are counted are not those whose errors chips have."""
    counted, said = hardware.adc, list[str]()
    kind = next(k for k, own in COMPONENTS["adc"].items() if own is type(counted))
    if periphery.adc.type not in ("ideal", kind) and kind != "survey":
        said.append(
            f"The network was compiled for {periphery.adc.type} ADCs; those of {hardware.name} are "
            f"of kind {kind}, and are what is counted."
        )
    if periphery.adc_share not in (1, counted.shared):
        said.append(
            f"The network was compiled for ADCs that {periphery.adc_share} columns share; in "
            f"{hardware.name} {counted.shared} do, which is what is counted."
        )
    return said


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
