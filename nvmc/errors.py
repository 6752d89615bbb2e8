"""Every error a user can cause. The command line prints one line and exits with 1.

A message says what was found, what was expected and what to do. Anything that is not an
`NvmcError` is a fault of ours.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "ClusterError",
    "DataError",
    "DeviceError",
    "ModelError",
    "NvmcError",
    "OptionError",
    "ProviderError",
    "StoreError",
    "TrainingError",
]


class NvmcError(Exception):
    """Base of every error that a user's input or machine can cause."""


class ModelError(NvmcError, ValueError):
    """The ONNX model cannot be read, or holds something that cannot be mapped."""


class DeviceError(NvmcError, ValueError):
    """A device name or device file is wrong."""


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


class ClusterError(NvmcError, RuntimeError):
    """Workers cannot be reached, do not fit, or were lost for good."""
