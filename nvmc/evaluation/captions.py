"""What a result is of, in the fewest words: one text for tables, figures, pages and comparisons.

Network and device are said by name. Of a setup, the bits of weights and the ADC's range are always
said, everything else only where it is not at its default. Numbers have all of their digits. Laws
and tables of a device's noise are said as `…`: the JSON of a result has all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nvmc.data.items import counted_items
from nvmc.evaluation.description import Description, noise_text, noise_words
from nvmc.evaluation.parameters import duration_text
from nvmc.hardware.devices import Target
from nvmc.hardware.devices.bits import cell_bits_of
from nvmc.hardware.devices.periphery import Periphery
from nvmc.hardware.devices.settings import (
    LayerTarget,
    Settings,
    number_text,
    own_texts,
    stated_texts,
)
from nvmc.hardware.devices.wires import WireOhm

__all__ = [
    "counts_of",
    "name_of",
    "of_text",
    "on_device",
    "setup_words",
    "title_of",
    "words_apart",
]

IN_CELLS = ("bias",)
"""Fields of a periphery that count at fidelity `cells`, too."""
SAID_BY_NAME = ("dac_bits", "dac_mode", "dac_range", "adc_bits", "adc_range", "wire_ohm", "ranges")
"""Fields of a periphery that have words of their own, or are results of calibration."""

Words = Iterator[tuple[str, str, bool]]
"""Name of a part, its words, and whether they are of a default, which goes without saying."""


def name_of(told: Description) -> str:
    """The network's name, without the suffix of its folder."""
    return Path(told.network).name.removesuffix(".nvmc")


def on_device(told: Description) -> str:
    """`lenet5 on rram4`."""
    return f"{name_of(told)} on {told.setup.target.device.name}"


def counts_of(told: Description) -> str:
    """On how much a result rests: `300 chips, 531 images of digits, seed 0`."""
    chips = f"{told.runs:,} chip{'' if told.runs == 1 else 's'}"
    first = f" from chip {told.first:,}" if told.first else ""
    images = f"{counted_items(told.images, told.data)} of {told.data}"
    return f"{chips}{first}, {images}, seed {told.seed}"


def setup_words(told: Description) -> dict[str, str]:
    """What decides the values of chips, but for network and device: a few words by part.

    Such as `4-bit weights`, `sigma 0.3`, `1 h since programming`, `5-bit ADC`.
    """
    return {part: text for part, text, usual in _words(told) if text and not usual}


def words_apart(told: Sequence[Description]) -> tuple[dict[str, str], list[list[str]]]:
    """What several setups have in common, by part, and what each has of its own.

    A default is said where another setup has something else.
    """
    each = [{part: (text, usual) for part, text, usual in _words(one)} for one in told]
    parts = dict.fromkeys(part for words in each for part in words)
    absent = ("", True)
    same = {p for p in parts if len({words.get(p, absent)[0] for words in each}) == 1}
    first = {p: text for p, (text, usual) in each[0].items() if text and not usual and p in same}
    own = [
        [words[p][0] for p in parts if p not in same and words.get(p, absent)[0]] for words in each
    ]
    return first, own


def of_text(*told: Description, without: Collection[str] = ()) -> str:
    """`lenet5 on rram4, 4-bit weights, sigma 0.3, …, 300 chips, 531 images of digits, seed 0`.

    Args:
        told: One population, or several: what the setups have in common is said.
        without: Parts of a setup that are said elsewhere, such as `time`.
    """
    words = [text for part, text in _shared(told).items() if part not in without]
    return ", ".join([on_device(told[0]), *words, counts_of(told[0])])


def _shared(told: Sequence[Description]) -> dict[str, str]:
    """What setups of a sweep have in common: a point without an ADC has no range to differ in."""
    shared, _ = words_apart(told)
    texts = {text for one in told for part, text, _ in _words(one) if part == "adc_range" and text}
    return {**shared, "adc_range": texts.pop()} if len(texts) == 1 else shared


def title_of(
    told: Sequence[Description],
    labels: Sequence[str] = (),
    without: Collection[str] = (),
) -> list[str]:
    """The lines above a figure: networks in their setup, what is each one's own, chips on data.

    Args:
        told: Of one population or of several.
        labels: What the populations are called where they are compared; empty elsewhere.
        without: Parts of a setup that the figure itself says.
    """
    shared, own = words_apart(told)
    shared = shared if labels else _shared(told)
    names = list(dict.fromkeys(map(name_of, told if labels else told[:1])))
    devices = dict.fromkeys(one.setup.target.device.name for one in told)
    name = " and ".join(names) if len(names) < 4 else f"{len(names)} networks"
    words = [text for part, text in shared.items() if part not in without]
    lines = [", ".join([f"{name} on {' and '.join(devices)}", *words])]
    if labels and any(own):
        pairs = zip(labels, own, strict=True)
        lines.append("; ".join(f"{label}: {', '.join(words)}" for label, words in pairs if words))
    return [*lines, counts_of(told[0])]


def _words(told: Description) -> Words:
    setup, facts = told.setup, told.to_json()
    yield from _cells(setup.target, facts)
    clip = f"weights clipped ({told.clip})" if told.clip else "weights not clipped"
    yield "clip", clip, not told.clip
    bits = told.activation_bits
    rounded = "exact activations" if bits is None else f"{bits}-bit activations"
    yield "activations", rounded, bits is None
    strength, age = setup.strength, setup.age
    yield "sigma", "" if strength is None else f"sigma {number_text(strength)}", strength is None
    yield "time", "" if age is None else f"{duration_text(age)} since programming", age is None
    yield from _noise(facts["noise"])
    yield from _circuit(told)
    texts = ", ".join(map(noise_text, facts["compensate"]))
    yield "compensation", f"compensated by {texts}" if texts else "no compensation", not texts
    if told.calibration is not None:
        yield "calibration", f"calibrated on {told.calibration[0]}", False
    if told.marks is not None:
        yield "verified", f"verified weights {told.marks.sha256[:12]}", False
    if told.mc_passes is not None:
        yield "passes", f"mean of {told.mc_passes:,} stochastic passes", told.mc_passes == 1


def _cells(target: Target, facts: Mapping[str, Any]) -> Words:
    """How weights lie in cells."""
    bits, device, encoding = target.weight_bits, target.device, target.encoding
    yield "weights", "analog weights" if bits is None else f"{bits}-bit weights", False
    if bits is not None:
        usual = cell_bits_of(device, bits, None, encoding) == target.cell_bits
        yield "cells", f"{target.cell_bits}-bit cells", usual
    yield "encoding", f"encoding {encoding}", encoding == device.defaults.encoding
    scale = "a scale per channel" if target.per_channel else "a scale per tensor"
    yield "scale", scale, not target.per_channel
    sides = [Target.model_fields[name].default for name in ("rows", "cols")]
    yield "tile", f"tiles {facts['tile']}", [target.rows, target.cols] == sides
    alone = [f"{one.glob} {_bits_of(one, target)}" for one in target.layers if one.bits_alone]
    text = "; ".join([*alone, *own_texts(target.layers)])
    yield "layers", f"layers {text}" if text else "", not text


def _bits_of(layer: LayerTarget, target: Target) -> str:
    """`6-bit`, or `6-bit in 1-bit cells` where the device and the weights allow others."""
    stated = target.weight_bits if layer.weight_bits is None else layer.weight_bits
    if stated is None or stated == "none":
        return "analog"
    usual = cell_bits_of(target.device, stated, None, target.encoding)
    cells = "" if layer.cell_bits in (None, usual) else f" in {layer.cell_bits}-bit cells"
    return f"{stated}-bit{cells}"


def _noise(sources: Sequence[Mapping[str, Any]]) -> Words:
    """The temperature that all sources state, and the sources."""
    stated = {source["temperature_c"] for source in sources if "temperature_c" in source}
    if len(stated) == 1:
        sources = [{k: v for k, v in one.items() if k != "temperature_c"} for one in sources]
        yield "temperature", f"{number_text(stated.pop())} °C", False
    yield "noise", f"noise {', '.join(map(noise_words, sources)) or 'none'}", False


def _circuit(told: Description) -> Words:
    """Converters, wires and what else surrounds the cells; ideal at fidelity `cells`."""
    target, ideal = told.setup.target, Periphery()
    periphery = target.periphery
    if told.fidelity == "cells":
        kept = {name: getattr(periphery, name) for name in IN_CELLS}
        periphery = ideal.model_copy(update=kept)
    dac, adc = periphery.dac_bits, periphery.adc_bits
    serial = "bit-serial " if periphery.dac_mode == "bit-serial" else ""
    yield "dac_bits", "exact inputs" if dac is None else f"{dac}-bit {serial}DAC", dac is None
    found = periphery.dac_range
    yield "dac_range", _range_text(found, "DAC"), found == "dynamic"
    yield "adc_bits", "exact currents" if adc is None else f"{adc}-bit ADC", adc is None
    yield "adc_range", "" if adc is None else _range_text(periphery.adc_range, "ADC"), False
    wires = periphery.wire_ohm
    yield "wire_ohm", _wires_text(wires), wires is None or not wires.any
    names = [name for name in Periphery.model_fields if name not in SAID_BY_NAME]
    for name in names:
        value = getattr(periphery, name)
        text = dict(stated_texts(Settings(**{name: value}))).get(name, "none")
        yield name, f"{name.replace('_', ' ')} {text}", not periphery.changed(name)
    cells = told.fidelity == "cells" and not target.ideal
    yield "fidelity", f"fidelity {told.fidelity}", not cells


def _range_text(found: str | float, kind: str) -> str:
    """`calibrated ADC range`, `0.7 x least-error ADC range`, `ADC range 120`."""
    if not isinstance(found, str):
        return f"{kind} range {number_text(found)}"
    rule, _, width = found.partition(":")
    return f"{f'{width} x ' if width else ''}{_RULES.get(rule, rule)} {kind} range"


_RULES = {"error": "least-error"}


def _wires_text(wires: WireOhm | None) -> str:
    if wires is None or not wires.any:
        return "no wires"
    row, col = map(number_text, (wires.row, wires.col))
    ohm = row if row == col else f"{row} and {col}"
    ends = [f"{name} {number_text(getattr(wires, name))}" for name in ("driver", "sense")]
    ends = [text for text in ends if not text.endswith(" 0")]
    return " and ".join([f"wires of {ohm} ohm", *(f"{text} ohm" for text in ends)])
