"""Write the files of `schedule`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import nvmc
from nvmc.compiled.operators import DOMAIN
from nvmc.cost.schedule import read_schedule
from nvmc.errors import OptionError
from nvmc.export.request import Request, Written
from nvmc.export.schedule.cells import Board
from nvmc.export.schedule.format import (
    Buffer,
    Digital,
    Instruction,
    Program,
    Write,
    program_schema,
)
from nvmc.export.schedule.layers import layer
from nvmc.export.schedule.nodes import Nodes
from nvmc.export.schedule.products import Registers
from nvmc.hardware.devices import Target
from nvmc.passes.graph.image_graph import ImageGraph, Step, image_graph
from nvmc.passes.program_chip import arrays_of
from nvmc.runtime.saving import save_checked

__all__ = ["assumptions_of", "write"]

PROGRAM_FILE = "schedule.json"
SCHEMA_FILE = "schedule.schema.json"
GRAPH_FILE = "graph.onnx"
CELLS_FILE = "tiles.npz"


def write(request: Request, folder: Path) -> Written:
    """Write the instructions, their schema, the tiles' codes and the graph of digital nodes.

    Raises:
        ModelError: The format cannot say an operator, or a size is not known.
        OptionError: It cannot say what surrounds an array; or the placement is of another network.
        ArtifactError: The placement cannot be read.
    """
    model, chip = request.model(), request.chip
    graph = image_graph(model)
    arrays = {array.name: array for array in arrays_of(model)}
    board, registers = Board(chip, _cores(request)), Registers(frozenset(_names(graph)))
    nodes = Nodes(graph, arrays, chip, board, registers)
    stream: list[Instruction] = []
    for step in graph.steps:
        stream += layer(nodes, step) if step.domain == DOMAIN else [_digital(step)]
    program = Program(
        nvmc=nvmc.__version__,
        graph=GRAPH_FILE,
        cells=CELLS_FILE,
        inputs=graph.inputs,
        outputs=graph.outputs,
        tiles=tuple(board.tiles),
        converters=tuple(registers.converters),
        buffers=tuple(_buffers(graph, registers)),
        setup=tuple(Write(tile=index) for index in range(len(board.tiles))),
        program=tuple(stream),
    )
    text = program.model_dump_json(by_alias=True, exclude_none=True)
    (folder / PROGRAM_FILE).write_text(text + "\n", encoding="utf-8")
    schema = json.dumps(program_schema(), indent=1)
    (folder / SCHEMA_FILE).write_text(schema + "\n", encoding="utf-8")
    np.savez(folder / CELLS_FILE, **board.stored, **registers.tables, **registers.stored)
    save_checked(model, folder / GRAPH_FILE, request.compiled.model_path)
    line = f"a schedule of {request.chip_text}, {len(board.tiles)} tiles"
    order = "instructions stand in an order that is right; nothing says which run side by side"
    return Written([line], [order, *assumptions_of(request)], {"tiles": len(board.tiles)})


def _cores(request: Request) -> dict[str, list[list[int]]] | None:
    """Where a placement puts the tiles of each array, copy by copy."""
    path = request.options.get("placement")
    if path is None:
        return None
    placed = read_schedule(Path(path))
    if placed.network_sha256 != request.compiled.network_sha256:
        raise OptionError(
            f"placement {str(path)!r} is of another network, {placed.network!r} as it was when it "
            f"was placed; place {str(request.compiled.folder)!r} again"
        )
    return {entry.array: entry.cores for entry in placed.arrays}


def _digital(step: Step) -> Digital:
    kind = f"{step.domain}:{step.op}" if step.domain else step.op
    source = tuple(name or "" for name in step.inputs)
    return Digital(node=step.name, type=kind, source=source, to=step.outputs)


def _names(graph: ImageGraph) -> list[str]:
    steps = [name for step in graph.steps for name in (*step.inputs, *step.outputs) if name]
    return [*graph.inputs, *graph.outputs, *graph.constants, *steps]


def _buffers(graph: ImageGraph, registers: Registers) -> list[Buffer]:
    """Values of the graph that instructions use, then registers, then what tiles.npz holds."""
    weights = {
        name
        for step in graph.steps
        if step.domain == DOMAIN
        for name in step.inputs
        if name is not None and name in graph.constants and name.endswith((".codes", ".scale"))
    }
    used = [name for name in dict.fromkeys(_names(graph)) if name not in weights]
    found: list[Buffer] = []
    for name in used:
        holds: Any = "graph" if name in graph.constants else "nothing"
        holds = "input" if name in graph.inputs else holds
        shape = graph.shapes.get(name)
        sizes = None if shape is None else tuple(size for size in shape if size is not None)
        known = sizes if shape is not None and len(sizes or ()) == len(shape) else None
        kind = graph.types.get(name, "float32")
        found.append(Buffer(name=name, shape=known, type=kind, holds=holds))
    for name, sizes in registers.sizes.items():
        found.append(Buffer(name=name, shape=sizes, type="float32", holds="zeros"))
    for name, values in registers.stored.items():
        found.append(Buffer(name=name, shape=values.shape, type="float32", holds="tiles"))
    return found


def assumptions_of(request: Request) -> list[str]:
    """What a replay of the file does not have and the chip has, a sentence each."""
    target = request.target
    found: list[str] = []
    own = [target.of_array(entry.name) for entry in request.compiled.manifest.arrays]
    if any(_wired(each) for each in own):
        found.append("wires are a matter of the tiles: a replay has currents without them")
    if any(each.iv is not None for each in own):
        found.append("cells are read as proportional to the drive: a replay has no law of currents")
    if request.chip.needs_circuit:
        found.append("reads of this chip are noisy: a replay has cells without that")
    if request.index is not None and any(
        each.periphery.adc.noise or each.periphery.adc_rounding != "nearest" for each in own
    ):
        found.append("conversions of this chip are random: a replay rounds to the nearest code")
    return found


def _wired(target: Target) -> bool:
    return target.periphery.wired
