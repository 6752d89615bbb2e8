"""Which weights of a network are write-verified first: those that matter most for its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.masks import Outputs
from nvmc.errors import OptionError, TrainingError
from nvmc.evaluation.networks import network_of
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.compensation import Marks, Verify
from nvmc.hardware.devices import Target
from nvmc.hardware.devices.noise import Programming
from nvmc.hardware.expected_error import code_errors
from nvmc.passes.feed_masks import draws_numbers
from nvmc.passes.graph.describe import Model
from nvmc.passes.weights_as_inputs import with_weights_as_inputs
from nvmc.rng import stream
from nvmc.runtime.montecarlo import Feed

__all__ = ["curvatures_of", "expected_squares", "marks_of"]

Float = NDArray[np.float64]


def marks_of(
    verify: Verify, arrays: Sequence[Array], curvatures: Mapping[str, Float] | None = None
) -> Marks:
    """The weights that are verified: the first `share` of all, rounded to a whole number.

    Args:
        verify: The share, and the order.
        arrays: The network's.
        curvatures: Second derivatives of the loss by the name of the array, for `swim`.
    """
    size = sum(array.codes.size for array in arrays)
    count = int(np.floor(verify.share * size + 0.5))
    chosen = np.zeros(size, np.bool_)
    if count == size:
        chosen[:] = True
    elif count:
        first, second = _ranks(verify, arrays, curvatures)
        chosen[np.lexsort((-second, -first))[:count]] = True  # stable: then in the arrays' order
    masks: dict[str, NDArray[np.bool_]] = {}
    for array in arrays:
        masks[array.name] = chosen[: array.codes.size].reshape(array.codes.shape)
        chosen = chosen[array.codes.size :]
    return Marks.of(masks)


def _ranks(
    verify: Verify, arrays: Sequence[Array], curvatures: Mapping[str, Float] | None
) -> tuple[Float, Float]:
    """What weights are sorted by, the greatest first, and by what those that are equal in it."""
    sizes = np.concatenate([np.abs(a.ideal).ravel().astype(np.float64) for a in arrays])
    if verify.order == "magnitude":
        return sizes, sizes
    if verify.order == "random":
        drawn = [stream(0, 0, "verify", a.name).random(a.codes.size) for a in arrays]
        return np.concatenate(drawn), sizes
    assert curvatures is not None
    squares = (expected_squares(array) * curvatures[array.name] for array in arrays)
    return np.concatenate([one.ravel() for one in squares]), sizes


def expected_squares(array: Array) -> Float:
    """E[(W_p - W)^2] of every weight, in the network's units, by programming noise alone.

    At the device's own strength, or 1 where it has none: a curve over sigma then verifies the same
    cells everywhere.
    """
    device = array.target.device
    noise = tuple(source for source in device.noise if isinstance(source, Programming))
    bare = {"noise": noise, "required": (), "time_s": None, "time_limit_s": None}
    alone = device.model_copy(update=bare)
    sigma = (device.sigma or 1.0) if alone.needs_sigma else None
    errors = code_errors(array.target.model_copy(update={"device": alone}), sigma)
    found = errors.of(array.steps.astype(np.float64))
    return found * np.square(np.asarray(array.unit, np.float64))


def curvatures_of(
    model: Model, target: Target, output: str, holds: Outputs, feed: Feed
) -> dict[str, Float]:
    """Second derivatives of the ideal chip's loss by each weight, by the name of its array.

    Args:
        model: Of the compiled network, as it is scored; used up by this.
        target: What holds its arrays.
        output: The output that is scored.
        holds: What it holds.
        feed: Images.

    Raises:
        OptionError: There is no torch, or it cannot derive the network.
    """
    if holds == "classes":
        raise _refused(f"output {output!r} holds class numbers, which have no derivatives")
    if draws_numbers(model):
        raise _refused("the network draws numbers at inference")
    try:
        from nvmc.torchgraph.curvature import curvatures
    except ModuleNotFoundError as error:
        raise OptionError(
            f"--compensate verify needs PyTorch for second derivatives, and there is no module "
            f"{error.name!r}; `pip install 'nvmc[train]'` brings it, or give order=magnitude"
        ) from error
    network = network_of(model, target, output, noisy=False)
    batch = network.batch if network.fixed else 1
    if len(feed) % batch:
        raise OptionError(
            f"--compensate verify: images is {len(feed)}, but the network takes {batch} at a time; "
            f"give a multiple, such as images={batch * max(1, len(feed) // batch)}"
        )
    ideal, names = Chip.ideal(), [array.name for array in network.arrays]
    weights: dict[str, NDArray[Any]] = {
        array.name: ideal.weights(array).astype(network.dtypes[array.name])
        for array in network.arrays
    }
    try:
        own = with_weights_as_inputs(network.model, names)
        return curvatures(own, weights, feed.inputs, output, holds, batch=batch)
    except TrainingError as error:
        raise _refused(str(error)) from error


def _refused(why: str) -> OptionError:
    return OptionError(f"--compensate verify: {why}; give order=magnitude, or leave it out")
