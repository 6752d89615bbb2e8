"""Small compiled networks, written by hand in ONNX text syntax."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

from nvmc.compiled.operators import DOMAIN, OPS, VERSION, function_text
from nvmc.hardware.devices import Target, load_device

OPSET = 21


def fefet() -> Target:
    """Four-bit weights on two-bit cells, noisy."""
    return Target.of(load_device("fefet2"))


def codes_of(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.int8]:
    """Codes of four bits and a sign."""
    return np.random.default_rng(seed).integers(-15, 16, shape).astype(np.int8)


def network(
    text: str,
    initializers: dict[str, NDArray[Any]],
    target: Target | None = None,
    functions: tuple[str, ...] | None = None,
    version: int = VERSION,
) -> bytes:
    """A model of the graph `text` with the functions it may call.

    Args:
        text: A graph in ONNX text syntax; outputs named `omitted...` are left out.
        initializers: Constants of the main graph.
        target: What the metadata says; None for no metadata.
        functions: Operators to define; None for all.
        version: Version of the nvmc domain that the model imports.
    """
    graph = parser.parse_graph(text)
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in initializers.items())
    for node in graph.node:
        node.output[:] = ["" if name.startswith("omitted") else name for name in node.output]
    bodies = [
        parser.parse_function(function_text(op, OPSET))
        for op in OPS.values()
        if functions is None or op.name in functions
    ]
    for body in bodies:
        body.opset_import.append(helper.make_opsetid(DOMAIN, version))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, version)],
        functions=bodies,
        ir_version=10,
    )
    if target is not None:
        helper.set_model_props(model, {"nvmc.target": target.model_dump_json()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def matmul(target: Target | None = None, name: str = "dense", version: int = VERSION) -> bytes:
    """One MatMul of (N, 4) with codes (4, 3)."""
    label = f"[{name}]" if name else ""
    return network(
        f"""g (float[N, 4] x) => (float[N, 3] y)
        {{ {label} y = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale) }}""",
        {"w_codes": codes_of((4, 3)), "w_scale": np.float32(0.5).reshape(())},
        fefet() if target is None else target,
        functions=("CrossbarMatMul",),
        version=version,
    )


def batch(rows: int = 2, columns: int = 4, seed: int = 1) -> NDArray[np.float32]:
    """Normal inputs."""
    return np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32)
