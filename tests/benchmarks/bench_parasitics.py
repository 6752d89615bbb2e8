"""Time and memory of a tile's effective conductances, against the sparse nodal solution.

Usage: PYTHONPATH=tests python tests/benchmarks/bench_parasitics.py [--docs]. Medians of interleaved
repeats. The oracle is timed for one input vector and for all unit vectors, which is what
`effective` answers; sgemm is the product that a tile is used in, for 1,000 images. The last is what
cells that are not linear take for 16 inputs (sinh, v0 = 0.1 V, up to 0.3 V), each solved exactly.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import multiprocessing
from pathlib import Path

import numpy as np
from figures import figures, parser, table
from measure import interleaved
from numpy.typing import NDArray

from nvmc.hardware.devices import WireOhm
from nvmc.hardware.devices.currents import Sinh
from nvmc.runtime.crossbar.parasitics import approximate, effective
from nvmc.runtime.crossbar.relaxation import column_currents
from resistor_network import nodal_currents

SIZES = (32, 64, 128)
REPEATS = 7
OHM = 2.0
TITLES = {name: f"`{name}`" for name in ("effective", "approximate")}


def _tile(size: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 40, (size, size))


def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def _mebibytes_more(method: str, size: int) -> float:
    """Growth of the resident peak of a fresh process, Linux's; the libraries are loaded before."""
    g, small = _tile(size), np.ones((2, 2))
    effective(small, OHM, OHM)
    nodal_currents(small, np.eye(2), OHM, OHM)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of the imports
    before = _peak_kib()
    if method == "effective":
        effective(g, OHM, OHM)
    else:
        nodal_currents(g, np.eye(size), OHM, OHM)
    return (_peak_kib() - before) / 1024


def main() -> None:
    parser(__doc__).parse_args()
    rows: list[list[str]] = []
    x = np.random.default_rng(1).random((1000, max(SIZES)), dtype=np.float32)
    spawned = multiprocessing.get_context("spawn")
    for size in SIZES:
        g, unit = _tile(size), np.eye(size)
        single, wires = g.astype(np.float32), WireOhm(row=OHM, col=OHM)
        bent = Sinh(law="sinh", v0=0.1).both_signs(g[..., None], 0.3)
        volts = 0.3 * x[:16, :size].T.astype(np.float64)
        times = interleaved(
            {
                "effective": lambda g=g: effective(g, OHM, OHM),
                "approximate": lambda g=g: approximate(g, OHM, OHM),
                "oracle, all inputs": lambda g=g, v=unit: nodal_currents(g, v, OHM, OHM),
                "oracle, one input": lambda g=g, v=unit[0]: nodal_currents(g, v, OHM, OHM),
                "sgemm": lambda g=single, x=x[:, :size]: x @ g,
                "sinh cells, 16 inputs": lambda law=bent, v=volts, n=size, wires=wires: (
                    column_currents(law, v, n, wires)
                ),
            },
            REPEATS,
        )
        grown: list[str] = []
        for method in ("effective", "oracle"):
            with spawned.Pool(1) as pool:
                grown.append(f"{pool.apply(_mebibytes_more, (method, size)):.0f}")
        cells = [f"{seconds * 1e3:.3g} ms" for seconds in times.values()]
        rows.append([f"{size} × {size}", *cells, f"{', '.join(grown)} MiB"])
    head = ["tile", *(TITLES.get(name, name) for name in times), "memory: `effective`, oracle"]
    figures(__file__, "tiles", table(head, rows))


if __name__ == "__main__":
    main()
