"""A chip that corrects itself by what it knows of its own cells."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.compensation.base import Compensation
from nvmc.hardware.compensation.drift import Drift
from nvmc.hardware.compensation.marks import Marks
from nvmc.hardware.compensation.select import Select
from nvmc.hardware.compensation.verify import Verify
from nvmc.hardware.devices import Cells
from nvmc.hardware.programming import Programmed, beyond_numbers

__all__ = ["CompensatedChip"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class CompensatedChip(Chip):
    """A chip that chooses among copies (`select`), verifies (`verify`), and has factors (`drift`).

    Its cells are those of the chip without compensation where copy 0 is chosen and none is written
    again; nothing is drawn differently for what is done with them.

    Attributes:
        compensate: What it does, in the order of `COMPENSATIONS`; those that need images are no
            business of a chip.
        copy: Which copy of all arrays this is, where they are not chosen.
        marks: Which weights `verify` writes again; None where that is none or all of them, or is
            not known yet.
    """

    compensate: tuple[Compensation, ...] = ()
    copy: int = 0
    marks: Marks | None = None

    @classmethod
    def within(cls, chip: Chip, compensate: tuple[Compensation, ...]) -> CompensatedChip:
        """`chip`, which corrects itself."""
        own = {f.name: getattr(chip, f.name) for f in fields(Chip) if f.init}
        return cls(**own, compensate=compensate)

    def program(self, array: Array) -> Programmed:
        """The state of the copy of `array` that is used, without the digital factor."""
        if self.others:
            return self.on(array.target.device).program(array)
        return self._plain(array)._program(array)

    def weights(self, array: Array) -> Float:
        """What `array` computes with, the digital factor included."""
        if self.others:
            return self.on(array.target.device).weights(array)
        plain = self._plain(array)
        return array.scaled(plain._weights(array), plain.gain(array))

    def gain(self, array: Array) -> float:
        """The digital factor of `array`'s results, 1 without `drift`."""
        if self.others:
            return self.on(array.target.device).gain(array)
        drift = next((one for one in self.compensate if isinstance(one, Drift)), None)
        if drift is None or self.index is None or self.time_s is None:
            return 1.0
        plain = self._plain(array)
        if (since := drift.since_s or 0.0) >= self.time_s:
            return 1.0
        return drift.factor(plain, replace(plain, time_s=since), array)

    def _program(self, array: Array) -> Programmed:
        return super().program(array)

    def _weights(self, array: Array) -> Float:
        if self._verifying is not None:  # in rounds over all cells, so not in blocks
            return self._program(array).weights
        return super().weights(array)

    @property
    def _verifying(self) -> Verify | None:
        """What is written again, if anything is."""
        verify = next((one for one in self.compensate if isinstance(one, Verify)), None)
        return None if verify is None or self.index is None or not verify.share else verify

    def _cells(self, array: Array) -> Cells:
        """The cells, which know whether they are verified.

        Raises:
            OptionError: It was not said which are.
        """
        cells, verify = super()._cells(array), self._verifying
        if verify is None:
            return cells
        if verify.share == 1:
            return replace(cells, verification=verify.verification(np.array(True)))
        if self.marks is None:
            raise OptionError(
                "the chip does not know which of its weights are verified, which follows from the "
                "network and images; make it with nvmc.simulate or nvmc.program_chip"
            )
        return replace(cells, verification=verify.verification(self.marks.mask(array)))

    def _plain(self, array: Array) -> CompensatedChip:
        """This chip with the copy of `array` that is used, and nothing to choose."""
        select = next((one for one in self.compensate if isinstance(one, Select)), None)
        if select is None or self.index is None:
            return self
        rest = tuple(one for one in self.compensate if one is not select)
        best = self._best(array.beside or array, select.copies)
        return replace(self, compensate=rest, copy=best)

    @beyond_numbers
    def _best(self, array: Array, copies: int) -> int:
        """The copy with the least error when it was programmed, the first of equals."""
        new = replace(self, compensate=(), time_s=None if self.time_s is None else 0.0)
        ideal = array.ideal.astype(np.float64)
        errors = [
            np.square(replace(new, copy=number)._weights(array) - ideal).sum()
            for number in range(copies)
        ]
        return int(np.argmin(np.nan_to_num(errors, nan=np.inf, posinf=np.inf)))

    def _label(self, array: Array) -> tuple[str, ...]:
        return (array.name, f"copy {self.copy}") if self.copy else (array.name,)
