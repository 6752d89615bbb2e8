"""Globs of layers that match none are mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target
from nvmc.passes.graph.mappable import layers_of

__all__ = ["check_layers", "check_shared", "check_skip"]


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


def check_layers(model: ir.Model, target: Target) -> None:
    """Complain where a glob of the target's layers decides on none, or two on one weight.

    Args:
        model: In canonical form.
        target: The cells.

    Raises:
        OptionError: One matches none, or only such as an earlier glob matches; or layers that
            share a weight are to hold it in different ways.
    """
    shared: dict[ir.Value, dict[Target, str]] = {}
    left: list[tuple[str, str]] = []
    for layer in layers_of(model) if target.layers else ():
        for weight in layer.weights:
            left.append((layer.node.name or "", str(weight.operand.name)))
            own = target.of_layer(*left[-1])
            shared.setdefault(weight.source, {}).setdefault(own, left[-1][0])
    for weight, users in shared.items():
        if len(users) > 1:
            check_shared(str(weight.name), users)
    names = ", ".join(f"{node} ({weight})" for node, weight in left[:6])
    names += f" and {len(left) - 6} more" if len(left) > 6 else ""
    for number, part in enumerate(target.layers):
        rest = [pair for pair in left if not part.fits(*pair)]
        if len(rest) == len(left):
            more = " that the globs before it leave" if number else ""
            raise OptionError(
                f"glob {part.glob!r} of the target's layers (--bits, [[layers]]) matches no layer "
                f"or weight{more}; the layers (weights) are {names}"
            )
        left = rest


def check_shared(weight: str, users: Mapping[Target, str]) -> None:
    """Complain of a weight that layers are to hold in different ways.

    Args:
        weight: Its name.
        users: The names of the layers by how each is to hold it; two or more.

    Raises:
        OptionError: In any case.
    """
    bits = {own.weight_bits or "analog": name for own, name in users.items()}
    if len(bits) > 1:
        told = " and ".join(f"{name!r} in {each}" for each, name in bits.items())
        what = f"numbers of bits ({told})"
    else:
        what = f"ways ({' and '.join(map(repr, users.values()))})"
    raise OptionError(
        f"weight {weight!r} is shared by layers that are to hold it in different {what}; give "
        "them the same, by a glob of the weight's name"
    )
