"""ONNX files with other nodes, attributes, types, shapes and names: compiled, then simulated."""

from __future__ import annotations

from pathlib import Path
from random import Random

import onnx

from fuzz.case import Commands, Kind
from fuzz.kinds.onnx_bytes import commands, prepare
from fuzz.mutations import changed_bytes
from fuzz.networks import NETWORKS
from fuzz.protobuf import changed_message

__all__ = ["KIND"]

SCHEMAS = onnx.defs.get_all_schemas()
STANDARD = sorted({schema.name for schema in SCHEMAS if not schema.domain})
OTHERS = sorted({schema.name for schema in SCHEMAS if schema.domain})


def make(draw: Random, valid: Path, here: Path) -> Commands:
    model = onnx.load(valid / f"{draw.choice(list(NETWORKS))}.onnx")
    match draw.randrange(12):
        case 0:
            operators = OTHERS if draw.random() < 0.1 else STANDARD
            draw.choice(model.graph.node).op_type = draw.choice(operators)
        case 1:
            del model.graph.value_info[:]
            changed_message(draw, draw.choice(model.graph.node), 1)
        case 2:
            tensor = draw.choice(model.graph.initializer)
            changed_message(draw, tensor, 1)
        case 3 | 4 | 5:
            tensor = draw.choice(model.graph.initializer)
            tensor.raw_data = changed_bytes(draw, tensor.raw_data, kept=True)
        case 6 | 7:
            attributes = [one for node in model.graph.node for one in node.attribute]
            if attributes:
                changed_message(draw, draw.choice(attributes), 1)
        case _:
            changed_message(draw, model)
    (here / "model.onnx").write_bytes(model.SerializeToString())
    return commands(draw)


KIND = Kind(prepare, make)
