"""Temperature: how much faster cells age, and how much more or less they conduct."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from array_api_compat import array_namespace
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.devices.numbers import Finite, Positive
from nvmc.hardware.devices.sources.base import Draws, NoiseSource, Stage

__all__ = ["BOLTZMANN_EV", "TEMPERATURES_C", "TemperatureCoefficient", "ThermallyAged"]

BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann's constant in eV/K (CODATA 2018; exact in the SI, here to ten digits)."""
ZERO_C_K = 273.15
TEMPERATURES_C = (-200.0, 1000.0)
"""Between which temperatures lie; a number beyond is in another unit."""

Celsius = Annotated[
    float, Field(ge=TEMPERATURES_C[0], le=TEMPERATURES_C[1], allow_inf_nan=False, strict=True)
]
Energy = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False, strict=True)]
_LARGEST = math.log(1e100)  # times above that are no times


class ThermallyAged(NoiseSource, frozen=True):
    """A source in time that runs faster when hot: t at T counts as t exp(Ea/k (1/T0 - 1/T)).

    Arrhenius' law: the source's own numbers are those at T0, and cells are at T from programming
    on. Without an activation energy nothing depends on the temperature.

    Attributes:
        activation_ev: Ea, eV.
        reference_c: T0 in degrees Celsius, at which the source's numbers were measured.
        temperature_c: T in degrees Celsius; None for T0.
    """

    activation_ev: Energy | None = None
    reference_c: Celsius | None = None
    temperature_c: Celsius | None = None

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        if (self.activation_ev is None) != (self.reference_c is None):
            raise ValueError("temperature needs both activation_ev and reference_c; give both")
        if self.temperature_c is not None and self.activation_ev is None:
            raise ValueError(
                "temperature_c is set, but not how ageing depends on it; add activation_ev and "
                "reference_c"
            )
        if abs(self._exponent) > _LARGEST:
            raise ValueError(
                f"ageing is e^{self._exponent:.0f} times as fast at {self.temperature_c} C as at "
                f"{self.reference_c} C; expected at most 1e100 times, see activation_ev"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler):
        """Without these keys where they are not given: results are found by what is written.

        No type is stated of what it returns, since it would be all that the schema says.
        """
        found: dict[str, Any] = handler(self)
        new = ThermallyAged.model_fields.keys() - NoiseSource.model_fields.keys()
        return {key: v for key, v in found.items() if v is not None or key not in new}

    @property
    def thermal(self) -> bool:
        """Whether it depends on the temperature."""
        return self.activation_ev is not None

    @property
    def _exponent(self) -> float:
        if self.activation_ev is None or self.reference_c is None or self.temperature_c is None:
            return 0.0
        cold, hot = self.reference_c + ZERO_C_K, self.temperature_c + ZERO_C_K
        return self.activation_ev / BOLTZMANN_EV * (1 / cold - 1 / hot)

    def aged(self, time_s: float) -> float:
        """Seconds at T0 that count as much as `time_s` at T."""
        return time_s * math.exp(self._exponent)

    def with_temperature(self, celsius: float) -> Self:
        """This source at another temperature; itself where it does not depend on it."""
        if self.activation_ev is None:
            return self
        values: dict[str, Any] = {**dict(self), "temperature_c": celsius}
        return type(self)(**values)


class TemperatureCoefficient(NoiseSource, frozen=True):
    """Conductance that changes with the temperature of reads: g (1 + alpha (T - T0)).

    alpha ~ N(per_k, std_per_k), one for each cell, the same at all temperatures; a factor below
    zero counts as zero. No source is cited: the law is linear, its numbers are the user's.

    Attributes:
        per_k: Mean of alpha, 1/K.
        std_per_k: Its standard deviation over cells, 1/K.
        reference_c: T0 in degrees Celsius, at which cells conduct what they were programmed for.
        temperature_c: T in degrees Celsius; None for T0.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["temperature-coefficient"] = "temperature-coefficient"
    per_k: Finite
    std_per_k: Positive = 0.0
    reference_c: Celsius
    temperature_c: Celsius | None = None

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        varies = self.per_k != 0 or self.std_per_k != 0
        return varies and self.temperature_c not in (None, self.reference_c)

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    @property
    def thermal(self) -> bool:
        """Always."""
        return True

    def with_temperature(self, celsius: float) -> Self:
        """This source at another temperature."""
        values: dict[str, Any] = {**dict(self), "temperature_c": celsius}
        return type(self)(**values)

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels at the temperature."""
        warmer = (self.temperature_c or 0.0) - self.reference_c
        normals = draws.normal(tuple(levels.shape))
        xp = array_namespace(levels)
        kept = xp.clip(1 + warmer * self.per_k + warmer * self.std_per_k * normals, 0, None)
        moved = cells.conducted(levels) * kept
        return moved - cells.off_level if cells.off_level else moved
