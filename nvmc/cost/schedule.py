"""A schedule: where copies of layers lie and when they work, as `nvmc place` writes it.

`nvmc.place` makes it; `nvmc.cost` counts with it. Its JSON Schema is published in
`schema/schedule.schema.json`, and what its numbers mean in docs/place.md.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from nvmc.compiled.artifact import Compiled, replacing_file
from nvmc.cost.hardware import Hardware
from nvmc.errors import ArtifactError, OptionError
from nvmc.hardware.options import CheckedModel, OneLine

__all__ = [
    "FORMAT",
    "Copies",
    "Input",
    "Schedule",
    "Slot",
    "check_schedule",
    "hardware_sha256",
    "read_schedule",
    "schedule_schema",
    "write_schedule",
]

FORMAT = "nvmc.schedule/1"


class _Row(CheckedModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """A part of the file."""


class Input(_Row, frozen=True):
    """What a layer or a digital node takes from another one, for one image.

    Attributes:
        source: Name of the node; `input` for the network's inputs.
        bits: All of them, from every home to every core.
        bit_hops: Sum over these bits of the routers that they pass.
        chiplet_bits: Sum over them of the borders of chiplets that they cross.
        delay_s: Seconds from a round of the source to when a round here can use it.
    """

    source: str
    bits: NonNegativeFloat
    bit_hops: NonNegativeFloat
    chiplet_bits: NonNegativeFloat
    delay_s: NonNegativeFloat


class Slot(_Row, frozen=True):
    """When one node works on the first image, and what it moves.

    Round r, from 0, begins at start_s + r step_s and takes round_s; image k does so k interval_s
    later.

    Attributes:
        name: Of the node.
        kind: `layer` or `digital`.
        op: Its operator.
        layer: The layer on whose cores it works: of a layer, itself.
        arrays: Its arrays; none of a digital node.
        copies: Copies of these arrays.
        tiles: Crossbars of all copies.
        vectors: Vectors of one image; of a digital node, rows that it works by.
        rounds: Rounds of one image: in each, every copy takes a vector.
        start_s, step_s, round_s: Seconds.
        inputs: What it takes.
        bit_hops: Bits times routers of all its inputs and partial sums.
        chiplet_bits: Bits times borders of chiplets, likewise.
        buffer_bits: Of a layer: the most that waits on its cores at any time.
    """

    name: str
    kind: Literal["layer", "digital"]
    op: str
    layer: str
    arrays: list[str]
    copies: PositiveInt
    tiles: NonNegativeInt
    vectors: PositiveInt
    rounds: PositiveInt
    start_s: NonNegativeFloat
    step_s: NonNegativeFloat
    round_s: NonNegativeFloat
    inputs: list[Input]
    bit_hops: NonNegativeFloat
    chiplet_bits: NonNegativeFloat
    buffer_bits: NonNegativeFloat

    @property
    def seconds(self) -> float:
        """In which it works, for one image."""
        return self.rounds * self.round_s

    @property
    def end_s(self) -> float:
        """When the first image's last round is over."""
        return self.start_s + (self.rounds - 1) * self.step_s + self.round_s


class Copies(_Row, frozen=True):
    """Where the copies of one array lie.

    Attributes:
        array: Its name.
        cores: For each copy, the core of every tile, by the tile's number in tiles.json.
        homes: For each copy, the core where its sums are completed.
    """

    array: str
    cores: list[list[NonNegativeInt]]
    homes: list[NonNegativeInt]


class Schedule(OneLine, _Row, frozen=True):
    """Everything that `schedule.json` holds; times in seconds, cores numbered row by row.

    Attributes:
        format: Of the file.
        nvmc: Version that wrote it.
        network: The folder that was placed.
        network_sha256: Which network it was.
        hardware: Name of the hardware.
        hardware_sha256: Which hardware it was.
        columns, rows: Cores of all chiplets, side by side and below each other.
        chiplet_columns, chiplet_rows: Chiplets, likewise.
        tiles_per_core: Crossbars of a core.
        buffer_bits: Memory of a core.
        mode: `layers` (a node begins when all of its inputs are there, images one by one) or
            `pipeline` (it begins with their first rows, and images follow one another).
        tiles: Crossbars that it was allowed to use.
        tiles_used: Those that it uses.
        tiles_once: Those of one copy of everything.
        curve: In which order cores were filled.
        latency_s, interval_s: Seconds of one image, and from one image to the next.
        latency_bound_s: With mode `layers`: the sum of the layers' times, and below which it cannot
            be with so many tiles, whatever the copies. Null with mode `pipeline`.
        interval_bound_by: What decides the interval.
        critical_path: Nodes that decide the latency, in their order.
        bit_hops, chiplet_bits: Of one image.
        busiest_link_s: Seconds that the busiest link works for one image.
        hop_energy_j: Joules of routers and of links between chiplets, for one image.
        buffer_peak_bits: The most that waits on the chip at any time.
        nodes: All layers and digital nodes, each behind what it takes data from.
        arrays: Where all tiles lie.
        core_tiles, core_buffer_bits: Tiles on each core, and the most that waits on it.
        assumptions: A sentence each.
    """

    format: Literal["nvmc.schedule/1"] = FORMAT
    nvmc: str
    network: str
    network_sha256: str
    hardware: str
    hardware_sha256: str
    columns: PositiveInt
    rows: PositiveInt
    chiplet_columns: PositiveInt
    chiplet_rows: PositiveInt
    tiles_per_core: PositiveInt
    buffer_bits: NonNegativeFloat
    mode: Literal["layers", "pipeline"]
    tiles: PositiveInt
    tiles_used: PositiveInt
    tiles_once: PositiveInt
    curve: str
    latency_s: NonNegativeFloat
    interval_s: NonNegativeFloat
    latency_bound_s: tuple[NonNegativeFloat, NonNegativeFloat] | None
    interval_bound_by: str
    critical_path: list[str]
    bit_hops: NonNegativeFloat
    chiplet_bits: NonNegativeFloat
    busiest_link_s: NonNegativeFloat
    hop_energy_j: NonNegativeFloat
    buffer_peak_bits: NonNegativeFloat
    nodes: list[Slot]
    arrays: list[Copies]
    core_tiles: list[NonNegativeInt]
    core_buffer_bits: list[NonNegativeFloat]
    assumptions: list[str]

    def headline(self) -> str:
        """What is placed where, and the times of an image."""
        cores = self.columns * self.rows
        return (
            f"of {self.network} on {self.hardware}, {self.mode}: {self.tiles_used:,} tiles on "
            f"{cores:,} cores, latency {self.latency_s:.3g} s, interval {self.interval_s:.3g} s"
        )

    @property
    def layers(self) -> list[Slot]:
        """Nodes on crossbars."""
        return [node for node in self.nodes if node.kind == "layer"]

    @property
    def rounds(self) -> int:
        """Rounds of the layer that has most."""
        return max(node.rounds for node in self.layers)

    @property
    def busy_share(self) -> float:
        """Share of the time that the tiles it uses work, images at the interval."""
        busy = sum(node.tiles * node.seconds for node in self.layers)
        return busy / (self.tiles_used * self.interval_s) if self.interval_s else 0.0


def schedule_schema() -> dict[str, Any]:
    """The JSON Schema of `schedule.json`; `nvmc/cost/schema/schedule.schema.json` holds it."""
    schema = Schedule.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": FORMAT, **schema}


def hardware_sha256(hardware: Hardware) -> str:
    """Which hardware it is, by all its constants but the number of chiplets."""
    content = hardware.model_dump(mode="json")
    if content["mesh"] is not None:
        content["mesh"] |= {"chiplet_columns": 1, "chiplet_rows": 1}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_schedule(schedule: Schedule, path: Path) -> None:
    """Write it as JSON, whole or not at all.

    Raises:
        ArtifactError: `path` cannot be written.
    """
    with replacing_file(path) as file:
        file.write_text(schedule.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_schedule(path: Path) -> Schedule:
    """Read what `write_schedule` wrote.

    Raises:
        ArtifactError: There is no such file, or it is no schedule of this format.
    """
    try:
        read = path.read_bytes()
        content: Any = json.loads(read)
        found = content.get("format") if isinstance(content, dict) else None  # pyright: ignore
        if found == FORMAT:
            return Schedule.model_validate_json(read)
    except OSError as error:
        raise ArtifactError(
            f"cannot read schedule {str(path)!r}: {error.strerror or error}; give a file that "
            "`nvmc place` wrote"
        ) from error
    except (ValueError, RecursionError) as error:
        detail = str(error).splitlines()[0]
        raise ArtifactError(
            f"schedule {str(path)!r} is damaged ({detail}); make it again with `nvmc place`"
        ) from error
    raise ArtifactError(
        f"{str(path)!r} has format {found!r}; expected {FORMAT!r}, as `nvmc place` writes it"
    )


def check_schedule(schedule: Schedule, compiled: Compiled, hardware: Hardware) -> None:
    """Make sure that a schedule is of this network and this hardware.

    Raises:
        OptionError: It is not.
    """
    if schedule.network_sha256 != compiled.network_sha256:
        raise OptionError(
            f"the schedule is of another network, {schedule.network!r} as it was when it was "
            f"placed; place {str(compiled.folder)!r} again"
        )
    if schedule.hardware == hardware.name and schedule.hardware_sha256 != hardware_sha256(hardware):
        raise OptionError(
            f"hardware {hardware.name!r} is not what it was when the network was placed; place it "
            "again"
        )
    if schedule.hardware != hardware.name:
        raise OptionError(
            f"the schedule is for hardware {schedule.hardware!r}, not {hardware.name!r}; give that "
            "to --hardware, or place the network again"
        )
