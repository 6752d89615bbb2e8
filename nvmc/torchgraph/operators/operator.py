"""What the table of operators holds, and what a running graph tells its operators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nvmc.errors import TrainingError

__all__ = ["Context", "Operator", "Results"]

Results = Tensor | tuple[Tensor | None, ...]
"""What an operator gives: its one output, or its outputs in order."""


@dataclass(frozen=True)
class Context:
    """One run of a graph, as told to the operators that ask for it.

    Attributes:
        training: Whether the graph is in training mode.
        generator: Where random numbers come from.
        device: Where the graph's tensors are.
    """

    training: bool
    generator: torch.Generator | None
    device: torch.device

    def draws(self, seed: float | None = None) -> torch.Generator:
        """The generator to draw from; at inference without one, a new one seeded like the node.

        Args:
            seed: The node's own seed.

        Raises:
            TrainingError: The graph is in training mode and no generator was given.
        """
        if self.generator is not None:
            return self.generator
        if self.training:
            raise TrainingError(
                "the network draws random numbers in training mode; give its call a generator"
            )
        generator = torch.Generator()
        generator.manual_seed(hash(float(seed or 0)) & 0x7FFFFFFF)
        return generator

    def uniform(self, shape: tuple[int, ...], seed: float | None = None) -> Tensor:
        """Float32 numbers in [0, 1) on the graph's device."""
        generator = self.draws(seed)
        numbers = torch.rand(shape, generator=generator, device=generator.device)
        return numbers.to(self.device)

    def normal(self, shape: tuple[int, ...], seed: float | None = None) -> Tensor:
        """Float32 standard normal numbers on the graph's device."""
        generator = self.draws(seed)
        numbers = torch.randn(shape, generator=generator, device=generator.device)
        return numbers.to(self.device)


@dataclass(frozen=True)
class Operator:
    """One ONNX operator in torch.

    The function's positional parameters are the operator's inputs in order, those left out being
    None; its keywords are the attributes by their ONNX names. It may further ask for the keywords
    `opset` (the version of the standard operators), `outputs` (how many outputs the node has),
    `carried` (whether all that read its codes only move or dequantise them) and `context` (a
    `Context`).

    Attributes:
        function: The computation.
        weights: Inputs whose constants are trained, whatever their size.
        states: Inputs whose constants are trained unless they are zero.
        terms: Inputs whose constants are trained where they have more than one element.
        through: Inputs that a weight may pass on its way to such a position.
        fixed: Inputs whose constants are never trained, not even for another use's sake.
        statistics: Inputs that are running statistics, which the function updates in place.
        host: Inputs that arrive as Python numbers, nested lists of them where they have axes.
        near: Inputs that arrive as tensors on the host.
        scalars: Inputs that arrive as a Python number where they are constants without axes.
        random: Whether it draws, so that it gives something new in every run.
        check: Says from the attributes what of them is not supported, or None.
    """

    function: Callable[..., Results]
    weights: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    through: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    random: bool = False
    check: Callable[[Mapping[str, Any]], str | None] | None = None

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the positional parameters; a variadic one stands last, with a star."""
        names: list[str] = []
        for parameter in inspect.signature(self.function).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                names.append(f"*{parameter.name}")
            elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                names.append(parameter.name)
        return tuple(names)

    @cached_property
    def keywords(self) -> frozenset[str]:
        """Names of the keyword-only parameters."""
        parameters = inspect.signature(self.function).parameters.values()
        return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def name_of(self, position: int) -> str:
        """The parameter that input `position` goes to; empty where there are too many inputs."""
        names = self.inputs
        if position < len(names) and not names[position].startswith("*"):
            return names[position]
        return names[-1].removeprefix("*") if names and names[-1].startswith("*") else ""
