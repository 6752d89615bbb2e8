"""One-thread sessions of onnxruntime's own kernels, and running them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from nvmc.budget import allocation_failed, room
from nvmc.errors import ModelError, OutOfMemoryError
from nvmc.passes.io.half_precision import holds_float16
from nvmc.runtime.memory import making, too_little

_ort: Any = onnxruntime  # it is untyped

__all__ = [
    "check_loads",
    "crashing_optimisers",
    "first_line",
    "keep_values",
    "one_thread",
    "open_model",
    "opened",
    "run_batch",
    "run_once",
]

_KEPT = {"session.disable_quant_qdq": "1", "session.disable_double_qdq_remover": "1"}
"""Off: onnxruntime's optimisers that change values; docs/provider.md lists them."""


def keep_values(options: Any) -> None:
    """Switch off, in `SessionOptions`, what gives a network with quantised activations new values.

    WeightBiasQuantization rounds weights to 8 bits again, DoubleQDQPairsRemover merges two grids,
    and the transformers of QDQ groups compute in integers. Other networks are not touched by them,
    so these run as before.
    """
    for key, value in _KEPT.items():
        options.add_session_config_entry(key, value)


def crashing_optimisers(model: bytes | str) -> list[str]:
    """The optimisers that end the process on this network, serialised or its file.

    onnxruntime 1.31's NchwcTransformer does on some float16 networks. It has kernels of float32
    only, so that those lose nothing without it.
    """
    return ["NchwcTransformer"] if holds_float16(model) else []


def open_model(
    model: bytes | Path, weights: Mapping[str, NDArray[Any]], sparing: bool = False
) -> Any:
    """A one-thread `onnxruntime.InferenceSession` of a standard network.

    Args:
        model: Serialised, or its file.
        weights: Initializers that it lacks, by name, contiguous.
        sparing: Optimise and pack nothing, which saves copies of weights; values may round
            differently, and running is slower.

    Raises:
        ModelError: onnxruntime refuses the network.
    """
    options = one_thread()
    if sparing:
        options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
    size = sum(value.nbytes for value in weights.values())
    if weights:  # no copies; the session takes what it needs of them while it is made
        values = [_ort.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    with making(size):
        return opened(model if isinstance(model, bytes) else str(model), options, size)


def check_loads(path: Path) -> None:
    """Make sure that a stock onnxruntime loads the file; nothing is optimised, packed or kept.

    Raises:
        ModelError: It refuses the network.
    """
    options = one_thread()
    options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    opened(str(path), options)


def one_thread() -> Any:
    """`SessionOptions` of one thread that keep a network's values."""
    options: Any = _ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised, and said once
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    keep_values(options)
    return options


def opened(model: bytes | str, options: Any, weights: int = 0) -> Any:
    """A session of the network.

    Args:
        model: Serialised, or its file.
        options: `one_thread`, and more.
        weights: Bytes of those that it is given.

    Raises:
        ModelError: onnxruntime refuses the network.
        OutOfMemoryError: There is too little memory.
    """
    optimised = options.graph_optimization_level != _ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return _ort.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=crashing_optimisers(model) if optimised else [],
        )
    except Exception as error:  # onnxruntime raises many types without a common base
        if allocation_failed(error):
            raise OutOfMemoryError(too_little(weights, 1, room())) from error
        raise ModelError(f"onnxruntime cannot load the network: {first_line(error)}") from error


def run_batch(
    session: Any,
    names: Sequence[str],
    inputs: Mapping[str, NDArray[Any]],
    size: int,
    shape: tuple[int, ...] | None = None,
) -> list[NDArray[Any]]:
    """The outputs of those names for `size` images, each with one row per image.

    Args:
        session: Of onnxruntime.
        names: Of the outputs.
        inputs: By name.
        size: Images in them.
        shape: Of one image's part of an output, as it was found on other images; None where it is
            not known yet.

    Raises:
        ModelError: onnxruntime fails, or an output has no row per image, or one of another shape.
    """
    found = run_once(session, names, inputs)
    for name, outputs in zip(names, found, strict=True):
        if outputs.ndim == 0 or len(outputs) != size:
            raise ModelError(
                f"output {name!r} has shape {list(outputs.shape)} for {size} images; expected one "
                "row per image along its first axis: choose another with --output, name the axis "
                "of images with --batch-axis, or export the network without the node that makes "
                "rows depend on the image (such as NonMaxSuppression)"
            )
        if shape is not None and outputs.shape[1:] != shape:
            raise ModelError(
                f"output {name!r} has shape {list(outputs.shape[1:])} for one image and "
                f"{list(shape)} for another; expected one size for all images and chips: choose "
                "another with --output, or export the network without the node that decides it "
                "(such as NonMaxSuppression)"
            )
    return found


def run_once(session: Any, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> Any:
    """The outputs of those names, of whatever shape.

    Raises:
        ModelError: onnxruntime fails.
    """
    try:
        return session.run(names, inputs)
    except Exception as error:  # onnxruntime raises many types without a common base
        if allocation_failed(error):
            raise OutOfMemoryError(too_little(0, 1, room())) from error
        raise ModelError(f"onnxruntime cannot run the network: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error of onnxruntime says first, or its type."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
