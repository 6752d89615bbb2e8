"""Noise sources: what happens to codes, cells and weights when a chip is made and read.

Each source is a small model whose fields are its options, and one `apply` written once against
the Python array API, so that it serves the simulator (NumPy), training (torch) and the tests'
slow loops alike. Sources act in one of five stages:

| stage    | receives and returns                                                        |
| -------- | --------------------------------------------------------------------------- |
| `code`   | `apply`: target levels (planes, *shape) as whole numbers, and the sign      |
| `cell`   | `apply`: programmed levels (planes, *shape), in level steps                 |
| `weight` | `apply`: weights (*shape), in the network's units                           |
| `read`   | `read_law().spread`: present levels -> deviation of one read of each, in steps |

and `activation`, which touches no cell: `nvmc.passes.vary_activations` puts it into the network.

`Source` is the type of any of them in a file or a manifest, and `SOURCES` names its members; a new
source is a class in `nvmc.hardware.devices.sources` and a member of `Source`. An `apply` makes no
array that lives longer than it must: a chip of a large network is programmed array by array.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from nvmc.hardware.devices.laws import Cells, Conductance
from nvmc.hardware.devices.numbers import Positive
from nvmc.hardware.devices.sources.activations import Activation
from nvmc.hardware.devices.sources.ageing import Retention
from nvmc.hardware.devices.sources.base import Draws, NoiseSource
from nvmc.hardware.devices.sources.bits import BitFlip
from nvmc.hardware.devices.sources.cells import Global, StuckAt
from nvmc.hardware.devices.sources.correlated import Correlated
from nvmc.hardware.devices.sources.own import Own
from nvmc.hardware.devices.sources.programming import Programming
from nvmc.hardware.devices.sources.programming_uniform import ProgrammingUniform
from nvmc.hardware.devices.sources.read import Read
from nvmc.hardware.devices.sources.telegraph import Telegraph
from nvmc.hardware.devices.sources.thermal import TemperatureCoefficient
from nvmc.hardware.devices.sources.wear import Endurance, ReadDisturb
from nvmc.hardware.devices.sources.weights import Additive, LogNormalDrift, Multiplicative, Uniform

__all__ = [
    "SOURCES",
    "Activation",
    "Additive",
    "BitFlip",
    "Cells",
    "Conductance",
    "Correlated",
    "Draws",
    "Endurance",
    "Global",
    "LogNormalDrift",
    "Multiplicative",
    "NoiseSource",
    "Own",
    "Positive",
    "Programming",
    "ProgrammingUniform",
    "Read",
    "ReadDisturb",
    "Retention",
    "Source",
    "StuckAt",
    "Telegraph",
    "TemperatureCoefficient",
    "Uniform",
]

Source = Annotated[
    Programming
    | ProgrammingUniform
    | Retention
    | TemperatureCoefficient
    | Telegraph
    | Global
    | Correlated
    | StuckAt
    | Endurance
    | ReadDisturb
    | BitFlip
    | LogNormalDrift
    | Additive
    | Multiplicative
    | Uniform
    | Read
    | Activation
    | Own,
    Field(discriminator="type"),
]

SOURCES: dict[str, type[NoiseSource]] = {
    source.model_fields["type"].default: source for source in get_args(get_args(Source)[0])
}
"""Type, as a file says it -> source."""
