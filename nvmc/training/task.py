"""What a network is trained for: the cells it will sit in, the data, the settings."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from nvmc.arguments import checked
from nvmc.compiled.options import CompileOptions
from nvmc.data import Dataset
from nvmc.errors import OptionError
from nvmc.evaluation.reading import Reading, Wanted
from nvmc.evaluation.scoring import read
from nvmc.hardware.devices import Target
from nvmc.metrics import Metric, Own, choose_metric
from nvmc.training.settings import Settings

__all__ = ["Task"]


@checked
@dataclass(frozen=True)
class Task:
    """One training task.

    Attributes:
        target: The cells the network is trained for.
        sigma: Strength of their noise; None for the device's own.
        train: Images that gradients come from, with classes or targets.
        validation: Held-out images that KPPs are taken on, with the same.
        settings: Optimiser, schedule and the like.
        options: How it is compiled: `skip`, `activation_bits`, `shape` and `inputs`, which hold in
            training too.
        calibration: What `nvmc compile` would calibrate on where that is not `train` as a whole.
        output: Name of the output that is trained; None for the one that `nvmc simulate` scores.
        class_axis: Its axis of the classes; None for the one that shapes and labels tell.
        reading: How that output is read; None while no network is known.
        judged_by: Name of the metric that KPPs are of; None for the one that suits the labels.
        times_s: Seconds since programming between which the age of chips in training is drawn,
            log-uniformly; KPPs are of the greatest. None for the device's own.
        held_out: Held-out images that there are, of which `validation` may be some.
        teacher: A network in canonical form whose outputs are to be met as well.
    """

    target: Target
    sigma: float | None
    train: Dataset
    validation: Dataset
    settings: Settings = Settings()
    options: CompileOptions = CompileOptions()
    calibration: Dataset | None = None
    output: str | None = None
    class_axis: int | None = None
    reading: Reading | None = None
    judged_by: str | None = None
    held_out: int | None = None
    teacher: ir.Model | None = None
    times_s: tuple[float, float] | None = None

    @property
    def calibration_images(self) -> Dataset:
        """The images that calibrate the network as it came, and converters."""
        return self.train if self.calibration is None else self.calibration

    @property
    def classes(self) -> bool:
        """Whether the network tells classes; else it is to meet values (regression)."""
        return self.train.targets is None

    @property
    def metric(self) -> str:
        """What chips are judged by; by default `accuracy`, or `r2` where values are to be met.

        `likelihood` for perplexity, its inverse, so that more is better.
        """
        return self._chosen.name

    @property
    def _chosen(self) -> type[Metric]:
        name = "likelihood" if self.judged_by == "perplexity" else self.judged_by
        return choose_metric("classes" if self.classes else "values", name)

    def check_metric(self) -> None:
        """Complain of a metric that no network can be chosen by.

        Raises:
            OptionError: There is no such metric, it needs something else, or less of it is better.
        """
        chosen = self._chosen
        if chosen.less_is_better or issubclass(chosen, Own):
            raise OptionError(
                f"training keeps the network of the highest KPP, which metric {chosen.name!r} does "
                "not say; give one of nvmc's of which more is better, such as r2 for rmse and mae "
                "or likelihood for nll"
            )

    def read(self, model: ir.Model) -> Reading:
        """How the output that is trained is read."""
        return self.reading or read(model, self.train, Wanted(self.output, self.class_axis))

    @property
    def time_s(self) -> float | None:
        """The age of the chips that KPPs are of; None for the device's own."""
        return None if self.times_s is None else self.times_s[1]

    @property
    def strength(self) -> float | None:
        """Sigma as it counts: the task's, or the device's; None where the device has none."""
        return self.target.device.sigma if self.sigma is None else self.sigma
