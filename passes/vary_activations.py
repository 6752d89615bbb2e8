"""vary-activations: noise on what enters named nodes, such as every Sign of a binary network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import onnx_ir as ir

from nvmc.errors import ModelError
from nvmc.hardware.devices.noise import Activation, NoiseSource
from nvmc.hardware.devices.sources.base import stream_names
from nvmc.passes.graph.attributes import strings_of
from nvmc.passes.graph.layers import is_constant, label
from nvmc.passes.graph.mappable import FLOATS, Layer, layer_of, nodes_of
from nvmc.passes.graph.names import Names

__all__ = ["PLACE", "SOURCE", "VaryActivations", "activation_sources"]

SOURCE = "nvmc.noise"
"""Metadata key of a node that draws for a noise source: the name that keys its streams."""
PLACE = "nvmc.noise.place"
"""Metadata key of such a node: the node whose input has the noise."""
_SHOWN = 4


def activation_sources(sources: Sequence[NoiseSource]) -> dict[str, Activation]:
    """The sources of noise on activations among `sources`, by what keys their streams."""
    named = zip(stream_names(sources), sources, strict=True)
    return {name: source for name, source in named if isinstance(source, Activation)}


@dataclass
class VaryActivations(ir.passes.InPlacePass):
    """Let what enters named nodes vary: x + z, or x + x z, z = sigma N(0, 1) for every element.

    The noise is on the first input of a node that does not follow from constants alone, and on that
    use of the value alone: a shortcut past a Sign stays clean. Several sources at one node act one
    after the other, in their order.

    z is drawn by a RandomNormalLike of scale 1, whose metadata (`SOURCE`) say whose strength scales
    it; `feed-masks` makes an input of it, named after the node. With `marking` there is an
    Identity in its place, whose output a network in training puts the noise on.

    Source: Ahmed et al., inverted normalization, IV-A2.

    Attributes:
        sources: The device's noise sources, all of them; others than `activation` do nothing.
        marking: Whether to insert Identity nodes instead.
        found: What the last call found: the source's name, the node's, and the value that has the
            noise (with `marking`, is to have it).

    Raises:
        ModelError: A source has no place in the network, or one lies in a subgraph.
    """

    sources: Sequence[NoiseSource]
    marking: bool = False
    found: list[tuple[str, str, str]] = field(
        init=False, default_factory=list[tuple[str, str, str]]
    )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert in place; changed where there is such a source."""
        self.found = []
        asked = activation_sources(self.sources)
        places = {name: _places(model, source) for name, source in asked.items()}
        names = Names(model)
        for name, source in asked.items():
            for node, operand in places[name]:
                value = self._vary(model.graph, names, name, source, node, operand)
                self.found.append((name, label(node), str(value.name)))
        return ir.passes.PassResult(model, bool(self.found))

    def _vary(
        self,
        graph: ir.Graph,
        names: Names,
        name: str,
        source: Activation,
        node: ir.Node,
        operand: int,
    ) -> ir.Value:
        """The value with noise, which the node now reads."""
        x, new, place = node.inputs[operand], list[ir.Node](), label(node)
        assert x is not None

        def add(op: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
            called = names.fresh(f"{place}/{name}/{op}")
            made = ir.node(op, inputs, attributes, name=called)
            made.outputs[0].name, made.outputs[0].type = called, x.type
            made.outputs[0].shape = x.shape
            new.append(made)
            return made.outputs[0]

        if self.marking:
            noisy = add("Identity", [x])
        else:
            drawn = add("RandomNormalLike", [x])
            new[0].metadata_props.update({SOURCE: name, PLACE: place})
            noisy = add("Add", [x, add("Mul", [x, drawn]) if source.law != "additive" else drawn])
        graph.insert_before(node, new)
        node.replace_input_with(operand, noisy)
        return noisy


def _places(model: ir.Model, source: Activation) -> list[tuple[ir.Node, int]]:
    """The nodes that a source's noise enters, each with the operand."""
    found = [node for node in nodes_of(model) if _is_meant(node, source)]
    varying = [(node, at) for node in found for at in _varying(node)]
    asked = None if source.at is None else ";".join(source.at)
    if not varying:
        what = "Sign of an activation" if asked is None else f"node or array that at={asked} names"
        raise ModelError(
            f"noise source 'activation' finds no {what} in the network; say at which nodes with "
            f"at=GLOB (there are {_some(model)}), or leave the source out"
        )
    for glob in source.at or ():
        if not any(fnmatchcase(n, glob) for node, _ in varying for n in _names_of(node)):
            raise ModelError(
                f"noise source 'activation': {glob!r} of at matches no node or array whose input "
                f"is an activation; there are {_some(model)}"
            )
    for node, _ in varying:
        if node.graph is not model.graph:
            raise ModelError(
                f"noise source 'activation' cannot act at {label(node)!r}, which lies in a "
                "subgraph; expected places in the main graph: name others with at=GLOB"
            )
    return varying


def _is_meant(node: ir.Node, source: Activation) -> bool:
    if source.at is None:
        return node.domain in ("", "ai.onnx") and node.op_type == "Sign"
    return any(fnmatchcase(name, glob) for glob in source.at for name in _names_of(node))


def _names_of(node: ir.Node) -> Iterator[str]:
    """The node's name, and those of the arrays that its layer has."""
    yield label(node)
    yield from strings_of(node, "arrays", ()) or ()
    if not node.domain and isinstance(found := layer_of(node), Layer):
        yield from (str(weight.source.name) for weight in found.weights)


def _varying(node: ir.Node) -> list[int]:
    """The first operand that holds activations, if any."""
    for at, value in enumerate(node.inputs):
        if value is None or is_constant(value):
            continue
        return [at] if value.dtype is None or value.dtype in FLOATS else []
    return []


def _some(model: ir.Model) -> str:
    every = [label(node) for node in nodes_of(model) if _varying(node)]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return f"{', '.join(map(repr, every[:_SHOWN]))}{more}"
