"""A run on disk: what it takes to go on from the end of an epoch as if nothing had happened."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nvmc.artifact import replacing_file
from nvmc.errors import OptionError

__all__ = ["load_checkpoint", "save_checkpoint"]

_FORMAT = 1
_DAMAGE = (
    *(OSError, EOFError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged file raises."""


def save_checkpoint(path: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Write `state` in place of what is there, whole or not at all.

    Args:
        path: The file.
        identity: What decides the run's numbers: a run of another identity is not resumed.
        state: Plain values and tensors.

    Raises:
        ArtifactError: The file cannot be written.
    """
    with replacing_file(path) as temporary:
        torch.save({"format": _FORMAT, "identity": dict(identity), "state": dict(state)}, temporary)


def load_checkpoint(path: Path, identity: Mapping[str, str], accelerator: str) -> dict[str, Any]:
    """The state in a checkpoint of the very same run.

    Raises:
        OptionError: There is none, it is damaged, or it is another run's.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes checksums, but does not look at them
            if (part := archive.testzip()) is not None:
                raise zipfile.BadZipFile(part)
        found: Any = torch.load(path, map_location=accelerator, weights_only=True)
        format_, other, state = found["format"], found["identity"], found["state"]
    except FileNotFoundError as error:
        raise OptionError(f"there is no checkpoint {str(path)!r} to resume from") from error
    except _DAMAGE as error:
        raise OptionError(
            f"{str(path)!r} is no checkpoint of nvmc train, or is damaged; remove it and start anew"
        ) from error
    if format_ != _FORMAT:
        raise OptionError(
            f"{str(path)!r} has checkpoint format {format_}; expected {_FORMAT}: start anew"
        )
    differing = sorted(key for key in {*identity, *other} if identity.get(key) != other.get(key))
    if differing:
        key = differing[0]
        raise OptionError(
            f"{str(path)!r} is the checkpoint of another run: {key} is {other.get(key)} there and "
            f"{identity.get(key)} here; resume with the same options, or remove it"
        )
    return state
