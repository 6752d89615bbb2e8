"""What doubts about classes and about values have in common: the chips, and their measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.artifact import Compiled
from nvmc.data import Dataset
from nvmc.data.shifts import Shift
from nvmc.evaluation.population import Workload
from nvmc.evaluation.workload import Options, set_up
from nvmc.hardware.devices import Target

__all__ = ["Row", "ready"]

PASSES = 10
"""Passes of a stochastic network when nobody says."""

M = TypeVar("M")


@dataclass(frozen=True)
class Row(Generic[M]):
    """All chips on one set of images.

    Attributes:
        shift: How the images were shifted.
        chips: One entry per chip, in chip order; a dataclass of numbers.
    """

    shift: Shift
    chips: tuple[M, ...]

    def values(self, name: str) -> NDArray[np.float64]:
        """One measure of every chip, shape (runs,)."""
        return np.array([getattr(chip, name) for chip in self.chips], dtype=np.float64)

    def mean(self, name: str) -> float:
        """Mean of a measure over the chips."""
        return float(self.values(name).mean())

    def std(self, name: str) -> float | None:
        """Standard deviation of a measure over the chips; None for a single one."""
        return float(self.values(name).std(ddof=1)) if len(self.chips) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Shift, strength, and mean, std and values of every measure."""
        measured: Any = self.chips[0]
        measures = {
            name: {
                "mean": self.mean(name),
                "std": self.std(name),
                "values": self.values(name).tolist(),
            }
            for name in (field.name for field in fields(measured))
        }
        return {**asdict(self.shift), **measures}


def ready(
    compiled: Compiled,
    target: Target,
    dataset: Dataset,
    options: Options,
    probabilities: bool = False,
) -> Workload:
    """The network on the images; where it draws at inference, with `PASSES` unless options say.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    data = Options(data=dataset)
    workload = set_up(compiled, target, probabilities=probabilities, **options | data)
    if options.get("mc_passes") is None and workload.network.draws:
        return replace(workload, network=replace(workload.network, passes=PASSES))
    return workload
