"""Values of parameters as Python has them: numbers and lists, beside the texts of options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, cast

from nvmc.errors import OptionError, unknown
from nvmc.evaluation.parameters import PARAMETERS, Value, parse_values

__all__ = ["Given", "as_values", "parameter_named"]

SHORT = {"time_s": "time", "temperature_c": "temperature"}
"""Parameters that other functions take with a unit in the keyword -> their names."""

One = Value | float | str | None
Given = Sequence[One] | One


def as_values(given: Mapping[str, Given]) -> dict[str, list[Value]]:
    """The values of parameters by their names in `PARAMETERS`.

    Args:
        given: By name, in which `_` stands for `-` (`time_s` and `temperature_c`, too): a text
            such as `0:0.4:0.05`; a number, of time in seconds and of temperature in degrees
            Celsius; None for a converter that is switched off; or a sequence of such.

    Raises:
        OptionError: There is no such parameter, or a value is none of its.
    """
    found: dict[str, list[Value]] = {}
    for typed, several in given.items():
        name = parameter_named(typed)
        if name in found:
            raise OptionError(f"{typed!r} is given beside {name!r}, which is the same; give one")
        found[name] = _values(name, typed, several)
    return found


def parameter_named(typed: str) -> str:
    """The name in `PARAMETERS` of what Python calls `adc_bits`, or `time_s` as in `simulate`.

    Raises:
        OptionError: There is no such parameter.
    """
    name = SHORT.get(typed, typed).replace("_", "-")
    if name not in PARAMETERS:
        long = {short: keyword for keyword, short in SHORT.items()}
        known = [long.get(one, one).replace("-", "_") for one in PARAMETERS]
        raise OptionError(unknown("parameter", typed, known))
    return name


def _values(name: str, typed: str, given: Given) -> list[Value]:
    if isinstance(given, str):
        return parse_values(name, given)
    several: list[Any] = list(cast(Any, given)) if hasattr(given, "__iter__") else [given]
    found: list[Value] = []
    for one in several:
        found += [one] if isinstance(one, Value) else parse_values(name, _text(name, typed, one))
    numbers = [value.number for value in found]
    if len(set(numbers)) < len(numbers):
        raise OptionError(f"{typed} has a value twice; give each once")
    return found


def _text(name: str, typed: str, one: Any) -> str:
    """What people write for a value."""
    if one is None:
        return "none"
    if isinstance(one, str):
        return one
    if isinstance(one, bool) or not isinstance(one, Real):
        raise OptionError(f"{typed} is {one!r}; expected numbers, or texts such as '0:0.4:0.05'")
    number = float(one)
    text = str(int(number)) if number.is_integer() else f"{Decimal(repr(number)):f}"
    return f"{text}s" if name == "time" else text
