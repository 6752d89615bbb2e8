"""A picture of a chip's cost: energy by layer and component, and the shares of energy and area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nvmc.report.component_looks import COMPONENT_COLOURS, component_colours
from nvmc.report.figure import (
    GREY,
    INK,
    LOOKS,
    Sheet,
    Style,
    as_sheet,
    figure_in,
    heading,
    legend,
    style,
)

__all__ = ["draw_cost"]

BRIGHT = 400
"""Sum of a colour's red, green and blue from which on lines on it are grey."""
MOST = 20
"""Layers that are drawn one by one, in their order; of more, the others are one bar."""


def draw_cost(cost: Mapping[str, Any], path: Path | Sheet) -> None:
    """Draw a cost into a file.

    Args:
        cost: `nvmc.cost.result.Cost.to_json`.
        path: The file.

    Raises:
        OptionError: matplotlib is not installed.
        ArtifactError: `path` cannot be written.
    """
    colours = component_colours([part["name"] for part in cost["components"]])
    layers = _layers(cost["layers"])
    sheet, high = as_sheet(path), 0.26 * max(8, len(layers))
    look = sheet.style
    narrow = 4.2 + 0.18 * len(layers) + 0.1 * len(colours)
    with figure_in(sheet, 9.6, 1.9 + high, narrow=narrow) as figure:
        heading(figure, _heading(cost))
        if look.narrow:
            left, right = figure.subplots(2, 1, height_ratios=[0.5 + 0.18 * len(layers), 2])
        else:
            left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        _bars(left, layers, colours)
        _shares(right, cost, colours, look)


def _heading(cost: Mapping[str, Any]) -> list[str]:
    work, hardware = cost["workload"], cost["hardware"]
    energy, area, latency = work["energy_j"], work["area_mm2"], work["latency_s"]
    bands = hardware["bands"]
    name = Path(cost["network"]).name.removesuffix(".nvmc")
    return [
        f"{name} on {hardware['name']} ({hardware['node_nm']:g} nm); {cost['drives']}",
        f"{_range(energy, 'J')} per inference, {_range(latency, 's')} "
        f"{'as scheduled' if cost['scheduled'] else 'layer after layer'}, "
        f"{_range(area, 'mm²')}",
        f"Every energy holds within x{bands['energy']['low']:.2g} to x{bands['energy']['high']:.3g}"
        f", every area within x{bands['area']['low']:.2g} to x{bands['area']['high']:.3g}",
    ]


def _range(figure: Mapping[str, float], unit: str) -> str:
    """A figure with its band, such as `4.59 µJ (0.19 to 25)`."""
    scale, prefix = 1.0, ""
    if unit in ("J", "s"):
        prefixes = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
        scale, prefix = next((p for p in prefixes if figure["value"] >= p[0]), prefixes[-1])
    value, low, high = (figure[key] / scale for key in ("value", "low", "high"))
    return f"{value:.3g} {prefix}{unit} ({low:.2g} to {float(f'{high:.2g}'):,g})"


def _layers(layers: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, float]]]:
    """Name and energy by component of what is drawn."""
    ranked = sorted(layers, key=lambda layer: -layer["energy_j"]["value"])
    kept = {id(layer) for layer in ranked[:MOST]}
    drawn = [(layer["label"], layer["components_j"]) for layer in layers if id(layer) in kept]
    rest = [layer["components_j"] for layer in layers if id(layer) not in kept]
    if rest:
        keys = rest[0].keys()
        drawn.append((f"{len(rest)} more", {k: sum(one[k] for one in rest) for k in keys}))
    return drawn


def _bars(
    axes: Any,
    layers: list[tuple[str, dict[str, float]]],
    colours: Mapping[str, str],
) -> None:
    places = range(len(layers))
    starts = [0.0] * len(layers)
    for name, colour in colours.items():
        values = [1e6 * parts.get(name, 0.0) for _, parts in layers]
        axes.barh(places, values, left=starts, height=0.7, **_bar(name, colour))
        starts = [start + value for start, value in zip(starts, values, strict=True)]
    style(axes, "Energy per inference, by layer", "µJ", "")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#e4e6ea", linewidth=0.8)
    axes.set_yticks(list(places), [_short(name) for name, _ in layers], color=INK)
    axes.invert_yaxis()


def _shares(axes: Any, cost: Mapping[str, Any], colours: Mapping[str, str], look: Style) -> None:
    parts = {part["name"]: part for part in cost["components"]}
    for place, key in enumerate(("energy_j", "area_mm2")):
        whole = sum(parts[name][key]["value"] for name in colours)
        start = 0.0
        for name, colour in colours.items():
            share = 100 * parts[name][key]["value"] / whole if whole else 0.0
            label = name if not place else None
            axes.bar(place, share, bottom=start, width=0.6, label=label, **_bar(name, colour))
            if share >= 6:
                middle = start + share / 2
                axes.annotate(
                    f"{share:.0f} %",
                    (place, middle),
                    ha="center",
                    va="center",
                    fontsize=look.small,
                    color=INK,
                    bbox={"facecolor": "white", "linewidth": 0, "pad": 0.8, "alpha": 0.85},
                )
            start += share
    style(axes, "Shares of the components", "", "%")
    axes.set_xticks([0, 1], ["energy", "area"])
    axes.set_xlim(-0.5, 1.5)
    axes.spines["bottom"].set_color(GREY)
    handles, labels = axes.get_legend_handles_labels()
    legend(axes, look, handles[::-1], labels[::-1])


def _bar(name: str, colour: str) -> dict[str, Any]:
    """Colour and hatch of a component; lines are seen on it."""
    hatch = LOOKS[list(COMPONENT_COLOURS).index(name) % len(LOOKS)][3]
    bright = sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) > BRIGHT
    edge = GREY if bright else "white"
    return {"color": colour, "hatch": hatch, "edgecolor": edge, "linewidth": 0.4}


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"
