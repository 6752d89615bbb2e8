"""What images drive the rows of a network's arrays with; alone here it loads onnxruntime."""

from __future__ import annotations

from nvmc.cost.drives import Drives
from nvmc.data import Data, load_data
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target
from nvmc.passes.graph.describe import Model, serialized, set_target, tensor_entries
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.calibration import run_in_batches
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.drives import DriveObserver
from nvmc.runtime.feeding import feed_of
from nvmc.runtime.provider import make_session, observe_arrays

__all__ = ["IMAGES", "drives_on"]

IMAGES = 32
"""Images that drives are counted on, unless told otherwise: a circuit takes a hundred times what
its network does."""


def drives_on(
    model: Model, target: Target, data: Data, limit: int | None
) -> tuple[dict[str, Drives], str, int]:
    """What images drive the arrays of a compiled network with.

    Every circuit is the ideal chip's, without the resistance of wires and with linear cells: these
    are the drives that the network's own activations are.

    Args:
        model: The compiled network; its target is replaced.
        target: How its arrays are used.
        data: The images.
        limit: How many; `IMAGES` by default.

    Returns:
        The drives by array, what the images are, and how many.

    Raises:
        DataError: The images do not fit the network.
        ModelError: onnxruntime cannot run it.
    """
    dataset = load_data(data, limit=limit or IMAGES)
    set_target(model, target.everywhere(wire_ohm=None, read_v=None))
    images = feed_of(tensor_entries(model.graph.inputs), dataset, 0, None)
    with single_threaded_blas(), observe_arrays(DriveObserver) as seen:
        session = make_session(serialized(model), chip=Chip.ideal(), quiet=True)
        for _ in run_in_batches(session, images):
            pass
    found = {name: _found(observer, target.of_array(name)) for name, observer in seen.items()}
    return {n: d for n, d in found.items() if d is not None}, dataset.name, len(images)


def _found(observer: DriveObserver, target: Target) -> Drives | None:
    periphery = target.periphery
    dac = Dac(periphery)
    rows = observer.of_rows(dac.largest)
    pulses = dac.slices * (1 + (dac.phases - 1) * observer.signed)
    return None if rows is None else Drives(*rows, active=observer.active, pulses=pulses)
