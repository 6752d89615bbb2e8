"""What a result is of, in a few lines: above tables, in figures, and in `nvmc results show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from nvmc.cli.console import count, passes_text, percent
from nvmc.cli.work import share_text
from nvmc.compiled.rounding import SEEDED
from nvmc.data.items import item_of
from nvmc.evaluation.description import Compensated, noise_text, noise_words
from nvmc.evaluation.parameters import duration_text
from nvmc.hardware.devices import Target
from nvmc.hardware.devices.adc.kinds import adc_of_json, adc_text
from nvmc.hardware.devices.settings import number_text

__all__ = [
    "heading",
    "needs_text",
    "noise_text",
    "noisy_places_texts",
    "off_current_text",
    "on_off_text",
    "periphery_text",
]

PLACES = 4
"""Places of noise on activations that are named."""
WIDTH = 80

Facts = Mapping[str, Any]


def heading(facts: Facts, name: str | None = None) -> list[str]:
    """The lines of a description, of at most 80 columns where nothing in it is longer.

    Args:
        facts: Its JSON, or a part of it (`nvmc.evaluation.description`).
        name: What to call the network, instead of its name.
    """
    groups = (
        [str(name or facts.get("network", "-")), *_versions(facts)],
        [*_cells(facts), *_circuit(facts)],
        [*_chips(facts), *_images(facts)],
    )
    return [line for group in groups for line in _packed(group)]


def _packed(parts: Sequence[str]) -> Iterator[str]:
    """The parts in lines, broken between them only."""
    line = ""
    for i, part in enumerate(parts):
        text = part + ("," if i + 1 < len(parts) else "")
        if line and len(line) + 1 + len(text) > WIDTH:
            yield line
            line = ""
        *full, line = wrap(f"{line} {text}".lstrip(), WIDTH, break_on_hyphens=False)
        yield from full
    if line:
        yield line


def _versions(facts: Facts) -> Iterator[str]:
    if facts.get("network_sha256"):
        yield f"model {facts['network_sha256'][:12]}"
    if facts.get("nvmc"):
        yield f"nvmc {facts['nvmc']}"
    if "mapped_share" in facts:
        yield share_text(facts["mapped_share"])
    if facts.get("clip"):
        yield f"weights clipped ({facts['clip']})"
    if facts.get("activation_bits"):
        yield f"{facts['activation_bits']}-bit activations"
    agreement, r2 = facts.get("source_agreement"), facts.get("source_r2")
    data = facts.get("source_data") or SEEDED
    if data == SEEDED and r2 is not None:
        agreement = None  # the classes of random inputs are narrow
    if agreement is not None or r2 is not None:
        told = [] if agreement is None else [f"agreement {percent(agreement)}"]
        told += [] if r2 is None else [f"R² {r2:.4f}"]
        yield f"ideal chip against its source ({data}): {', '.join(told)}"


def _cells(facts: Facts) -> Iterator[str]:
    """The device with everything that makes its chips differ."""
    if "device" in facts:  # not where it differs from one to the other
        yield str(facts["device"])
    if facts.get("bits"):
        yield f"bits {','.join(facts['bits'])} (else {facts.get('weight_bits', '-')})"
    others = [
        t for t in facts.get("layer_cell_bits", ()) if not t.endswith(f"={facts.get('cell_bits')}")
    ]
    if others:
        yield f"cell bits {','.join(others)} (else {facts.get('cell_bits', '-')})"
    if facts.get("sigma") is not None:
        yield f"sigma {number_text(facts['sigma'])}"
    if facts.get("time_s") is not None:
        yield f"{duration_text(facts['time_s'])} since programming"
    elif "time_s" in facts and any(map(_ages, facts.get("noise", ()))):
        yield "nothing ages (no --time)"
    if "noise" in facts:
        texts = [noise_words(source) for source in facts["noise"]] or ["none"]
        yield from (f"noise {text}" for text in texts)
        yield from noisy_places_texts(facts)
    yield from (f"layers {text}" for text in facts.get("layers") or ())
    yield from (f"compensated by {noise_text(one)}" for one in facts.get("compensate") or ())
    if facts.get("calibration_data"):
        digest = str(facts.get("calibration_sha256", ""))[:12]
        yield f"calibrated on {facts['calibration_data']} ({digest})"
    if facts.get("verified_sha256"):
        data = facts.get("verified_data")
        digest = str(facts["verified_sha256"])[:12]
        yield f"verified weights {digest}{f' found on {data}' if data else ''}"


def _circuit(facts: Facts) -> Iterator[str]:
    if "periphery" in facts:
        yield periphery_text(facts["periphery"])
    if "fidelity" in facts:
        yield f"fidelity {facts['fidelity']}"
    if facts.get("mc_passes") is not None:
        yield passes_text(facts["mc_passes"])


def _chips(facts: Facts) -> Iterator[str]:
    if "runs" in facts:
        which = f" from chip {facts['first']:,}" if facts.get("first") else ""
        yield f"{count(facts['runs'], 'chip')}{which}, seed {facts['seed']}"


def _images(facts: Facts) -> Iterator[str]:
    if "images" in facts:
        limit = facts.get("limit")
        first = "" if limit is None else f", limit {limit:,}"
        data = facts.get("data", "-")
        yield f"{count(facts['images'], item_of(data))} ({data}{first})"
    if facts.get("output") is not None:
        reading = facts.get("reading")
        yield f"output {facts['output']}{f' ({reading})' if reading else ''}"


def noisy_places_texts(facts: Facts) -> Iterator[str]:
    """Where activations have noise: how many places, and the first of them."""
    for name, at in facts.get("noisy_places", {}).items():
        more = f" and {len(at) - PLACES} more" if len(at) > PLACES else ""
        first = ", ".join(at[:PLACES])
        yield f"{name} noise on {count(len(at), 'place')}: inputs of {first}{more}"


def _ages(source: Facts) -> bool:
    """Whether a source does more with time."""
    return source["type"] == "retention" or any(source.get(key) for key in ("table", "one_over_f"))


def needs_text(done: Compensated) -> str:
    """What a compensation costs each chip, and which layers it leaves as they are."""
    left = f"; leaves {', '.join(done.left[:3])}" if done.left else ""
    more = f" and {len(done.left) - 3} more" if len(done.left) > 3 else ""
    once = done.needs.images_once
    shared = f", {count(once, 'image')} once for all chips" if once else ""
    return f"{done.needs} per chip{shared}{left}{more}"


_OFF_CURRENT = {
    "exact": "assumed to be subtracted before the ADC without error",
    "column": "subtracted by reference columns, one beside each tile (not among its columns)",
    "none": "within the ADC's range; its nominal value is subtracted digitally",
}


def off_current_text(target: Target) -> str | None:
    """What becomes of what cells conduct at level 0; None where no ADC could see any of it."""
    pairs = target.layout.paired and target.periphery.subtract == "analog"
    adc = target.periphery.adc_bits is not None or target.reference == "column"
    if not adc or pairs or not target.off_level:
        return None
    share = target.off_level / (target.off_level + target.highest_level)
    return f"Current of level 0 ({share:.2g} of the highest): {_OFF_CURRENT[target.reference]}"


FEW_TIMES = 100
"""On/off ratio up to which people expect it to matter."""


def on_off_text(target: Target) -> str | None:
    """That a low on/off ratio has no effect, where nothing of the circuit sees it; else None."""
    ratio = 1 + target.highest_level / target.off_level if target.off_level else FEW_TIMES + 1
    if ratio > FEW_TIMES or any(_sees_off_current(own) for own in target.variants):
        return None
    return (
        f"On/off ratio {ratio:.3g}: without ADC and wires the current of level 0 is subtracted "
        "exactly, so the ratio counts in noise only; --adc-bits N and --wire-ohm R let it count"
    )


def _sees_off_current(target: Target) -> bool:
    periphery = target.periphery
    linear = periphery.column_limit is None and target.iv is None
    ideal = periphery.adc_bits is None and not periphery.wired and linear
    return not ideal or target.reference == "column"


def _adc_errors(periphery: Facts) -> str:
    """What ADCs are that are not ideal, for the end of a line about them."""
    kind, of = periphery.get("adc"), periphery.get("adc_range_of", "array")
    steps, share = periphery.get("adc_steps", "symmetric"), periphery.get("adc_share", 1)
    rounding = periphery.get("adc_rounding", "nearest")
    parts = [
        "" if of == "array" else f", a range per {of}",
        "" if steps == "symmetric" else f", {steps} steps",
        f", {adc_text(adc_of_json(kind))}" if kind else "",
        "" if share == 1 else f", {share} columns each",
        "" if rounding == "nearest" else f", {rounding} rounding",
    ]
    return "".join(parts)


def _pulses(periphery: Facts) -> str:
    """How a DAC drives rows where it is not as it always was, for the end of a line about it."""
    bits, signs = periphery.get("dac_slice_bits", 1), periphery.get("signed_inputs")
    inl = periphery.get("dac_inl", 0)
    parts = [
        "" if bits == 1 else f", {bits} bits a pulse",
        ", pulses added up before the ADC" if periphery.get("accumulate") == "analog" else "",
        ", bipolar" if signs == "bipolar" else "",
        f", INL {inl:g}" if inl else "",
    ]
    return "".join(parts)


def periphery_text(periphery: Facts) -> str:
    """DAC, ADC with their ranges, and wires, as the JSON of a `Periphery` says.

    What is not in it, as several points of a sweep differ there, is left out.
    """
    clips = periphery.get("dac_range", "dynamic") != "dynamic"
    bits = [periphery.get(f"{kind}_bits", "") for kind in ("dac", "adc")]
    read_v, limit = periphery.get("read_v"), periphery.get("column_limit")
    linear = periphery.get("wire_ohm", "") is None and read_v is None and limit is None
    biases = ["biases on rows of cells"] if periphery.get("bias") == "rows" else []
    if bits == [None, None] and linear and not clips and periphery.get("reference") != "column":
        return "; ".join(["ideal periphery", *biases])
    inputs, currents = bits
    dac = f"{inputs}{'-bit' if inputs else ''} {periphery['dac_mode']} DAC".lstrip()
    dac += _pulses(periphery)
    span = f" (range {periphery['adc_range']})" if "adc_range" in periphery else ""
    adc = f"{currents}{'-bit' if currents else ''} ADC{span}".lstrip() + _adc_errors(periphery)
    exact = "exact inputs" if inputs is None else dac
    reach = "" if inputs is None and not clips else f" (range {periphery['dac_range']})"
    subtract = str(periphery["subtract"])
    parts = [
        f"{exact}{reach}",
        "exact currents" if currents is None else adc,
        f"polarities subtracted {subtract if currents is None else _SUBTRACTED[subtract]}",
    ]
    if (polarity := periphery.get("polarity", "separate")) != "separate":
        parts.append(f"polarities {polarity} on one tile")
    if periphery.get("reference", "auto") != "auto":
        parts.append(f"reference {periphery['reference']}")
    if (rows := periphery.get("rows_on")) is not None:
        waiting = _WAITING[periphery.get("waiting_rows", "ground")]
        parts.append(f"at most {rows} rows of a tile driven at a time{waiting}")
    if limit is not None:
        parts.append(f"columns saturate at {limit:g}")
    if read_v is not None:
        parts.append(f"cells not linear, read at up to {read_v:g} V")
    return "; ".join([*parts, *_wires_text(periphery), *biases])


_SUBTRACTED = {"analog": "before the ADC", "digital": "after the ADC"}
_WAITING = {"ground": "", "float": ", the others floating", "off": ", the others off"}


def _wires_text(periphery: Facts) -> list[str]:
    """What is said of wires, and of how tiles are solved where that is no exact solution."""
    wires, solution = periphery.get("wire_ohm"), periphery.get("wire_solution", "auto")
    parts, bent = list[str](), periphery.get("read_v") is not None
    if wires is not None and bent and solution == "exact":
        parts.append("every read solved with its wires")
    elif wires is not None and bent:
        parts.append("their currents behind wires approximated (--wire-solution exact solves them)")
    elif wires is not None and solution == "approximate":
        parts.append("what wires lose approximated")
    if wires is not None:
        parts.append(f"wires of {wires['row']:g} and {wires['col']:g} ohm")
        ends = [f"{wires[name]:g} ({name})" for name in ("driver", "sense") if wires.get(name)]
        if ends:
            parts.append(f"terminals of {' and '.join(ends)} ohm")
    return parts
