"""Write the files of `mlir`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nvmc.compiled.operators import DOMAIN
from nvmc.export.mlir.digital import digital
from nvmc.export.mlir.layers import Values, layer
from nvmc.export.mlir.text import Text, Value
from nvmc.export.mlir.tiles import Tiles
from nvmc.export.request import Request, Written
from nvmc.export.schedule.cells import Board
from nvmc.export.schedule.nodes import Nodes
from nvmc.export.schedule.products import Registers
from nvmc.export.schedule.write import assumptions_of
from nvmc.passes.graph.image_graph import image_graph
from nvmc.passes.program_chip import arrays_of

__all__ = ["FORMAT", "write"]

FORMAT = "nvmc.export.mlir/1"
MODEL_FILE = "model.mlir"
WEIGHTS_FILE = "weights.npz"


def write(request: Request, folder: Path) -> Written:
    """Write the module, and its large constants beside it.

    Raises:
        ModelError: The text cannot say an operator, or a size is not known.
        OptionError: It cannot say what surrounds an array.
    """
    model, chip = request.model(), request.chip
    graph = image_graph(model)
    arrays = {array.name: array for array in arrays_of(model)}
    text, board = Text(), Board(chip)
    nodes = Nodes(graph, arrays, chip, board, Registers(frozenset()))
    ends = [
        Value(f"%arg{n}", graph.shape(name), graph.types.get(name, "float32"))
        for n, name in enumerate(graph.inputs)
    ]
    values = Values(nodes, Tiles(text, board), dict(zip(graph.inputs, ends, strict=True)))
    for step in graph.steps:
        if step.domain == DOMAIN:
            layer(values, step)
        else:
            digital(values, step)
    values.tiles.release()
    results = [values.get(name) for name in graph.outputs]
    given = ", ".join(f"{value.name} : {value.text}" for value in ends)
    types = ", ".join(value.text for value in results)
    lines = [
        f'module attributes {{cim.format = "{FORMAT}"}} {{',
        f"  func.func @main({given}) -> ({types}) {{",
        *text.lines,
        f"    func.return {', '.join(value.name for value in results)} : {types}",
        "  }",
        "}",
    ]
    (folder / MODEL_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.savez(folder / WEIGHTS_FILE, **text.stored)
    opaque = sum('"cim.digital"' in line for line in text.lines)
    line = (
        f"{request.chip_text} as MLIR, {len(board.tiles)} tiles, {opaque} digital "
        f"node{'' if opaque == 1 else 's'} left as cim.digital"
    )
    return Written([line], assumptions_of(request), {"tiles": len(board.tiles), "opaque": opaque})
