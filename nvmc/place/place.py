"""`nvmc place`: copies, cores, traffic and times of a compiled network on some hardware."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from nvmc import __version__
from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.cost.hardware import Hardware, load_hardware
from nvmc.cost.mesh import Mesh
from nvmc.cost.placed import hop_energy_j
from nvmc.cost.schedule import Copies, Input, Schedule, Slot, hardware_sha256
from nvmc.errors import HardwareError, OptionError
from nvmc.hardware.options import problem
from nvmc.place.buffers import Buffers, buffers_of
from nvmc.place.copies import least_bottleneck, least_sum
from nvmc.place.plan import CURVES, Plan, in_order, lay_out
from nvmc.place.timing import Timing, timing_of
from nvmc.place.traffic import Traffic, traffic_of
from nvmc.place.work import Work

__all__ = ["place_network"]


@checked
def place_network(
    compiled: Compiled,
    hardware: Hardware | str | Path,
    *,
    tiles: int | None = None,
    pipeline: bool = False,
    chiplets: tuple[int, int] | None = None,
) -> Schedule:
    """Copy layers that wait, lay tiles onto the cores of a mesh, and say when each works.

    With `pipeline`, copies make the slowest layer as fast as the tiles allow (exactly); without,
    the sum of all layers' times as small as can be found, with a lower bound beside it. Nothing
    here is random.

    Args:
        compiled: From `open_compiled` or `compile_model`, with a DAC and an ADC.
        hardware: Hardware with a mesh, its name or its file.
        tiles: Crossbars that may be used; by default those of one copy of every layer.
        pipeline: Whether nodes begin with the first rows of their inputs and images follow one
            another, or nodes wait for all of their inputs and images for one another.
        chiplets: Columns and rows of chiplets, instead of the hardware's.

    Raises:
        HardwareError: There is no such hardware, or it has no mesh.
        OptionError: The tiles do not fit, or buffers are too small, or an option is wrong.
        ModelError: No layer is on crossbars, or one does not say how many vectors it has.
        ArtifactError: The folder is wrong.
    """
    chosen = load_hardware(hardware)
    mesh = _mesh(chosen, chiplets)
    work = Work.of(compiled, chosen)
    once = sum(unit.tiles for unit in work.units)
    allowed = once if tiles is None else tiles
    _check_tiles(once, allowed, mesh, tiles is not None)
    bounds = None
    if pipeline:
        copies = least_bottleneck(work.units, allowed)
    else:
        copies, bound = least_sum(work.units, allowed)
        found = sum(unit.seconds(n) for unit, n in zip(work.units, copies, strict=True))
        bounds = (found, min(bound, found))
    plan, traffic = _best(work, copies, mesh)
    timing = timing_of(work, copies, plan, traffic, mesh, pipeline)
    buffers = buffers_of(work, plan, timing, pipeline)
    _check_buffers(buffers, mesh, pipeline)
    mode: Literal["layers", "pipeline"] = "pipeline" if pipeline else "layers"
    return _schedule(work, mesh, mode, allowed, copies, bounds, plan, traffic, timing, buffers)


def _schedule(
    work: Work,
    mesh: Mesh,
    mode: Literal["layers", "pipeline"],
    allowed: int,
    copies: Sequence[int],
    bounds: tuple[float, float] | None,
    plan: Plan,
    traffic: Traffic,
    timing: Timing,
    buffers: Buffers,
) -> Schedule:
    """What was found, as it is written."""
    chosen = work.hardware
    nodes = _nodes(work, copies, traffic, timing, buffers)
    hops, crossings = sum(n.bit_hops for n in nodes), sum(n.chiplet_bits for n in nodes)
    return Schedule(
        nvmc=__version__,
        network=str(work.compiled.folder),
        network_sha256=work.compiled.network_sha256,
        hardware=chosen.name,
        hardware_sha256=hardware_sha256(chosen),
        columns=mesh.width,
        rows=mesh.height,
        chiplet_columns=mesh.chiplet_columns,
        chiplet_rows=mesh.chiplet_rows,
        tiles_per_core=mesh.tiles,
        buffer_bits=mesh.buffer.si,
        mode=mode,
        tiles=allowed,
        tiles_used=sum(plan.filled),
        tiles_once=sum(unit.tiles for unit in work.units),
        curve=plan.name,
        latency_s=timing.latency,
        interval_s=timing.interval,
        latency_bound_s=bounds,
        interval_bound_by=timing.bound_by,
        critical_path=[work.tasks[index].name for index in timing.path],
        bit_hops=hops,
        chiplet_bits=crossings,
        busiest_link_s=traffic.busiest_s,
        hop_energy_j=hop_energy_j(chosen, hops, crossings),
        buffer_peak_bits=buffers.whole,
        nodes=nodes,
        arrays=_arrays(work, plan),
        core_tiles=list(plan.filled),
        core_buffer_bits=list(buffers.cores),
        assumptions=_assumptions(work, mesh, buffers),
    )


def _mesh(hardware: Hardware, chiplets: tuple[int, int] | None) -> Mesh:
    if hardware.mesh is None:
        raise HardwareError(
            f"hardware {hardware.name!r} has no section [mesh], so nothing can be placed on it; "
            "add one (docs/place.md), or take isaac-32nm"
        )
    if chiplets is None:
        return hardware.mesh
    columns, rows = chiplets
    changed = hardware.mesh.model_dump() | {"chiplet_columns": columns, "chiplet_rows": rows}
    try:
        return Mesh.model_validate(changed)
    except ValidationError as error:
        raise OptionError(f"chiplets are {columns}x{rows}: {problem(error, Mesh)}") from error


def _check_tiles(once: int, allowed: int, mesh: Mesh, asked: bool) -> None:
    """Complain about tiles that do not hold the network, or do not fit onto the mesh."""
    there = (
        f"{mesh.width} x {mesh.height} cores of {mesh.tiles} tiles hold {mesh.capacity:,}"
        f"{f' on {mesh.chiplets} chiplets' if mesh.chiplets > 1 else ''}"
    )
    if allowed < once:
        raise OptionError(
            f"tiles are {allowed:,}, but one copy of every layer takes {once:,}; give --tiles "
            f"{once} or more"
        )
    if allowed > mesh.capacity:
        what = f"tiles are {allowed:,}" if asked else f"the network takes {once:,} tiles"
        raise OptionError(f"{what}, but {there}; give fewer, or more --chiplets COLUMNSxROWS")


def _check_buffers(buffers: Buffers, mesh: Mesh, pipeline: bool) -> None:
    """Complain where all buffers together are too small."""
    room = mesh.cores * mesh.buffer.si
    if buffers.whole > room:
        advice = "more --chiplets" if pipeline else "--pipeline, or more --chiplets"
        raise OptionError(
            f"up to {buffers.whole / 8192:,.0f} KiB of activations wait at once, but the buffers "
            f"of {mesh.cores} cores hold {room / 8192:,.0f} KiB; give {advice} COLUMNSxROWS, or "
            "hardware with larger buffers"
        )


def _best(work: Work, copies: Sequence[int], mesh: Mesh) -> tuple[Plan, Traffic]:
    """The curve with the fewest bit-hops, chiplets' borders first; of equals, the first."""
    found: list[tuple[float, float, int, Plan, Traffic]] = []
    listed = in_order(work)
    for number, name in enumerate(CURVES):
        plan = lay_out(work, copies, mesh, name, listed)
        traffic = traffic_of(work, plan, mesh)
        flows = [*traffic.inputs.values(), *traffic.sums.values()]
        crossed, hops = sum(f.crossings for f in flows), sum(f.bit_hops for f in flows)
        found.append((crossed, hops, number, plan, traffic))
    return min(found, key=lambda one: one[:3])[3:]


def _nodes(
    work: Work, copies: Sequence[int], traffic: Traffic, timing: Timing, buffers: Buffers
) -> list[Slot]:
    found: list[Slot] = []
    for index, task in enumerate(work.tasks):
        if not index:
            continue
        slot, unit = timing.slots[index], work.unit_of[task.host]
        flows = traffic.of(index, task)
        layer = task.kind == "layer"
        tiles = sum(work.entries[name].tiles for name in task.arrays)
        inputs = [
            Input(
                source=work.tasks[given.source].name,
                bits=flows[place].bits,
                bit_hops=flows[place].bit_hops,
                chiplet_bits=flows[place].crossings,
                delay_s=timing.delays[index, place],
            )
            for place, given in enumerate(task.inputs)
        ]
        found.append(
            Slot(
                name=task.name,
                kind="layer" if layer else "digital",
                op=task.op.removeprefix("Crossbar"),
                layer=work.tasks[task.host].name,
                arrays=list(task.arrays),
                copies=copies[unit] if layer else 1,
                tiles=tiles * copies[unit],
                vectors=task.vectors,
                rounds=slot.rounds,
                start_s=slot.start,
                step_s=slot.step,
                round_s=slot.work,
                inputs=inputs,
                bit_hops=sum(flow.bit_hops for flow in flows),
                chiplet_bits=sum(flow.crossings for flow in flows),
                buffer_bits=buffers.layers.get(index, 0.0),
            )
        )
    return found


def _arrays(work: Work, plan: Plan) -> list[Copies]:
    found: list[Copies] = []
    for unit, arrays in enumerate(work.arrays):
        for array in arrays:
            listed: list[list[int]] = []
            for copy in plan.copies[unit]:
                cores = [0] * work.entries[array].tiles
                for chunk in copy.chunks[array]:
                    for number in chunk.numbers:
                        cores[number] = chunk.core
                listed.append(cores)
            homes = [copy.home for copy in plan.copies[unit]]
            found.append(Copies(array=array, cores=listed, homes=homes))
    return found


def _way(mesh: Mesh) -> str:
    if mesh.multicast:
        return "A link carries a value once for all cores behind it (multicast)"
    return "Every core that needs a value is sent it on its own"


def _assumptions(work: Work, mesh: Mesh, buffers: Buffers) -> list[str]:
    told = [
        "Vectors go to the copies of a layer in turn; a copy takes what its vectors read, at most "
        "all inputs.",
        f"{_way(mesh)}, along rows first; flows hinder one another only through the busiest link.",
        "Inputs wait on the cores of the first layer; bringing them there, and results out, is not "
        "counted.",
    ]
    full = [core for core, bits in enumerate(buffers.cores) if bits > mesh.buffer.si]
    if full:
        over = sum(buffers.cores[core] - mesh.buffer.si for core in full)
        told.append(
            f"{len(full)} cores' buffers are too small for their own layers: up to "
            f"{over / 8192:,.0f} KiB wait in other cores' buffers, whose hops are not counted."
        )
    if work.uncounted:
        names = ", ".join(work.uncounted[:3])
        more = f" and {len(work.uncounted) - 3} more" if len(work.uncounted) > 3 else ""
        told.append(f"Digital nodes of unknown size take no time: {names}{more}.")
    if any(len(members) > 1 for members in work.members):
        told.append("Layers that share weights take turns, and are copied together.")
    return told
