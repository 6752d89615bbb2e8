"""Input codes that one image drives the arrays of a network with."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.artifact import TensorEntry
from nvmc.data import Data, load_data
from nvmc.errors import OptionError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target
from nvmc.passes.detach_weights import images_a_run
from nvmc.passes.graph.describe import Model, serialized, set_target
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.calibration import run_in_batches
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Pulse
from nvmc.runtime.feeding import feed_of
from nvmc.runtime.provider import make_session, observe_arrays
from nvmc.runtime.seeded import seeded_text

__all__ = ["CodeObserver", "codes_of_image"]

Real = NDArray[np.floating[Any]]
Codes = NDArray[np.int32]

_PLAIN: dict[str, Any] = {
    "dac_mode": "multi-level",
    "dac_slice_bits": 1,
    "dac_inl": 0.0,
    "accumulate": "digital",
    "signed_inputs": "two-phase",
    "wire_ohm": None,
    "read_v": None,
    "rows_on": None,
    "waiting_rows": "ground",
}
"""One pulse for a code of each sign, whatever the target's own are: codes are what is wanted."""


class CodeObserver:
    """Keeps the codes of all vectors that drive one array, in the order of the vectors."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pieces: dict[int, list[NDArray[np.float32]]] = {}

    def inputs(self, x: Real) -> None:
        """See the inputs of whole entries, whose codes come later."""

    def drives(self, rows: slice, pulse: Pulse) -> None:
        """See what a pulse puts on some rows, shape (entries, groups, vectors, rows)."""
        counted = np.float32(pulse.weight) * pulse.drive.astype(np.float32)  # whole, below 2^24
        with self._lock:
            pieces = self._pieces.setdefault(rows.start, [])
            if pulse.index == 0:
                pieces.append(counted)
            else:
                pieces[-1] += counted

    def currents(self, currents: Real, adc: Adc, counts: Real) -> None:
        """See what one ADC is about to convert, which says nothing of codes."""

    def codes(self) -> Codes | None:
        """Signed codes, shape (groups, vectors, rows); None where nothing was seen."""
        blocks = [
            np.concatenate([_vectors(piece) for piece in self._pieces[first]], axis=1)
            for first in sorted(self._pieces)
        ]
        return np.rint(np.concatenate(blocks, axis=2)).astype(np.int32) if blocks else None


def _vectors(piece: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors of all entries one after the other, shape (groups, vectors, rows)."""
    entries, groups, vectors, rows = piece.shape
    return piece.swapaxes(0, 1).reshape(groups, entries * vectors, rows)


def codes_of_image(
    model: Model, inputs: list[TensorEntry], target: Target, data: Data | None
) -> tuple[dict[str, Codes], str]:
    """What the first image drives the arrays of a compiled network with, on the ideal chip.

    Circuits are without the resistance of wires and with linear cells, as `nvmc cost` counts.

    Args:
        model: The compiled network; its target is replaced.
        inputs: Of the network.
        target: How its arrays are used; with DACs.
        data: The images; None for seeded inputs.

    Returns:
        Signed codes of each array that was driven, shape (groups, vectors, rows), and what the
        image is.

    Raises:
        DataError: The image does not fit the network.
        ModelError: onnxruntime cannot run it.
        OptionError: The network takes several images at a time.
    """
    if (batch := images_a_run(model)) > 1 and isinstance((inputs[0].shape or [None])[0], int):
        raise OptionError(
            f"the network takes {batch} images at a time, and a trace is of one; export it with a "
            "free first axis, and compile again"
        )
    dataset = None if data is None else load_data(data, limit=1)
    set_target(model, target.everywhere(**_PLAIN))
    image = feed_of(inputs, dataset, 0, 1)
    with single_threaded_blas(), observe_arrays(CodeObserver) as seen:
        session = make_session(serialized(model), chip=Chip.ideal(), quiet=True)
        for _ in run_in_batches(session, image):
            pass
    found = {name: codes for name, one in seen.items() if (codes := one.codes()) is not None}
    return found, seeded_text(inputs) if dataset is None else f"the first image of {dataset.name}"
