"""A schedule's share in the costs of a network: copies, hops and times instead of assumed ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nvmc.cost.components.router import Router
from nvmc.cost.counts import Counts
from nvmc.cost.hardware import Hardware
from nvmc.cost.schedule import Schedule, Slot

__all__ = ["copies_of", "hop_energy_j", "nodes_of_layer", "placed", "told_by"]


def copies_of(schedule: Schedule) -> Mapping[str, int]:
    """Copies of each array; one of those that only hold parameters, which it does not place."""
    return defaultdict(lambda: 1, {one.array: len(one.cores) for one in schedule.arrays})


def nodes_of_layer(schedule: Schedule, name: str | None) -> list[Slot]:
    """The node of a layer by name; of None, all digital nodes."""
    if name is None:
        return [node for node in schedule.nodes if node.kind == "digital"]
    return [node for node in schedule.layers if node.name == name]


def placed(counts: Counts, nodes: Sequence[Slot], tiles: int | None) -> Counts:
    """Events with a schedule's copies and hops.

    Args:
        counts: Of a layer with one copy, or of all digital nodes.
        nodes: These in the schedule.
        tiles: Of what digital nodes work on; None of a layer.
    """
    copies = nodes[0].copies if nodes and tiles is None else 1
    return replace(
        counts,
        tiles=counts.tiles * copies if tiles is None else tiles,
        readers=counts.readers * copies,
        moved_bits=sum(node.bit_hops for node in nodes),
    )


def hop_energy_j(hardware: Hardware, bit_hops: float, chiplet_bits: float) -> float:
    """Joules of routers, and of links between chiplets."""
    router, mesh = hardware.components.get("router"), hardware.mesh
    joules = bit_hops * router.energy.si if isinstance(router, Router) else 0.0
    if mesh is not None and mesh.chiplet_energy is not None:
        joules += chiplet_bits * mesh.chiplet_energy.si
    return hardware.calibration.energy * joules


def told_by(schedule: Schedule) -> list[str]:
    """What a schedule assumes, for the list of a cost's assumptions."""
    mode = "rows pipelined" if schedule.mode == "pipeline" else "layer by layer"
    return [
        f"Copies, hops and times are the schedule's ({mode}, {schedule.tiles_used:,} tiles), which "
        "takes drives that are not negative; router has the chiplets' links, too.",
        "Area is of the tiles it uses; a vector is read from the buffers for each product.",
        *schedule.assumptions,
    ]
