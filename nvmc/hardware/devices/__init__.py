"""Devices: what a memory cell does. Files are in `library/`, noise sources in `sources/`."""

from nvmc.hardware.devices.device import Defaults, Device
from nvmc.hardware.devices.noise import SOURCES, Cells, Conductance, NoiseSource, Read
from nvmc.hardware.devices.periphery import ArrayRange, Periphery, WireOhm
from nvmc.hardware.devices.reading import as_noise, device_names, load_device, parse_noise
from nvmc.hardware.devices.target import LayerTarget, Target, as_target

__all__ = [
    "SOURCES",
    "ArrayRange",
    "Cells",
    "Conductance",
    "Defaults",
    "Device",
    "LayerTarget",
    "NoiseSource",
    "Periphery",
    "Read",
    "Target",
    "WireOhm",
    "as_noise",
    "as_target",
    "device_names",
    "load_device",
    "parse_noise",
]
