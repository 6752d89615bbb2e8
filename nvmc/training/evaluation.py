"""What chips of a network are worth: compiled and simulated in memory, as the product does it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.evaluation.population import Workload
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import Chip
from nvmc.passes.graph.describe import serialized, tensor_entries
from nvmc.passes.pipeline import compile_passes
from nvmc.passes.quantize_activations import QuantizeActivations, activation_tensors
from nvmc.runtime.calibration import calibrate
from nvmc.runtime.feeding import feed_of
from nvmc.statistics import percentile_performance
from nvmc.torchgraph.graph import write_values
from nvmc.training.outcome import Judged
from nvmc.training.replica import Replica
from nvmc.training.task import Task

__all__ = ["finished_network", "judge", "judge_source"]

POPULATION = 1 << 32
"""Added to a run's seed: training never looks at the chips that `nvmc simulate` will draw."""
CALIBRATION_IMAGES = 512


def finished_network(model: ir.Model, replica: Replica, skip: tuple[str, ...]) -> ir.Model:
    """A copy of the network with the replica's weights, rounding its activations if that does."""
    model = model.clone()
    write_values(model, replica.graph.values())
    activations = replica.activations
    if activations is not None:
        QuantizeActivations(activations.bits, activations.ranges(), skip)(model)
    return model


def judge(model: ir.Model, task: Task) -> Judged:
    """The network on the held-out images, as ideal chip and as `Settings.chips` chips.

    Args:
        model: In canonical form; used up by this.
        task: The cells and the images (TRICE, Alg. 2: QuantEval).
    """
    for step in compile_passes(task.target, skip=task.skip):
        step(model)
    workload = set_up(model, task.target, data=task.validation)
    values = _accuracies(workload, task)
    kpp = percentile_performance(values, task.settings.percentile)
    return Judged(ideal=workload.ideal, kpp=kpp.value)


def judge_source(model: ir.Model, task: Task) -> Judged:
    """`judge` for a network as it came; activations are rounded to calibrated ranges."""
    model = model.clone()
    bits = task.settings.activation_bits
    if bits is not None:
        tensors = activation_tensors(model, task.skip)
        images = task.train.of(slice(CALIBRATION_IMAGES))
        feed = feed_of(tensor_entries(model.graph.inputs), images, 0, None)
        ranges = calibrate(serialized(model), tensors, feed.inputs)
        QuantizeActivations(bits, ranges, task.skip)(model)
    return judge(model, task)


def _accuracies(workload: Workload, task: Task) -> NDArray[np.float64]:
    settings = task.settings
    seed = POPULATION + settings.seed
    chips = [Chip.of(task.target, seed, k, task.sigma) for k in range(settings.chips)]
    return workload.run(chips)
