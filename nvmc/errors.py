"""Every error a user can cause. The command line prints one line and exits with 1.

A message says what was found, what was expected and what to do. Anything that is not an
`NvmcError` is a fault of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ArtifactError",
    "ClusterError",
    "DataError",
    "DeviceError",
    "HardwareError",
    "ModelError",
    "NvmcError",
    "OptionError",
    "OutOfMemoryError",
    "ProviderError",
    "StoreError",
    "TrainingError",
    "nearest",
    "unknown",
    "with_article",
]


class NvmcError(Exception):
    """Base of every error that a user's input or machine can cause."""


class ModelError(NvmcError, ValueError):
    """The ONNX model cannot be read, or holds something that cannot be mapped."""


class DeviceError(NvmcError, ValueError):
    """A device name or device file is wrong."""


class HardwareError(NvmcError, ValueError):
    """A hardware name or file is wrong, or a file of macros."""


class DataError(NvmcError, ValueError):
    """The data set cannot be read or does not fit the model."""


class ArtifactError(NvmcError, ValueError):
    """A compiled network is missing, damaged, or of another format version."""


class OptionError(NvmcError, ValueError):
    """An option's value is outside what it may be."""


class ProviderError(NvmcError, RuntimeError):
    """The execution provider cannot be loaded or refuses a node."""


class TrainingError(NvmcError, ValueError):
    """The network cannot be trained: an operator, a value or a setting that training lacks."""


class StoreError(NvmcError, RuntimeError):
    """A store of results cannot be read or written, is no such store, or contradicts itself."""


class OutOfMemoryError(NvmcError, MemoryError):
    """What is asked for needs more memory than there is, or than is allowed."""


class ClusterError(NvmcError, RuntimeError):
    """Workers cannot be reached, do not fit, or were lost for good."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` most resembles or begins, or None where none is alike.

    Case counts for nothing, nor whether words are joined by dashes or underscores.
    """
    plain = {text.lower().replace("_", "-"): text for text in known}
    wanted = name.lower().replace("_", "-")
    alike = get_close_matches(wanted, plain, n=1)
    if not alike and len(wanted) > 3:
        alike = [text for text in plain if text.startswith(wanted)]
    return plain[alike[0]] if alike else None


def with_article(name: str) -> str:
    """`a str`, `an int`."""
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The one line that says that `what` called `name` does not exist, and which do.

    Args:
        what: What kind of name it is, such as `option` or `--noise 'read:x=1': key`.
        name: What was given.
        known: Every name there is, in the order to show them.
    """
    names = list(known)
    guess = nearest(name, names)
    hint = "" if guess is None else f"; did you mean {guess!r}?"
    return f"{what} {name!r} is unknown; expected {_one_of(names)}{hint}"


def _one_of(names: list[str]) -> str:
    return f"one of {', '.join(names)}" if names else "none"
