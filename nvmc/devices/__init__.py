"""Devices: what a memory cell does. Files are in `library/`, noise sources in `sources/`."""

from nvmc.devices.device import Defaults, Device, Target
from nvmc.devices.noise import SOURCES, Cells, Conductance, NoiseSource, Read
from nvmc.devices.periphery import ArrayRange, Periphery, WireOhm
from nvmc.devices.reading import device_names, load_device, parse_noise

__all__ = [
    "SOURCES",
    "ArrayRange",
    "Cells",
    "Conductance",
    "Defaults",
    "Device",
    "NoiseSource",
    "Periphery",
    "Read",
    "Target",
    "WireOhm",
    "device_names",
    "load_device",
    "parse_noise",
]
