"""A torch model as an ONNX file: dynamic batch N, input `image`, output `logits`."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn

__all__ = ["OPSET", "export_onnx"]

OPSET = 18


def export_onnx(model: nn.Module, image_shape: tuple[int, ...], path: Path) -> None:
    """Write a model as ONNX, its initialisers named as its parameters (`conv1.weight`, ...).

    What the exporter notes about this machine (stack traces, file names) is left out, so equal
    models give equal files. The file appears whole or not at all.

    Args:
        model: The model, from images (N, *image_shape) to logits; put into evaluation mode.
        image_shape: Shape of one image.
        path: The file to write or replace; its folder exists.
    """
    example = torch.zeros((2, *image_shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter, about torch's own names
        program = torch.onnx.export(
            model.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    graph = program.model.graph
    values = [
        *graph.inputs,
        *graph.initializers.values(),
        *(v for node in graph for v in node.outputs),
    ]
    for part in (program.model, graph, *graph, *values):
        part.metadata_props.clear()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        program.save(temporary)
        os.replace(temporary, path)
