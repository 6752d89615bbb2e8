"""The accelerator that a text names; torch is only loaded for it."""

from __future__ import annotations

import importlib

from nvmc.errors import OptionError
from nvmc.evaluation.population import Executor

__all__ = ["parse_accelerator"]


def parse_accelerator(text: str, jobs: int | None = None) -> Executor:
    """What runs chips on `cuda` or `cuda:NUMBER`; `cpu` does the same more slowly.

    Args:
        text: The device, as torch names it.
        jobs: Threads that program chips; as many as there are cores by default.

    Raises:
        OptionError: torch is not installed, does not know the device or sees none of its kind.
    """
    try:
        module = importlib.import_module("nvmc.executors.torch")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nvmc"):
            raise
        raise OptionError(
            f"accelerator {text!r} needs {error.name}, which is not installed; run "
            "`pip install nvmc[train]` or leave --accelerator out"
        ) from error
    executor: Executor = module.TorchExecutor(text, jobs=jobs)
    return executor
