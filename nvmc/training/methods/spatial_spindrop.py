"""Dropout of whole feature maps that stays on at inference."""

from __future__ import annotations

from typing import ClassVar

from nvmc.training.methods.spindrop import Spindrop

__all__ = ["SpatialSpindrop"]


class SpatialSpindrop(Spindrop):
    """As `Spindrop`, but behind convolutions whole feature maps are dropped.

    One draw a map instead of one a neuron is what its hardware saves. Behind dense layers, where a
    feature is one number, it is `Spindrop`.

    Source: Ahmed et al., Spatial-SpinDrop, arXiv 2306.10185, of which only the abstract was at
    hand; so `p` defaults to the rate of `invnorm`.
    """

    kind: ClassVar[str] = "spatial-spindrop"
    title: ClassVar[str] = (
        "Monte Carlo dropout of feature maps (Ahmed et al., Spatial-SpinDrop, arXiv 2306.10185)"
    )
    spatial: ClassVar[bool] = True
