"""A converter without a circuit of its own: ideal, or with the errors that any may have."""

from __future__ import annotations

from typing import Literal

from nvmc.hardware.devices.adc.base import AdcKind

__all__ = ["Ideal"]


class Ideal(AdcKind, frozen=True):
    """Codes change at 1/2, 3/2 …; gain, offset, inl, dnl and noise move them where given."""

    type: Literal["ideal"] = "ideal"
