"""ONNX files with other nodes, attributes, types, shapes and names: compiled, then simulated."""

from __future__ import annotations

from pathlib import Path
from random import Random

import onnx

from fuzz.case import Commands, Kind
from fuzz.kinds.onnx_bytes import commands, prepare
from fuzz.networks import NETWORKS
from fuzz.protobuf import changed_message

__all__ = ["KIND"]

OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})


def make(draw: Random, valid: Path, here: Path) -> Commands:
    model = onnx.load(valid / f"{draw.choice(list(NETWORKS))}.onnx")
    match draw.randrange(6):
        case 0:
            draw.choice(model.graph.node).op_type = draw.choice(OPERATORS)
        case 1:
            del model.graph.value_info[:]
            changed_message(draw, draw.choice(model.graph.node), 1)
        case 2:
            tensor = draw.choice(model.graph.initializer)
            changed_message(draw, tensor, 1)
        case _:
            changed_message(draw, model)
    (here / "model.onnx").write_bytes(model.SerializeToString())
    return commands(draw)


KIND = Kind(prepare, make)
