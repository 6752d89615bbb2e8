"""What DNN+NeuroSim V1.4 makes of its files, written from the description of its format alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class NeuroSimFiles:
    """The arguments of `trace_command.sh`, and the files that they name."""

    def __init__(self, folder: Path) -> None:
        text = (folder / "trace_command.sh").read_text()
        words = text[text.index("exec") :].replace("\\\n", " ").split()
        at = words.index("NetWork.csv")
        numbers, files = words[at + 1 : at + 5], words[at + 5 :]
        self.synapse, self.inputs, self.rows, self.together = map(int, numbers)
        self.pairs = list(zip(files[0::2], files[1::2], strict=True))
        lines = (folder / "NetWork.csv").read_text().splitlines()
        self.network = [[int(entry) for entry in line.split(",")] for line in lines]
        self._folder = folder
        self.param = dict(
            line.removeprefix("# Param.cpp: ").rstrip(";").split(" = ")
            for line in text.splitlines()
            if line.startswith("# Param.cpp: ")
        )

    def vectors(self, layer: int) -> int:
        """Input vectors as NeuroSim counts them: numbers of double, cut to a whole one."""
        height, width, _, down, across, _, _, stride = self.network[layer]
        return int((height - down + 1) / stride * (width - across + 1) / stride)

    def weights(self, layer: int) -> Any:
        """Signed codes, from the digits that NeuroSim programs; shape (rows, columns)."""
        text = (self._folder / self.pairs[layer][0]).read_text()
        half = 2 ** (self.synapse - 1)
        cell = 2 ** int(self.param["cellBit"])
        digits = -(-self.synapse // int(self.param["cellBit"]))
        found: list[list[int]] = []
        for line in text.splitlines():
            row: list[int] = []
            for entry in line.split(","):
                value = int(half * (float(entry) - 1) + 2 * half + 0.5)
                held, kept = value, 0
                for place in range(digits):
                    kept += (held % cell) * cell**place
                    held //= cell
                row.append(kept - half)
            found.append(row)
        return np.array(found)

    def codes(self, layer: int) -> Any:
        """Signed input codes, shape (vectors, rows): two's complement, sign first."""
        lines = (self._folder / self.pairs[layer][1]).read_text().splitlines()
        bits = [[int(entry) for entry in line.split(",")] for line in lines]
        count = self.vectors(layer)
        assert all(len(line) == count * self.inputs for line in bits)
        found = np.zeros((count, len(lines)), int)
        for row, line in enumerate(bits):
            for vector in range(count):
                own = line[vector * self.inputs : (vector + 1) * self.inputs]
                value = -own[0] * 2 ** (self.inputs - 1)
                for place, bit in enumerate(reversed(own[1:])):
                    value += bit * 2**place
                found[vector, row] = value
        return found
