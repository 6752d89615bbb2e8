"""Devices: what a memory cell does. Files are in `library/`, noise sources in `noise.py`."""

from nvmc.devices.device import Defaults, Device, Target
from nvmc.devices.noise import SOURCES, Cells, NoiseSource
from nvmc.devices.reading import device_names, load_device, parse_noise

__all__ = [
    "SOURCES",
    "Cells",
    "Defaults",
    "Device",
    "NoiseSource",
    "Target",
    "device_names",
    "load_device",
    "parse_noise",
]
