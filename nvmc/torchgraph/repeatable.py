"""torch's algorithms that give the same bits every time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch

__all__ = ["repeatable"]


@contextmanager
def repeatable(*, warn_only: bool) -> Generator[None]:
    """In the block torch's algorithms repeat themselves; its settings are as before behind it.

    Args:
        warn_only: Whether an operator that cannot only warns, as some on GPUs; else it fails.
    """
    memory = cast(Any, torch.utils.deterministic)
    filling, mode = memory.fill_uninitialized_memory, torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    # Nothing reads what it has not written, and filling new tensors costs an eighth of a step.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = filling
        torch.set_deterministic_debug_mode(mode)
