"""The pipeline behind `nvmc program`: one chip as a standard ONNX model, and its cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled, replacing_file
from nvmc.compiled.digests import FileEntry
from nvmc.data import Data
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.tuning import Tuning, corrected_chip
from nvmc.evaluation.workload import Options, set_up
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.compensation import Compensation, marked
from nvmc.hardware.devices import Device, NoiseSource, as_noise
from nvmc.hardware.devices.checks import check_cells_only
from nvmc.passes.graph.describe import set_target
from nvmc.passes.io.load_compiled import load_compiled
from nvmc.passes.program_chip import ProgramChip, arrays_of
from nvmc.runtime.saving import save_checked

__all__ = ["program_chip"]

_JUDGED = 64
"""Images that the scored output is found by, where a chip verifies some of its weights."""


@checked
def program_chip(
    compiled: Compiled,
    index: int,
    output: str | Path,
    *,
    seed: int = 0,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    time_s: float | None = None,
    temperature_c: float | None = None,
    compensate: Sequence[Compensation | str] = (),
    calibration_data: Data | None = None,
    cells: str | Path | None = None,
) -> Chip:
    """Write one chip as a standard ONNX model, and its cells.

    The file holds the chip's state: no noise of reads, no periphery, also where the chip is
    calibrated on images.

    Args:
        compiled: From `open_compiled` or `compile_model`.
        index: Which chip of the population.
        output: The ONNX file to write.
        seed: Population of chips.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources, such as weights can hold: sources, or texts as after `--noise`.
        sigma: Strength of the device's noise instead of its default.
        time_s: Seconds since programming; the device's default for None.
        temperature_c: Of the cells, degrees Celsius; what their noise sources say for None.
        compensate: What the chip does against its noise, in the file too; texts or compensations.
        calibration_data: Images for those that are calibrated on some.
        cells: A .npz file to write too: for every array `NAME/target` and `NAME/programmed`, the
            levels of shape (planes, *weight shape) in level steps, `NAME/sign`, and with
            write-verify `NAME/pulses`.

    Returns:
        The chip.

    Raises:
        NvmcError: By what is wrong; nothing is written then.
    """
    _spare_source(compiled, Path(output))
    cells_path = None if cells is None else _npz(cells, output)
    cells_of, extra = compiled.manifest.target, [as_noise(source) for source in noise]
    setup = Setup.of(cells_of, device, extra, sigma, time_s, compensate, temperature_c)
    _check_writable(setup.target.device.noise, extra)
    tuning = Tuning(setup.compensate, calibration_data, sigma)
    chip = _verified(compiled, setup, tuning, setup.chip(seed, index))
    set_target(model := load_compiled(compiled), setup.target)
    arrays = arrays_of(model)
    if tuning.calibrated:
        corrected_chip(tuning, model, setup.target, chip)
    ProgramChip(chip)(model)
    with ExitStack() as files:
        temporary = files.enter_context(replacing_file(Path(output)))
        save_checked(model, temporary, compiled.model_path)
        if cells_path is not None:
            _save_cells(files.enter_context(replacing_file(cells_path)), chip, arrays)
    return chip


def _check_writable(every: Sequence[NoiseSource], extra: Iterable[NoiseSource]) -> None:
    """Complain of noise that no set of weights holds.

    Raises:
        OptionError: A source acts on activations, or one that was asked for on reads.
    """
    check_cells_only(every, "no weights hold it")
    for source in extra:
        if source.acts_in == "read":
            raise OptionError(
                f"noise source {source.type!r} is fresh at every read, so no weights hold it; "
                "leave it out: nvmc simulate has it"
            )


def _verified(compiled: Compiled, setup: Setup, tuning: Tuning, chip: Chip) -> Chip:
    """The chip, which knows which of its weights it verifies, as `nvmc simulate` finds out."""
    if tuning.verify is None:
        return chip
    if tuning.verify.derives and tuning.data is None:
        raise OptionError(
            "--compensate verify needs images to find the weights that matter; give "
            "--calibration-data SPEC, or order=magnitude"
        )
    alone = Tuning((tuning.verify,), tuning.data if tuning.verify.derives else None, tuning.sigma)
    judged = {} if alone.data is None else {"data": alone.data, "limit": _JUDGED}
    options: Options = {**judged}  # pyright: ignore
    return marked(chip, set_up(compiled, setup.target, tuning=alone, **options).marks)


def _save_cells(path: Path, chip: Chip, arrays: Sequence[Array]) -> None:
    content: dict[str, Any] = {}
    for array in arrays:
        programmed = chip.program(array)
        content[f"{array.name}/target"] = array.cells.targets
        content[f"{array.name}/programmed"] = programmed.levels
        content[f"{array.name}/sign"] = programmed.sign
        if programmed.pulses is not None:
            content[f"{array.name}/pulses"] = programmed.pulses
    np.savez(path, allow_pickle=False, **content)


def _spare_source(compiled: Compiled, output: Path) -> None:
    """Complain where a chip would take the place of the network it comes from."""
    found = FileEntry.of_file(output)
    if found is not None and found.sha256 == compiled.manifest.source.sha256:
        raise OptionError(
            f"{str(output)!r} is the source of the compiled network, which is never overwritten; "
            "choose another -o"
        )


def _npz(path: str | Path, output: str | Path) -> Path:
    if not str(path).endswith(".npz"):
        raise OptionError(f"cells file is {str(path)!r}; expected a name that ends in .npz")
    if Path(path).resolve() == Path(output).resolve():
        raise OptionError(
            f"chip and cells would both be written to {str(output)!r}; give two files"
        )
    return Path(path)
