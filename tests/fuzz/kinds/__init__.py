"""Every kind of input, one file each."""

from __future__ import annotations

from fuzz.case import Kind
from fuzz.kinds import (
    arrays,
    cifar10,
    device_files,
    measurements,
    mnist,
    onnx_bytes,
    onnx_structure,
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
}
"""Name of a kind -> how its inputs are made and run."""
