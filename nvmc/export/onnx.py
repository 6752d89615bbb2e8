"""`onnx`: the chip's network in standard operators only."""

from __future__ import annotations

from pathlib import Path

from nvmc.export.request import Request, Written
from nvmc.passes.graph.describe import opset_of
from nvmc.passes.lower_opset import LowerOpset
from nvmc.passes.program_chip import ProgramChip
from nvmc.runtime.saving import save_checked

__all__ = ["write"]

MODEL_FILE = "model.onnx"


def write(request: Request, folder: Path) -> Written:
    """Write `model.onnx`: standard operators of one opset, weights in the type of the network.

    Raises:
        ModelError: The opset has no operator for a node.
        OptionError: There is no such opset.
    """
    model = request.model()
    chip = request.chip
    ProgramChip(chip)(model)
    LowerOpset(request.options.get("opset"))(model)
    save_checked(model, folder / MODEL_FILE, request.compiled.model_path)
    opset = opset_of(model)
    assumptions = ["weights are those of the cells; DAC, ADC and wires are left out"]
    if chip.needs_circuit:
        assumptions.append("every read of this chip is noisy; the file has its cells without that")
    line = f"{request.chip_text} as standard ONNX, opset {opset}"
    return Written([line], assumptions, {"opset": opset})
