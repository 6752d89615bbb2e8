"""Time and memory of compiling ResNet-50 (the weights-free model that ships with onnx).

Usage: python tests/benchmarks/bench_compile.py [--docs]. Each repeat is a fresh process; memory is
its peak resident set above that of a process that only imports nvmc's compiler.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
from figures import figures, parser, table

WEIGHTS_MB = 102.5  # 25.6 million float32 weights
REPEATS = 5
PROGRAM = """
import resource, sys, time
import nvmc.compiler
from nvmc import Target, compile_model, load_device
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
if len(sys.argv) > 1:
    compile_model(sys.argv[1], Target.of(load_device("fefet2")), output=sys.argv[2])
seconds = time.perf_counter() - started
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def measure(model: Path, folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of one compile in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, str(model), str(folder / "resnet50.nvmc")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def main() -> None:
    parser(__doc__).parse_args()
    light = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(light, Path(folder)) for _ in range(REPEATS)]
    seconds = statistics.median(s for s, _ in results)
    memory = statistics.median(m for _, m in results)
    times = memory * 2**20 / 1e6 / WEIGHTS_MB
    rows = [
        ["time", f"{seconds:.2f} s", "< 10 s"],
        ["memory", f"{memory:.0f} MiB, {times:.1f} times the weights", "< 3 times"],
    ]
    figures(__file__, "resnet50", table(["", "measured", "aim"], rows))


if __name__ == "__main__":
    main()
