"""What `nvmc cost` prints: 80 columns, every figure with its band."""

from __future__ import annotations

from decimal import Decimal

from rich.table import Table

from nvmc.cli.console import note, out
from nvmc.cost.result import Cost, Figure

__all__ = ["figure_text", "print_cost"]

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
SHOWN = 24
"""Layers that the table shows; the rest is one row, and in --csv and --json each."""


def print_cost(cost: Cost) -> None:
    """Everything, for people."""
    console = out()
    console.print(f"{cost.network} on {cost.hardware}", soft_wrap=True)
    console.print(
        f"{2 * cost.multiply_adds[0]:,} operations on crossbars per inference; {cost.drives}"
    )
    _print_figures(cost)
    _print_components(cost)
    _print_layers(cost)
    _print_bands(cost)
    for sentence in cost.assumptions:
        console.print(sentence)
    for name, band in cost.bands.items():
        if not band.low <= 1 <= band.high:
            way = "more" if band.low > 1 else "less"
            note(
                f"every published chip has {way} {name} than {cost.hardware} estimates: use the "
                "band, not the estimate"
            )


def _print_figures(cost: Cost) -> None:
    one = "layer after layer" if cost.scheduled is None else "as scheduled"
    many = "layers as a pipeline" if cost.scheduled is None else "as scheduled"
    rows = [
        ("energy per inference", cost.energy, "J"),
        (f"latency, {one}", cost.latency, "s"),
        (f"throughput, {many}", cost.throughput, "inferences/s"),
        ("area", cost.area_mm2, "mm²"),
        ("workload", cost.tops_per_w, "TOPS/W"),
        (f"workload, {many}", cost.tops_per_mm2, "TOPS/mm²"),
        ("peak, all tiles full", cost.peak.tops, "TOPS"),
        ("peak per watt, cells and converters", cost.peak.tops_per_w, "TOPS/W"),
        ("peak per area, cells and converters", cost.peak.tops_per_mm2, "TOPS/mm²"),
    ]
    table = Table(box=None, pad_edge=False)
    for column in ("", "estimate", "band"):
        table.add_column(column, no_wrap=True)
    for name, figure, unit in rows:
        table.add_row(name, *figure_text(figure, unit))
    out().print(table)
    if cost.idle is not None:
        value, band = figure_text(cost.idle, "J")
        said = "are counted" if cost.idle_counted else "are off; on, they would add"
        out().print(f"Waiting tiles {said}: {value} per inference ({band})")


def _print_components(cost: Cost) -> None:
    table = _table("component", "energy", "share", "band", "area", "share", "band")
    for part in sorted(cost.components, key=lambda one: -one.energy.value):
        energy, energy_band = figure_text(part.energy, "J")
        area, area_band = figure_text(part.area_mm2, "mm²")
        shares = _share(part.energy, cost.energy), _share(part.area_mm2, cost.area_mm2)
        table.add_row(part.name, energy, shares[0], energy_band, area, shares[1], area_band)
    out().print()
    out().print(table)


def _print_layers(cost: Cost) -> None:
    table = _table("layer", "energy", "share", "band", "time", "band")
    ranked = sorted(cost.layers, key=lambda one: -one.energy.value)
    kept = {id(layer) for layer in (ranked if len(ranked) <= SHOWN + 1 else ranked[:SHOWN])}
    for label, layer in zip(cost.labels, cost.layers, strict=True):
        if id(layer) in kept:
            energy, time = figure_text(layer.energy, "J"), figure_text(layer.time, "s")
            table.add_row(label, energy[0], _share(layer.energy, cost.energy), energy[1], *time)
    rest = [layer.energy for layer in cost.layers if id(layer) not in kept]
    if rest:
        whole = Figure(*(sum(getattr(p, k) for p in rest) for k in ("value", "low", "high")))
        energy = figure_text(whole, "J")
        table.add_row(f"{len(rest)} more", energy[0], _share(whole, cost.energy), energy[1], "", "")
    out().print()
    out().print(table)
    out().print()


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column(first, overflow="fold", max_width=22)
    for column in others:
        table.add_column(column, no_wrap=True, justify="right")
    return table


def _print_bands(cost: Cost) -> None:
    calibrated = ", ".join(cost.calibrated) or "nothing"
    out().print(f"{cost.hardware}: {cost.node_nm:g} nm, calibrated on {calibrated}.")
    out().print("Each band holds for all published chips that it was not calibrated on:")
    table = Table(box=None, pad_edge=False)
    for column in ("", "factors", "chips", "probability that the next chip lies in it"):
        table.add_column(column, no_wrap=True)
    for name, band in cost.bands.items():
        covered = f"{100 * band.coverage:.0f} %"
        table.add_row(name, f"x{band.low:.2g} to x{band.high:.3g}", str(band.chips), covered)
    out().print(table)


def figure_text(figure: Figure, unit: str) -> tuple[str, str]:
    """A figure and its band, both in one prefix: `0.484 µJ`, `0.06 to 3.6`."""
    scale, prefix = 1.0, ""
    if unit in ("J", "s"):
        size = abs(figure.value) or 1.0
        scale, prefix = next((p for p in _PREFIXES if size >= p[0]), _PREFIXES[-1])
    if unit == "mm²" and figure.value < 0.01:
        scale, unit = 1e-6, "µm²"
    value = f"{_number(figure.value / scale)} {prefix}{unit}"
    return value, f"{_number(figure.low / scale, 2)} to {_number(figure.high / scale, 2)}"


def _number(value: float, digits: int = 3) -> str:
    """Few digits: `0.484`, `3,060`, `16k`, `1.6M`."""
    rounded = float(f"{value:.{digits}g}")
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if rounded >= size:
            return f"{rounded / (1e3 if suffix == 'k' else size):g}{suffix}"
    return f"{rounded:,.0f}" if rounded >= 1000 else f"{Decimal(f'{rounded:g}'):f}"


def _share(part: Figure, whole: Figure) -> str:
    return f"{100 * part.value / whole.value:.0f} %" if whole.value else "-"
