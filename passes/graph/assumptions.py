"""What a pass assumed of a network: said by `nvmc compile` and in the manifest."""

from __future__ import annotations

import json

import onnx_ir as ir

__all__ = ["assume", "assumptions_of"]

_KEY = "nvmc.assumptions"


def assume(model: ir.Model, text: str) -> None:
    """Note a sentence, once."""
    said = assumptions_of(model)
    if text not in said:
        model.metadata_props[_KEY] = json.dumps([*said, text])


def assumptions_of(model: ir.Model) -> list[str]:
    """What was noted, in order."""
    return json.loads(model.metadata_props.get(_KEY, "[]"))
