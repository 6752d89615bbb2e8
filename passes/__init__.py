"""Graph -> graph: every transformation of an ONNX model, one pass a file, on onnx_ir.

A pass is a dataclass on `onnx_ir.passes.InPlacePass` whose fields are its options. `PASSES` names
those that can be run alone from text (`nvmc transform --pass NAME:key=value`); `make_pass` builds
one. Mapping onto crossbars needs a target and programming needs a chip, so those two are built in
Python by `nvmc compile` and `nvmc program`.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import typing
from typing import Any

import onnx_ir as ir
from pydantic import TypeAdapter, ValidationError

from nvmc.errors import OptionError, unknown
from nvmc.hardware.options import pairs, problem

__all__ = ["PASSES", "make_pass"]

PASSES: dict[str, str] = {
    "canonicalize": "nvmc.passes.canonicalize:Canonicalize",
    "clip-weights": "nvmc.passes.clip_weights:ClipWeights",
    "fold-batchnorm": "nvmc.passes.fold_batchnorm:FoldBatchnorm",
    "insert-dropout": "nvmc.passes.insert_dropout:InsertDropout",
    "invert-normalization": "nvmc.passes.invert_normalization:InvertNormalization",
    "map-bias": "nvmc.passes.map_bias:MapBias",
    "quantize-activations": "nvmc.passes.quantize_activations:QuantizeActivations",
    "quantize-weights": "nvmc.passes.quantize_weights:QuantizeWeights",
}
"""Name of a pass -> `module:class`. To add a pass: its file, and a row here."""


def make_pass(text: str) -> ir.passes.InPlacePass:
    """A pass from `name:key=value,key=value`, as typed after `--pass`.

    Values are converted to the type of the dataclass field they name. A part without `=` goes on
    with the list before it (`layers=a,b`); `none` is None where the field allows it.

    Raises:
        OptionError: Unknown pass or key, a value of the wrong type, or a key left out.
    """
    name, _, rest = text.partition(":")
    kind = _class_of(name)
    parts = re.split(r",(?=[^,=]*=)", rest)  # before a key; commas in between are of lists
    return kind(**_converted(kind, pairs(f"--pass {text!r}", parts, "bits=4"), text))


def _class_of(name: str) -> Any:
    if name not in PASSES:
        raise OptionError(unknown("pass", name, sorted(PASSES)))
    module, _, attribute = PASSES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _converted(kind: Any, values: dict[str, str], text: str) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    types = typing.get_type_hints(kind)
    options: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise OptionError(f"--pass {text!r}: {unknown('key', key, fields)}")
        options[key] = _value(types[key], value, f"--pass {text!r}: {key}")
    for field in fields.values():
        required = field.default is dataclasses.MISSING
        required = required and field.default_factory is dataclasses.MISSING
        if required and field.name not in options:
            raise OptionError(f"--pass {text!r}: {field.name!r} is missing; add {field.name}=VALUE")
    return options


def _value(kind: Any, text: str, where: str) -> Any:
    """`text` as a value of type `kind`, or the list of its parts; pydantic does the conversion."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    parts = [part.strip() for part in text.split(",") if part]
    candidates: list[Any] = [None] if text.lower() == "none" else []
    candidates += [",".join(parts), parts]
    told = ""
    for candidate in candidates:
        try:
            return adapter.validate_python(candidate)
        except ValidationError as error:
            told = told or problem(error)
    raise OptionError(f"{where}: {told}")
