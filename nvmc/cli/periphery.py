"""The options of `nvmc compile` that say what surrounds the tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from nvmc.errors import OptionError
from nvmc.hardware.devices import Periphery
from nvmc.hardware.devices.adc.kinds import KINDS, parse_adc
from nvmc.hardware.options import problem

__all__ = [
    "check_range",
    "periphery_from",
    "periphery_given",
    "periphery_options",
    "periphery_words",
]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, tuple[Any, str | None, str]] = {
    "dac_bits": (int, "D", "Bits of an input code, 1 to 16.  [default: exact inputs]"),
    "dac_mode": (
        click.Choice(["multi-level", "bit-serial"]),
        None,
        "Drive a row with a whole code, or bit after bit.  [default: multi-level]",
    ),
    "dac_slice_bits": (int, "M", "Bits of a bit-serial pulse.  [default: 1]"),
    "accumulate": (
        click.Choice(["digital", "analog"]),
        None,
        "Convert each bit-serial pulse and add up codes, or add up charges and convert their sum "
        "once.  [default: digital]",
    ),
    "dac_inl": (
        float,
        "LSB",
        (
            "Nonlinearity of the DACs, drawn per row and chip: standard deviation of the peaks of"
            " a bow-shaped and an S-shaped error.  [default: 0]"
        ),
    ),
    "dac_range": (
        click.Choice(["dynamic", "calibrated", "error"]),
        None,
        (
            "Range of the inputs: that of each image, the largest on --data, or the one with the "
            "least error there.  [default: dynamic]"
        ),
    ),
    "signed_inputs": (
        click.Choice(["two-phase", "offset", "bipolar"]),
        None,
        "How negative inputs are driven: after the positive ones, with an offset, or by negative "
        "voltages.  [default: two-phase]",
    ),
    "adc_bits": (int, "A", "Bits of an output code, 1 to 16.  [default: exact currents]"),
    "adc_range": (
        str,
        "full|calibrated|error|kpp|I",
        (
            "Range of the currents: the tile's worst case; the range on --data, the one with the "
            "least error there, or the one with the best KPP; or a number of level steps x input "
            "steps.  [default: full]"
        ),
    ),
    "adc_range_of": (
        click.Choice(["array", "slice", "column"]),
        None,
        "Which part has its own calibrated range.  [default: array]",
    ),
    "adc_steps": (
        click.Choice(["symmetric", "asymmetric", "lloyd-max"]),
        None,
        (
            "How codes are placed in a calibrated range: symmetric around zero current, from the "
            "lowest to the highest current, or unevenly for the least squared error.  [default: "
            "symmetric]"
        ),
    ),
    "adc": (
        str,
        "KIND[:KEY=VALUE,…]",
        f"Kind of ADC and its errors: {', '.join(KINDS)}; as in sar:mismatch=0.01,noise=0.3. "
        "Keys of all: gain, offset, inl, dnl, noise.  [default: ideal]",
    ),
    "adc_share": (int, "N", "Neighbouring columns that one ADC converts.  [default: 1]"),
    "adc_rounding": (
        click.Choice(["nearest", "stochastic"]),
        None,
        "Round to the nearest code, or up or down at random.  [default: nearest]",
    ),
    "subtract": (
        click.Choice(["analog", "digital"]),
        None,
        "Subtract polarities before or after the ADC.  [default: analog]",
    ),
    "polarity": (
        click.Choice(["separate", "interleaved", "opposed"]),
        None,
        (
            "Where the two polarities lie (only matters with wire resistance): on separate tiles,"
            " on neighbouring bit lines, or on word lines of opposite voltages.  [default: "
            "separate]"
        ),
    ),
    "reference": (
        click.Choice(["auto", "exact", "column", "none"]),
        None,
        (
            "How the current of cells at level 0 is removed from results: subtracted before the "
            "ADC without error, by a column of such cells, or only digitally.  [default: auto]"
        ),
    ),
    "row_split": (
        click.Choice(["filled", "even"]),
        None,
        "Fill tile after tile with the rows of a matrix, or spread them evenly.  [default: filled]",
    ),
    "rows_on": (
        int,
        "N",
        (
            "Drive N rows of a tile at a time, with one conversion per group of rows.  [default: "
            "all]"
        ),
    ),
    "waiting_rows": (
        click.Choice(["ground", "float", "off"]),
        None,
        (
            "With --rows-on: state of the rows that are not driven: held at 0 V, floating (an "
            "array without selectors), or with selectors off. Only matters with wire "
            "resistance.  [default: ground]"
        ),
    ),
    "column_limit": (
        float,
        "I",
        "Where the current of a column saturates, in level steps x input steps.  [default: never]",
    ),
    "bias": (
        click.Choice(["digital", "rows"]),
        None,
        "Add biases digitally, or put them on rows that a constant input drives: the largest input "
        "on --data, or 1.  [default: digital]",
    ),
    "read_v": (
        float,
        "V",
        (
            "Voltage of the highest input; the current of cells then follows the curve in the "
            "device's file.  [default: current proportional to voltage]"
        ),
    ),
    "wire_ohm": (
        str,
        "R|R,C|R,C,D,S",
        "Resistances in ohm: of a wire segment along rows and along columns, then of each row's "
        "driver and of each column's sense end.",
    ),
    "wire_solution": (
        click.Choice(["auto", "exact", "approximate"]),
        None,
        (
            "How tiles with wires are solved; auto: exact for linear cells, approximate with "
            "--read-v, where exact solves every read separately.  [default: auto]"
        ),
    ),
}
_FLAGS = {"row_split": "--rows"}
"""Options that are not called as their setting is."""


def _flag(name: str) -> str:
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def periphery_options(command: F) -> F:
    """The options that say what surrounds the tiles."""
    for name, (kind, metavar, text) in reversed(_OPTIONS.items()):
        command = click.option(_flag(name), name, type=kind, metavar=metavar, help=text)(command)
    return command


def periphery_words(options: Mapping[str, Any]) -> list[str]:
    """The options of `periphery_options` as they were typed."""
    return [
        word
        for name in _OPTIONS
        if options.get(name) is not None
        for word in (_flag(name), str(options[name]))
    ]


def periphery_from(options: Mapping[str, Any]) -> Periphery:
    """The periphery that the options of `periphery_options` describe; None means the default.

    Raises:
        OptionError: One of them is wrong.
    """
    try:
        found = Periphery.model_validate(periphery_given(options))
    except ValidationError as error:
        raise OptionError(problem(error, Periphery, option=True)) from error
    check_range(found)
    return found


def check_range(periphery: Periphery, where: str = "") -> None:
    """Complain of a range that is to be found for an ADC that is not there.

    Args:
        periphery: With all that options and a target file say.
        where: Of which layers, for the message.

    Raises:
        OptionError: There is such a range.
    """
    rule = str(periphery.adc_range).partition(":")[0]
    if rule in ("calibrated", "error") and periphery.adc_bits is None:
        raise OptionError(
            f"{where}--adc-range is {periphery.adc_range}, but without --adc-bits currents are "
            "read exactly and have no range; give --adc-bits 1 to 16, or leave --adc-range out"
        )


def periphery_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is given of the options of `periphery_options`, as `Periphery` takes it.

    Raises:
        OptionError: One of them is wrong.
    """
    given = {name: options[name] for name in _OPTIONS if options.get(name) is not None}
    if "adc_range" in given:
        given["adc_range"] = _range(given["adc_range"])
    if "adc" in given:
        given["adc"] = parse_adc(given["adc"])
    if "wire_ohm" in given:
        given["wire_ohm"] = _wires(given["wire_ohm"])
    return given


def _range(text: str) -> float | str:
    rule, _, width = text.partition(":")
    if rule == "kpp":
        raise OptionError(
            f"--adc-range is {text!r}, which only `nvmc compile` looks for; give the range that it "
            "prints"
        )
    if text == "full" or rule in ("calibrated", "error"):
        _number(width or "1", text)
        return text
    return _number(text, text)


def _number(number: str, text: str) -> float:
    try:
        found = float(number)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise OptionError(
            f"--adc-range is {text!r}; expected full, calibrated, error, kpp, a factor on one of "
            "these two as in error:0.8, or a number above 0"
        )
    return found


def _wires(text: str) -> dict[str, float]:
    try:
        ohm = [float(part) for part in text.split(",")]
    except ValueError:
        ohm = []
    if len(ohm) not in (1, 2, 4):
        raise OptionError(f"--wire-ohm is {text!r}; expected R, or R,C, or R,C,DRIVER,SENSE in ohm")
    row, col, *ends = ohm * 2 if len(ohm) == 1 else ohm
    return {"row": row, "col": col, **dict(zip(("driver", "sense"), ends, strict=False))}
