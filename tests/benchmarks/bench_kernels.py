"""Time of the Conv kernel on LeNet-5's two convolutions, against one sgemm of the same MACs.

Run as `python tests/benchmarks/bench_kernels.py`; prints the ratio, the median over interleaved
repeats.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from nvmc.runtime.crossbar.kernels import conv
from nvmc.runtime.crossbar.operand import ExactOperand

IMAGES = 1000
REPEATS = 15
# input (channels, height, width), weight, pads
LAYERS = (((1, 28, 28), (6, 1, 5, 5), 2), ((6, 14, 14), (16, 6, 5, 5), 0))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    rng = np.random.default_rng(0)
    convs: list[Callable[[], object]] = []
    products: list[Callable[[], object]] = []
    for image, kernel, pad in LAYERS:
        x = rng.standard_normal((IMAGES, *image), dtype=np.float32)
        w = rng.standard_normal(kernel, dtype=np.float32)
        inputs, attributes = [x, None, None], {"pads": [pad] * 4}
        outputs = conv(inputs, [ExactOperand(w)], attributes)[0].shape
        convs.append(lambda i=inputs, w=w, a=attributes: conv(i, [ExactOperand(w)], a))
        vectors = (int(np.prod(kernel[1:])), outputs[0] * outputs[2] * outputs[3])
        columns = rng.standard_normal(vectors, dtype=np.float32)
        products.append(lambda w=w, c=columns: w.reshape(len(w), -1) @ c)
    times: list[list[float]] = []
    for _ in range(REPEATS):
        times.append([_seconds(call) for call in (*convs, *products)])
    conv1, conv2, gemm1, gemm2 = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median((a + b) / (c + d) for a, b, c, d in times)
    print(f"conv1 {conv1 * 1e3:.1f} ms, its sgemm {gemm1 * 1e3:.1f} ms")
    print(f"conv2 {conv2 * 1e3:.1f} ms, its sgemm {gemm2 * 1e3:.1f} ms")
    print(f"both: {ratio:.2f} times the sgemm, {IMAGES} images, median of {REPEATS}")


if __name__ == "__main__":
    main()
