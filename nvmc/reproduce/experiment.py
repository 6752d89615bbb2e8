"""What a table or figure of a paper is: network x data x noise x methods x chips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nvmc.compiled.options import Kind

__all__ = ["DEVICE", "Arm", "Experiment", "Grid", "Point", "Quick"]

DEVICE = "sigma"
"""The grid over the strength of the device's own noise."""


@dataclass(frozen=True)
class Point:
    """One strength of one noise.

    Attributes:
        kind: See `Grid`.
        at: The strength.
    """

    kind: str
    at: float

    @property
    def text(self) -> str:
        """What it is called in tables and files."""
        return f"{self.kind}={self.at:g}" if self.kind != "none" else "none"

    @property
    def noise(self) -> str | None:
        """What `--noise` calls it; None where the device's own noise, or none, acts."""
        return None if self.kind in (DEVICE, "none") else self.text


@dataclass(frozen=True)
class Grid:
    """Strengths of one noise.

    Attributes:
        kind: `sigma`: the device's own; `none`: no noise; else a source and its parameter, such as
            `bitflip:p`; `rotation` and `noise` of figures that judge doubts.
        values: The strengths.
    """

    kind: str
    values: tuple[float, ...]

    @property
    def points(self) -> tuple[Point, ...]:
        """Its points."""
        return tuple(Point(self.kind, value) for value in self.values)


@dataclass(frozen=True)
class Arm:
    """One column: a way to train.

    Attributes:
        name: As the paper calls it.
        method: A row of `nvmc.training.METHODS`.
        options: Of the method.
        settings: Of training, where they differ.
        once: Whether the training does not depend on the noise it is judged at.
        draws: Whether the network draws at inference, so that passes are averaged.
        build: What the network is built with, where it differs.
        dropout: Rate of dropout behind every layer but the last; 0 for none.
        paper: The paper's printed values, a value for each point (shares of one for accuracies,
            None where it prints none); empty where it prints none at all.
    """

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    once: bool = False
    draws: bool = False
    build: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dropout: float = 0.0
    paper: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Quick:
    """The same experiment on what is at hand, in minutes. Never the paper's figures.

    Attributes:
        data: A data set that needs no download: `digits`, `co2`, or one that is drawn.
        build: What the network is built with instead.
        network: The zoo's network instead; the experiment's by default.
        epochs: Of training.
        chips: At each point.
        points: How many points of each grid are shown, evenly chosen; 0 for all.
        images: Test images; 0 for all.
        settings: Of training, in place of the experiment's or the default. Small data need
            small batches, or few epochs have too few steps for a deep network.
    """

    data: str
    build: Mapping[str, Any] = field(default_factory=dict[str, Any])
    network: str = ""
    epochs: int = 20
    chips: int = 20
    points: int = 3
    images: int = 250
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper.

    Attributes:
        name: What `nvmc reproduce` calls it.
        paper: `TRICE`, `BayesFT` or `inverted normalization`.
        place: Where in the paper.
        title: What it shows, in a line.
        network: A key of `nvmc.models.NETWORKS`.
        data: The data set, as `--data` names it.
        grids: The noise.
        arms: The methods.
        quick: What `--quick` does instead.
        device: The cells.
        weight_bits: Bits of a weight; None for the device's own way to hold one.
        activation_bits: Bits of activations; None leaves them exact.
        cell_bits: Bits of a cell; None for the device's own.
        bits: Of weights, by globs of layers that have others.
        per_channel: Whether each output channel has a scale of its own.
        store: Parameters that are kept in cells too.
        measure: `kpp` or `mean` over chips; `detected`: the share of shifted images that are seen
            to be unusual.
        metric: What a chip's value is; `accuracy` is shown in percent, as are `miou` and `map`.
        percentile: k of the KPP.
        trained_at: Strength that training is told; None for that of each point.
        epochs: Of training; ours where the paper states none.
        chips: At each point, the paper's.
        seeds: Trainings that are averaged.
        passes: Of networks that draw at inference.
        settings: Of training.
        trainer: `nvmc train`, or `boxes`: the detector's own loop in torch.
        told: What the paper's text says of it, where it prints no table.
        differs: What is not as in the paper even in full.
    """

    name: str
    paper: str
    place: str
    title: str
    network: str
    data: str
    grids: tuple[Grid, ...]
    arms: tuple[Arm, ...]
    quick: Quick
    device: str
    weight_bits: int | None = None
    activation_bits: int | None = None
    cell_bits: int | None = None
    bits: Mapping[str, int] = field(default_factory=dict[str, int])
    per_channel: bool = False
    store: tuple[Kind, ...] = ()
    measure: Literal["kpp", "mean", "detected"] = "mean"
    metric: str = "accuracy"
    percentile: float = 1.0
    trained_at: float | None = None
    epochs: int = 100
    chips: int = 100
    seeds: int = 3
    passes: int = 10
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    trainer: Literal["nvmc", "boxes"] = "nvmc"
    told: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()

    @property
    def points(self) -> tuple[Point, ...]:
        """All points of all grids, in order."""
        return tuple(point for grid in self.grids for point in grid.points)
