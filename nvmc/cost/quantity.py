"""Numbers of a hardware file: each has a unit that is checked, and says where it comes from."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from nvmc.errors import unknown
from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.devices.numbers import Positive

__all__ = [
    "UNITS",
    "Area",
    "Capacitance",
    "Conductance",
    "Energy",
    "Length",
    "Memory",
    "Power",
    "Quantity",
    "Rate",
    "Time",
    "Voltage",
]

UNITS: dict[str, tuple[str, float]] = {
    "aJ": ("energy", 1e-18),
    "fJ": ("energy", 1e-15),
    "pJ": ("energy", 1e-12),
    "nJ": ("energy", 1e-9),
    "ps": ("time", 1e-12),
    "ns": ("time", 1e-9),
    "us": ("time", 1e-6),
    "um2": ("area", 1e-12),
    "mm2": ("area", 1e-6),
    "nW": ("power", 1e-9),
    "uW": ("power", 1e-6),
    "mW": ("power", 1e-3),
    "aF": ("capacitance", 1e-18),
    "fF": ("capacitance", 1e-15),
    "pF": ("capacitance", 1e-12),
    "mV": ("voltage", 1e-3),
    "V": ("voltage", 1.0),
    "nS": ("conductance", 1e-9),
    "uS": ("conductance", 1e-6),
    "kHz": ("rate", 1e3),
    "MHz": ("rate", 1e6),
    "GHz": ("rate", 1e9),
    "nm": ("length", 1e-9),
    "bit": ("memory", 1.0),
    "B": ("memory", 8.0),
    "KiB": ("memory", 8.0 * 1024),
    "MiB": ("memory", 8.0 * 1024**2),
}
"""Unit -> what it measures, and how much it is in SI units."""


class Quantity(Strict, frozen=True):
    """A number with its unit and its source.

    Attributes:
        value: In the unit; at least 0.
        unit: One of `UNITS`.
        source: Where it was published or measured, or how it follows from what was.
    """

    value: Positive
    unit: str
    source: Annotated[str, Field(min_length=3)]

    @field_validator("unit")
    @classmethod
    def _known(cls, unit: str) -> str:
        if unit not in UNITS:
            raise ValueError(unknown("unit", unit, UNITS))
        return unit

    @property
    def si(self) -> float:
        """In joules, seconds, square metres, watts, farads, volts, siemens, hertz, metres, bits."""
        return self.value * UNITS[self.unit][1]


def _measures(dimension: str) -> AfterValidator:
    """That a quantity is of that dimension."""

    def check(quantity: Quantity) -> Quantity:
        found = UNITS[quantity.unit][0]
        if found != dimension:
            units = ", ".join(name for name, (kind, _) in UNITS.items() if kind == dimension)
            raise ValueError(
                f"unit {quantity.unit!r} measures {found}; expected {dimension}: {units}"
            )
        return quantity

    return AfterValidator(check)


Area = Annotated[Quantity, _measures("area")]
Capacitance = Annotated[Quantity, _measures("capacitance")]
Conductance = Annotated[Quantity, _measures("conductance")]
Energy = Annotated[Quantity, _measures("energy")]
Length = Annotated[Quantity, _measures("length")]
Memory = Annotated[Quantity, _measures("memory")]
Power = Annotated[Quantity, _measures("power")]
Rate = Annotated[Quantity, _measures("rate")]
Time = Annotated[Quantity, _measures("time")]
Voltage = Annotated[Quantity, _measures("voltage")]
