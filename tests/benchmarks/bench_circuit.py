"""Seconds per chip as a circuit, as multiples of one sgemm of the same multiply count.

LeNet-5 on 1,000 images, 4-bit weights in 2-bit cells, 128 x 128 tiles, 8-bit DAC and ADC. The
baselines are NumPy products of float32 matrices with as many multiplications as the circuit's
conversions take (images x vectors x rows x columns of every lane): one whose sides are about equal,
which is BLAS at its best, and one a layer in the shapes that the layers have. All run on one thread
of BLAS, interleaved, in this process. Then how the time grows with images, tile rows and slices.

Usage: python tests/benchmarks/bench_circuit.py
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import interleaved, machine

from nvmc import Compiled, Target, compile_model, load_device
from nvmc.bench import Bench, Threads, set_up
from nvmc.chip import Chip
from nvmc.data import Dataset, load_data
from nvmc.devices import Periphery
from nvmc.models import resolve_model
from nvmc.runtime.montecarlo import single_threaded_blas

REPEATS = 9
IMAGES = 1000
VECTORS = {"conv1.weight": 28 * 28, "conv2.weight": 10 * 10}
"""Input vectors an image; one where not named."""


def images(count: int) -> Dataset:
    """The digits' test split, repeated."""
    digits = load_data("digits")
    order = np.arange(count) % len(digits.x)
    assert digits.y is not None
    return Dataset(f"digits x {count:,}", digits.x[order], digits.y[order])


def network(folder: Path, rows: int = 128, cell_bits: int = 2, **periphery: object) -> Compiled:
    """LeNet-5 on tiles."""
    stated = {"dac_bits": 8, "adc_bits": 8, **periphery}
    target = Target.of(
        load_device("fefet2" if cell_bits <= 2 else "ideal"),
        weight_bits=4,
        cell_bits=cell_bits,
        rows=rows,
        periphery=Periphery.model_validate(stated),
    )
    return compile_model(resolve_model("zoo:lenet5-digits"), target, output=folder / "m.nvmc")


def multiplications(compiled: Compiled, count: int) -> int:
    """Of one chip on `count` images: every cell is multiplied by every input vector."""
    cells = sum(VECTORS.get(a.name, 1) * a.cells for a in compiled.manifest.arrays)
    return count * cells


def sgemm(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors of one product of at least `size` multiplications."""
    side = round(size ** (1 / 3))
    shape = (-(-size // (side * side)), side)
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal(shape, np.float32), rng.standard_normal((side, side))
    return left, right.astype(np.float32)


def layer_products(compiled: Compiled, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The factors of one product a layer."""
    rng = np.random.default_rng(0)
    factors: list[tuple[np.ndarray, np.ndarray]] = []
    for a in compiled.manifest.arrays:
        vectors = count * VECTORS.get(a.name, 1)
        left = rng.standard_normal((a.cols * a.planes, a.rows), np.float32)
        factors.append((left, rng.standard_normal((a.rows, vectors), np.float32)))
    return factors


def run(bench: Bench, compiled: Compiled) -> None:
    """One chip."""
    bench.run([Chip.of(compiled.manifest.target, 0, 0)], Threads(1))


def seconds(compiled: Compiled, count: int) -> float:
    """Median seconds of a chip."""
    bench = set_up(compiled, compiled.manifest.target, data=images(count))
    return interleaved({"chip": lambda: run(bench, compiled)}, 5)["chip"]


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as name, single_threaded_blas():
        folder = Path(name)
        compiled = network(folder)
        bench = set_up(compiled, compiled.manifest.target, data=images(IMAGES))
        count = multiplications(compiled, IMAGES)
        left, right = sgemm(count)
        layers = layer_products(compiled, IMAGES)
        medians = interleaved(
            {
                "circuit": lambda: run(bench, compiled),
                "sgemm": lambda: left @ right,
                "sgemm a layer": lambda: [one @ two for one, two in layers],
            },
            REPEATS,
        )
        circuit = medians.pop("circuit")
        print(f"{IMAGES:,} images, {count / 1e6:,.0f} M multiplications, median of {REPEATS}")
        print(f"circuit {circuit:.4f} s a chip")
        for text, product in medians.items():
            print(f"{text} {product:.4f} s: the circuit takes {circuit / product:.2f} x")
        for number in (250, 500, 1000, 2000, 4000):
            print(f"{number:5,} images      {seconds(compiled, number):.4f} s a chip")
        for rows in (256, 128, 64, 32, 16):
            tiles = len(network(folder, rows).manifest.tiles)
            print(f"{rows:4} rows, {tiles:3} tiles {seconds(network(folder, rows), IMAGES):.4f} s")
        for bits in (4, 2, 1):
            found = seconds(network(folder, cell_bits=bits), IMAGES)
            print(f"{4 // bits} slices          {found:.4f} s")
        for text, stated in VARIANTS.items():
            print(f"{text:16} {seconds(network(folder, **stated), IMAGES):.4f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB (Linux), {time.process_time():.0f} s of processor time")


VARIANTS: dict[str, dict[str, object]] = {
    "bit-serial": {"dac_mode": "bit-serial"},
    "digital": {"subtract": "digital"},
    "offset inputs": {"signed_inputs": "offset"},
    "exact currents": {"adc_bits": None},
}


if __name__ == "__main__":
    main()
