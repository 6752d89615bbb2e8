"""Write a network, and make sure that it is one."""

from __future__ import annotations

from pathlib import Path

from nvmc.errors import ModelError
from nvmc.passes.graph.describe import Model
from nvmc.passes.infer_shapes import contradiction
from nvmc.passes.io.load import NEWEST_IR, load_model
from nvmc.passes.io.parse import ir_version_of
from nvmc.passes.io.save import save_model
from nvmc.runtime.sessions import check_loads

__all__ = ["save_checked"]


def save_checked(model: Model, path: Path, source: Path) -> None:
    """Write a network made of `source`, and make sure that a stock onnxruntime loads it.

    Raises:
        ModelError: onnxruntime does not load the source either, its shapes contradict each other,
            or an input has no shape.
        OSError: The file cannot be written.
        RuntimeError: The network is not valid: a fault of what made it.
    """
    save_model(model, path)
    try:
        check_loads(path)
    except ModelError as error:
        try:
            if ir_version_of(source) <= NEWEST_IR:
                check_loads(source)
        except ModelError as problem:
            raise ModelError(f"{str(source)!r}: {problem}; export it again") from problem
        found = contradiction(load_model(source))
        if found is not None:
            raise ModelError(f"shapes in {str(source)!r} contradict each other: {found}") from error
        raise RuntimeError(f"{path.name} is not valid: {error}") from error
