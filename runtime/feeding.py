"""What chips are run on: a data set, or seeded numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.artifact import TensorEntry
from nvmc.data import Dataset, check_shape
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.runtime.montecarlo import Feed
from nvmc.runtime.seeded import seeded_inputs

__all__ = ["SEEDED_INPUTS", "check_first_axis", "feed_of", "image_sizes"]

SEEDED_INPUTS = 64
"""Inputs drawn when there are no data and no limit."""


def feed_of(
    inputs: list[TensorEntry], dataset: Dataset | None, seed: int, limit: int | None
) -> Feed:
    """The images that chips are run on.

    Args:
        inputs: The network's.
        dataset: Their source; None for seeded numbers.
        seed: Of those.
        limit: How many of those; `SEEDED_INPUTS` by default.

    Raises:
        OptionError: The limit is below 1.
        DataError: The data do not fit the network.
    """
    if dataset is None:
        count = SEEDED_INPUTS if limit is None else limit
        if count < 1:
            raise OptionError(f"limit is {count}; expected at least 1")
        return Feed(seeded_inputs(inputs, count, seed))
    data = dataset.for_network([entry.name for entry in inputs])
    free = any(entry.shape and not isinstance(entry.shape[0], int) for entry in inputs)
    for entry in inputs:
        if entry.shape is None:
            continue
        if not entry.shape or (free and isinstance(entry.shape[0], int)):
            raise DataError(
                f"input {entry.name!r} has shape {list(entry.shape)}, without an axis for images "
                "as the others have; say what it holds for every image with nvmc compile --input "
                f"{entry.name}=VALUE"
            )
        check_shape(data, entry.shape, entry.name if len(inputs) > 1 else None)
    arrays = data.inputs or {inputs[0].name: data.x}
    return Feed({entry.name: _converted(entry, arrays[entry.name], data) for entry in inputs})


def image_sizes(
    inputs: Sequence[TensorEntry], dataset: Dataset | None, states: Collection[str] = ()
) -> dict[str, tuple[int, ...]]:
    """Sizes of an image of the data by input; of one step where images are sequences.

    Args:
        inputs: The network's, of one step.
        dataset: The data; without, nothing is known.
        states: Inputs that no data are for, since a step gives the next one's.

    Raises:
        DataError: An input gets nothing.
    """
    if dataset is None:
        return {}
    names = [entry.name for entry in inputs if entry.name not in states]
    chosen = dataset.for_network(names)
    arrays = chosen.inputs or {names[0]: chosen.x}
    return {name: array.shape[2 if states else 1 :] for name, array in arrays.items()}


def _converted(entry: TensorEntry, array: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """The array in the input's type, which must hold every value.

    Raises:
        DataError: It does not.
    """
    kind = np.dtype(entry.dtype)
    if array.dtype == kind and kind.kind != "f":
        return array
    with np.errstate(all="ignore"):
        made = array.astype(kind, copy=False)
        if kind.kind == "f":
            holds = bool(np.isfinite(made).all())
        else:
            holds = np.array_equal(made.astype(array.dtype), array) and _range(array, kind)
    if not holds and not np.isfinite(array).all():
        raise DataError(
            f"{dataset.name} has NaN or infinite values for input {entry.name!r}; remove those "
            "images"
        )
    if not holds:
        raise DataError(
            f"input {entry.name!r} takes {entry.dtype}, but {dataset.name} has values that this "
            "type does not hold for it; save the array in that type"
        )
    return made


def _range(array: NDArray[Any], kind: np.dtype[Any]) -> bool:
    """Whether whole numbers lie in the range of a type."""
    if kind.kind == "b" or array.dtype.kind == "b" or not array.size:
        return True
    limits = np.iinfo(kind)
    return limits.min <= int(array.min()) and int(array.max()) <= limits.max


def check_first_axis(inputs: Sequence[TensorEntry], outputs: Sequence[TensorEntry]) -> None:
    """Complain where images seem to lie along another axis of an input than the first.

    Raises:
        ModelError: They do, by the name of the outputs' first axis.
    """
    for output, entry in product(outputs, inputs):
        images, shape = (output.shape or [None])[0], entry.shape or [None]
        free = [at for at, size in enumerate(shape) if not isinstance(size, int)]
        if free and isinstance(shape[0], int) and shape[0] > 1:
            raise ModelError(
                f"input {entry.name!r} has shape {shape}, of which another axis than the first is "
                f"free; say where its images lie with --batch-axis {entry.name}={free[0]}, or "
                f"--batch-axis {entry.name}=0 for {shape[0]} images at a time"
            )
        if isinstance(images, str) and images in shape[1:] and shape[0] != images:
            raise ModelError(
                f"input {entry.name!r} has shape {shape} with its images along {images!r}, as "
                f"output {output.name!r} has; expected them along the first axis: say where they "
                f"lie with --batch-axis {entry.name}={shape.index(images)}, or --batch-axis "
                f"{entry.name}=0 if along {shape[0]!r}"
            )
