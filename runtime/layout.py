"""A large network as onnxruntime optimises it, found once, so that chips need no copies of weights.

Whenever a session is made, onnxruntime optimises the network anew and lays the weights of
convolutions out in blocks of channels: twice as much again as the weights. Here it does so once,
with weights that are almost everywhere zero, and saves what came out. A chip's session is made from
that with optimisation off, and its weights, laid out as onnxruntime had them, are what the session
computes with: it keeps them without a copy, or packs them and lets them go. Kernels, and so all
bits, are the same.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nvmc.passes.follow_weights import Optimised, marked, read_optimised
from nvmc.runtime.memory import check_memory, making
from nvmc.runtime.sessions import one_thread, opened

__all__ = ["LaidOut", "Layouts", "lay_out"]

_ort: Any = onnxruntime  # it is untyped
Float = NDArray[np.float32]

_STAND_IN, _OPTIMISED, _DATA = "weights", "optimised.onnx", "data"  # files


@dataclass(frozen=True)
class LaidOut:
    """A network that is optimised, and lacks the weights of a chip."""

    network: Optimised

    def session(self, weight: Callable[[str], Float]) -> Any:
        """A session of a chip; `weight` makes its weights, each called for once if used once."""
        options = one_thread()
        options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        # A file that is there has to be named, and is not read: every initializer is given.
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(Path(__file__).parent))
        with making(self.network.packed):
            values: list[Any] = []
            for name, form in self.network.forms.items():
                # Through DLPack the array belongs to whoever holds the value, here the session.
                array = np.require(form.of(weight(form.source)), np.float32, ["C", "W"])
                values.append(_ort.OrtValue.from_dlpack(array))
                options.add_initializer(name, values[-1])
            size = sum(value.tensor_size_in_bytes() for value in values)
            return opened(self.network.model, options, size)


class Layouts:
    """`lay_out` of a network, called once in each process that asks."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._model: bytes | None = None
        self._found: LaidOut | None = None

    def __reduce__(self) -> tuple[type[Layouts], tuple[()]]:
        return Layouts, ()  # another process may be on another kind of processor

    def of(self, model: bytes, weights: Sequence[str], size: int) -> LaidOut | None:
        """As `lay_out`, of weights of so many bytes.

        Raises:
            OutOfMemoryError: There is too little memory for it, and so for one chip.
        """
        with self._lock:
            if self._model is not model:
                check_memory(size, 1)
                self._model, self._found = model, lay_out(model, weights)
            return self._found


def lay_out(model: bytes, weights: Sequence[str]) -> LaidOut | None:
    """The network as onnxruntime optimises it.

    Args:
        model: Serialised; the weights are initializers whose external data do not exist.
        weights: Their names.

    Returns:
        None where the network has branches or loops, where some weight is not float32 or goes
        through optimisation neither as it is nor in blocks of channels (as one that is multiplied
        by what follows its layer), and where there is no disk for one copy of the weights.

    Cost: the disk of one copy of the weights, read and written once, and memory of two.
    """
    with tempfile.TemporaryDirectory(prefix="nvmc-") as name:
        folder = Path(name)
        try:
            found = marked(model, weights, folder / _STAND_IN)
            if found is None:
                return None
            smallest = min(4 * math.prod(shape) for shape, _, _ in found[1].values())
            _optimise(found[0], folder, smallest)
            files = folder / _OPTIMISED, folder / _DATA
            optimised = read_optimised(model, found[1], *files, Path(__file__).name)
        except Exception:  # the ordinary way is left, and says what is wrong
            return None
    return optimised and LaidOut(optimised)


def _optimise(model: bytes, folder: Path, least: int) -> None:
    """Save the optimised network, and make sure that onnxruntime takes it back.

    Initializers of fewer than `least` bytes stay in it: onnxruntime wants to see some of them, such
    as the sizes of Split, when it infers shapes.
    """
    options = one_thread()
    options.optimized_model_filepath = str(folder / _OPTIMISED)
    for key, value in {
        "session.model_external_initializers_file_folder_path": str(folder),
        "session.optimized_model_external_initializers_file_name": _DATA,
        "session.optimized_model_external_initializers_min_size_in_bytes": str(least),
        "session.disable_prepacking": "1",  # which is no part of what is saved
    }.items():
        options.add_session_config_entry(key, value)
    opened(model, options)
    again = one_thread()
    again.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    again.add_session_config_entry("session.disable_prepacking", "1")
    opened(str(folder / _OPTIMISED), again)
