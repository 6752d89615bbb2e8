"""batchnorm: means and variances of BatchNormalization found again on each chip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nvmc.hardware.chip import Array
from nvmc.hardware.compensation.affine import MOST_IMAGES
from nvmc.hardware.compensation.base import Compensation, Corrected, Needs

__all__ = ["BatchNorm"]


class BatchNorm(Compensation, frozen=True):
    """The statistics of every BatchNormalization become those of the chip's own activations.

    Mean and variance (of the population, divided by the number of values) of each channel over all
    images and places of the calibration set, from the front: each normalisation sees what the
    corrected ones before it give. No labels are needed. A normalisation that was folded into
    weights is none any more.

    Source: Joshi et al., Nature Communications 11, 2473 (2020), "adaptive batch normalization
    statistics update"; Li et al., AdaBN, 2016.

    Attributes:
        images: Calibration images, 2 or more.
    """

    title: ClassVar[str] = "statistics of BatchNormalization found again on images"
    source: ClassVar[str] = "Joshi et al., Nature Communications 11, 2473 (2020)"
    calibrated: ClassVar[bool] = True
    type: Literal["batchnorm"] = "batchnorm"
    images: Annotated[int, Field(ge=2, le=MOST_IMAGES, strict=True)] = 64

    def needs(self, arrays: Sequence[Array], corrected: Corrected) -> Needs:
        """Digital numbers that are there anyway, but now of each chip's own."""
        del arrays
        return Needs(images=self.images, parameters=2 * corrected.columns)
