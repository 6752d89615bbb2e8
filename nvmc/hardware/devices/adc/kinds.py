"""The kinds of ADC as people write them: one table, and texts like those of noise sources."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from nvmc.errors import OptionError, unknown
from nvmc.hardware.devices.adc.base import AdcKind
from nvmc.hardware.devices.adc.cyclic import Cyclic
from nvmc.hardware.devices.adc.flash import Flash
from nvmc.hardware.devices.adc.ideal import Ideal
from nvmc.hardware.devices.adc.pipeline import Pipeline
from nvmc.hardware.devices.adc.ramp import Ramp
from nvmc.hardware.devices.adc.sar import Sar
from nvmc.hardware.devices.adc.time_based import TimeBased
from nvmc.hardware.options import pairs, problem, value_of

__all__ = ["KINDS", "AnyAdc", "adc_of_json", "adc_text", "parse_adc"]

_Any = Ideal | Flash | Sar | Ramp | Pipeline | Cyclic | TimeBased
_Kind = Annotated[_Any, Field(discriminator="type")]

KINDS: dict[str, type[AdcKind]] = {
    kind.model_fields["type"].default: kind for kind in get_args(_Any)
}
"""Type, as people write it -> kind."""

_ADC: TypeAdapter[_Any] = TypeAdapter(_Kind)


def parse_adc(text: str) -> _Any:
    """A kind of ADC from `type` or `type:key=value,key=value`, as typed after `--adc`.

    Raises:
        OptionError: Unknown type or key, or a value out of range.
    """
    where = f"--adc {text!r}"
    kind, _, rest = text.partition(":")
    kind = kind.strip()
    if kind not in KINDS:
        raise OptionError(f"{where}: {unknown('type', kind, list(KINDS))}")
    given = pairs(where, rest.split(","), "noise=0.3")
    if "type" in given:
        raise OptionError(f"{where}: 'type' is given twice; give it once")
    fields: dict[str, Any] = {key: value_of(value) for key, value in given.items()}
    try:
        return _ADC.validate_python({**fields, "type": kind})
    except ValidationError as error:
        raise OptionError(f"{where}: {problem(error, _Kind)}") from error


def adc_of_json(given: Any) -> _Any:
    """A kind as the JSON of a periphery holds it."""
    return _ADC.validate_python(given)


def adc_text(kind: AdcKind) -> str:
    """A kind as `--adc` takes it, without what is at its default."""
    given = {name: getattr(kind, name) for name in type(kind).model_fields if name != "type"}
    parts = [f"{name}={value:g}" for name, value in given.items() if value]
    return f"{kind.type}{':' if parts else ''}{','.join(parts)}"


def _of_text(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return parse_adc(given)
    except OptionError as error:  # which pydantic lets through as an error of the key
        raise ValueError(str(error).partition(": ")[2]) from None


AnyAdc = Annotated[_Kind, BeforeValidator(_of_text)]
"""Any kind: itself, a table with its type, or its text."""
