"""What every compensation is: its options, what it asks of the hardware, when it makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import ClassVar, Self

from nvmc.hardware.chip import Array
from nvmc.hardware.devices import Device
from nvmc.hardware.options import CheckedModel
from nvmc.hardware.rows import reads_of_rows
from nvmc.hardware.tiling import matrix_of

__all__ = ["Compensation", "Corrected", "Needs", "cells_in", "conversions_of"]


@dataclass(frozen=True)
class Needs:
    """What a compensation costs one chip beside inference itself.

    Attributes:
        images: Calibration images that the chip runs, each once.
        images_once: Images that are run once for all chips, in software, on the ideal chip.
        labels: How many images need a label.
        reads: Values that ADCs convert: one column of one tile in one crossbar each.
        writes: Cells that are programmed beside those of one copy.
        cells: Cells that the chip has beside those of one copy.
        multipliers: Numbers that results are multiplied by digitally at inference, one of a layer
            or of a column.
        adders: Numbers that are added to results digitally at inference, likewise.
        parameters: Digital numbers that each chip keeps for itself.
        references: Numbers that come from outside the chip: sums of the first read, and values of
            the ideal chip's layers.
    """

    images: int = 0
    images_once: int = 0
    labels: int = 0
    reads: int = 0
    writes: int = 0
    cells: int = 0
    multipliers: int = 0
    adders: int = 0
    parameters: int = 0
    references: int = 0

    def to_json(self) -> dict[str, int]:
        """The keys of `needs` in `--json`."""
        return asdict(self)

    def __str__(self) -> str:
        """What of each chip is not 0, for people."""
        each = [field.name for field in fields(self) if field.name != "images_once"]
        told = [(name, getattr(self, name)) for name in each]
        words = [f"{n:,} {name if n > 1 else name.removesuffix('s')}" for name, n in told if n]
        return ", ".join(words) or "nothing"


@dataclass(frozen=True)
class Corrected:
    """What a compensation that is calibrated on images corrects in a network.

    Attributes:
        layers: How many layers, or normalisations.
        columns: Their output columns, or channels, all together.
        values: Values of the ideal chip that it is fitted to, over all images.
        left: Names of layers that it leaves as they are.
    """

    layers: int = 0
    columns: int = 0
    values: int = 0
    left: tuple[str, ...] = ()


class Compensation(CheckedModel, extra="forbid", frozen=True):
    """Base of all compensations. Fields are the options that people may give.

    Attributes:
        title: One line for people.
        source: Where it was published, or what it follows.
        calibrated: Whether it is fitted to images that every chip runs; otherwise it knows the
            chip's cells only.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    calibrated: ClassVar[bool] = False
    type: str

    def settled(self, device: Device) -> Self:
        """Itself for chips of a device, with options filled in that follow from the device.

        Raises:
            OptionError: It can do nothing on the device.
        """
        del device
        return self

    def needs(self, arrays: Sequence[Array], corrected: Corrected) -> Needs:
        """What it costs one chip.

        Args:
            arrays: The chip's.
            corrected: What it corrects, where it is calibrated on images.
        """
        raise NotImplementedError


def cells_in(arrays: Sequence[Array]) -> int:
    """Cells that hold the weights of arrays."""
    return sum(array.codes.size * array.layout.planes for array in arrays)


def conversions_of(arrays: Sequence[Array]) -> int:
    """Conversions of one read of every column, each polarity by itself, all rows driven."""
    total = 0
    for array in arrays:
        if array.place is None:
            continue
        matrix = matrix_of(array.place, array.codes.shape)
        reads = len(reads_of_rows(array.target, matrix.rows))
        total += reads * matrix.groups * matrix.cols * array.layout.crossbars
    return total
