"""The range of activations on calibration data, and which images these are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import allocation_failed, room
from nvmc.compiled.options import Calibration
from nvmc.data import Dataset
from nvmc.errors import DataError, ModelError, OutOfMemoryError
from nvmc.runtime.memory import too_little
from nvmc.runtime.montecarlo import Feed
from nvmc.runtime.sessions import first_line, open_model

__all__ = ["BATCH", "CONVERTER_IMAGES", "calibrate", "calibration_on", "run_in_batches"]

CONVERTER_IMAGES = 512
"""Images that converters' ranges come from: a circuit takes a hundred times what its network does,
and 512 images show 99.99 % of the currents well enough."""
BATCH = 32
"""Most images per run."""
_HELD = 1 << 28
"""Bytes that the watched values of a run may take."""


def calibration_on(data: Dataset, activations: bool, converters: bool) -> Calibration:
    """Which of the images calibrate what: the one place that says so.

    Args:
        data: The training split, in its own order.
        activations: Whether activations get ranges: on all images, since these are extremes.
        converters: Whether DAC or ADC do: on the first `CONVERTER_IMAGES`.
    """
    for_activations = len(data.x) if activations else 0
    for_converters = min(len(data.x), CONVERTER_IMAGES) if converters else 0
    seen = data.of(slice(max(for_activations, for_converters)))
    return Calibration(data.name, seen.sha256, for_activations, for_converters)


def calibrate(
    model: bytes,
    tensors: Sequence[str],
    images: Feed,
    weights: Mapping[str, NDArray[Any]] | None = None,
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each tensor over all images.

    Args:
        model: A serialised float network. `tensors` are among its inputs and outputs.
        tensors: Names of floating-point tensors.
        images: What the network is fed.
        weights: Initializers that `model` lacks, by name.

    Returns:
        (low, high) in the tensors' units, in the order of `tensors`. On one thread, in runs whose
        size depends on the network alone, so the values do not depend on the machine's cores.

    Cost: one inference of the images; memory of what `BATCH` images, or fewer, take.

    Raises:
        DataError: There are no images, the network does not run on them, or a tensor has NaN,
            infinity or no values.
        ModelError: onnxruntime refuses the network, or a tensor holds no floating-point numbers.
    """
    if not tensors:
        return {}
    session = open_model(model, weights or {})
    asked = [name for name in tensors if name not in images.inputs]
    lows, highs = dict.fromkeys(tensors, np.inf), dict.fromkeys(tensors, -np.inf)
    most = _images_a_run(session, images, asked)
    for fed, found in run_in_batches(session, images, asked, most):
        values = {**fed, **dict(zip(asked, found, strict=False))}
        for name in tensors:
            low, high = _extremes(name, values[name])
            lows[name], highs[name] = min(lows[name], low), max(highs[name], high)
    for name in tensors:
        if lows[name] > highs[name]:
            raise DataError(f"tensor {name!r} has no values on the calibration data; give others")
    return {name: (lows[name], highs[name]) for name in tensors}


def run_in_batches(
    session: Any, images: Feed, names: Sequence[str] = (), most: int = BATCH
) -> Iterator[tuple[dict[str, NDArray[Any]], list[Any]]]:
    """What is fed, and the outputs of those names (all without any), run by run.

    Runs have `most` images, or as many as the network fixes: the last image is then repeated to
    fill the last run.

    Raises:
        DataError: There are no images, or the network does not run on them.
    """
    if not len(images):
        raise DataError("the calibration data hold no images; expected at least one")
    fixed = _fixed_batch(session)
    size = fixed or most
    for first in range(0, len(images), size):
        fed = images.batch(first, fixed or min(size, len(images) - first))
        yield fed, _run(session, names, fed)


def _images_a_run(session: Any, images: Feed, names: Sequence[str]) -> int:
    """As many as `_HELD` has room for by what one image takes, at most `BATCH`."""
    if _fixed_batch(session) or not len(images):
        return BATCH
    held = sum(np.asarray(value).nbytes for value in _run(session, names, images.batch(0, 1)))
    return max(1, min(BATCH, _HELD // max(1, held)))


def _fixed_batch(session: Any) -> int | None:
    first: Any = next(iter(session.get_inputs()[0].shape or ()), None)
    return first if isinstance(first, int) else None


def _run(session: Any, names: Sequence[str], fed: dict[str, NDArray[Any]]) -> list[Any]:
    try:
        return session.run(list(names) or None, fed)
    except Exception as error:  # onnxruntime has a type for each of its status codes
        if allocation_failed(error):
            raise OutOfMemoryError(too_little(0, 1, room())) from error
        raise DataError(
            f"the network does not run on the calibration data: {first_line(error)}"
        ) from error


def _extremes(name: str, values: Any) -> tuple[float, float]:
    """Smallest and largest of the values; NumPy's pass NaN on."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        raise ModelError(f"tensor {name!r} holds no floating-point numbers; it has no range")
    numbers = cast(NDArray[Any], values)
    low = float(numbers.min(initial=np.inf))
    high = float(numbers.max(initial=-np.inf))
    if numbers.size and not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(
            f"tensor {name!r} has NaN or infinity on the calibration data; expected finite "
            "numbers: check the data and its scaling"
        )
    return low, high
