"""Globs of layers that match none are mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target
from nvmc.passes.graph.mappable import layers_of

__all__ = ["check_bits", "check_skip"]


def check_skip(model: ir.Model, skip: Sequence[str]) -> None:
    """Complain where a glob names no layer, which would go to crossbars unnoticed.

    Args:
        model: In canonical form.
        skip: Globs of the names of nodes or weights.

    Raises:
        OptionError: One matches none.
    """
    layers = layers_of(model)
    for glob in skip:
        if layers and len(layers_of(model, (glob,))) == len(layers):
            names = [layer.node.name or "" for layer in layers]
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            raise OptionError(
                f"--skip {glob!r} matches no layer; its nodes are {', '.join(names[:6])}{more}, "
                "and a glob matches a whole name of a node or its weight"
            )


def check_bits(model: ir.Model, target: Target) -> None:
    """Complain where a glob of the target's layers decides on none.

    Args:
        model: In canonical form.
        target: The cells.

    Raises:
        OptionError: One matches none, or only such as an earlier glob matches.
    """
    left = [
        (layer.node.name or "", str(w.operand.name))
        for layer in layers_of(model)
        for w in layer.weights
    ]
    names = ", ".join(f"{node} ({weight})" for node, weight in left[:6])
    names += f" and {len(left) - 6} more" if len(left) > 6 else ""
    for number, part in enumerate(target.layers):
        rest = [pair for pair in left if not part.fits(*pair)]
        if len(rest) == len(left):
            more = " that the globs before it leave" if number else ""
            raise OptionError(
                f"--bits {part.glob}={part.weight_bits} matches no layer or weight{more}; the "
                f"layers (weights) are {names}"
            )
        left = rest
