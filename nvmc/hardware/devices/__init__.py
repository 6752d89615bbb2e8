"""Devices: what a memory cell does, and targets: how cells are used.

Files of devices are in `library/`, of targets in `targets/`, noise sources in `sources/`.
"""

from nvmc.hardware.devices.device import Defaults, Device
from nvmc.hardware.devices.noise import SOURCES, Cells, Conductance, NoiseSource, Read
from nvmc.hardware.devices.periphery import EXACT_ADC, ArrayRange, Periphery, WireOhm
from nvmc.hardware.devices.reading import as_noise, device_names, load_device, parse_noise
from nvmc.hardware.devices.settings import LayerTarget, Settings
from nvmc.hardware.devices.target import Target
from nvmc.hardware.devices.target_file import (
    TargetFile,
    as_target,
    make_target,
    read_target,
    target_names,
)

__all__ = [
    "EXACT_ADC",
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
    "Settings",
    "Target",
    "TargetFile",
    "WireOhm",
    "as_noise",
    "as_target",
    "device_names",
    "load_device",
    "make_target",
    "parse_noise",
    "read_target",
    "target_names",
]
