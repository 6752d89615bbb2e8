"""What may differ from layer to layer: one list of settings, for target files and targets alike.

A new setting of `Target` or `Periphery` that layers may have of their own is a field of `Settings`
with the same name, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, cast

from pydantic import Field, GetJsonSchemaHandler, model_serializer

from nvmc.hardware.devices.adc.base import AdcKind
from nvmc.hardware.devices.adc.kinds import AnyAdc, adc_text
from nvmc.hardware.devices.device import Bits, Device
from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.devices.numbers import Positive
from nvmc.hardware.devices.periphery import (
    Above0,
    Accumulate,
    AdcRange,
    AdcRangeOf,
    AdcRounding,
    AdcSteps,
    Bias,
    ConverterBits,
    DacMode,
    DacRange,
    Polarity,
    Reference,
    RowsOn,
    RowSplit,
    SignedInputs,
    Subtract,
    WaitingRows,
    WireOhm,
    WireSolution,
)
from nvmc.hardware.encoding import Encoding

__all__ = [
    "Flag",
    "Glob",
    "LayerTarget",
    "Settings",
    "Size",
    "number_text",
    "own_texts",
    "stated_texts",
]

Flag = Annotated[bool, Field(strict=True)]
Glob = Annotated[str, Field(min_length=1)]
Size = Annotated[int, Field(ge=1, strict=True)]


class Settings(Strict, frozen=True):
    """How cells are used and what surrounds them, as far as it is stated; None where it is not.

    Attributes are those of `Target` and `Periphery`, whose docstrings say what they mean. Where
    these take None, `none` states it: analog weights, exact inputs, exact currents, no wires.
    """

    weight_bits: Bits | Literal["none"] | None = None
    cell_bits: Bits | None = None
    encoding: Encoding | None = None
    per_channel: Flag | None = None
    rows: Size | None = None
    cols: Size | None = None
    dac_bits: ConverterBits | Literal["none"] | None = None
    dac_mode: DacMode | None = None
    dac_slice_bits: ConverterBits | None = None
    accumulate: Accumulate | None = None
    dac_inl: Positive | None = None
    dac_range: DacRange | None = None
    signed_inputs: SignedInputs | None = None
    adc_bits: ConverterBits | Literal["none"] | None = None
    adc_range: AdcRange | None = None
    adc_range_of: AdcRangeOf | None = None
    adc_steps: AdcSteps | None = None
    adc: AnyAdc | None = None
    adc_share: Size | None = None
    adc_rounding: AdcRounding | None = None
    subtract: Subtract | None = None
    polarity: Polarity | None = None
    reference: Reference | None = None
    wire_ohm: WireOhm | Literal["none"] | None = None
    wire_solution: WireSolution | None = None
    read_v: Above0 | Literal["none"] | None = None
    row_split: RowSplit | None = None
    rows_on: RowsOn | Literal["none"] | None = None
    waiting_rows: WaitingRows | None = None
    column_limit: Above0 | Literal["none"] | None = None
    bias: Bias | None = None

    @property
    def stated(self) -> dict[str, Any]:
        """What is stated, by name, with `none` still a word."""
        found = {name: getattr(self, name) for name in Settings.model_fields}
        return {name: value for name, value in found.items() if value is not None}


class LayerTarget(Settings, frozen=True):
    """What layers have of their own; all else is as the target says.

    Attributes:
        glob: Of the names of layers or of their weights; of several that match, the first counts,
            alone.
        device: Their cells; None for the target's device. Options of a simulation that are about
            the device (`--device`, `--sigma`, `--noise`) leave these alone.
        arrays: The arrays that hold them; empty until the network is mapped.
    """

    glob: Glob
    device: Device | None = None
    arrays: tuple[str, ...] = ()

    def fits(self, layer: str, weight: str) -> bool:
        """Whether a weight of a layer is meant."""
        return fnmatchcase(layer, self.glob) or fnmatchcase(weight, self.glob)

    @property
    def own(self) -> dict[str, Any]:
        """What is stated, as `Target` and `Periphery` take it."""
        stated = {name: None if v == "none" else v for name, v in self.stated.items()}
        return stated if self.device is None else {"device": self.device, **stated}

    @property
    def bits_alone(self) -> bool:
        """Whether nothing but bits is stated."""
        return self.own.keys() <= {"weight_bits", "cell_bits"}

    @model_serializer(mode="wrap")
    def _stated_alone(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        found = dump(self)  # in the order of networks from before there was more than bits
        names = dict.fromkeys(("glob", "weight_bits", "cell_bits", "arrays", *found))
        return {name: found[name] for name in names if found[name] is not None}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """That of the fields, of which a serialised one lacks those that are None."""
        fields = cast(Any, {key: value for key, value in schema.items() if key != "serialization"})
        return handler(fields)


def own_texts(parts: Sequence[LayerTarget]) -> list[str]:
    """What each part has of its own beside bits, on one line each."""
    return [f"{part.glob}: {_text(part)}" for part in parts if not part.bits_alone]


def _text(part: LayerTarget) -> str:
    words = [] if part.device is None else [_device_text(part.device)]
    return ", ".join(words + [f"{name} {text}" for name, text in stated_texts(part)])


def stated_texts(settings: Settings) -> list[tuple[str, str]]:
    """What is stated, by name, each value as people write it."""
    return [(name, _value_text(value)) for name, value in settings.stated.items()]


def _device_text(device: Device) -> str:
    return (
        device.name
        if device.sigma is None
        else f"{device.name} (sigma {number_text(device.sigma)})"
    )


def _value_text(value: Any) -> str:
    if isinstance(value, AdcKind):
        return adc_text(value)
    return number_text(value) if isinstance(value, float) else str(value)


def number_text(value: float) -> str:
    """A number in six digits where these are exact; else in as many as it needs."""
    text = f"{value:g}"
    return text if float(text) == value else repr(float(value)).removesuffix(".0")
