"""The numbers of a device file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

__all__ = ["LARGEST", "SMALLEST", "Above", "Finite", "Positive", "Probability"]

LARGEST = 1e18
"""Magnitude that they may have: cells are computed in float32, and so is a product of two."""

SMALLEST = 1e-18
"""Magnitude of what others are divided by, for the same reason."""


def _moderate(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"expected a magnitude of at most {LARGEST:g}")
    return value


def _no_speck(value: float) -> float:
    if value < SMALLEST:
        raise ValueError(f"expected at least {SMALLEST:g}")
    return value


_Moderate = AfterValidator(_moderate)
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True), _Moderate]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True), _Moderate]
Above = Annotated[
    float, Field(gt=0, allow_inf_nan=False, strict=True), _Moderate, AfterValidator(_no_speck)
]
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]
