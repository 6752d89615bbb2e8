"""What a simulation would refuse of a compiled network, known before there are data."""

from __future__ import annotations

from nvmc.errors import NvmcError
from nvmc.passes.bind_inputs import fix_sizes
from nvmc.passes.feed_masks import FeedMasks, draws_numbers
from nvmc.passes.graph.describe import Model, tensor_entries
from nvmc.passes.graph.outputs import rows_by_image
from nvmc.runtime.feeding import check_first_axis
from nvmc.runtime.seeded import seeded_sizes

__all__ = ["refusal_of"]


def refusal_of(model: Model) -> str | None:
    """Why chips of a compiled network cannot be simulated, as far as the network alone tells."""
    inputs, outputs = tensor_entries(model.graph.inputs), tensor_entries(model.graph.outputs)
    if not inputs:
        return "the network has no input to give images to"
    try:
        sizes = seeded_sizes(inputs)
        check_first_axis(inputs, outputs)
        if draws_numbers(model):
            copy = model.clone()
            fix_sizes(copy, sizes)
            FeedMasks()(copy)
    except NvmcError as error:
        return str(error)
    if rows_by_image(model):
        return (
            "the outputs' rows depend on the image, as NonMaxSuppression leaves them; export the "
            "network without that node"
        )
    return None
