"""What a chip costs, as a result: figures with their bands, by layer and by component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nvmc.arguments import checked
from nvmc.cost.band import Band
from nvmc.cost.counts import Counts
from nvmc.cost.scaling import Dimension
from nvmc.tables import Cell, Shown, Table

__all__ = ["Component", "Cost", "Figure", "LayerCost", "Peak", "in_unit", "ratio"]


@dataclass(frozen=True)
class Figure:
    """A number with the band that it holds within; it has no other form.

    Attributes:
        value: In SI units; TOPS are 10^12 operations a second, and mm^2 are such.
        low, high: The band.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, band: Band) -> Figure:
        """A figure of one dimension."""
        return cls(value, *band.around(value))

    def to_json(self) -> dict[str, float]:
        """Three numbers."""
        return {"value": self.value, "low": self.low, "high": self.high}


def ratio(top: float, below: Figure) -> Figure:
    """A number over a figure: its band is turned over."""
    ends = (below.high, below.low)
    low, high = (top / end if end else 0.0 for end in ends)
    return Figure(top / below.value if below.value else 0.0, low, high)


@dataclass(frozen=True)
class Component:
    """One component of the hardware, all layers together.

    Attributes:
        name: Section of the hardware file.
        energy: Joules per inference.
        area_mm2: Of the chip.
    """

    name: str
    energy: Figure
    area_mm2: Figure


@dataclass(frozen=True)
class LayerCost:
    """One layer; all nodes that run digitally are one.

    Attributes:
        name: Of the node.
        op: Its operator.
        tiles: Crossbars.
        counts: Its events.
        energy: Joules per inference.
        time: Seconds per inference.
        components: Joules per inference by component, without bands; `energy` says within what
            factors they hold.
        arrays: Names of its arrays of weights, as `nvmc compile` lists them; none where digital.
    """

    name: str
    op: str
    tiles: int
    counts: Counts
    energy: Figure
    time: Figure
    components: Mapping[str, float]
    arrays: tuple[str, ...] = ()


@dataclass(frozen=True)
class Peak:
    """What tiles do when all their cells work, and nothing but cells and converters counts.

    Attributes:
        tops: 10^12 operations a second of the whole chip, two each multiply-add.
        tops_per_w: Of full tiles.
        tops_per_mm2: Of full tiles with their converters.
    """

    tops: Figure
    tops_per_w: Figure
    tops_per_mm2: Figure


@checked
@dataclass(frozen=True, repr=False)
class Cost(Shown):
    """What a compiled network costs on some hardware.

    Attributes:
        network: The folder.
        hardware: Name of the hardware.
        node_nm: Its technology node.
        bands: Factors by dimension, and of how many chips they are.
        calibrated: Chips that it was calibrated on.
        multiply_adds: Of an inference: on crossbars, and all that were counted.
        layers: Those on crossbars, and `digital`.
        components: All that have a cost.
        energy: Joules per inference.
        latency: Seconds of one inference, layer after layer.
        interval: Seconds from one inference to the next, layers working on several at once.
        area_mm2: Of tiles and all that belongs to them.
        idle: Joules per inference that waiting tiles would take, were they not switched off; None
            where the hardware does not say.
        idle_counted: Whether `energy` has them.
        peak: Of full tiles.
        drives: What the currents of cells come from.
        assumptions: A sentence each.
        scheduled: `layers` or `pipeline`, where latency and interval are those of such a schedule;
            None where layers follow one another and the slowest decides the interval.
    """

    network: str
    hardware: str
    node_nm: float
    bands: Mapping[Dimension, Band]
    calibrated: tuple[str, ...]
    multiply_adds: tuple[int, int]
    layers: tuple[LayerCost, ...]
    components: tuple[Component, ...]
    energy: Figure
    latency: Figure
    interval: Figure
    area_mm2: Figure
    idle: Figure | None
    idle_counted: bool
    peak: Peak
    drives: str
    assumptions: tuple[str, ...]
    scheduled: str | None = None

    @property
    def throughput(self) -> Figure:
        """Inferences per second, layers working on several at once."""
        return ratio(1.0, self.interval)

    @property
    def tops_per_w(self) -> Figure:
        """Of the workload: operations on crossbars per inference over its energy."""
        return ratio(2 * self.multiply_adds[0] * 1e-12, self.energy)

    @property
    def tops_per_mm2(self) -> Figure:
        """Of the workload: operations on crossbars a second over the area.

        Its band is that of both dimensions at their worst.
        """
        rate = ratio(2 * self.multiply_adds[0] * 1e-12, self.interval)
        area = self.area_mm2
        return Figure(rate.value / area.value, rate.low / area.high, rate.high / area.low)

    @property
    def labels(self) -> tuple[str, ...]:
        """What people call each layer: its arrays, and its node where several share these."""
        names = [", ".join(layer.arrays) or layer.name for layer in self.layers]
        return tuple(
            name if names.count(name) == 1 else f"{name} ({layer.name})"
            for name, layer in zip(names, self.layers, strict=True)
        )

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        energy, area = in_unit(self.energy, "J"), in_unit(self.area_mm2, "mm²")
        time = in_unit(self.latency, "s")
        of = f"{self.network} on {self.hardware} ({self.node_nm:g} nm)"
        return f"Cost of {of}: {energy} and {time} per inference, {area}"

    def shown(self) -> Table:
        """A row for each layer, with the bands of energy and time."""
        rows = tuple(
            (
                label,
                layer.op,
                f"{layer.tiles:,}",
                in_unit(layer.energy, "J"),
                in_unit(layer.time, "s"),
            )
            for label, layer in zip(self.labels, self.layers, strict=True)
        )
        return Table(("layer", "operator", "tiles", "energy per inference", "time"), rows)

    def records(self) -> list[dict[str, Cell]]:
        """A row for each layer; see `rows`."""
        return self.rows()

    def to_json(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "network": self.network,
            "hardware": {
                "name": self.hardware,
                "node_nm": self.node_nm,
                "calibrated_on": list(self.calibrated),
                "bands": {
                    name: {**vars(band), "coverage": band.coverage}
                    for name, band in self.bands.items()
                },
            },
            "multiply_adds": {"on_crossbars": self.multiply_adds[0], "all": self.multiply_adds[1]},
            "workload": {
                "energy_j": self.energy.to_json(),
                "latency_s": self.latency.to_json(),
                "interval_s": self.interval.to_json(),
                "images_per_s": self.throughput.to_json(),
                "area_mm2": self.area_mm2.to_json(),
                "tops_per_w": self.tops_per_w.to_json(),
                "tops_per_mm2": self.tops_per_mm2.to_json(),
                "idle_j": None if self.idle is None else self.idle.to_json(),
                "idle_counted": self.idle_counted,
            },
            "peak": {name: figure.to_json() for name, figure in vars(self.peak).items()},
            "layers": list(map(_layer_json, self.layers, self.labels)),
            "components": [
                {
                    "name": part.name,
                    "energy_j": part.energy.to_json(),
                    "area_mm2": part.area_mm2.to_json(),
                }
                for part in self.components
            ],
            "drives": self.drives,
            "scheduled": self.scheduled,
            "assumptions": list(self.assumptions),
        }

    def rows(self) -> list[dict[str, str | int | float | None]]:
        """A row for each layer, for CSV."""
        names = [part.name for part in self.components]
        return [
            {
                "network": self.network,
                "hardware": self.hardware,
                "layer": layer.name,
                "arrays": ", ".join(layer.arrays),
                "op": layer.op,
                "tiles": layer.tiles,
                "energy_j": layer.energy.value,
                "energy_low_j": layer.energy.low,
                "energy_high_j": layer.energy.high,
                "time_s": layer.time.value,
                "time_low_s": layer.time.low,
                "time_high_s": layer.time.high,
                "conversions": layer.counts.conversions,
                **{f"{name}_j": layer.components.get(name, 0.0) for name in names},
            }
            for layer in self.layers
        ]


PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def in_unit(figure: Figure, unit: str) -> str:
    """A figure with its band in one prefix: `4.59 µJ (0.19 to 25)`."""
    size = abs(figure.value) or 1.0
    scale, prefix = 1.0, ""
    if unit in ("J", "s"):
        scale, prefix = next((p for p in PREFIXES if size >= p[0]), PREFIXES[-1])
    value, low, high = (number / scale for number in (figure.value, figure.low, figure.high))
    return f"{value:.3g} {prefix}{unit} ({low:.2g} to {float(f'{high:.2g}'):,g})"


def _layer_json(layer: LayerCost, label: str) -> dict[str, Any]:
    return {
        "name": layer.name,
        "arrays": list(layer.arrays),
        "label": label,
        "op": layer.op,
        "tiles": layer.tiles,
        "energy_j": layer.energy.to_json(),
        "time_s": layer.time.to_json(),
        "components_j": dict(layer.components),
        "counts": vars(layer.counts),
    }
