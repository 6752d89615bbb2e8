"""ReRAM-V: diagnose one chip and train around its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from nvmc.compiler import MappedNetwork
from nvmc.errors import OptionError
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import Array, Chip
from nvmc.passes.program_chip import arrays_of
from nvmc.training.evaluation import finished_network, mapped
from nvmc.training.method import Method
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["ReramV"]

Whole = Annotated[int, Field(ge=0)]


class ReramV(Method):
    """The weights of one chip in every step: its errors are known and part of the network.

    The chip is the very one that `nvmc simulate --seed SEED` and `nvmc program --chip CHIP` make:
    every step programs it anew with the codes of that moment through `Chip.program`, so an
    error that depends on the level changes with the level, and the cells' draws stay. Gradients
    reach the clean weights. The KPP says what that is worth on other chips, the summary what it
    is worth on its own.

    Source: Chen et al., Accelerator-friendly neural-network training: learning variations and
    defects in RRAM crossbar, DATE 2017 (no preprint; its text was not at hand): measure each
    cell's variation and defects, and train with them in the forward pass; the baseline ReRAM-V
    of BayesFT, Sec. IV ("diagnoses the ReRAM circuits and readjusts the weights"). Left out: what
    a real diagnosis misses; ours reads the cells exactly.

    Attributes:
        chip: Which chip of the population.
        chip_seed: The population.
    """

    kind: ClassVar[str] = "reram-v"
    title: ClassVar[str] = "ReRAM-V: retrain around one diagnosed chip (Chen, DATE 2017)"

    chip: Whole = 0
    chip_seed: Whole = 0

    def check(self, task: Task) -> None:
        """Complain where a chip's state does not say what it computes.

        Raises:
            OptionError: Every read of the device differs.
            DeviceError: Its noise needs a sigma, and nobody stated one.
        """
        if self._chip(task).needs_circuit:
            raise OptionError(
                f"every read of device {task.target.device.name!r} differs, so no diagnosis of a "
                "chip holds; use method 'gaussian', or a device without read noise"
            )

    def begin(self, run: Run) -> None:
        """Find the arrays, and how good the chip is before."""
        arrays = {array.name: array for array in arrays_of(self._mapped(run).model)}
        names = self.evaluated(run).crossbars.names
        run.memory["arrays"] = {name: arrays[name] for name in names}
        run.memory["before"] = self._value(run)

    def weights(
        self, run: Run, replica: Replica, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """What the diagnosed chip computes with."""
        chip = self._chip(run.task)
        deviation: dict[str, Tensor] = {}
        for name, array in run.memory["arrays"].items():
            held = replica.crossbars.held(name)
            now = _array_now(array, held.codes, held.unit, held.ideal)
            programmed = torch.from_numpy(chip.program(now).weights).to(held.ideal)
            deviation[name] = programmed - held.ideal
        return replica.crossbars.deviated(deviation)

    def summary(self, run: Run) -> dict[str, Any]:
        """What the diagnosed chip is worth on the held-out images, before and after."""
        return {
            "chip": self.chip,
            "chip_seed": self.chip_seed,
            "chip_before": run.memory["before"],
            "chip_after": self._value(run),
        }

    def _chip(self, task: Task) -> Chip:
        return Chip.of(task.target, self.chip_seed, self.chip, task.sigma, task.time_s)

    def _value(self, run: Run) -> float:
        network = self._mapped(run)
        workload = set_up(network.model, network.target, data=run.task.validation)
        return float(workload.run([self._chip(run.task)])[0])

    def _mapped(self, run: Run) -> MappedNetwork:
        model = finished_network(run.model, self.evaluated(run), run.task.options)
        return mapped(model, run.task)


def _array_now(array: Array, codes: Tensor, unit: Tensor, weights: Tensor) -> Array:
    """The array with the weights of this moment."""
    if array.target.weight_bits is None:
        return replace(array, codes=weights.cpu().numpy())
    numbers = codes.cpu().numpy().astype(array.codes.dtype)
    return replace(array, codes=numbers, scale=np.asarray(unit.cpu().numpy(), np.float32))
