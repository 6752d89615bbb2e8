"""What can be swept, in one table: how a value is written and what it changes.

A new parameter is a row of `PARAMETERS`; the commands make an option of every row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from nvmc.arguments import checked
from nvmc.errors import OptionError, unknown
from nvmc.hardware.chip import Chip
from nvmc.hardware.compensation import Compensation, as_compensations, compensated, settled
from nvmc.hardware.devices import EXACT_ADC, Device, NoiseSource, Target, as_noise, load_device
from nvmc.hardware.devices.periphery import MAX_CONVERTER_BITS, Periphery
from nvmc.hardware.devices.settings import number_text
from nvmc.hardware.devices.sources.thermal import TEMPERATURES_C
from nvmc.hardware.options import problem

__all__ = [
    "PARAMETERS",
    "Parameter",
    "Setup",
    "Value",
    "duration_text",
    "label_of",
    "parse_temperature",
    "parse_time",
    "parse_values",
]

MAX_VALUES = 1000

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "y": 31_557_600}
"""Units of time; a year is 365.25 days."""


@dataclass(frozen=True)
class Value:
    """One value of a parameter: the number (None for `none`), and how people write it."""

    number: float | None
    text: str


@dataclass(frozen=True)
class Setup:
    """What a population of chips is made with.

    Attributes:
        target: The cells and their periphery.
        sigma: Strength of the device's noise; None for its default.
        time_s: Seconds since programming; None for right after it.
        compensate: What the chips do against their noise, in the order in which it acts.
    """

    target: Target
    sigma: float | None = None
    time_s: float | None = None
    compensate: tuple[Compensation, ...] = ()

    @classmethod
    @checked
    def of(
        cls,
        target: Target,
        device: Device | str | Path | None = None,
        noise: Iterable[NoiseSource | str] = (),
        sigma: float | None = None,
        time_s: float | None = None,
        compensate: Iterable[Compensation | str] = (),
        temperature_c: float | None = None,
    ) -> Setup:
        """A setup on `target`, or on another device and with more noise.

        Args:
            target: What a network was compiled for.
            device: Another device: one, its name in the library, or its file.
            noise: More sources behind the device's own: sources, or texts as behind `--noise`.
            sigma: Strength of the device's noise; None for its default.
            time_s: Seconds since programming; None for right after it.
            compensate: What the chips do against their noise: compensations, or texts as behind
                `--compensate`.
            temperature_c: Of all cells since programming, degrees Celsius; None for what the noise
                sources say, which is that of their measurement where they say nothing.

        Raises:
            DeviceError, OptionError: By what is wrong.
        """
        chosen = None if device is None else load_device(device)
        on = target.on(chosen, map(as_noise, noise)).at_temperature(temperature_c)
        return cls(on, sigma, time_s, settled(as_compensations(compensate), on.devices))

    @property
    def strength(self) -> float | None:
        """Sigma as it counts: the setup's, or the device's; None where the device has none."""
        return self.target.device.sigma if self.sigma is None else self.sigma

    @property
    def age(self) -> float | None:
        """Seconds since programming as they count; None where nothing depends on them."""
        return self.target.age(self.time_s)

    def chip(self, seed: int, index: int) -> Chip:
        """Chip `index` of population `seed`; it has the same random numbers in every setup.

        Raises:
            OptionError: The device cannot be so.
        """
        chip = Chip.of(self.target, seed, index, self.sigma, self.time_s)
        return compensated(chip, self.compensate)

    def identity(self, seed: int) -> dict[str, Any]:
        """What decides the values of a population's chips beside their number, as JSON values."""
        chip = self.chip(seed, 0)
        found: dict[str, Any] = {
            "seed": chip.seed,
            "sources": [source.model_dump(mode="json") for source in chip.sources],
            "clip": chip.clip,
            "time_s": chip.time_s,
        }
        # Without these two, the key is that of stores from before there were any.
        if chip.others:
            found["others"] = [
                {
                    "device": other.device.name,
                    "sources": [source.model_dump(mode="json") for source in other.sources],
                    "clip": other.clip,
                    "time_s": other.time_s,
                }
                for other in chip.others
            ]
        if self.compensate:
            found["compensate"] = self.compensations
        return found

    @property
    def compensations(self) -> list[dict[str, Any]]:
        """What the chips do against their noise, as JSON values."""
        return [one.model_dump(mode="json", exclude_none=True) for one in self.compensate]


@dataclass(frozen=True)
class Parameter:
    """Something that can be swept.

    Attributes:
        help: What its option does.
        label: What an axis is called, its unit included.
        column: What CSV and JSON call it, its unit included.
        expected: What `parse` accepts, for people.
        parse: The number a text stands for; LookupError, ValueError or ArithmeticError for none.
        change: The setup with the parameter at a number that `parse` gave.
        logarithmic: Whether an axis is better so.
        circuit: Whether it is of the periphery, which is ideal at fidelity `cells`.
        better: Whether chips are taken to be better with more of it, or with less: `nvmc solve`.
        usual: The values that `nvmc solve` looks among where nobody says.
    """

    help: str
    label: str
    column: str
    expected: str
    parse: Callable[[str], float | None]
    change: Callable[[Setup, float | None], Setup]
    better: Literal["more", "less"]
    usual: str
    logarithmic: bool = False
    circuit: bool = False


def parse_values(name: str, text: str) -> list[Value]:
    """The values of parameter `name`: `0.1`, a list `0.1,0.2`, a range `0:0.4:0.05`, or a mix.

    A range includes its last value where the step meets it, and is computed in decimals: the
    sixth of 0:0.5:0.1 is 0.5 and the fourth is 0.3, not 0.30000000000000004.

    Raises:
        OptionError: A value is none of the parameter's, is given twice, or there are too many.
    """
    if name not in PARAMETERS:
        raise OptionError(unknown("parameter", name, PARAMETERS))
    parts = [item for part in text.split(",") for item in _expanded(name, part.strip())]
    if len(parts) > MAX_VALUES:
        raise OptionError(f"--{name} has {len(parts)} values; expected at most {MAX_VALUES}")
    values: dict[float | None, Value] = {}
    for part in parts:
        value = _value(name, part)
        if value.number in values:
            raise OptionError(f"--{name}: {part} is given twice in {text!r}; give it once")
        values[value.number] = value
    return list(values.values())


def _value(name: str, text: str) -> Value:
    parameter = PARAMETERS[name]
    try:
        return Value(parameter.parse(text), text)
    except (LookupError, ValueError, ArithmeticError) as error:
        dash = re.fullmatch(r"([\d.]+)\s*(?:-|\.\.|to)\s*([\d.]+)", text)
        hint = f"; a range is {dash[1]}:{dash[2]}:STEP, such as 0:0.3:0.1" if dash else ""
        raise OptionError(f"--{name}: got {text!r}; expected {parameter.expected}{hint}") from error


def _expanded(name: str, text: str) -> list[str]:
    """The values of a range `first:last:step` as texts; any other text as it is."""
    if ":" not in text:
        return [text]
    try:
        first, last, step = (Decimal(piece.strip()) for piece in text.split(":"))
        if not (first <= last and step > 0):
            raise ValueError(text)
        count = int((last - first) / step) + 1
    except (ValueError, ArithmeticError) as error:
        raise OptionError(
            f"--{name}: {text!r} is no range; expected FIRST:LAST:STEP with FIRST <= LAST and "
            "STEP > 0, such as 0:0.4:0.05"
        ) from error
    if count > MAX_VALUES:
        raise OptionError(f"--{name}: {text!r} has more than {MAX_VALUES} values; widen the step")
    return [f"{(first + i * step).normalize():f}" for i in range(count)]


def parse_time(text: str) -> float:
    """Seconds since programming, from what people write after --time.

    Raises:
        OptionError: It is no duration.
    """
    number = _value("time", text.strip()).number
    assert number is not None  # only converters have a `none`
    return number


def duration_text(seconds: float) -> str:
    """How people write a time: `1 h`, `30 d`, `1 y`, `90 s`; the largest unit that is whole."""
    for unit in reversed(SECONDS):
        if seconds >= SECONDS[unit] and seconds % SECONDS[unit] == 0:
            return f"{number_text(seconds / SECONDS[unit])} {unit}"
    return f"{number_text(seconds)} s"


def _duration(text: str) -> float:
    """Seconds from a number and its unit, such as `90s`, `20min`, `1h`, `30d` or `1y`.

    Raises:
        LookupError, ValueError, ArithmeticError: It is no duration.
    """
    unit = text.lstrip("0123456789.")
    return _within(float(Decimal(text[: len(text) - len(unit)]) * SECONDS[unit.strip()]), 0, 1e12)


def parse_temperature(text: str) -> float:
    """Degrees Celsius, from what people write after --temperature.

    Raises:
        OptionError: It is no temperature.
    """
    number = _value("temperature", text.strip()).number
    assert number is not None  # only converters have a `none`
    return number


def _temperature(text: str) -> float:
    kelvin = text.endswith("K")
    number = Decimal(text.removesuffix("K").removesuffix("C").removesuffix("°"))
    return _within(float(number - Decimal("273.15") if kelvin else number), *TEMPERATURES_C)


def _sigma(text: str) -> float:
    return _within(float(text), 0, 1e9)


def _bits(text: str) -> int | None:
    return None if text == "none" else int(_within(int(text), 1, MAX_CONVERTER_BITS))


def _within(number: float, low: float, high: float) -> float:
    if not low <= number <= high:
        raise ValueError(number)
    return number


def _with_sigma(setup: Setup, sigma: float | None) -> Setup:
    return replace(setup, sigma=sigma)


def _with_time(setup: Setup, time_s: float | None) -> Setup:
    return replace(setup, time_s=time_s)


def _with_temperature(setup: Setup, celsius: float | None) -> Setup:
    return replace(setup, target=setup.target.at_temperature(celsius))


def _with_converter(field: str) -> Callable[[Setup, float | None], Setup]:
    def change(setup: Setup, bits: float | None) -> Setup:
        target = setup.target
        gone = EXACT_ADC if field == "adc_bits" and bits is None else {}
        stated = {**target.periphery.model_dump(), **gone, field: bits}
        try:
            periphery = Periphery.model_validate(stated)
            Target.model_validate({**dict(target), "periphery": periphery})  # of its layers
        except ValidationError as error:
            what = f"--{field.replace('_', '-')} {bits}"
            raise OptionError(f"{what}: {problem(error, Periphery)}") from error
        return replace(setup, target=target.model_copy(update={"periphery": periphery}))

    return change


def _converter(kind: str) -> Parameter:
    return Parameter(
        help=f"Bits of the {kind.upper()}s: 1 to 16, or none for ideal ones.",
        label=f"{kind.upper()} resolution [bit]",
        column=f"{kind}_bits",
        expected="a whole number from 1 to 16, or none",
        parse=_bits,
        change=_with_converter(f"{kind}_bits"),
        better="more",
        usual=f"1:{MAX_CONVERTER_BITS}:1",
        circuit=True,
    )


UNITS = {
    "level": "level steps",
    "full_range": "of full range",
    "value": "of the value",
    "log": "ln",
    "us": "µS",
    "inverse": "of g_max at g_max",
}
"""What a noise source's basis is called behind a number."""


def _unit(source: NoiseSource) -> str | None:
    """What a source's sigma counts in; it is a factor where a law of its own has the unit."""
    basis, laws = getattr(source, "basis", ""), set(getattr(source, "laws", ()))
    law = getattr(source, "table", None) is not None or laws & {"polynomial", "saturating"}
    return "factor" if law or (laws and basis == "us") else UNITS.get(basis)


def label_of(name: str, device: Device) -> str:
    """What an axis over a parameter is called; sigma has the unit of the sources that take it."""
    label = PARAMETERS[name].label
    if name != "sigma":
        return label
    taking = [source for source in device.noise if source.with_sigma(1.0) is not source]
    units = {_unit(source) for source in taking}
    unit = units.pop() if len(units) == 1 else None
    return label if unit is None else f"{label} [{unit}]"


PARAMETERS: dict[str, Parameter] = {
    "sigma": Parameter(
        help="Strength of the device's noise.",
        label="noise strength σ",
        column="sigma",
        expected="a number of at least 0",
        parse=_sigma,
        change=_with_sigma,
        better="less",
        usual="0:1:0.01",
    ),
    "time": Parameter(
        help="Time since programming, such as 90s, 1h, 30d or 1y.",
        label="time since programming",
        column="time_s",
        expected="a duration such as 90s, 20min, 1h, 30d or 1y",
        parse=_duration,
        change=_with_time,
        better="less",
        usual="1s,10s,1min,10min,1h,3h,12h,1d,3d,7d,14d,30d,60d,90d,180d,1y,2y,3y,5y,10y",
        logarithmic=True,
    ),
    "temperature": Parameter(
        help="Of all cells since programming, such as 85C or 358K.",
        label="temperature [°C]",
        column="temperature_c",
        expected="degrees Celsius from -200 to 1000, such as 85C, or kelvins, such as 358K",
        parse=_temperature,
        change=_with_temperature,
        better="less",
        usual="25:150:5",
    ),
    "adc-bits": _converter("adc"),
    "dac-bits": _converter("dac"),
}
"""Name -> parameter."""
