"""What `nvmc place` prints: 80 columns, times and energies with their bands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rich.table import Table

from nvmc.cli.console import note, out
from nvmc.cli.cost_report import figure_text
from nvmc.cost.band import bands
from nvmc.cost.hardware import load_hardware
from nvmc.cost.result import Figure, ratio
from nvmc.cost.schedule import Schedule

__all__ = ["print_schedule"]

SHOWN = 24
"""Layers that the table shows; the rest is one row, and in --csv and --json each."""
NAMED = 6
"""Nodes of the critical path that are named at each end."""


def print_schedule(schedule: Schedule, hardware: str) -> None:
    """Everything, for people."""
    console = out()
    console.print(f"{schedule.network} on {schedule.hardware}", soft_wrap=True)
    console.print(
        f"{schedule.tiles_used:,} tiles of {schedule.tiles:,} allowed ("
        f"{schedule.tiles_once:,} hold one copy of every layer)"
    )
    cores = sum(1 for tiles in schedule.core_tiles if tiles)
    room = len(schedule.core_tiles) * schedule.tiles_per_core
    chiplets = schedule.chiplet_columns * schedule.chiplet_rows
    console.print(
        f"Cores used: {cores:,} of {schedule.columns} x {schedule.rows}"
        f"{f' on {chiplets} chiplets' if chiplets > 1 else ''}, "
        f"{100 * schedule.tiles_used / room:.3g} % of all tiles; placed by {schedule.curve}"
    )
    labels = _labels(schedule)
    _print_figures(schedule, hardware)
    _print_layers(schedule, hardware, labels)
    console.print(f"Interval: {_why(schedule, labels)}.", soft_wrap=False)
    path = [labels.get(name, name) for name in schedule.critical_path]
    console.print(f"Critical path: {_path(path)}")
    for sentence in schedule.assumptions:
        console.print(sentence)
    full = sum(bits > schedule.buffer_bits for bits in schedule.core_buffer_bits)
    if full:
        note(f"the buffers of {full} cores are too small for their own layers")


def _labels(schedule: Schedule) -> dict[str, str]:
    """What people call each layer: its arrays, and its node where several share these."""
    names = {node.name: ", ".join(node.arrays) or node.name for node in schedule.layers}
    several = Counter(names.values())
    return {
        node: name if several[name] == 1 else f"{name} ({node})" for node, name in names.items()
    }


def _why(schedule: Schedule, labels: Mapping[str, str]) -> str:
    if schedule.mode == "layers":
        return "an inference begins when the one before is done (--pipeline overlaps them)"
    return (
        f"decided by {labels.get(schedule.interval_bound_by, schedule.interval_bound_by)}; "
        f"{schedule.rounds:,} rounds in the longest layer"
    )


def _print_figures(schedule: Schedule, hardware: str) -> None:
    band = bands(load_hardware(hardware))
    interval = Figure.of(schedule.interval_s, band["time"])
    begin = "rows pipelined" if schedule.mode == "pipeline" else "layer by layer"
    rows = [
        (f"latency, {begin}", Figure.of(schedule.latency_s, band["time"]), "s"),
        ("interval between inferences", interval, "s"),
        ("throughput", ratio(1.0, interval), "inferences/s"),
        ("busiest link, per inference", Figure.of(schedule.busiest_link_s, band["time"]), "s"),
        ("energy of hops, per inference", Figure.of(schedule.hop_energy_j, band["energy"]), "J"),
    ]
    if schedule.latency_bound_s is not None:
        found, bound = schedule.latency_bound_s
        rows.insert(1, ("sum of the layers' times", Figure.of(found, band["time"]), "s"))
        rows.insert(2, ("least with these tiles", Figure.of(bound, band["time"]), "s"))
    table = Table(box=None, pad_edge=False)
    for column in ("", "estimate", "band"):
        table.add_column(column, no_wrap=True)
    for name, figure, unit in rows:
        table.add_row(name, *figure_text(figure, unit))
    table.add_row("hops x bytes, per inference", f"{schedule.bit_hops / 8:,.0f}", "counted")
    if schedule.chiplet_bits:
        table.add_row("bytes over chiplet links", f"{schedule.chiplet_bits / 8:,.0f}", "counted")
    room = len(schedule.core_tiles) * schedule.buffer_bits / 8192
    peak = schedule.buffer_peak_bits / 8192
    table.add_row("buffers, most at a time", f"{peak:,.0f} of {room:,.0f} KiB", "counted")
    table.add_row("tiles at work", f"{100 * schedule.busy_share:.3g} % of the time", "counted")
    out().print(table)


def _print_layers(schedule: Schedule, hardware: str, labels: Mapping[str, str]) -> None:
    band = bands(load_hardware(hardware))["time"]
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("layer", overflow="fold", max_width=18)
    for column in ("copies", "tiles", "rounds", "start", "time", "KiB x hops", "buffer KiB"):
        table.add_column(column, no_wrap=True, justify="right")
    ranked = sorted(schedule.layers, key=lambda node: -node.seconds)
    kept = {id(node) for node in (ranked if len(ranked) <= SHOWN + 1 else ranked[:SHOWN])}
    for node in schedule.layers:
        if id(node) in kept:
            table.add_row(
                labels[node.name],
                f"{node.copies:,}",
                f"{node.tiles:,}",
                f"{node.rounds:,}",
                figure_text(Figure.of(node.start_s, band), "s")[0],
                figure_text(Figure.of(node.seconds, band), "s")[0],
                f"{node.bit_hops / 8192:,.1f}",
                f"{node.buffer_bits / 8192:,.1f}",
            )
    rest = [node for node in schedule.layers if id(node) not in kept]
    if rest:
        tiles = sum(node.tiles for node in rest)
        table.add_row(f"{len(rest)} more", "", f"{tiles:,}", "", "", "", "", "")
    out().print()
    out().print(table)
    factors = f"x{band.low:.2g} to x{band.high:.3g}"
    out().print(f"Times hold within {factors}, by published macros.\n")


def _path(names: list[str]) -> str:
    if len(names) <= 2 * NAMED + 1:
        return " > ".join(names)
    left = len(names) - 2 * NAMED
    return " > ".join([*names[:NAMED], f"({left} more)", *names[-NAMED:]])
