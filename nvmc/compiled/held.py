"""Which folders hold networks that this process still has in hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["free_folder", "hold"]

_held: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()


def hold(network: object, folder: Path) -> None:
    """Remember where a network lies, for as long as somebody has it."""
    _held[network] = folder.absolute()


def free_folder(name: str) -> Path:
    """`NAME.nvmc` in the working directory, or `NAME-2.nvmc` and so on: the first not in hand.

    A folder that an earlier process wrote is free; `nvmc.compile` replaces it.
    """
    taken, number = {*_held.values()}, 1
    folder = Path(f"{name}.nvmc")
    while folder.absolute() in taken:
        number += 1
        folder = Path(f"{name}-{number}.nvmc")
    return folder
