"""A run on disk: what it takes to go on from the end of an epoch as if nothing had happened.

A checkpoint is one safetensors file: tensors by name, and texts in its metadata.

| key | text |
| --- | --- |
| `format` | `nvmc.checkpoint/2` |
| `identity` | JSON: what decides the run's numbers |
| `state` | JSON: counts, epochs and the method's own state |
| `digest` | SHA-256 of the other texts and all tensors |

The digest tells of damage, not of an attack: anybody can write a file with a digest that fits. So
nothing here is loaded into a run before `nvmc.training.kept` has held it against the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nvmc.compiled.artifact import replacing_file
from nvmc.errors import OptionError

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_FORMAT = "nvmc.checkpoint/2"
_OLD = b"nvmc checkpoint "
"""Begins the files of nvmc's first format, which torch's own serialisation wrote."""
_LENGTH = 8
"""Bytes of the header's length, little-endian, which safetensors files begin with."""
_SHOWN = 80


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        state: JSON.
        tensors: By name, on the CPU.
    """

    state: str
    tensors: Mapping[str, Tensor]


def save_checkpoint(path: Path, identity: Mapping[str, str], content: Checkpoint) -> None:
    """Write a checkpoint in place of what is there, whole or not at all.

    Args:
        path: The file.
        identity: What decides the run's numbers: a run of another identity is not resumed.
        content: What is kept.

    Raises:
        ArtifactError: The file cannot be written.
    """
    tensors = {name: _plain(tensor) for name, tensor in content.tensors.items()}
    texts = {
        "format": _FORMAT,
        "identity": json.dumps(dict(identity), sort_keys=True),
        "state": content.state,
    }
    texts["digest"] = _digest(texts, tensors)
    with replacing_file(path) as temporary:
        temporary.write_bytes(save(tensors, texts))


def load_checkpoint(
    path: Path, identity: Mapping[str, str], header: int, tensors: int
) -> Checkpoint:
    """A checkpoint of the very same run; what it holds is not checked yet.

    Args:
        path: The file.
        identity: The run's.
        header: Most bytes of the names, shapes and texts.
        tensors: Most bytes of all tensors.

    Raises:
        OptionError: There is none, it is damaged, or it is another run's.
    """
    content = _read(path, _LENGTH + header + tensors)
    if content.startswith(_OLD):
        raise OptionError(
            f"{str(path)!r} is a checkpoint of an earlier nvmc, whose format this one does not "
            "read; remove it and start anew"
        )
    damaged = OptionError(
        f"{str(path)!r} is no checkpoint of this nvmc train, or is damaged; remove it and start "
        "anew"
    )
    length = int.from_bytes(content[:_LENGTH], "little")
    if length > min(header, len(content) - _LENGTH):
        raise damaged
    try:
        found = load(content)
        texts = _texts(content[_LENGTH : _LENGTH + length])
        digest = _digest(texts, found)
    except (SafetensorError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        raise damaged from None  # the library has no common base for what it raises
    if texts["format"] != _FORMAT or texts["digest"] != digest:
        raise damaged
    _check_identity(path, identity, texts["identity"])
    return Checkpoint(texts["state"], found)


def _read(path: Path, most: int) -> bytes:
    """A regular file's bytes, no more than a checkpoint of the run can have."""
    try:
        if path.exists() and not path.is_file():
            raise OptionError(
                f"{str(path)!r} is no regular file; name the checkpoint of a run that was "
                "interrupted"
            )
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError as error:
        raise OptionError(f"there is no checkpoint {str(path)!r} to resume from") from error
    except OSError as error:
        raise OptionError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if not content:
        raise OptionError(f"{str(path)!r} is empty; remove it and start anew")
    if len(content) > most:
        raise OptionError(
            f"{str(path)!r} is larger than {most} bytes, the most that a checkpoint of this run "
            "takes; remove it and start anew"
        )
    return content


def _texts(header: bytes) -> dict[str, str]:
    """The metadata of a file that the library has read."""
    texts: Any = json.loads(header)["__metadata__"]
    return {key: str(texts[key]) for key in ("format", "identity", "state", "digest")}


def _check_identity(path: Path, here: Mapping[str, str], text: str) -> None:
    try:
        there: Any = json.loads(text)
    except (ValueError, RecursionError):
        there = None
    if not isinstance(there, dict):
        raise OptionError(
            f"{str(path)!r} does not say to which run it belongs; remove it and start anew"
        )
    found = cast(dict[str, Any], there)
    differing = sorted(key for key in {*here, *found} if here.get(key) != found.get(key))
    if differing:
        key = differing[0]
        raise OptionError(
            f"{str(path)!r} is the checkpoint of another run: {_shown(key)} is "
            f"{_shown(found.get(key))} there and {here.get(key)} here; resume with the same "
            "options, or remove it"
        )


def _shown(value: object) -> str:
    """What a file says, on one line of a message."""
    text = str(value)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _plain(tensor: Tensor) -> Tensor:
    """A copy that shares no memory with another, as safetensors wants."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _digest(texts: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps([texts[key] for key in ("format", "identity", "state")]).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
