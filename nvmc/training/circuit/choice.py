"""Whether a network is trained through its circuit, and what of that gradients do not see."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from nvmc.errors import OptionError
from nvmc.evaluation.parameters import duration_text
from nvmc.hardware.devices import Periphery
from nvmc.hardware.devices.adc.kinds import adc_text
from nvmc.torchgraph.layout import channels_last_pays
from nvmc.training.activations import Rounding
from nvmc.training.circuit.circuit import Circuit
from nvmc.training.circuit.grids import OwnRanges
from nvmc.training.task import Task

__all__ = ["check_ranges", "check_rules", "circuit_of", "left_out"]


def circuit_of(model: ir.Model, task: Task, activations: Rounding | None) -> Circuit | None:
    """The circuits of a network; None where gradients are to see an ideal periphery.

    Args:
        model: The network in canonical form, its rounded tensors marked.
        task: What it is trained for.
        activations: What rounds at the marks.

    Raises:
        OptionError: A layer behind converters or wires cannot be trained through its circuit.
    """
    target, skip = task.target, task.options.skip
    if task.settings.circuit == "judged" or (target.ideal and not _noisy_reads(task)):
        return None
    target.check_reference()
    if target.reference == "column":
        raise OptionError(
            "reference columns cannot be trained through; give --reference exact or none, or let "
            "only KPPs see the circuit with --circuit judged"
        )
    if any(part.iv is not None for part in target.variants):
        raise OptionError(
            "cells whose current is not proportional to the voltage cannot be trained through; "
            "leave --read-v out, or let only KPPs see the circuit with --circuit judged"
        )
    for part in target.variants:
        if part.periphery.column_limit is not None:
            raise OptionError(
                "columns that saturate cannot be trained through; leave --column-limit out, or let "
                "only KPPs see the circuit with --circuit judged"
            )
        if part.periphery.polarity != "separate" and part.periphery.wired:
            raise OptionError(
                "polarities that share a tile with wires cannot be trained through; leave "
                "--polarity out, or let only KPPs see the circuit with --circuit judged"
            )
        check_rules(part.periphery)
    try:
        circuit = Circuit(model, target, skip)
    except OptionError:
        if target.ideal:  # reads are noisy, which `left_out` says
            return None
        raise
    on_processor = task.settings.accelerator == "cpu"
    circuit.channels_last = on_processor and channels_last_pays(model.graph)
    circuit.own = OwnRanges(model, target, skip, activations)
    return circuit.to(task.settings.accelerator)


def check_rules(periphery: Periphery) -> None:
    """Complain of converters that training does not have, and of ranges that it cannot find.

    Raises:
        OptionError: They are those of least error, or have a factor; or converters err.
    """
    if periphery.adc_errs:
        what = f"--adc {adc_text(periphery.adc)}" if periphery.adc.active else "--adc-rounding"
        raise OptionError(
            f"ADCs with errors of their own ({what}) cannot be trained through; let only KPPs see "
            "them with --circuit judged"
        )
    if periphery.dac_inl:
        raise OptionError(
            "DACs that are not linear cannot be trained through; leave --dac-inl out, or let only "
            "KPPs see them with --circuit judged"
        )
    for name in ("adc_range_of", "adc_steps"):
        if periphery.changed(name):
            raise OptionError(
                f"--{name.replace('_', '-')} {getattr(periphery, name)} cannot be trained through; "
                "let only KPPs see it with --circuit judged"
            )
    adc = periphery.adc_calibrated and periphery.adc_range != "calibrated"
    if adc or periphery.dac_range == "error":
        what = f"--adc-range {periphery.adc_range}" if adc else "--dac-range error"
        raise OptionError(
            f"{what} is found by `nvmc compile` alone; train with calibrated, or with --circuit "
            "judged, and compile the result with it"
        )


def check_ranges(task: Task) -> None:
    """Complain where ranges of DACs are to be learned, but the file could not hold them.

    Raises:
        OptionError: By what is missing.
    """
    periphery, settings = task.target.periphery, task.settings
    if settings.ranges != "learned":
        return
    bits, wanted = periphery.dac_bits, ""
    dacs = ("dac_bits", "dac_range", "signed_inputs")
    if any(part.own.keys() & set(dacs) for part in task.target.layers):
        wanted = f"one DAC for all layers, none of which states {', '.join(dacs)}"
    elif bits is None or periphery.dac_range != "calibrated":
        wanted = "--dac-bits and --dac-range calibrated"
    elif periphery.signed_inputs == "offset":
        wanted = "--signed-inputs two-phase or bipolar"
    elif bits > 15:
        wanted = "at most 15 --dac-bits"
    elif task.options.activation_bits is not None:
        wanted = "no --activation-bits, which have ranges of their own"
    elif settings.circuit == "judged":
        wanted = "--circuit trained"
    if wanted:
        raise OptionError(f"learned ranges need {wanted}; give that, or --ranges measured")


def left_out(task: Task, circuits: Sequence[Circuit | None], drew_ages: bool) -> tuple[str, ...]:
    """What KPPs have of the circuit, but gradients did not see, in words.

    Args:
        task: What was trained for.
        circuits: What was trained through, after training; of each network.
        drew_ages: Whether chips of several ages were drawn.
    """
    found: list[str] = []
    if not any(circuits) and not task.target.ideal:
        found.append("converters and wires")
    if _noisy_reads(task) and not any(circuit.drew for circuit in circuits if circuit):
        found.append("the noise of reads")
    if task.times_s is not None and task.times_s[0] != task.times_s[1] and not drew_ages:
        found.append(f"ages before the last, {duration_text(task.times_s[1])}")
    return tuple(found)


def _noisy_reads(task: Task) -> bool:
    device, *others = task.target.devices
    every = [device.sources(task.sigma), *(other.sources() for other in others)]
    return any(s.acts_in == "read" and s.active for sources in every for s in sources)
