"""affine: a gain and an offset for each output column, fitted on images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nvmc.hardware.chip import Array
from nvmc.hardware.compensation.base import Compensation, Corrected, Needs

__all__ = ["MOST_IMAGES", "Affine", "Fit"]

MOST_IMAGES = 1 << 20
Fit = Literal["least-squares", "moments"]
"""How a column is fitted; see `Affine`."""


class Affine(Compensation, frozen=True):
    """Each output column y of a layer becomes a y + b, which is nearest to the ideal chip's z.

    `least-squares`: a = cov(y, z) / var(y), b = mean(z) - a mean(y), over all images and places of
    the calibration set. `moments`: a = std(z) / std(y), b likewise, so that each column has the
    ideal chip's mean and spread again. Layers are fitted from the front, each with the inputs that
    the corrected layers before it give; z comes from the ideal chip's own inputs. A column that
    does not vary keeps a = 1. No labels are needed.

    Attributes:
        images: Calibration images, 2 or more.
        fit: See above.
    """

    title: ClassVar[str] = "a gain and an offset per output column, fitted on images"
    source: ClassVar[str] = "ordinary least squares per column, against the ideal chip"
    calibrated: ClassVar[bool] = True
    type: Literal["affine"] = "affine"
    images: Annotated[int, Field(ge=2, le=MOST_IMAGES, strict=True)] = 64
    fit: Fit = "least-squares"

    def needs(self, arrays: Sequence[Array], corrected: Corrected) -> Needs:
        """A multiplication and an addition per column."""
        del arrays
        columns = corrected.columns
        references = corrected.values if self.fit == "least-squares" else 2 * columns
        return Needs(
            images=self.images,
            multipliers=columns,
            adders=columns,
            parameters=2 * columns,
            references=references,
        )
