"""The cells: current through conductances for as long as a pulse lasts."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from nvmc.cost.components.base import Component
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Conductance, Time, Voltage

__all__ = ["Array"]


class Array(Component, frozen=True):
    """Resistive cells between a driven row and a column at virtual ground.

    | coding      | a row with the drive d            | E                | t              |
    | ----------- | --------------------------------- | ---------------- | -------------- |
    | `amplitude` | is at the voltage d V             | V^2 t sum(d^2 G) | read           |
    | `width`     | is at V for the time d t          | V^2 t sum(d G)   | read (2^b - 1) |
    | `bits`      | is at V once for each bit that is | V^2 t sum(d G)   | read b         |
    |             | set; b pulses added up as charge  |                  |                |

    d is a fraction of the largest drive, b the bits that one pulse of the DAC puts on a row, G what
    a cell conducts. Ohm's law; the conductances are those of the network's cells. With `bits` the
    share of bits that are set is taken to be d.

    Attributes:
        coding: How a row shows a code of several bits.
        voltage: V.
        read: Time of a pulse; of its shortest step with coding width.
        settle: Time between pulses.
        cell: Area of one cell, its selector included.
        low, high: Conductances of the lowest and the highest level, for devices that state none.
    """

    analog: ClassVar[bool] = True

    coding: Literal["amplitude", "width", "bits"]
    voltage: Voltage
    read: Time
    settle: Time | None = None
    cell: Area
    low: Conductance
    high: Conductance

    @model_validator(mode="after")
    def _ordered(self) -> Array:
        if self.low.si >= self.high.si:
            raise ValueError("low is not below high; expected the conductances of two levels")
        return self

    def pulse_s(self, use: Use) -> float:
        """How long the largest drive lasts."""
        steps = {"amplitude": 1, "width": 2**use.pulse_bits - 1, "bits": use.pulse_bits}
        return self.read.si * steps[self.coding]

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        driven = counts.squared_s if self.coding == "amplitude" else counts.linear_s
        return self.voltage.si**2 * self.pulse_s(use) * driven

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Every place for a cell, used or not."""
        return counts.tiles * use.rows * use.cols * self.cell.si

    def read_s(self, use: Use) -> float:
        """Seconds that one pulse takes."""
        return self.pulse_s(use) + (0.0 if self.settle is None else self.settle.si)
