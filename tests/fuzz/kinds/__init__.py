"""Every kind of input, one file each."""

from __future__ import annotations

from fuzz.case import Kind
from fuzz.kinds import (
    arrays,
    checkpoints,
    cifar10,
    compiled_folders,
    device_files,
    measurements,
    mnist,
    onnx_bytes,
    onnx_structure,
    stores,
)

__all__ = ["KINDS"]

KINDS: dict[str, Kind] = {
    "toml": device_files.KIND,
    "csv": measurements.KIND,
    "npz": arrays.KIND,
    "idx": mnist.KIND,
    "cifar10": cifar10.KIND,
    "onnx-bytes": onnx_bytes.KIND,
    "onnx-structure": onnx_structure.KIND,
    "compiled": compiled_folders.KIND,
    "sqlite": stores.KIND,
    "checkpoint": checkpoints.KIND,
}
"""Name of a kind -> how its inputs are made and run."""
