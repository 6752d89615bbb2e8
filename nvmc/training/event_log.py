"""Curves of a training run for TensorBoard."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

from nvmc.arguments import checked
from nvmc.errors import ArtifactError, OptionError
from nvmc.training.outcome import Epoch

__all__ = ["EventLog"]


@checked
class EventLog:
    """Loss and KPP by epoch in a folder that TensorBoard reads; a context manager.

    Args:
        folder: Made with the first epoch where it is missing; a run that goes on adds a file.

    Raises:
        OptionError: tensorboard is not installed.
        ArtifactError: `folder` is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._kind = _writer()
        self._open: Any = None
        if self._folder.exists() and not self._folder.is_dir():
            raise ArtifactError(f"{str(folder)!r} is no folder; name one for TensorBoard's files")

    def write(self, epoch: Epoch) -> None:
        """Add one point to each curve.

        Raises:
            ArtifactError: The folder cannot be written.
        """
        try:
            if self._open is None:
                self._open = self._kind(log_dir=str(self._folder))
            self._open.add_scalar("loss", epoch.loss, epoch.epoch)
            if epoch.kpp is not None:
                self._open.add_scalar("kpp", epoch.kpp, epoch.epoch)
            self._open.flush()
        except OSError as error:
            raise ArtifactError(
                f"cannot write {str(self._folder)!r}: {error.strerror or error}; name another "
                "folder"
            ) from error

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()


def _writer() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names that TensorBoard itself uses
            return importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError as error:
        raise OptionError(
            "curves for TensorBoard need tensorboard, which is not installed; run "
            "`pip install 'nvmc[tensorboard]'`, or leave them out"
        ) from error
