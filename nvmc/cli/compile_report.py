"""What `nvmc compile` prints: arrays, cells, circuit, what is mapped and what is digital."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from rich.table import Table

from nvmc.cli.console import count, out
from nvmc.cli.heading import off_current_text, on_off_text, periphery_text
from nvmc.cli.rounding import rounding_lines
from nvmc.cli.work import work_lines
from nvmc.compiled.artifact import Compiled, Manifest
from nvmc.hardware.devices import Target
from nvmc.hardware.devices.adc.kinds import adc_text
from nvmc.hardware.devices.settings import own_texts
from nvmc.passes.graph.tile_graph import critical_path, read_tile_graph
from nvmc.tables import Table as TextTable
from nvmc.tables import render

__all__ = ["print_compiled"]


def print_compiled(compiled: Compiled, chosen: bool) -> None:
    """Everything, for people.

    Args:
        compiled: The compiled network.
        chosen: Whether a device, target or design was named, and not the default taken.
    """
    console, manifest = out(), compiled.manifest
    console.print(_layer_table(manifest))
    if (differing := _differing_table(manifest)) is not None:
        console.print()
        console.print(differing, end="", soft_wrap=True)
    target = manifest.target
    bits = f"{target.weight_bits}-bit weights" if target.weight_bits else "analog weights"
    own = [f"{part.glob}={part.weight_bits}" for part in target.layers if part.bits_alone]
    bits += f" (but {','.join(own)})" if own else ""
    cells = f" in {target.cell_bits}-bit cells" if target.weight_bits else ""
    half = " (half of the cells stay unformed)" if target.layout.signed else ""
    console.print(
        f"{target.device.name}{'' if chosen else ' (default)'}: {bits}{cells}, "
        f"{target.encoding}{half}, tiles of {target.rows}x{target.cols}"
    )
    for line in _split_lines(manifest):
        console.print(line)
    for line in rounding_lines(manifest):
        console.print(line)
    if not target.ideal:
        console.print(periphery_text(target.periphery.model_dump(mode="json")))
    for told in filter(None, (off_current_text(target), on_off_text(target))):
        console.print(told)
    for text, arrays in sorted(Counter(a.inputs for a in manifest.arrays if a.inputs).items()):
        console.print(f"The network's own input {text} at {count(arrays, 'array')}")
    for text in own_texts(target.layers):
        console.print(f"Layers {text}")
    if manifest.calibration is not None:
        told = str(manifest.calibration)
        console.print(f"{told[0].upper()}{told[1:]}")
    series = len(critical_path(read_tile_graph(compiled.read_tiles())))
    tiles = sum(array.tiles for array in manifest.arrays)
    console.print(
        f"{count(len(manifest.layers), 'layer')} on {count(tiles, 'tile')}; the "
        f"critical path is {count(series, 'layer')} in series"
    )
    for line in [] if manifest.work is None else work_lines(manifest.work):
        console.print(line)
    reasons = Counter((entry.op, entry.reason) for entry in manifest.digital)
    if reasons:
        console.print(_digital_table(reasons))
    for text in manifest.assumptions:
        console.print(f"Assumed: {text}")
    console.print(f"Wrote {compiled.folder}")


def _split_lines(manifest: Manifest) -> Iterator[str]:
    """How rows are shared out among tiles, where some array has more of them than a tile."""
    found: Counter[Literal["filled", "even"]] = Counter()
    for array in manifest.arrays:
        own = manifest.target.of_array(array.name)
        if array.rows > own.rows:
            found[own.periphery.row_split] += 1
    ways = {
        "filled": "fill one tile after another (--rows even spreads them evenly)",
        "even": "are spread evenly over tiles (--rows even)",
    }
    for way, arrays in found.items():
        has = "has" if arrays == 1 else "have"
        yield (
            f"{count(arrays, 'array')} {has} more rows than a tile: the rows {ways[way]}, and the "
            "tiles' partial sums are added"
        )


def _layer_table(manifest: Manifest) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=True)
    arrays = manifest.arrays
    tiles, cells = sum(a.tiles for a in arrays), sum(a.cells for a in arrays)
    sizes = {a.name: manifest.target.of_array(a.name) for a in arrays}
    room = sum(a.tiles * sizes[a.name].rows * sizes[a.name].cols for a in arrays)
    ops = {
        name: layer.op.removeprefix("Crossbar")
        for layer in manifest.layers
        for name in layer.arrays
    }
    weights = sum(a.cells // a.planes for a in arrays)
    footer = ("total", "", "", f"{weights:,}", f"{tiles:,}", f"{cells:,}", _share(cells, room))
    for name, foot in zip(
        ("array", "op", "shape", "weights", "tiles", "cells", "used"), footer, strict=True
    ):
        right = name in ("weights", "tiles", "cells", "used")
        table.add_column(
            name,
            foot,
            justify="right" if right else "left",
            overflow="fold" if name == "array" else "ellipsis",
            no_wrap=name != "array",
        )
    bits = bool(manifest.target.layers)
    if bits:
        table.add_column("bits", justify="right", no_wrap=True)
    grids = any(a.grid for a in arrays)
    if grids:
        table.add_column("own codes", overflow="fold")
    for a in arrays:
        shape = "x".join(map(str, a.shape))
        stored = f"{a.cells // a.planes:,}"
        row = [a.name, ops[a.name], shape, stored, f"{a.tiles:,}", f"{a.cells:,}"]
        row += [f"{a.utilization:.1%}", *([str(a.weight_bits or "analog")] if bits else [])]
        table.add_row(*row, *([a.grid] if grids else []))
    return table


def _differing_table(manifest: Manifest) -> str | None:
    """What arrays use, as far as that differs from one to the other; None where it does not."""
    rows = {a.name: _uses(manifest.target.of_array(a.name)) for a in manifest.arrays}
    names = [n for n in next(iter(rows.values())) if len({row[n] for row in rows.values()}) > 1]
    if not names:
        return None
    cells = [(array, *(row[name] for name in names)) for array, row in rows.items()]
    return render(TextTable(("array", *names), tuple(cells)))


def _uses(own: Target) -> dict[str, str]:
    """How cells are used, and what surrounds them, in words; bits have a column elsewhere."""
    around: dict[str, Any] = {**dict(own.periphery), "adc": adc_text(own.periphery.adc)}
    del around["ranges"]
    found = {
        "device": own.device.name,
        "cell bits": own.cell_bits if own.weight_bits else "analog",
        "encoding": own.encoding,
        "per channel": "yes" if own.per_channel else "no",
        "tile": f"{own.rows}x{own.cols}",
        **{name.replace("_", " "): value for name, value in around.items()},
    }
    return {name: "none" if value is None else str(value) for name, value in found.items()}


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _digital_table(reasons: Counter[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("digital", no_wrap=True)
    table.add_column("nodes", justify="right", no_wrap=True)
    table.add_column("why")
    for (op, reason), nodes in sorted(reasons.items()):
        table.add_row(op, str(nodes), reason)
    return table
