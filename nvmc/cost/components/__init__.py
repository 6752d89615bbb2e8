"""The components of hardware, a kind a file: energy, time and area by formula (docs/cost.md).

`COMPONENTS` is the table: the name of a section of a hardware file, and of its kinds. One more kind
is a file here with a class derived from `Component` (or `Adc`), and a row.
"""

from __future__ import annotations

from nvmc.cost.components.adc import Adc
from nvmc.cost.components.adc_flash import FlashAdc
from nvmc.cost.components.adc_ramp import RampAdc
from nvmc.cost.components.adc_sar import SarAdc
from nvmc.cost.components.adc_survey import SurveyAdc
from nvmc.cost.components.array import Array
from nvmc.cost.components.base import Component
from nvmc.cost.components.buffer import Buffer
from nvmc.cost.components.dac import Dac
from nvmc.cost.components.digital import Digital
from nvmc.cost.components.driver import Driver
from nvmc.cost.components.leakage import Leakage
from nvmc.cost.components.registers import Registers
from nvmc.cost.components.router import Router
from nvmc.cost.components.sample_hold import SampleHold
from nvmc.cost.components.shift_add import ShiftAdd

__all__ = ["COMPONENTS", "REQUIRED", "Adc", "Array", "Component", "Leakage"]

COMPONENTS: dict[str, dict[str, type[Component]]] = {
    "array": {"resistive": Array},
    "adc": {"flash": FlashAdc, "sar": SarAdc, "ramp": RampAdc, "survey": SurveyAdc},
    "dac": {"linear": Dac},
    "driver": {"capacitive": Driver},
    "sample_hold": {"capacitor": SampleHold},
    "shift_add": {"adder": ShiftAdd},
    "registers": {"flip-flop": Registers},
    "buffer": {"memory": Buffer},
    "router": {"mesh": Router},
    "digital": {"vector": Digital},
    "leakage": {"tile": Leakage},
}
"""Section of a hardware file -> its kinds, each the class of its fields and formulas."""

REQUIRED = ("array", "adc", "dac")
"""Sections that every file has. What is cost by another that a file leaves out is said."""
