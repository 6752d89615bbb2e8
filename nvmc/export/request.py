"""What every writer of a kind gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from nvmc.compiled.artifact import Compiled
from nvmc.data import Data
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import Setup
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Device, NoiseSource, Target
from nvmc.hardware.devices.checks import check_cells_only
from nvmc.passes.graph.describe import Model, set_target
from nvmc.passes.io.load_compiled import load_compiled

__all__ = ["ExportOptions", "Request", "Written", "parse_range"]


class ExportOptions(TypedDict, total=False):
    """What some kinds take beside a chip; `Kind.options` says which.

    Attributes:
        opset: Of standard operators, 13 or more; None for the lowest that can say the network.
        range_us: What level 0 and the highest level conduct, in µS, where the device does not say.
        array: Names of the arrays to write, or of layers that read a single one; all by default.
        volts: Of the word lines: one for all, or by array one for each row, shape (rows,) or
            (groups, rows), as a mapping or an NPZ file; the read voltage for None, or 1 V.
        data: Images, of which the first is traced; seeded inputs for None.
        placement: File that `nvmc place` wrote, which says the cores of tiles; None for none.
    """

    opset: int | None
    range_us: tuple[float, float] | None
    array: Sequence[str]
    volts: float | str | Path | Mapping[str, Any] | None
    data: Data | None
    placement: str | Path | None


@dataclass(frozen=True)
class Request:
    """What is to be written.

    Attributes:
        compiled: The network.
        setup: What its chips are made with.
        index: Number of the chip; None for the ideal chip, whose cells are on target.
        seed: Its population.
        options: Those of the kind.
    """

    compiled: Compiled
    setup: Setup
    index: int | None
    seed: int = 0
    options: ExportOptions = field(default_factory=ExportOptions)

    @classmethod
    def of(
        cls,
        compiled: Compiled,
        chip: int | None,
        seed: int,
        options: ExportOptions,
        *,
        device: Device | str | Path | None,
        noise: Iterable[NoiseSource | str],
        sigma: float | None,
        time_s: float | None,
        temperature_c: float | None,
    ) -> Request:
        """A request for a chip as `nvmc simulate` has it; arguments as of `export_network`.

        Raises:
            OptionError: A setting is of a chip, and there is none; or is out of range.
            DeviceError: There is no such device.
        """
        extra = tuple(noise)
        settings = {"seed": seed or None, "noise": extra or None, "sigma": sigma, "time": time_s}
        settings["temperature"] = temperature_c
        given = [name for name, value in settings.items() if value is not None]
        if chip is None and given:
            raise OptionError(
                f"--{given[0]} is given without --chip; the ideal chip has no noise: give a chip, "
                "or leave it out"
            )
        target = compiled.manifest.target
        setup = Setup.of(target, device, extra, sigma, time_s, (), temperature_c)
        check_cells_only(setup.target.device.noise, "no file of cells holds it")
        request = cls(compiled, setup, chip, seed, options)
        _ = request.chip  # complains of a number that is none
        return request

    @property
    def target(self) -> Target:
        """The cells and what surrounds them."""
        return self.setup.target

    @property
    def chip(self) -> Chip:
        """The chip whose cells are written."""
        return Chip.ideal() if self.index is None else self.setup.chip(self.seed, self.index)

    @property
    def chip_text(self) -> str:
        """What the chip is called."""
        if self.index is None:
            return "the ideal chip"
        return f"chip {self.index} of seed {self.seed}"

    def model(self) -> Model:
        """The compiled network, read anew, so that a writer may change it; on `target`.

        Raises:
            ArtifactError: The folder is not what was opened.
        """
        model = load_compiled(self.compiled)
        set_target(model, self.target)
        return model


@dataclass(frozen=True, repr=False)
class Written:
    """What a writer tells of its files.

    Attributes:
        lines: For people, a sentence each.
        assumptions: What the files leave out or take for granted, a sentence each.
        details: For programs, JSON values; `export.json` has them.
    """

    lines: Sequence[str] = ()
    assumptions: Sequence[str] = ()
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    def __repr__(self) -> str:
        """The first line that people read, where assumptions would fill the screen."""
        first = next(iter(self.lines), "nothing told")
        count = len(self.assumptions)
        return f"<Written: {first.rstrip('.')}; {count} assumption{'s' * (count != 1)}>"


def parse_range(text: str) -> tuple[float, float]:
    """Two conductances in µS, from what people write after --range-us.

    Raises:
        OptionError: It is none.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"--range-us is {text!r}; expected LOW,HIGH in µS, such as 0.1,20"
        ) from error
    return low, high
