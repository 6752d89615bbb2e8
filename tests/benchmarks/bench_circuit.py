"""Seconds per chip as a circuit, as multiples of one sgemm of the same multiply count.

LeNet-5 on 1,000 images, 4-bit weights in 2-bit cells, 128 x 128 tiles, 8-bit DAC and ADC. The
baselines are NumPy products of float32 matrices with as many multiplications as the circuit's
conversions take (images x vectors x rows x columns of every lane): one whose sides are about equal,
which is BLAS at its best, and one a layer in the shapes that the layers have. Then other circuits,
interleaved with the same baselines, and how the time grows with images, tile rows and slices. Then
the layers of larger networks, and the kernels for other processors, on single convolutions.

All run on one thread, interleaved, in this process. Times are of the processor, so other work on
the machine costs the cache, but not the time that it takes; except for chips in two threads, where
time is time.

Usage: python tests/benchmarks/bench_circuit.py [--docs]
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import figures, parser, table
from measure import interleaved

from nvmc import Compiled, Target, compile_model, load_device
from nvmc.data import Dataset, load_data
from nvmc.evaluation.population import Threads, Workload
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Periphery, parse_noise
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.models import resolve_model
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.crossbar import kernels
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.runtime.crossbar.operand import CircuitOperand

REPEATS = 7
IMAGES = 1000
CHIPS = 4
"""Chips a repeat: what a call costs before the first of them is shared."""
VECTORS = {"conv1.weight": 28 * 28, "conv2.weight": 10 * 10}
"""Input vectors an image; one where not named."""

VARIANTS: dict[str, dict[str, Any]] = {
    "read noise": {"noise": "read:basis=level,sigma=0.2"},
    "bit-serial": {"dac_mode": "bit-serial"},
    "digital": {"subtract": "digital"},
    "offset inputs": {"signed_inputs": "offset"},
    "exact currents": {"adc_bits": None},
}
LAYERS = ((64, 32, 64, 3, 1), (128, 16, 256, 3, 2), (512, 4, 512, 3, 1), (256, 8, 256, 1, 1))
"""Channels in, side of the image, channels out, side of the kernel, stride."""


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
    """Of one chip on `count` images: every lane's rows and columns by every input vector."""
    slices = compiled.manifest.target.layout.slices
    each = sum(VECTORS.get(a.name, 1) * a.rows * a.cols for a in compiled.manifest.arrays)
    return count * each * slices


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
    slices = compiled.manifest.target.layout.slices
    factors: list[tuple[np.ndarray, np.ndarray]] = []
    for a in compiled.manifest.arrays:
        vectors = count * VECTORS.get(a.name, 1)
        left = rng.standard_normal((a.cols * slices, a.rows), np.float32)
        factors.append((left, rng.standard_normal((a.rows, vectors), np.float32)))
    return factors


def chips_of(
    workload: Workload, target: Target, count: int = 1, jobs: int = 1
) -> Callable[[], object]:
    """Running some chips."""
    chips = [Chip.of(target, 0, index) for index in range(count)]
    return lambda: workload.run(chips, Threads(jobs))


def circuit(folder: Path, noise: str | None = None, **stated: Any) -> Callable[[], object]:
    """Some chips of LeNet-5."""
    count = stated.pop("images", IMAGES)
    compiled = network(folder, **stated)
    target = compiled.manifest.target
    if noise is not None:
        target = target.on(None, [parse_noise(noise)])
    return chips_of(set_up(compiled, target, data=images(count)), target, CHIPS)


def convolution(
    layer: tuple[int, int, int, int, int], kernel: str = KERNELS[0], count: int = 8
) -> tuple[Callable[[], object], int]:
    """A convolution of `count` images, and its multiplications."""
    channels, side, out, size, stride = layer
    rng = np.random.default_rng(0)
    periphery = Periphery(dac_bits=8, adc_bits=8)
    target = Target.of(load_device("fefet2"), weight_bits=4, cell_bits=2, periphery=periphery)
    weight = rng.standard_normal((out, channels, size, size))
    scale = scale_of(weight, 4).astype(np.float32)
    array, chip = Array("w", quantize(weight, scale, 4), scale, target), Chip.of(target, 0, 0)
    operand = CircuitOperand(array, chip.program(array), chip, kernel=kernel)
    x = np.maximum(rng.standard_normal((count, channels, side, side), np.float32), 0)
    attributes = {"strides": [stride, stride], "pads": [size // 2] * 4}
    pixels = count * (-(-side // stride)) ** 2
    multiplied = pixels * array.codes.size * target.layout.slices
    return lambda: kernels.conv([x, None, None], [operand], attributes), multiplied


def medians_of(
    contestants: dict[str, Callable[[], object]], repeats: int = REPEATS
) -> dict[str, float]:
    """Median seconds of the processor."""
    return interleaved(contestants, repeats, time.process_time)


def circuits(folder: Path) -> None:
    """The circuit and its variants against the two products."""
    compiled = network(folder)
    count = multiplications(compiled, IMAGES)
    left, right = sgemm(count)
    layers = layer_products(compiled, IMAGES)
    found = medians_of(
        {
            "sgemm": lambda: [left @ right for _ in range(CHIPS)],
            "sgemm a layer": lambda: [one @ two for _ in range(CHIPS) for one, two in layers],
            "circuit": circuit(folder),
            **{name: circuit(folder, **stated) for name, stated in VARIANTS.items()},
        }
    )
    rows: list[list[str]] = []
    for name, median in found.items():
        square, layered = (median / found[product] for product in ("sgemm", "sgemm a layer"))
        rows.append([name, f"{median / CHIPS:.3f}", f"{square:.1f}", f"{layered:.1f}"])
    head = ["", "seconds per chip", "× one square sgemm", "× one sgemm a layer"]
    figures(__file__, "circuits", table(head, rows))


def growth(folder: Path) -> None:
    """More images, smaller tiles, more slices."""
    found: dict[str, float] = {}
    for number in (250, 500, 1000, 2000, 4000):
        found[f"{number:,} images"] = a_chip(folder, images=number)
    for size in (256, 128, 64, 32, 16):
        tiles = sum(a.tiles for a in network(folder, size).manifest.arrays)
        found[f"{tiles} tiles of {size} rows"] = a_chip(folder, rows=size)
    for bits in (4, 2, 1):
        found[f"{bits}-bit cells"] = a_chip(folder, cell_bits=bits)
    rows = [[name, f"{seconds:.3f}"] for name, seconds in found.items()]
    figures(__file__, "growth", table(["", "seconds per chip"], rows))


def a_chip(folder: Path, **stated: Any) -> float:
    """Median seconds of the processor a chip."""
    return alone(circuit(folder, **stated)) / CHIPS


def alone(run: Callable[[], object]) -> float:
    """Median seconds of the processor."""
    return medians_of({"run": run}, 3)["run"]


def convolutions() -> None:
    """Wide layers against one product of equal sides; each kernel on LeNet-5's second layer."""
    for layer in LAYERS:
        run, count = convolution(layer)
        left, right = sgemm(count)
        found = medians_of({"circuit": run, "sgemm": lambda a=left, b=right: a @ b})
        ratio = found["circuit"] / found["sgemm"]
        channels, side, out, size, stride = layer
        what = f"{channels} x {side} x {side} to {out}, {size} x {size}, stride {stride}"
        print(f"{what:36} {count / 1e6:4.0f} M {ratio:5.2f} sgemm")
    for kernel in KERNELS:
        number = 4 if kernel in ("portable", NUMPY) else 100
        found = alone(convolution((6, 14, 16, 5, 1), kernel, number)[0])
        print(f"kernel {kernel:9} {1e6 * found / number:8.1f} us per image")


def threads(folder: Path) -> None:
    """Two chips in two threads against two one after the other; time of the clock."""
    compiled = network(folder)
    for noise in (None, VARIANTS["read noise"]["noise"]):
        target = compiled.manifest.target
        target = target if noise is None else target.on(None, [parse_noise(noise)])
        workload = set_up(compiled, target, data=images(IMAGES))
        ratios: list[float] = []
        for _ in range(REPEATS):
            pair = {str(jobs): chips_of(workload, target, 4, jobs) for jobs in (1, 2)}
            found = interleaved(pair, 1)
            ratios.append(found["1"] / found["2"])
        told = "without" if noise is None else "with"
        print(
            f"two threads, {told} read noise: {statistics.median(ratios):.2f} times as fast as one"
        )


def main() -> None:
    parser(__doc__).parse_args()
    print(f"kernel {KERNELS[0]}")
    with tempfile.TemporaryDirectory() as name, single_threaded_blas():
        circuits(Path(name))
        growth(Path(name))
        convolutions()
        threads(Path(name))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB (Linux), {time.process_time():.0f} s of processor time")


if __name__ == "__main__":
    main()
