"""What a kind of input is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

__all__ = ["Commands", "Kind"]

Commands = list[list[str]]
"""Words behind `nvmc`, of commands that are run one after the other until one is refused.

They run in the folder of the input. Files that they may write have names that begin with `out`, or
with `kept` where a command that is refused may have written there too; everything else has to stay
as it is.
"""


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        prepare: Makes valid files in a folder, once.
        make: Writes one mutated input into a folder: takes the random numbers, the folder of
            `prepare` and the folder of the input, where the commands run.
    """

    prepare: Callable[[Path], None]
    make: Callable[[Random, Path, Path], Commands]
