"""Several chips in one model: what the pass that writes it and the engine that runs it agree on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Stack", "name_in_stack"]


@dataclass(frozen=True)
class Stack:
    """A network several times over, for as many chips.

    Attributes:
        model: Serialised ONNX without the crossbar weights. `name_in_stack` says what the outputs
            and arrays of each chip are called.
        count: Chips.
        joined: Arrays that are one initializer for all chips, of the array's own name, with the
            chips' weights one after the other along axis 0.
    """

    model: bytes
    count: int
    joined: frozenset[str]


def name_in_stack(name: str, chip: int) -> str:
    """What `name` is called in the copy for chip `chip` of a stack."""
    return f"chip{chip}/{name}"
