"""What chips of a network are worth: compiled and simulated in memory, as the product does it."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from nvmc.compiled.options import CompileOptions
from nvmc.compiler import MappedNetwork, map_network
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import CHOOSING, Chip
from nvmc.hardware.chips import Chips
from nvmc.passes.graph.grids import rescale_grid
from nvmc.passes.quantize_activations import QuantizeActivations
from nvmc.statistics import percentile_performance
from nvmc.torchgraph.graph import write_values
from nvmc.training.outcome import Judged
from nvmc.training.replica import Replica
from nvmc.training.task import Task

__all__ = ["finished_network", "judge", "judge_source", "mapped"]


def finished_network(model: ir.Model, replica: Replica, options: CompileOptions) -> ir.Model:
    """A copy of the network with the replica's weights, rounding its activations if that does."""
    model = model.clone()
    write_values(model, replica.numbers())
    for name, factor in replica.computed.factors().items():
        rescale_grid(model.graph.initializers[name], factor)
    activations = replica.activations
    if activations is not None:
        for bits, ranges in activations.grids():
            QuantizeActivations(bits, ranges, options.skip)(model)
    return model


def mapped(model: ir.Model, task: Task) -> MappedNetwork:
    """A finished network, whose activations are rounded already, on crossbars.

    Args:
        model: In canonical form; used up by this.
        task: The cells, how the network is compiled, and what calibrates converters.
    """
    options = replace(task.options, activation_bits=None)
    return map_network(model, task.target, options, task.calibration_images)


def judge(model: ir.Model, task: Task) -> Judged:
    """The network on the held-out images, as ideal chip and as `Settings.chips` chips.

    Args:
        model: In canonical form, its activations rounded already; used up by this.
        task: The cells and the images (TRICE, Alg. 2: QuantEval).
    """
    return _judged(mapped(model, task), task)


def judge_source(model: ir.Model, task: Task) -> Judged:
    """`judge` for a network as it came: what `nvmc compile` makes of it with the same options."""
    return _judged(
        map_network(model.clone(), task.target, task.options, task.calibration_images), task
    )


def _judged(network: MappedNetwork, task: Task) -> Judged:
    settings, target = task.settings, network.target
    reading = task.read(network.model)
    axis = reading.class_axis if reading.holds == "class scores" else None
    workload = set_up(
        network.model,
        target,
        data=task.validation,
        output=reading.output,
        class_axis=axis,
        metric=task.metric,
    )
    pattern = Chip.of(target, CHOOSING + settings.seed, 0, task.sigma, task.time_s)
    values = workload.run(list(Chips(pattern, 0, settings.chips)))
    kpp = percentile_performance(values, settings.percentile)
    share = network.mapping.work.share
    return Judged(workload.ideal, kpp.value, network.calibration, share)
