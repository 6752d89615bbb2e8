"""A schedule as rows of a table."""

from __future__ import annotations

from nvmc.cost.schedule import Schedule

__all__ = ["rows_of"]


def rows_of(schedule: Schedule) -> list[dict[str, str | int | float | None]]:
    """A row for each node, in the order of the schedule."""
    return [
        {
            "network": schedule.network,
            "hardware": schedule.hardware,
            "mode": schedule.mode,
            "node": node.name,
            "kind": node.kind,
            "op": node.op,
            "layer": node.layer,
            "copies": node.copies,
            "tiles": node.tiles,
            "vectors": node.vectors,
            "rounds": node.rounds,
            "start_s": node.start_s,
            "step_s": node.step_s,
            "round_s": node.round_s,
            "end_s": node.end_s,
            "bit_hops": node.bit_hops,
            "chiplet_bits": node.chiplet_bits,
            "buffer_bits": node.buffer_bits,
        }
        for node in schedule.nodes
    ]
