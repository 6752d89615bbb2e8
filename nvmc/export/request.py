"""What every writer of a kind gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from nvmc.compiled.artifact import Compiled
from nvmc.evaluation.parameters import Setup
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target
from nvmc.passes.graph.describe import Model, set_target
from nvmc.passes.io.load_compiled import load_compiled

__all__ = ["ExportOptions", "Request", "Written"]


class ExportOptions(TypedDict, total=False):
    """What some kinds take beside a chip; `Kind.options` says which.

    Attributes:
        opset: Of standard operators, 13 or more; None for the lowest that can say the network.
    """

    opset: int | None


@dataclass(frozen=True)
class Request:
    """What is to be written.

    Attributes:
        compiled: The network.
        setup: What its chips are made with.
        index: Number of the chip; None for the ideal chip, whose cells are on target.
        seed: Its population.
        options: Those of the kind.
    """

    compiled: Compiled
    setup: Setup
    index: int | None
    seed: int = 0
    options: ExportOptions = field(default_factory=ExportOptions)

    @property
    def target(self) -> Target:
        """The cells and what surrounds them."""
        return self.setup.target

    @property
    def chip(self) -> Chip:
        """The chip whose cells are written."""
        return Chip.ideal() if self.index is None else self.setup.chip(self.seed, self.index)

    @property
    def chip_text(self) -> str:
        """What the chip is called."""
        if self.index is None:
            return "the ideal chip"
        return f"chip {self.index} of population {self.seed}"

    def model(self) -> Model:
        """The compiled network, read anew, so that a writer may change it; on `target`.

        Raises:
            ArtifactError: The folder is not what was opened.
        """
        model = load_compiled(self.compiled)
        set_target(model, self.target)
        return model


@dataclass(frozen=True)
class Written:
    """What a writer tells of its files.

    Attributes:
        lines: For people, a sentence each.
        assumptions: What the files leave out or take for granted, a sentence each.
        details: For programs, JSON values; `export.json` has them.
    """

    lines: Sequence[str] = ()
    assumptions: Sequence[str] = ()
    details: dict[str, Any] = field(default_factory=dict[str, Any])
