"""Time of `nvmc place` of ResNet-50 (the weights-free model that ships with onnx).

Usage: python tests/benchmarks/bench_place.py [FOLDER.nvmc]. Each repeat is a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench_cost import compiled
from measure import print_command

OPTIONS = ["--hardware", "isaac-32nm", "--tiles", "25216", "--pipeline", "--chiplets", "2x1"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        network = Path(sys.argv[1]) if len(sys.argv) > 1 else compiled(Path(folder))
        command = ["place", str(network), *OPTIONS]
        print_command("nvmc place of ResNet-50 with twice its tiles", command, 5)


if __name__ == "__main__":
    main()
