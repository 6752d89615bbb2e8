"""The resistance of a tile's wires and of their terminals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from nvmc.hardware.devices.laws import Strict

__all__ = ["WireOhm"]

Ohm = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]


class WireOhm(Strict, frozen=True):
    """Resistance of one wire segment, from one cell to the next, and of terminals, in ohm.

    Attributes:
        row: Along a word line.
        col: Along a bit line.
        driver: Of what drives a word line.
        sense: Between the end of a bit line and the virtual ground that senses it.
    """

    row: Ohm
    col: Ohm
    driver: Ohm = 0.0
    sense: Ohm = 0.0

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        """A number is the resistance of both wires."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"row": float(value), "col": float(value)}
        if isinstance(value, WireOhm):
            return value
        expected = (
            "expected ohm of a segment along rows and along columns, as in "
            "{ row = 1.0, col = 2.5 }, with driver and sense where terminals have any"
        )
        if not isinstance(value, Mapping):
            raise ValueError(expected)
        given = dict(cast(Mapping[str, Any], value))
        missing = [name for name in ("row", "col") if name not in given]
        if missing and given.keys() <= cls.model_fields.keys():
            raise ValueError(f"{' and '.join(missing)} is missing; {expected}")
        return given

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler):
        """Without terminals that have no resistance; see `Periphery`."""
        found: dict[str, Any] = handler(self)
        return {name: v for name, v in found.items() if v or name in ("row", "col")}

    @property
    def any(self) -> bool:
        """Whether anything has resistance."""
        return max(self.row, self.col, self.driver, self.sense) > 0

    def __str__(self) -> str:
        """As `--wire-ohm` takes it."""
        terminals = (self.driver, self.sense) if self.driver or self.sense else ()
        return ",".join(f"{ohm:g}" for ohm in (self.row, self.col, *terminals))
