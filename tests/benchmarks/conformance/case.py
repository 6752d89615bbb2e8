"""A network of the table, and how networks are exported by torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Case", "export", "exported"]


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        name: Of its row.
        kind: Which part of the table it stands in.
        made: How its file came to be, in a few words.
        write: Writes its file; what it needs is imported there, so a missing package skips a row.
    """

    name: str
    kind: str
    made: str
    write: Callable[[Path], None]


def exported(
    name: str,
    kind: str,
    build: Callable[[], nn.Module],
    *examples: Callable[[], Tensor],
    opset: int,
    dynamo: bool,
    **options: Any,
) -> Case:
    """A network that torch exports; weights are drawn from seed 0.

    Args:
        name: Of its row.
        kind: Of its row.
        build: Makes the module.
        *examples: Make its inputs, of two images each.
        opset: Of the file.
        dynamo: Which of torch's exporters.
        **options: Of `export`.
    """

    def write(path: Path) -> None:
        torch.manual_seed(0)
        net = build()
        export(net, [make() for make in examples], path, opset=opset, dynamo=dynamo, **options)

    made = f"torch, {'dynamo' if dynamo else 'TorchScript'}, opset {opset}"
    made += "".join(f", {key}={value}" for key, value in options.items())
    return Case(name, kind, made, write)


def export(
    net: nn.Module,
    examples: Sequence[Tensor],
    path: Path,
    *,
    opset: int,
    dynamo: bool,
    **options: Any,
) -> None:
    """Write a module as ONNX with a free first axis of all inputs, x0, x1, ..."""
    spread_statistics(net)
    names = [f"x{index}" for index in range(len(examples))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = torch.export.Dim("N")
            shapes = tuple({0: batch} for _ in examples)
            options = {"dynamic_shapes": shapes, "verbose": False, **options}
        else:
            options = {"dynamic_axes": {name: {0: "N"} for name in names}, **options}
        torch.onnx.export(
            net.eval(),
            tuple(examples),
            str(path),
            dynamo=dynamo,
            opset_version=opset,
            input_names=names,
            **options,
        )


def spread_statistics(net: nn.Module) -> None:
    """Give normalisations parameters as training leaves them, which an optimiser cannot drop."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            if module.running_mean is not None and module.running_var is not None:
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm):
            if isinstance(module.weight, nn.Parameter) and isinstance(module.bias, nn.Parameter):
                nn.init.uniform_(module.weight, 0.8, 1.2)
                nn.init.uniform_(module.bias, -0.1, 0.1)
