"""ONNX tensors in torch, and what a network is fed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from nvmc.errors import TrainingError

__all__ = [
    "Inputs",
    "array_from",
    "at_host",
    "constant_of",
    "numbers_of",
    "taken",
    "tensor_from",
]

Inputs = Tensor | Mapping[str, Tensor]
"""What a network is fed: its only input, or its inputs by name; images along the first axis."""


def taken(x: Inputs, chosen: slice | Tensor) -> Inputs:
    """Some of the images."""
    if isinstance(x, Tensor):
        return x[chosen]
    return {name: tensor[chosen] for name, tensor in x.items()}


def constant_of(value: ir.Value) -> ir.TensorProtocol | None:
    """The tensor of an initializer or of a Constant node's output."""
    return ir.convenience.get_const_tensor(value)


def tensor_from(tensor: ir.TensorProtocol, name: str = "") -> Tensor:
    """A copy in torch.

    Raises:
        TrainingError: torch lacks the type.
    """
    array: NDArray[Any] = np.array(tensor.numpy())
    if tensor.dtype == ir.DataType.BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise TrainingError(
            f"constant {name or tensor.name!r} is of type {tensor.dtype}, which torch lacks; keep "
            "it out of the part that is trained"
        ) from error


def array_from(tensor: Tensor, dtype: ir.DataType) -> NDArray[Any]:
    """A copy in numpy, of an ONNX type."""
    kept = tensor.detach().cpu()
    if kept.dtype == torch.bfloat16:
        kept = kept.float()
    return np.array(kept.numpy()).astype(dtype.numpy())


def numbers_of(tensor: Tensor) -> Any:
    """A Python number, or nested lists of them."""
    return cast(Any, tensor).tolist()


def at_host(tensor: Tensor) -> Tensor:
    """The tensor on the CPU."""
    return tensor.cpu()
