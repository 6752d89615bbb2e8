"""The pipeline behind `nvmc uncertainty`: does a population of chips know when it does not know?

Every chip gives each image a predictive distribution, the mean over stochastic passes of the class
probabilities (one pass where the network draws nothing). What is asked of it, on the data and on
images shifted away from them:

- accuracy, and the negative log-likelihood (NLL) of the true label;
- the NLL of the predicted class, which a chip in the field can compute;
- predictive variance: over passes, of the probabilities, summed over the classes;
- expected calibration error.

An image is called out of distribution where its NLL exceeds the mean NLL of the unshifted images
on the same chip (Ahmed et al., Inverted Normalization, DATE 2024, Sec. IV-E). The paper does not
say whether its NLL on shifted images is that of the true labels; both kinds are given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Event
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.data import IGNORED, Data, Dataset, load_data
from nvmc.data.shifts import Shift, shifted, shifted_labels, shifts_for
from nvmc.errors import DataError, OptionError
from nvmc.evaluation.captions import of_text
from nvmc.evaluation.description import Description
from nvmc.evaluation.doubts import Row, ready
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.population import Workload
from nvmc.evaluation.tabulated import shift_records, shift_table
from nvmc.evaluation.workload import Options, check_options
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Device, NoiseSource
from nvmc.metrics import calibration_error, correct, log_loss, mean_a_row
from nvmc.progress import Progress
from nvmc.runtime.averaging import Prediction, predicted
from nvmc.runtime.montecarlo import (
    ChipSession,
    CircuitNetwork,
    Feed,
    Network,
    default_jobs,
    in_parallel,
)
from nvmc.tables import Cell, Shown, Table

__all__ = ["FORMAT", "Measures", "Thresholds", "Uncertainty", "measured", "uncertainty"]

FORMAT = "nvmc.evaluation.uncertainty/1"


@dataclass(frozen=True)
class Thresholds:
    """Above which an image counts as out of distribution, in nats.

    Attributes:
        nll: Of the true label.
        nll_predicted: Of the predicted class.
    """

    nll: float
    nll_predicted: float


@dataclass(frozen=True)
class Measures:
    """One chip on one set of images; means over the images.

    Attributes:
        accuracy: Share of right decisions of the mean prediction.
        nll: Negative log-likelihood of the true label, nats.
        nll_predicted: Of the predicted class, nats.
        variance: Predictive variance.
        calibration_error: Expected calibration error, 15 bins.
        detected: Share of the images whose NLL is above the threshold.
        detected_predicted: Likewise with the NLL of the predicted class.
    """

    accuracy: float
    nll: float
    nll_predicted: float
    variance: float
    calibration_error: float
    detected: float
    detected_predicted: float


NAMES = tuple(field.name for field in fields(Measures))


@dataclass(frozen=True, repr=False)
class Uncertainty(Shown):
    """What a population of chips knows of its own doubt.

    Attributes:
        rows: The data as they are first, where `detected` is the share of false alarms.
        description: Network, chips, unshifted images, and how they were run.
        seconds: Wall time of the runs.
    """

    rows: tuple[Row[Measures], ...]
    description: Description
    seconds: float

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        worth = f"accuracy {100 * self.rows[0].mean('accuracy'):.1f} % unshifted"
        return f"Uncertainty of {of_text(self.description)}: {worth}, {len(self.rows) - 1} shifts"

    def shown(self) -> Table:
        """A row for each shift: means over chips."""
        return shift_table(self.rows, NAMES, self.description)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each shift: mean and standard deviation over chips of every measure."""
        return shift_records(self.rows, NAMES)

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc uncertainty --json` prints it; docs/uncertainty.md names the keys."""
        return {
            "format": FORMAT,
            "description": self.description.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "seconds": self.seconds,
        }


@checked
def uncertainty(
    compiled: Compiled,
    *,
    runs: int = 20,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    time_s: float | None = None,
    temperature_c: float | None = None,
    shifts: Sequence[str] | None = None,
    seed: int = 0,
    jobs: int | None = None,
    on_chip: Callable[[], None] | None = None,
    **options: Unpack[Options],
) -> Uncertainty:
    """Evaluate the uncertainty of chips 0 … runs - 1 of population `seed`.

    Cost: that of `simulate` times one plus the shifts. Masks are the same in every row.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        runs: Number of chips.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources behind the device's own: sources, or texts as after `--noise`.
        sigma: Strength of the device's noise instead of its default.
        time_s: Seconds since programming; the device's own time by default.
        temperature_c: Of the cells, degrees Celsius; what their noise sources say by default.
        shifts: Of `rotation` and `noise`; by default those that the data allow.
        seed: Population of chips, and the noise on images.
        jobs: Chips in parallel.
        on_chip: Called as each chip of a row is done, from its thread.
        **options: As `Options`; the data must have labels, and the stochastic passes are 10 by
            default, 1 where the network draws nothing.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    check_options(runs, jobs, 1.0)
    cells = compiled.manifest.target
    setup = Setup.of(cells, device, noise, sigma, time_s, temperature_c=temperature_c)
    dataset = _images(compiled, _labelled(options.get("data"), options.get("limit")))
    wanted = shifts_for(dataset.x, shifts, dataset.y)
    chips = [setup.chip(seed, index) for index in range(runs)]
    workload = ready(compiled, setup.target, dataset, options, probabilities=True)
    labels, started = _classes(workload), time.perf_counter()
    at_once = min(jobs or default_jobs(), runs)
    told = on_chip or Progress("chips", runs * len(wanted)).one
    population = _ChipsWithThresholds(workload.network, labels, chips, at_once, told)
    return Uncertainty(
        rows=tuple(population.row(workload.feed, shift, seed) for shift in wanted),
        description=workload.describe(setup, seed, runs),
        seconds=time.perf_counter() - started,
    )


def _images(compiled: Compiled, dataset: Dataset) -> Dataset:
    """The data by the names of the network's inputs, which are one of real numbers."""
    entries = compiled.manifest.inputs
    if len(entries) > 1 or np.dtype(entries[0].dtype).kind != "f":
        found = ", ".join(f"{entry.name} ({entry.dtype})" for entry in entries)
        raise DataError(
            f"the network has inputs {found}; images can be turned and made noisy for one input of "
            "real numbers only"
        )
    return dataset.for_network([entries[0].name])


def measured(
    prediction: Prediction,
    labels: NDArray[np.integer[Any]],
    thresholds: Thresholds | None = None,
) -> Measures:
    """What a prediction is worth.

    Args:
        prediction: Probabilities of shape (N, C, ...) and variances of shape (N, ...).
        labels: Classes of shape (N, ...); a decision whose label is `IGNORED` does not count.
        thresholds: Above which an image counts as out of distribution; by default the means of
            these images. An image of many decisions counts with the mean over them.
    """
    counted = labels != IGNORED
    known = counted.reshape(len(labels), -1).any(axis=1)  # an image without a label has no NLL
    nll = mean_a_row(log_loss(prediction.mean, labels), labels)[known]
    guess = mean_a_row(log_loss(prediction.mean), labels)[known]
    limits = thresholds or Thresholds(float(nll.mean()), float(guess.mean()))
    return Measures(
        accuracy=correct(prediction.mean, labels) / max(1, np.count_nonzero(counted)),
        nll=float(nll.mean()),
        nll_predicted=float(guess.mean()),
        variance=float(np.nan_to_num(prediction.variance, nan=0.0)[counted].mean()),
        calibration_error=calibration_error(prediction.mean, labels),
        detected=float(np.mean(nll > limits.nll)),
        detected_predicted=float(np.mean(guess > limits.nll_predicted)),
    )


class _ChipsWithThresholds:
    """Chips, and the thresholds that they have found on the data as they are."""

    def __init__(
        self,
        network: Network | CircuitNetwork,
        labels: NDArray[np.integer[Any]],
        chips: list[Chip],
        jobs: int,
        on_chip: Callable[[], None] | None,
    ) -> None:
        self._network = network
        self._labels = labels
        self._chips = chips
        self._jobs = jobs
        self._on_chip = on_chip
        self._thresholds: list[Thresholds | None] = [None] * len(chips)

    def row(self, feed: Feed, shift: Shift, seed: int) -> Row[Measures]:
        """All chips on the images, shifted. The first call sets the thresholds."""
        moved = Feed({name: shifted(x, shift, seed) for name, x in feed.inputs.items()})
        labels = shifted_labels(self._labels, shift)
        found: dict[int, Measures] = {}

        def work(number: int, stop: Event) -> None:
            session = ChipSession(self._network, self._chips[number])
            prediction = predicted(session.passes(moved, stop), self._network.holds)
            if prediction is None or stop.is_set():
                return
            measures = measured(prediction, labels, self._thresholds[number])
            found[number] = measures
            if self._thresholds[number] is None:
                self._thresholds[number] = Thresholds(measures.nll, measures.nll_predicted)
            if self._on_chip is not None:
                self._on_chip()

        in_parallel(work, len(self._chips), self._jobs)
        return Row(shift, tuple(found[number] for number in range(len(self._chips))))


def _classes(workload: Workload) -> NDArray[np.integer[Any]]:
    """The labels, of an output that gives classes probabilities."""
    if workload.reading.holds == "class numbers":
        raise OptionError(
            f"output {workload.reading.output!r} holds class numbers, which have no probabilities; "
            "choose an output of class scores with --output"
        )
    labels = workload.metric.classes
    assert labels is not None
    return labels


def _labelled(data: Data | None, limit: int | None) -> Dataset:
    """The images that are used."""
    if data is None:
        raise DataError("uncertainty needs data with labels or values; give --data")
    dataset = load_data(data, limit=limit)
    if dataset.y is None:
        valued = "values, which are no classes (value_uncertainty takes them)"
        found = "no labels" if dataset.targets is None else valued
        raise DataError(f"{dataset.name} has {found}; an NLL is taken of classes: add them as y")
    return dataset
