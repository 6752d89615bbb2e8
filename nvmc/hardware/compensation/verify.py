"""verify: write-verify of the weights that matter most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.compensation.affine import MOST_IMAGES
from nvmc.hardware.compensation.base import Compensation, Corrected, Needs
from nvmc.hardware.compensation.marks import Marks
from nvmc.hardware.devices import Device
from nvmc.hardware.devices.noise import Programming
from nvmc.hardware.devices.numbers import Above
from nvmc.hardware.devices.sources.programming import MAX_PULSES
from nvmc.hardware.devices.sources.verification import Verification

__all__ = ["IMAGES", "SIGMAS", "Order", "Verify", "verifiable"]

IMAGES = 256
"""Images that second derivatives are a mean over, when nobody says."""
SIGMAS = 0.6
"""Largest error that is left, as a multiple of the spread of one pulse, when nobody says: SWIM
verifies to 0.06 where one pulse has a standard deviation of 0.1."""

Order = Literal["swim", "magnitude", "random"]
"""Which weights are verified first; see `Verify`."""


class Verify(Compensation, frozen=True):
    """A share of the weights is write-verified, those that matter most first.

    Every cell of a chosen weight is programmed again until its error is small enough or it had
    `max_pulses`; its first pulse is the chip's without compensation. All other cells are those of
    the chip without. Which weights are chosen is the same on all chips.

    `swim`: by what the loss is expected to rise by the weight's error, 1/2 d2f/dw2 E[(W_p - W)^2];
    the larger weight first of equals. Second derivatives are those of Gauss and Newton, of the mean
    over images (`nvmc.torchgraph.curvature`); squared errors are those that the device's
    programming noise is expected to leave without verification. `magnitude`: |W|. `random`: a fixed
    order, to compare with. No labels are needed.

    Source: Yan, Hu, Shi, "SWIM: Selective Write-Verify for Computing-in-Memory Neural
    Accelerators", DAC 2022, Eq. 5 and Alg. 1. There the deviation is the same for all weights, and
    second derivatives come from a recursion that keeps the diagonals of Hessians only.

    Attributes:
        share: Share of the weights, 0 to 1.
        order: See above.
        images: Images that second derivatives are a mean over; 256 for `swim` by default.
        tolerance: Largest error of a cell that is left, in units of the basis of the device's
            programming noise.
        sigmas: The same as a multiple of the standard deviation of one pulse of the cell; 0.6 where
            neither is given. At most one of the two.
        max_pulses: Pulses after which a cell stays as it is.
    """

    title: ClassVar[str] = "write-verify of the weights that matter most"
    source: ClassVar[str] = "SWIM: Yan, Hu, Shi, DAC 2022"
    type: Literal["verify"] = "verify"
    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1
    order: Order = "swim"
    images: Annotated[int, Field(ge=1, le=MOST_IMAGES, strict=True)] | None = None
    tolerance: Above | None = None
    sigmas: Above | None = None
    max_pulses: Annotated[int, Field(ge=1, le=MAX_PULSES, strict=True)] = 20

    @property
    def derives(self) -> bool:
        """Whether second derivatives decide which weights are chosen."""
        return self.order == "swim" and 0 < self.share < 1

    def settled(self, device: Device) -> Self:
        """Itself with the number of images and the tolerance that are assumed.

        Raises:
            OptionError: The device has no cells that could be verified, or verifies them anyway;
                or options contradict each other.
        """
        if self.images is not None and self.order != "swim":
            raise OptionError(
                f"--compensate verify: images is {self.images}, but order {self.order!r} looks at "
                "no images; leave images out, or give order=swim"
            )
        if self.tolerance is not None and self.sigmas is not None:
            raise OptionError(
                f"--compensate verify: tolerance is {self.tolerance:g} and sigmas {self.sigmas:g}; "
                "expected one of the two"
            )
        self._check(device)
        filled: dict[str, Any] = {}
        if self.images is None and self.derives:
            filled["images"] = IMAGES
        if self.tolerance is None and self.sigmas is None:
            filled["sigmas"] = SIGMAS
        return self.model_copy(update=filled) if filled else self

    def _check(self, device: Device) -> None:
        """Complain of a device whose cells cannot be verified better than they are."""
        sources = verifiable(device)
        if not sources:
            measured = any(isinstance(s, Programming) for s in device.noise)
            why = "are tables in time, measured after write-verify" if measured else "are none"
            raise OptionError(
                f"--compensate verify: the programming errors of device {device.name!r} {why}; "
                "leave verify out, or take a device with noise of type 'programming'"
            )
        for source in sources:
            if source.tolerance is None:
                continue
            if self.tolerance is None or self.tolerance >= source.tolerance:
                given = "none is given" if self.tolerance is None else f"got {self.tolerance:g}"
                raise OptionError(
                    f"--compensate verify: device {device.name!r} verifies all its cells to "
                    f"{source.tolerance:g} {source.basis}; {given}, expected a smaller tolerance"
                )

    def verification(self, chosen: NDArray[np.bool_]) -> Verification:
        """What is done with the cells of the chosen weights."""
        return Verification(chosen, self.max_pulses, self.tolerance, self.sigmas)

    def needs(self, arrays: Sequence[Array], corrected: Corrected) -> Needs:
        """Images only; `work` knows which cells are verified, and how noisy they are."""
        del arrays, corrected
        return Needs(images_once=self.images or 0)

    def work(self, arrays: Sequence[Array], marks: Marks, chip: Chip) -> Needs:
        """What it is expected to cost one chip: pulses beyond those without it, and their reads.

        Every pulse of a verified cell is followed by a read of the cell by itself. Pulses are
        those of Gaussian errors, p = P(|error| <= bound): 1 + (1 - p) + ... up to `max_pulses`.

        Args:
            arrays: The chip's.
            marks: Which weights are verified.
            chip: Any chip of the population, with its sources at their strength.
        """
        pulses = before = 0.0
        for array in arrays:
            chosen = np.broadcast_to(marks.mask(array), array.cells.targets.shape)
            if not chosen.any():
                continue
            own_chip = chip.on(array.target.device)
            cells = replace(array.cells, places=array.target.places, time_s=own_chip.time_s)
            cells = cells.placed()
            for source in (s for s in own_chip.sources if isinstance(s, Programming)):
                unit = np.asarray(cells.unit(source.basis, cells.targets))
                spread, shift = source.spread(cells), source.shift(cells)
                bound = self.verification(chosen).bound(unit, spread)
                law = _Pulses(chosen, spread, shift)
                pulses += law.expected(bound, self.max_pulses)
                own = source.tolerance
                before += law.expected(own and own * unit, source.max_pulses or 1)
        more = max(0, round(pulses - before))
        return Needs(reads=round(pulses), writes=more, images_once=self.images or 0)


def verifiable(device: Device) -> list[Programming]:
    """The sources of a device whose errors write-verify can reduce."""
    return [s for s in device.noise if isinstance(s, Programming) and s.table is None]


class _Pulses:
    """How many pulses the chosen cells are expected to take."""

    def __init__(self, chosen: NDArray[np.bool_], spread: Any, shift: Any) -> None:
        self._spread, self._shift = (
            self._of(chosen, spread),
            self._of(chosen, 0.0 if shift is None else shift),
        )
        self._chosen = chosen

    @staticmethod
    def _of(chosen: NDArray[np.bool_], value: Any) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(value, np.float64), chosen.shape)[chosen]

    def expected(self, bound: Any, most: int) -> float:
        """Expected pulses of all chosen cells together; None as the bound: one each."""
        if bound is None:
            return float(np.count_nonzero(self._chosen))
        from scipy import special  # a quarter of a second, and only this asks for it

        bound = self._of(self._chosen, bound)
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = [(sign * bound - self._shift) / self._spread for sign in (1, -1)]
            missed = 1 - (special.ndtr(ends[0]) - special.ndtr(ends[1]))
        sure = self._spread == 0
        missed[sure] = np.abs(self._shift[sure]) > bound[sure]
        return float(sum(np.power(missed, done).sum() for done in range(most)))
