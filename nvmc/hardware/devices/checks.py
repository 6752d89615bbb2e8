"""What cells, noise and periphery cannot be together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nvmc.errors import OptionError
from nvmc.hardware.devices.currents import Fitted
from nvmc.hardware.devices.device import Device
from nvmc.hardware.devices.noise import BitFlip, NoiseSource
from nvmc.hardware.devices.periphery import Periphery
from nvmc.hardware.encoding import Encoding, Layout

__all__ = ["check_cells_only", "check_reading", "check_reference", "check_sources"]


def check_reading(device: Device, periphery: Periphery, encoding: Encoding) -> None:
    """Raise OptionError where cells cannot be read as the periphery says."""
    _check_polarity(device, periphery, encoding)
    if periphery.wire_ohm is not None and device.conductance is None:
        raise OptionError(
            f"device {device.name!r} states no conductance, which wires need; add "
            "conductance = { min_us, max_us } to its file, or leave --wire-ohm out"
        )
    read_v, law = periphery.read_v, device.iv
    if read_v is None:
        return
    if law is None:
        raise OptionError(
            f"read_v is {read_v:g}, but device {device.name!r} states no current at a voltage; "
            "add [iv] to its file, or leave --read-v out"
        )
    if isinstance(law, Fitted) and device.conductance is None:
        raise OptionError(
            f"device {device.name!r} states no conductance, which its [iv] needs; add "
            "conductance = { min_us, max_us } to its file, or leave --read-v out"
        )
    if wrong := law.problem(read_v):
        raise OptionError(f"read_v is {read_v:g} on device {device.name!r}: {wrong}; lower it")


def _check_polarity(device: Device, periphery: Periphery, encoding: Encoding) -> None:
    """Raise OptionError where polarities cannot share a tile."""
    if periphery.polarity == "separate":
        return
    wrong = ""
    if encoding == "offset":
        wrong = "weights under offset have one polarity"
    elif any(source.needs_tiles and source.active for source in device.noise):
        wrong = (
            f"noise of device {device.name!r} differs from tile to tile, of which both polarities "
            "have their own in this model"
        )
    if wrong:
        raise OptionError(f"polarity is {periphery.polarity!r}, but {wrong}; give separate")


def check_reference(periphery: Periphery, encoding: Encoding) -> None:
    """Raise OptionError where reference columns could not do what they are for."""
    if periphery.reference != "column":
        return
    wrong = ""
    if encoding == "balanced":
        wrong = "balanced pairs lie on both sides of the middle, so that their off-currents cancel"
    elif encoding == "sign-magnitude":
        wrong = "sign-magnitude leaves cells unformed, so that every column needs another"
    elif encoding == "differential" and periphery.subtract == "analog":
        wrong = "pairs that are subtracted before the ADC need none"
    elif periphery.wired:
        wrong = "wires in tiles with a reference column are not modelled"
    if wrong:
        raise OptionError(
            f"reference is 'column', but {wrong}; give --reference exact or none, or encoding "
            "offset without --wire-ohm"
        )


def check_cells_only(sources: Iterable[NoiseSource], why: str) -> None:
    """Raise OptionError where a source acts on activations, for what knows of cells alone.

    Args:
        sources: The device's.
        why: What follows from that, in words.
    """
    if any(source.acts_in == "activation" for source in sources):
        raise OptionError(
            f"noise source 'activation' acts on activations, fresh for every image, not on cells: "
            f"{why}; leave it out"
        )


def check_sources(sources: Iterable[NoiseSource], cells: Sequence[tuple[Layout, bool]]) -> None:
    """Raise OptionError where a source of a device's cannot act on its cells.

    Args:
        sources: The device's.
        cells: Of the layers on the device: how they represent codes, and whether these are analog.
    """
    layouts = [layout for layout, _ in cells]
    for source in sources:
        if source.quantized_only and any(analog for _, analog in cells):
            raise OptionError(
                f"noise source {source.type!r} acts on stored bits, but the weights are "
                "analog; compile with --weight-bits 1 to 16"
            )
        if not isinstance(source, BitFlip):
            continue
        if source.bits == "cells" and not any(layout.code_bits for layout in layouts):
            raise OptionError(
                "noise source 'bitflip' acts on bits in cells, but a 1-bit weight under "
                "sign-magnitude is its sign alone; use bits=all, or encoding offset"
            )
        if source.bits == "sign" and not any(layout.signed for layout in layouts):
            raise OptionError(
                f"noise source 'bitflip' acts on sign bits, which encoding "
                f"{layouts[0].encoding!r} does not store; use sign-magnitude, or bits=cells"
            )
