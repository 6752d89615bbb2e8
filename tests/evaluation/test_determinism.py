"""What decides the bits of a result: not threads; the kind of processor only where docs say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc import Target, compile_model, load_device, open_compiled, program_chip
from nvmc.hardware.devices import Periphery, WireOhm
from nvmc.rng import stream
from onnx_text import proto_of

KINDS = {
    "Nehalem": {"sse4_2"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
"""Kernels of OpenBLAS -> what a processor must have to run them."""

ROWS, HIDDEN, CLASSES = 300, 200, 10
NETWORK = f"""g (float[N,{ROWS}] x) => (float[N,{CLASSES}] y)
<float[{ROWS},{HIDDEN}] w, float[{HIDDEN},{CLASSES}] v> {{
  h = MatMul (x, w)
  a = Relu (h)
  y = MatMul (a, v)
}}"""

SCRIPT = """
import json, sys
import numpy as np
from nvmc import make_session
from threadpoolctl import threadpool_info
found = {"kinds": sorted({str(row.get("architecture")) for row in threadpool_info()} - {"None"})}
for folder in sys.argv[2:]:
    session = make_session(f"{folder}/model.onnx", chip=2, quiet=True)
    found[folder.rpartition("/")[2]] = session.run(None, {"x": np.load(sys.argv[1])})[0].tolist()
print(json.dumps(found))
"""


def compiled(folder: Path) -> list[Path]:
    """The network behind an ideal periphery, behind converters, and with wires too."""
    onnx.save(proto_of(NETWORK), folder / "m.onnx")
    target = Target.of(load_device("fefet2"))
    converters = Periphery(dac_bits=6, adc_bits=7)
    wires = converters.model_copy(update={"wire_ohm": WireOhm(row=2.0, col=3.0)})
    sides = {"cells": Periphery(), "circuit": converters, "wires": wires}
    for name, periphery in sides.items():
        cells = target.model_copy(update={"periphery": periphery})
        compile_model(folder / "m.onnx", cells, output=folder / name)
    return [folder / name for name in sides]


def outputs(kind: str, threads: str, x: Path, folders: list[Path]) -> dict[str, Any]:
    """What every network computes in a process whose BLAS is told both."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(x), *map(str, folders)],
        env={**os.environ, **counts, "OPENBLAS_CORETYPE": kind},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def within_rounding(y: np.ndarray, x: np.ndarray, layers: list[np.ndarray]) -> bool:
    """Whether y may be the outputs: every sum of n products in float32, in any order, errs by at
    most n u / (1 - n u) times the sum of their magnitudes, u = 2^-24; layers pass errors on."""
    exact, error = x.astype(np.float64), np.zeros(x.shape)
    for number, weight in enumerate(layers):
        exact, error = np.maximum(exact, 0) if number else exact, error
        largest = np.abs(exact) + error
        gamma = len(weight) * 2.0**-24 / (1 - len(weight) * 2.0**-24)
        error = error @ np.abs(weight) + gamma * (largest @ np.abs(weight))
        exact = exact @ weight.astype(np.float64)
    return bool((np.abs(y - exact) <= error).all())


@pytest.mark.slow
def test_processors_differ_within_rounding_and_threads_not_at_all(tmp_path: Path) -> None:
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() else set[str]()
    folders, x = compiled(tmp_path), stream(0, 0, "x").random((20, ROWS), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    program_chip(open_compiled(folders[0]), 2, tmp_path / "chip.onnx")
    weights = onnx.load(tmp_path / "chip.onnx").graph.initializer
    layers = [onnx.numpy_helper.to_array(w) for w in weights if len(w.dims) == 2]
    found: dict[str, dict[str, Any]] = {}
    for kind in [kind for kind, needed in KINDS.items() if needed <= flags]:
        one, four = (outputs(kind, count, tmp_path / "x.npy", folders) for count in "14")
        assert one == four
        if kind in one["kinds"]:  # else NumPy's BLAS is not OpenBLAS, or chose for itself
            found[kind] = one
    if not found:
        pytest.skip("NumPy's BLAS does not choose its kernels by OPENBLAS_CORETYPE")
    for kind, outputs_there in found.items():
        y = np.array(outputs_there["cells"])
        assert within_rounding(y, x, layers) and not within_rounding(1.01 * y, x, layers), kind
    assert len({str(outputs_there["circuit"]) for outputs_there in found.values()}) == 1
