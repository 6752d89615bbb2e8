"""Targets that are made by the name of a target or a device: `nvmc.Target("mine.toml", …)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nvmc.hardware.devices.device import Device
from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.options import OneLine

__all__ = ["ByName"]


class ByName(OneLine, Strict, frozen=True):
    """The part of `Target` that makes one as `nvmc.make_target` does."""

    def __init__(self, name: Device | str | Path | None = None, /, **settings: Any) -> None:
        """A target by its name or file, or of a device; see `nvmc.make_target`.

            nvmc.Target("mine.toml", weight_bits=4, cell_bits=2, adc_bits=5)

        Args:
            name: The target or device; None where all fields are given by keyword.
            **settings: Those of `make_target`; or the fields.
        """
        if name is not None:
            from nvmc.hardware.devices.target_file import make_target

            settings = dict(make_target(name, **settings))
        super().__init__(**settings)

    def headline(self) -> str:
        """Device, bits, encoding, size of tiles and bits of converters."""
        own: Any = self
        bits, around = own.weight_bits, own.periphery
        analog = bits is None
        weights = "analog weights" if analog else f"{bits}-bit weights in {own.cell_bits}-bit cells"
        said = [own.device.name, weights, own.encoding, f"tiles of {own.rows}x{own.cols}"]
        converters = (("DAC", around.dac_bits), ("ADC", around.adc_bits))
        said += [f"{width}-bit {kind}" for kind, width in converters if width is not None]
        if own.layers:
            said.append(f"layers of their own: {', '.join(part.glob for part in own.layers[:3])}")
        return ", ".join(said) + (", …" if len(own.layers) > 3 else "")
