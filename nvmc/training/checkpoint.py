"""A run on disk: what it takes to go on from the end of an epoch as if nothing had happened."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nvmc.compiled.artifact import replacing_file
from nvmc.errors import OptionError

__all__ = ["load_checkpoint", "save_checkpoint"]

_MAGIC = b"nvmc checkpoint 1\n"
"""Ahead of the content's digest and the content: torch's own files do not notice all damage."""


def save_checkpoint(path: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Write `state` in place of what is there, whole or not at all.

    Args:
        path: The file.
        identity: What decides the run's numbers: a run of another identity is not resumed.
        state: Plain values and tensors.

    Raises:
        ArtifactError: The file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"identity": dict(identity), "state": dict(state)}, buffer)
    content = buffer.getbuffer()
    with replacing_file(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + hashlib.sha256(content).digest())
        file.write(content)


def load_checkpoint(path: Path, identity: Mapping[str, str], accelerator: str) -> dict[str, Any]:
    """The state in a checkpoint of the very same run.

    Raises:
        OptionError: There is none, it is damaged, or it is another run's.
    """
    try:
        whole = path.read_bytes()
    except FileNotFoundError as error:
        raise OptionError(f"there is no checkpoint {str(path)!r} to resume from") from error
    except OSError as error:
        raise OptionError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    head = len(_MAGIC) + hashlib.sha256().digest_size
    content = memoryview(whole)[head:]
    if whole[:head] != _MAGIC + hashlib.sha256(content).digest():
        raise OptionError(
            f"{str(path)!r} is no checkpoint of this nvmc train, or is damaged; remove it and "
            "start anew"
        )
    found: Any = torch.load(io.BytesIO(content), map_location=accelerator, weights_only=True)
    other, state = found["identity"], found["state"]
    differing = sorted(key for key in {*identity, *other} if identity.get(key) != other.get(key))
    if differing:
        key = differing[0]
        raise OptionError(
            f"{str(path)!r} is the checkpoint of another run: {key} is {other.get(key)} there and "
            f"{identity.get(key)} here; resume with the same options, or remove it"
        )
    return state
