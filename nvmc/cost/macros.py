"""Published macros, and what hardware says of each: the ground that bands stand on."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Any

from pydantic import Field, ValidationError

from nvmc.cost.counts import Counts, Use
from nvmc.cost.hardware import Hardware
from nvmc.cost.scaling import Dimension, scale
from nvmc.errors import HardwareError
from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.devices.numbers import Above, Positive
from nvmc.hardware.options import problem

__all__ = [
    "DIMENSIONS",
    "MEAN_LEVEL",
    "Macro",
    "counts_of",
    "macros",
    "parse_macros",
    "predicted",
    "published",
]

DIMENSIONS: tuple[Dimension, ...] = ("energy", "time", "area")

MEAN_LEVEL = 0.25
"""What cells of a macro, whose weights are not known, conduct on average, as a share of the range
between their lowest and highest conductance."""

Whole = Annotated[int, Field(ge=1, strict=True)]


class Macro(Strict, frozen=True):
    """One published operating point of a macro.

    An access is what the macro does between two inputs: `inputs` products for each of `outputs`
    results, two operations each.

    Attributes:
        name: Of the point.
        chip: Which chip; several points of one count as one macro.
        title, source: For people, and where the figures are from.
        cell: What its cells are.
        node_nm: Technology node.
        measured: Whether it is silicon; a design on paper takes no part in bands.
        low_us, high_us: What its cells conduct at the lowest and the highest level, in
            microsiemens; both 0 for SRAM in the charge domain, through which no current flows.
        rows, cols: Of its array.
        inputs, outputs: Of an access.
        conversions: Of an access.
        cells: Cells that conduct for one product.
        dac_bits: Bits of an input that one access takes.
        adc_bits: Bits of a conversion.
        adcs: Converters.
        tops_per_w: Published, for operations of this precision.
        time_ns: Of an access; None where not published.
        tops_per_mm2: Published; None where not.
    """

    name: str
    chip: str
    title: str
    source: Annotated[str, Field(min_length=3)]
    cell: str
    node_nm: Above
    measured: Annotated[bool, Field(strict=True)] = True
    low_us: Positive
    high_us: Positive
    rows: Whole
    cols: Whole
    inputs: Whole
    outputs: Whole
    conversions: Whole
    cells: Whole = 1
    dac_bits: Whole
    adc_bits: Whole
    adcs: Whole
    tops_per_w: Above
    time_ns: Above | None = None
    tops_per_mm2: Above | None = None

    @property
    def conducts(self) -> bool:
        """Whether its cells are resistors, as those of non-volatile memories are."""
        return self.high_us > 0

    @property
    def operations(self) -> int:
        """Multiplications and additions of an access."""
        return 2 * self.inputs * self.outputs


@cache
def macros() -> tuple[Macro, ...]:
    """The macros that come with nvmc."""
    content = (resources.files("nvmc.cost") / "macros.toml").read_bytes()
    return parse_macros(content, "macros.toml")


def parse_macros(content: bytes, where: str) -> tuple[Macro, ...]:
    """Macros from the content of a TOML file, a [[macro]] each.

    Raises:
        HardwareError: It is not valid.
    """
    try:
        given: dict[str, Any] = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise HardwareError(f"macro file {where!r} is not TOML: {error}") from error
    rows: Any = given.get("macro")
    if not isinstance(rows, list) or set(given) != {"macro"}:
        raise HardwareError(f"macro file {where!r} holds {sorted(given)}; expected [[macro]] only")
    try:
        return tuple(Macro.model_validate(row) for row in rows)  # pyright: ignore[reportUnknownVariableType]
    except ValidationError as error:
        raise HardwareError(f"macro file {where!r}: {problem(error, Macro)}") from error


def published(macro: Macro) -> dict[Dimension, float]:
    """Joules of an access, its seconds, and square metres, as far as they were published."""
    found: dict[Dimension, float] = {"energy": macro.operations / (macro.tops_per_w * 1e12)}
    if macro.time_ns is not None:
        found["time"] = macro.time_ns * 1e-9
        if macro.tops_per_mm2 is not None:
            rate = macro.operations / found["time"]
            found["area"] = rate / (macro.tops_per_mm2 * 1e12) * 1e-6
    return found


def predicted(hardware: Hardware, macro: Macro) -> dict[Dimension, float]:
    """The same as hardware has it, scaled to the macro's node (`nvmc.cost.scaling`)."""
    use = Use(macro.rows, macro.cols, macro.dac_bits, macro.dac_bits, macro.adc_bits, macro.adcs)
    counts = counts_of(macro)
    energies, areas = hardware.energies_j(counts, use), hardware.areas_m2(counts, use)
    node = hardware.node.si * 1e9

    def scaled(dimension: Dimension, values: dict[str, float]) -> float:
        return sum(
            values[name] * scale(dimension, node, macro.node_nm, analog=part.analog)
            for name, part in hardware.components.items()
            if not part.per_image
        )

    return {
        "energy": scaled("energy", energies),
        "time": hardware.pulse_s(counts, use) * scale("time", node, macro.node_nm, analog=True),
        "area": scaled("area", areas),
    }


def counts_of(macro: Macro) -> Counts:
    """The events of one access, drives uniform between 0 and the largest."""
    each = (macro.low_us + MEAN_LEVEL * (macro.high_us - macro.low_us)) * 1e-6
    conducting = macro.inputs * macro.conversions * macro.cells * each
    one_bit = macro.dac_bits == 1
    return Counts(
        tiles=1,
        readers=1,
        vectors=1,
        pulses=1,
        columns=macro.conversions,
        drives=macro.inputs,
        active=macro.inputs * (1 - 0.5**macro.dac_bits),
        conversions=macro.conversions,
        additions=macro.conversions,
        width=macro.adc_bits + macro.dac_bits,
        linear_s=conducting / 2,
        squared_s=conducting / (2 if one_bit else 3),
    )
