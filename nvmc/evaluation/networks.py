"""A compiled network ready to run: behind an ideal periphery, or as circuits."""

from __future__ import annotations

from nvmc.hardware.devices import Target
from nvmc.hardware.devices.checks import check_cells_only
from nvmc.passes.detach_weights import detached, has_fixed_batch, images_a_run
from nvmc.passes.feed_masks import FeedMasks, outputs_kinds
from nvmc.passes.graph.describe import Model, serialized, set_target
from nvmc.passes.vary_activations import VaryActivations
from nvmc.runtime.montecarlo import CircuitNetwork, Network

__all__ = ["circuit_of", "network_of"]

CIRCUIT_IMAGES = 256
"""Most images a run of a circuit."""
CIRCUIT_BATCHES = 32
"""How many batches that suit the cache go into a run of a circuit: each run costs Python's time."""


def circuit_of(model: Model, target: Target, output: str) -> CircuitNetwork:
    """A compiled network ready to run as circuits on `target`; see `network_of`."""
    set_target(model, target)
    _vary(model, target)
    batch, fixed = images_a_run(model), has_fixed_batch(model)
    if not fixed:
        batch = min(CIRCUIT_IMAGES, CIRCUIT_BATCHES * batch)
    holds = outputs_kinds(model)[output]
    feed = FeedMasks()
    feed(model)
    return CircuitNetwork(serialized(model), output, batch, fixed, holds, feed.masks)


def network_of(model: Model, target: Target, output: str, *, noisy: bool = True) -> Network:
    """A compiled network ready to run as chips on `target`.

    Args:
        model: Of a compiled network; used up by this.
        target: What holds its arrays.
        output: The output that is scored.
        noisy: Whether noise of activations has its inputs; the ideal chip needs none.

    Raises:
        ArtifactError: It is not a compiled network.
        ModelError: Noise of activations finds no place in it.
    """
    holds = outputs_kinds(model)[output]
    if noisy:
        _vary(model, target)
    found = detached(model, target)
    return Network(
        found.model,
        output,
        found.batch,
        found.fixed,
        holds,
        found.masks,
        arrays=found.arrays,
        dtypes=found.dtypes,
        stack=found.stack,
    )


def _vary(model: Model, target: Target) -> None:
    """Let activations vary as the device says; the devices of single layers cannot."""
    device, *others = target.devices
    for other in others:
        check_cells_only(other.noise, "the device of a single layer cannot have it")
    VaryActivations(device.noise)(model)
