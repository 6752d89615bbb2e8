"""Sessions of a compiled network on one chip without the compiled provider.

The digital parts run in onnxruntime, and every array node in between is called from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.errors import ModelError, ProviderError
from nvmc.passes.graph.parts import ArrayNode, PartedNetwork
from nvmc.runtime.missing import HOW
from nvmc.runtime.provider.options import ProviderOptions
from nvmc.runtime.provider.session import ProviderSession
from nvmc.runtime.sessions import one_thread, opened

__all__ = ["PartedSession"]


@dataclass(frozen=True)
class _Value:
    """An input or output, with the attributes of onnxruntime's `NodeArg`."""

    name: str
    shape: list[Any]


class PartedSession:
    """What is used of an `onnxruntime.InferenceSession`, with the values of one on the provider.

    Args:
        model: A compiled network's `model.onnx`, or its content.
        options: Which chip; or the one of `use_chip`.
        threads: Threads of onnxruntime's own operators.

    Raises:
        ModelError: It is no network.
        ProviderError: It has array nodes inside others, such as Loop; or another version of nvmc
            compiled it.
    """

    def __init__(self, model: str | Path | bytes, options: ProviderOptions, threads: int) -> None:
        self._network = network = PartedNetwork(model)
        if network.inside is not None:
            raise ProviderError(
                f"{network.inside}, which only the compiled provider runs, and it is not compiled "
                f"here: {HOW}"
            )
        session = ProviderSession(options)
        taken = session.claim([array.fields for array in network.arrays], network.target)
        mine = [a for a, is_taken in zip(network.arrays, taken, strict=True) if is_taken]
        self._kernels = {array: session.compile(array.fields) for array in mine}
        self._stages = network.stages({array.fields["place"] for array in mine})
        read = {name for array in mine for name in array.inputs}
        self._constants = network.constants(read | {*network.outputs, *network.presets})
        self._sessions: dict[int, Any] = {}
        self._threads = threads

    def get_inputs(self) -> list[_Value]:
        """Its inputs, with name and shape."""
        return [_Value(name, shape) for name, shape in self._network.inputs.items()]

    def get_outputs(self) -> list[_Value]:
        """Its outputs, with their names; nothing is known of their shapes."""
        return [_Value(name, []) for name in self._network.outputs]

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, Any]) -> list[Any]:
        """The outputs of those names, or all.

        Raises:
            ModelError: An input is missing, an output is not there, or a value is no tensor.
        """
        names = self._network.outputs if names is None else list(names)
        for name in (n for n in self._network.inputs if n not in inputs):
            raise ModelError(f"input {name!r} is missing")
        for name in (n for n in names if n not in self._network.outputs):
            raise ModelError(f"there is no output {name!r}")
        values: dict[str, Any] = {**self._constants, **inputs}
        for number, stage in enumerate(self._stages):
            if stage.gives:
                fed = {name: values[name] for name in stage.needs}
                found = self._digital(number, fed).run(stage.gives, fed)
                values |= dict(zip(stage.gives, found, strict=True))
            for array in stage.arrays:
                values |= self._read(array, values)
            for name in stage.frees:
                if name not in self._constants:
                    del values[name]
        return [values[name] for name in names]

    def _digital(self, number: int, fed: Mapping[str, Any]) -> Any:
        """The session of a stage's digital nodes; made once."""
        if number not in self._sessions:
            options = one_thread()
            options.intra_op_num_threads = self._threads
            content = self._network.digital(self._stages[number], fed)
            self._sessions[number] = opened(content, options)
        return self._sessions[number]

    def _read(self, array: ArrayNode, values: Mapping[str, Any]) -> dict[str, Any]:
        given = [values[name] if name else None for name in array.inputs]
        found = self._kernels[array](given)
        made = zip(array.outputs, found, strict=False)
        return {name: np.ascontiguousarray(value) for name, value in made if name}
