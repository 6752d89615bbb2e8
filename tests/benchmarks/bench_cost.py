"""Time of `nvmc cost` of ResNet-50 (the weights-free model that ships with onnx).

Usage: python tests/benchmarks/bench_cost.py [FOLDER.nvmc]. Each repeat is a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import onnx
from measure import print_command

from nvmc import Target, compile_model
from nvmc.hardware.devices import Periphery


def compiled(folder: Path) -> Path:
    """ResNet-50 with 8-bit weights in 2-bit cells, 8-bit inputs bit by bit, and 8-bit ADCs."""
    light = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    periphery = Periphery(dac_bits=8, dac_mode="bit-serial", adc_bits=8)
    target = Target.of("rram4", weight_bits=8, cell_bits=2, periphery=periphery)
    return compile_model(light, target, output=folder / "resnet50.nvmc").folder


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        network = Path(sys.argv[1]) if len(sys.argv) > 1 else compiled(Path(folder))
        command = ["cost", str(network), "--hardware", "isaac-32nm"]
        print_command("nvmc cost of ResNet-50", command, 2)


if __name__ == "__main__":
    main()
