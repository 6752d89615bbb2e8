"""Within what band hardware's figures hold, by published macros that it was not calibrated on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nvmc.cost.hardware import Hardware
from nvmc.cost.macros import DIMENSIONS, Macro, macros, predicted, published
from nvmc.cost.scaling import Dimension
from nvmc.errors import HardwareError

__all__ = ["Band", "Ratio", "bands", "factor", "judges", "ratios"]


@dataclass(frozen=True)
class Ratio:
    """One macro's published figure over ours.

    Attributes:
        macro: Whose.
        value: The ratio.
        calibrated: Whether the hardware's factor was fitted on this chip and nothing is left to
            judge it by.
    """

    macro: Macro
    value: float
    calibrated: bool


@dataclass(frozen=True)
class Band:
    """The band of one dimension: figures times `low` to figures times `high`.

    Attributes:
        low, high: The smallest and the largest ratio of published to predicted.
        chips: How many chips that is of.
    """

    low: float
    high: float
    chips: int

    @property
    def coverage(self) -> float:
        """Probability that one more chip lies in it, were it drawn as these were.

        The smallest and the largest of n exchangeable numbers enclose the next one with
        probability (n - 1)/(n + 1), whatever their distribution.
        """
        return (self.chips - 1) / (self.chips + 1)

    def around(self, value: float) -> tuple[float, float]:
        """The band around a figure."""
        return self.low * value, self.high * value


def ratios(
    hardware: Hardware, dimension: Dimension, known: Sequence[Macro] | None = None
) -> list[Ratio]:
    """Published over predicted of every macro that has such a figure.

    Where the factor was fitted on several chips, each of them is judged by the factor that the
    others alone give: leave one out.
    """
    fitted = hardware.calibration.macros
    raw = {m.name: value for m in known or macros() if (value := _ratio(hardware, m, dimension))}
    found: list[Ratio] = []
    for macro in known or macros():
        if macro.name not in raw:
            continue
        value, calibrated = raw[macro.name], False
        if macro.chip in fitted:
            others = [
                m
                for m in known or macros()
                if m.name in raw and m.chip in fitted and m.chip != macro.chip
            ]
            calibrated = not others
            if others:
                value /= _mean({m.name: raw[m.name] for m in others}, others)
        found.append(Ratio(macro, value, calibrated))
    return found


def bands(hardware: Hardware, known: Sequence[Macro] | None = None) -> dict[Dimension, Band]:
    """The band of each dimension.

    Raises:
        HardwareError: There are fewer than two chips that it was not calibrated on.
    """
    return {dimension: _band(hardware, dimension, known) for dimension in DIMENSIONS}


def judges(ratio: Ratio) -> bool:
    """Whether a macro takes part in the band: silicon with resistive cells, not calibrated on."""
    return ratio.macro.measured and ratio.macro.conducts and not ratio.calibrated


def factor(hardware: Hardware, dimension: Dimension, on: Sequence[Macro]) -> float | None:
    """What the hardware's figures are to be multiplied by to meet those of macros on average.

    Returns:
        The geometric mean over chips of the mean of their points; None where none has a figure.
    """
    raw = {m.name: value for m in on if (value := _ratio(hardware, m, dimension))}
    return _mean(raw, on) if raw else None


def _band(hardware: Hardware, dimension: Dimension, known: Sequence[Macro] | None) -> Band:
    judged = [r for r in ratios(hardware, dimension, known) if judges(r)]
    chips = {ratio.macro.chip for ratio in judged}
    if len(chips) < 2:
        raise HardwareError(
            f"hardware {hardware.name!r} was calibrated on all macros but {len(chips)} that have "
            f"published {dimension}, so it has no band; leave some out of calibration.macros"
        )
    values = [ratio.value for ratio in judged]
    return Band(min(values), max(values), len(chips))


def _ratio(hardware: Hardware, macro: Macro, dimension: Dimension) -> float | None:
    value = published(macro).get(dimension)
    return None if value is None else value / predicted(hardware, macro)[dimension]


def _mean(raw: dict[str, float], of: Sequence[Macro]) -> float:
    """Geometric mean over chips of the geometric mean of a chip's points."""
    chips: dict[str, list[float]] = {}
    for macro in of:
        if macro.name in raw:
            chips.setdefault(macro.chip, []).append(math.log(raw[macro.name]))
    means = [sum(values) / len(values) for values in chips.values()]
    return math.exp(sum(means) / len(means))
