"""The options of `nvmc compile` and `train` that say what a network lies on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from nvmc.cli.console import note
from nvmc.cli.periphery import (
    check_range,
    periphery_from,
    periphery_given,
    periphery_options,
    periphery_words,
)
from nvmc.errors import OptionError
from nvmc.hardware.devices import Settings, Target, TargetFile, load_device, read_target
from nvmc.hardware.options import problem

__all__ = ["DEVICE", "target_from", "target_options", "target_words"]

F = TypeVar("F", bound=Callable[..., Any])

DEVICE = "fefet2"
"""The device where nobody names one."""
TILE = "128x128"

_OPTIONS = (
    click.option("--device", metavar="NAME|FILE", help=f"The cells.  [default: {DEVICE}]"),
    click.option(
        "--target",
        metavar="NAME|FILE",
        help=(
            "A target file, or a name of `nvmc targets`: cells, tiles and converters, for all "
            "layers or for single ones. Other options override its values for all layers."
        ),
    ),
    click.option(
        "--weight-bits",
        metavar="H",
        help="Weight bits, 1 to 16, or none for analog weights.  [default: the device's]",
    ),
    click.option(
        "--bits",
        multiple=True,
        metavar="GLOB=H,…",
        help="Weight bits of single layers, by name of node or weight, as in '*conv*=1'; the first "
        "match counts. May be repeated.",
    ),
    click.option(
        "--cell-bits",
        type=int,
        metavar="B",
        help="Bits per cell, 1 to H; with --encoding offset, H + 1 stores each weight in one cell.",
    ),
    click.option(
        "--encoding",
        type=click.Choice(["sign-magnitude", "differential", "offset", "balanced"]),
        help="How the sign is stored.  [default: the device's]",
    ),
    click.option(
        "--per-channel",
        is_flag=True,
        help="One scale per output channel instead of one per tensor.",
    ),
    click.option("--tile", metavar="RxC", help=f"Tile size.  [default: {TILE}]"),
)


def target_options(command: F) -> F:
    """The options that say how the cells are used, and what surrounds them."""
    command = periphery_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def target_words(options: Mapping[str, Any]) -> list[str]:
    """The options of `target_options` as they were typed, the device also where it was not."""
    device = options["device"] or (None if options["target"] else DEVICE)
    words = [] if device is None else ["--device", device]
    for name in ("target", "weight_bits", "cell_bits", "encoding"):
        if options[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    for text in options["bits"]:
        words += ["--bits", text]
    words += ["--per-channel"] * bool(options["per_channel"])
    if options["tile"] not in (None, TILE):
        words += ["--tile", options["tile"]]
    return words + periphery_words(options)


def target_from(options: Mapping[str, Any]) -> Target:
    """The target that the options of `target_options` describe; says what overrides a file.

    Raises:
        OptionError, DeviceError: One of them is wrong.
    """
    if options["target"] is None:
        return _of_device(options)
    file = read_target(options["target"])
    given: dict[str, Any] = {**_cells(options), **periphery_given(options)}
    try:
        stated = Settings.model_validate(given)
    except ValidationError as error:
        raise OptionError(problem(error, Settings, option=True)) from error
    device = None if options["device"] is None else load_device(options["device"])
    found = file.target(stated, device, _layer_bits(options["bits"]))
    check_range(found.periphery, f"target {file.name}: ")
    for part, own in zip(found.layers, found.variants[1:], strict=True):
        if part.adc_range is not None:
            check_range(own.periphery, f"target {file.name}, layers {part.glob}: ")
    for line in _overridden(file, stated, options["device"]):
        note(line)
    return found


def _of_device(options: Mapping[str, Any]) -> Target:
    return Target.of(
        load_device(options["device"] or DEVICE),
        **_cells(options),
        periphery=periphery_from(options),
        bits=_layer_bits(options["bits"]),
    )


def _cells(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is given about cells and tiles, as `Settings` take it."""
    found: dict[str, Any] = {n: options[n] for n in ("cell_bits", "encoding") if options[n]}
    if options["cell_bits"] is not None:
        found["cell_bits"] = options["cell_bits"]
    if options["per_channel"]:
        found["per_channel"] = True
    bits, tile = options["weight_bits"], options["tile"]
    if bits not in (None, "none") and not bits.isdecimal():
        raise OptionError(f"weight bits are {bits!r}; expected 1 to 16, or none for analog")
    if bits:
        found["weight_bits"] = bits if bits == "none" else int(bits)
    if tile is not None:
        rows, _, cols = tile.partition("x")
        if not (rows.isdecimal() and cols.isdecimal()):
            raise OptionError(f"tile is {tile!r}; expected ROWSxCOLS, such as {TILE}")
        found |= {"rows": int(rows), "cols": int(cols)}
    return found


def _overridden(file: TargetFile, stated: Settings, device: str | None) -> list[str]:
    """What options change of a file, a line each."""
    given: dict[str, Any] = {**({} if device is None else {"device": device}), **stated.stated}
    lines: list[str] = []
    for name, value in given.items():
        before = getattr(file, name)
        own = [layer.match for layer in file.layers if getattr(layer, name) is not None]
        told = "" if before is None else f" in place of {before}"
        kept = f"; layers {', '.join(own)} keep their own" if own else ""
        if before != value or own:
            lines.append(f"{name} {value}{told} of target {file.name}{kept}")
    return lines


def _layer_bits(texts: Sequence[str]) -> dict[str, int]:
    """Bits by glob, from `GLOB=H,GLOB=H` as typed after --bits."""
    found: dict[str, int] = {}
    for text in texts:
        for part in text.split(","):
            glob, _, bits = part.strip().rpartition("=")
            if not (glob and bits.isdecimal()):
                raise OptionError(f"--bits has {part!r}; expected GLOB=H, such as 'conv*=1,fc*=6'")
            if glob in found:
                raise OptionError(f"--bits: {glob!r} is given twice; give it once")
            found[glob] = int(bits)
    return found
