"""Which nodes the provider takes, and why not the others."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from nvmc.compiled.operators import DOMAIN, OPS, Op

__all__ = ["Claim", "ClaimLog", "Node", "Value", "record_claims", "refusal"]

_logger = logging.getLogger("nvmc.provider")
_recording: ContextVar[list[Claim] | None] = ContextVar("nvmc_claims", default=None)


@dataclass(frozen=True)
class Value:
    """One input of a node.

    Attributes:
        name: Its name in the graph.
        type: NumPy's name of its element type; None for what is no tensor of a NumPy type.
        constant: Whether it is an initializer that no caller can override.
    """

    name: str
    type: str | None
    constant: bool


@dataclass(frozen=True)
class Node:
    """One node of a graph, as onnxruntime describes it.

    Attributes:
        name: Its name, which may be empty.
        op: Operator.
        domain: Domain of the operator.
        version: Version of the domain that the model imports.
        graph: Name of the graph that holds it: the main graph or a subgraph.
        place: Its number in that graph, by which nodes stand in the model.
        inputs: Its inputs, None where an optional one is left out.
        outputs: Names of its outputs, empty where an optional one is left out.
        attributes: Its attributes: int, float, str, or a list of one of them.
    """

    name: str
    op: str
    domain: str
    version: int
    graph: str
    place: int
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Node:
        """The node that the native half describes."""
        inputs = tuple(None if value is None else Value(*value) for value in fields["inputs"])
        settled: dict[str, Any] = {**fields, "inputs": inputs, "outputs": tuple(fields["outputs"])}
        return cls(**settled)

    def input(self, index: int) -> Value | None:
        """Input `index`, or None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None


@dataclass(frozen=True)
class Claim:
    """The provider's answer about one node.

    Attributes:
        node: The node.
        reason: Why it is refused; None where it is taken.
    """

    node: Node
    reason: str | None

    @property
    def accepted(self) -> bool:
        """Whether the node runs on the provider."""
        return self.reason is None

    def __str__(self) -> str:
        """One line about the node and the answer."""
        what = f"{self.node.op} node {self.node.name!r} of graph {self.node.graph!r}"
        if self.accepted:
            return f"{what} runs on crossbars"
        return f"{what} runs digitally, without noise: {self.reason}"


def refusal(node: Node, has_target: bool) -> str | None:
    """Why the provider does not take `node`, or None where it does.

    Args:
        node: The node.
        has_target: Whether the model says which cells its arrays consist of.
    """
    if node.domain != DOMAIN:
        return f"its domain is {node.domain!r}, not {DOMAIN!r}"
    op = OPS.get(node.op)
    if op is None:
        return f"{DOMAIN} has no operator {node.op!r}; it has {', '.join(OPS)}"
    if not has_target:
        return "the model has no metadata 'nvmc.target'; make the model with `nvmc compile`"
    return _bad_arrays(node, op) or _bad_inputs(node, op)


def _bad_arrays(node: Node, op: Op) -> str | None:
    arrays = node.attributes.get("arrays")
    if isinstance(arrays, list) and len(arrays) == len(op.weights):  # pyright: ignore[reportUnknownArgumentType]
        return None
    return f"attribute 'arrays' is {arrays!r}; expected {len(op.weights)} names"


def _bad_inputs(node: Node, op: Op) -> str | None:
    names = op.function_inputs
    if len(node.inputs) > len(names):
        return f"it has {len(node.inputs)} inputs; expected at most {len(names)}"
    cells = {f"{weight}{part}" for weight in op.weights for part in ("_codes", "_scale")}
    for index, name in enumerate(names):
        value = node.input(index)
        if value is not None and value.type is None:
            return f"input {name} ({value.name!r}) has a type that NumPy lacks"
        if name in cells and (value is None or not value.constant):
            shown = "left out" if value is None else f"{value.name!r}, which is computed"
            return f"input {name} is {shown}; cells are programmed once, so it must be constant"
    return None


class ClaimLog:
    """The claims of one session, each kept once although onnxruntime asks several times."""

    def __init__(self) -> None:
        self._reasons: dict[tuple[str, tuple[str, ...]], str | None] = {}

    def add(self, claim: Claim) -> None:
        """Keep `claim`, log it when new, and show it to `record_claims`."""
        key = (claim.node.graph, claim.node.outputs)
        if key in self._reasons and self._reasons[key] == claim.reason:
            return  # its inputs may have other names now: onnxruntime merges equal initializers
        self._reasons[key] = claim.reason
        _logger.log(logging.DEBUG if claim.accepted else logging.WARNING, "%s", claim)
        recording = _recording.get()
        if recording is not None:
            recording.append(claim)


@contextmanager
def record_claims() -> Generator[list[Claim]]:
    """The claims of the sessions that are made in the block, by the thread that runs it."""
    claims: list[Claim] = []
    token = _recording.set(claims)
    try:
        yield claims
    finally:
        _recording.reset(token)
