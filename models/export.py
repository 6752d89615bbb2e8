"""A torch model as an ONNX file: dynamic batch N, input `image`, output `logits`."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nvmc.models.detector import nms_translations
from nvmc.models.networks import Network

__all__ = ["OPSET", "export_module", "export_network", "export_onnx", "has_batchnorm"]

OPSET = 18


def export_onnx(model: nn.Module, image_shape: tuple[int, ...], path: Path) -> None:
    """Write a network of images as ONNX, its initialisers named as its parameters.

    Args:
        model: The model, from images (N, *image_shape) to logits; put into evaluation mode.
        image_shape: Shape of one image.
        path: The file to write or replace; its folder exists.
    """
    export_module(model, [torch.zeros((2, *image_shape))], path, ["image"], ["logits"])


def export_network(
    model: nn.Module, network: Network, path: Path, shape: tuple[int, ...] | None = None
) -> None:
    """Write a network of the zoo as ONNX; its input is called `image`.

    Args:
        model: The network, trained or not.
        network: Its row in the table.
        path: The file to write or replace; its folder exists.
        shape: Of one input; the table's by default.
    """
    own = network.shape if shape is None else shape
    translations = nms_translations() if network.single else None
    example = torch.zeros((1 if network.single else 2, *own))
    export_module(
        model,
        [example],
        path,
        ["image"],
        network.outputs,
        optimize=not network.computed,
        free=not network.single,
        translations=translations,
    )


def has_batchnorm(model: nn.Module) -> bool:
    """Whether there is a normalisation over the batch in it, which the exporter may fold."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return any(isinstance(module, kinds) for module in model.modules())


def export_module(
    model: nn.Module,
    examples: Sequence[Tensor],
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str] | None = None,
    *,
    optimize: bool = True,
    free: bool = True,
    translations: Mapping[Any, Any] | None = None,
) -> None:
    """Write a torch module as ONNX, its initialisers named as its parameters (`conv1.weight`, ...).

    The first axis of every input is free, N, unless `free` says otherwise. What the exporter notes
    about this machine (stack traces, file names) is left out, so equal models give equal files. The
    file appears whole or not at all.

    Args:
        model: The model; it is exported in evaluation mode and left in the mode that it was in.
        examples: An input each, of at least two rows: the exporter takes one row for a constant.
        path: The file to write or replace; its folder exists.
        inputs: The inputs' names.
        outputs: The outputs' names; the exporter's by default.
        optimize: Whether the exporter may fold constants: not where weights are computed in the
            graph (binary weights, learned bounds), of which it would keep the results only.
        free: Whether the first axis of every input is free; otherwise sizes are the examples'.
        translations: How the exporter writes operators of our own.
    """
    mode, log = model.training, logging.getLogger("torch.onnx")
    level = log.level
    shapes = tuple({0: torch.export.Dim("N")} for _ in examples)
    log.setLevel(logging.ERROR)  # it warns of each library that is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about torch's own names
            warnings.simplefilter("ignore", UserWarning)  # about what it does itself, with LSTM
            program = torch.onnx.export(
                model.eval(),
                tuple(examples),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=None if outputs is None else list(outputs),
                dynamic_shapes=shapes if free else None,
                custom_translation_table=None if translations is None else dict(translations),
                optimize=optimize,
                verbose=False,
            )
    finally:
        log.setLevel(level)
        model.train(mode)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    _write(program, path)


def _write(program: torch.onnx.ONNXProgram, path: Path) -> None:
    """Write what was exported, without what it notes about this machine."""
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
