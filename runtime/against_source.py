"""The ideal chip held against the network that it was compiled from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.artifact import TensorEntry
from nvmc.compiled.rounding import SEEDED, AgainstSource
from nvmc.data import Dataset
from nvmc.errors import ModelError, NvmcError
from nvmc.metrics.decisions import decisions
from nvmc.runtime.calibration import BATCH, run_in_batches
from nvmc.runtime.feeding import SEEDED_INPUTS, feed_of
from nvmc.runtime.memory import LARGE
from nvmc.runtime.montecarlo import Feed
from nvmc.runtime.sessions import open_model

__all__ = ["compare_to_source"]

FEWEST = 8
"""Images that even the largest network is compared on."""
LIGHT = 1 << 30
"""Bytes of a file times images above which there are fewer images."""
MOST = 512
"""Images of data that it is compared on."""


def compare_to_source(
    source: Path,
    ideal: Path,
    inputs: list[TensorEntry],
    outputs: list[TensorEntry],
    data: Dataset | None,
    class_axes: Mapping[str, int],
) -> AgainstSource:
    """Run both on the same images, one after the other, in runs of as many as the compiled takes.

    Images are the first 512 of the data, else 64 seeded inputs as `nvmc simulate` has them; of
    files above 2 and 16 MiB fewer, at least 8. The output is the first of floating-point numbers.

    Args:
        source: The network that was compiled.
        ideal: Its compiled model.
        inputs: Those of both.
        outputs: Likewise.
        data: The calibration data; None where there are none.
        class_axes: Axis of the classes by output, where the network tells.

    Returns:
        The comparison; where it cannot be made, the reason.
    """
    floating = [entry for entry in outputs if np.dtype(entry.dtype).kind == "f"]
    output, name = (floating or outputs)[0].name, SEEDED if data is None else data.name
    if not inputs:
        return AgainstSource(output=output, data=name, reason="it has no input to give images to")
    most_of = SEEDED_INPUTS if data is None else MOST
    images = max(FEWEST, min(most_of, LIGHT // max(1, source.stat().st_size)))
    # Data that do not fit are the user's mistake; seeded inputs that cannot be drawn are not.
    given = None if data is None else feed_of(inputs, data.of(slice(images)), 0, None)
    try:
        feed = feed_of(inputs, None, 0, images) if given is None else given
        size = (inputs[0].shape or [None])[0]
        most = size if isinstance(size, int) and size > 0 else BATCH
        sparing = _is_large(ideal)
        expected, found = (_outputs(file, output, feed, most, sparing) for file in (source, ideal))
    except NvmcError as error:
        return AgainstSource(
            output=output, data=name, reason=str(error).replace("the calibration data", name)
        )
    if expected.shape != found.shape or len(found) < len(feed):
        told = f"its output {output!r} has shape {list(expected.shape)} for {len(feed)} images"
        return AgainstSource(output=output, data=name, reason=told)
    return AgainstSource(
        output=output,
        data=name,
        images=len(feed),
        agreement=_agreement(expected, found, class_axes.get(output)),
        r2=_determination(expected, found),
    )


def _is_large(ideal: Path) -> bool:
    """Whether a compiled network, of a byte or more a weight, has so many that memory is spared."""
    files = [file for file in ideal.parent.iterdir() if file.name.startswith(ideal.name)]
    return sum(file.stat().st_size for file in files) >= LARGE // 4


def _outputs(file: Path, output: str, feed: Feed, most: int, sparing: bool) -> NDArray[Any]:
    session = open_model(file, {}, sparing)
    names = {entry.name for entry in session.get_inputs()}
    if names != set(feed.inputs):
        others = ", ".join(sorted(names ^ set(feed.inputs)))
        raise ModelError(f"the source and the ideal chip have other inputs ({others})")
    runs = run_in_batches(session, feed, [output], most)
    found: list[NDArray[Any]] = [np.asarray(values[0]) for _, values in runs]
    if len({values.shape[1:] for values in found}) > 1 or not found[0].ndim:
        raise ModelError(f"the size of its output {output!r} depends on the images")
    return np.concatenate(found)[: len(feed)]


def _agreement(expected: NDArray[Any], found: NDArray[Any], axis: int | None) -> float | None:
    """Share of equal decisions, along axis 1 of matrices where the network does not tell."""
    if expected.dtype.kind in "iub":
        return np.count_nonzero(expected == found) / max(1, expected.size)
    axis = 1 if axis is None and expected.ndim == 2 else axis
    if not axis or axis >= expected.ndim or expected.shape[axis] < 2 or not expected.size:
        return None
    chosen, wanted = (decisions(np.moveaxis(each, axis, 1)) for each in (found, expected))
    return np.count_nonzero((chosen == wanted) & (wanted >= 0)) / wanted.size


def _determination(expected: NDArray[Any], found: NDArray[Any]) -> float | None:
    """1 - squared error / variation around each output's mean over the images."""
    if expected.dtype.kind != "f" or not expected.size:
        return None
    wide = expected.astype(np.float64)
    with np.errstate(all="ignore"):
        error = float(np.sum(np.square(found - wide)))
        variation = float(np.sum(np.square(wide - wide.mean(axis=0))))
        value = 1.0 if error == 0 else 1 - error / variation if variation else math.nan
    return value if math.isfinite(value) else None
