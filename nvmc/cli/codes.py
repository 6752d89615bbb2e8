"""What `nvmc compile` says of ADC ranges that waste their codes."""

from __future__ import annotations

from collections.abc import Iterable

from nvmc.cli.console import count, note
from nvmc.compiled.artifact import Manifest
from nvmc.data.items import item_of
from nvmc.hardware.devices import Periphery

__all__ = ["note_codes", "note_other_bits"]

SHOWN = 3
"""Most names in a line."""


def note_codes(manifest: Manifest, data: str | None) -> None:
    """Warn of arrays that leave more than half of their ADCs' codes unused, and say what helps.

    Args:
        manifest: Of the compiled network.
        data: The data that were given; None without.
    """
    found = [(a.name, a.adc_codes) for a in manifest.arrays if a.adc_codes is not None]
    wasteful = [(name, codes) for name, codes in found if codes.wasteful]
    if not wasteful:
        return
    told: list[str] = []
    for name, codes in sorted(wasteful, key=lambda pair: pair[1].seen or pair[1].reachable):
        share, how = codes.reachable, "can be reached"
        if codes.seen is not None and codes.seen < share:
            share, how = codes.seen, f"were seen on {count(codes.images, item_of(data))}"
        told.append(f"{name} ({100 * share:.2g} % {how})")
    names = ", ".join(told[:SHOWN]) + (f" and {len(told) - SHOWN} more" if told[SHOWN:] else "")
    helps = "--adc-range error" if data is not None else "--adc-range error with --data SPEC"
    note(
        f"the ADC's range leaves more than half of its codes unused at {names}; {helps} fits the "
        "range to the currents, and `nvmc inspect` shows them"
    )


def note_other_bits(periphery: Periphery, converter: str, bits: Iterable[float | None]) -> None:
    """Say where converters of other bits have the ranges of least error of those compiled for.

    Args:
        periphery: That the network was compiled for.
        converter: `adc` or `dac`.
        bits: Its bits in a sweep; None for an ideal one.
    """
    rule = periphery.dac_range if converter == "dac" else periphery.adc_rule[0]
    own = periphery.dac_bits if converter == "dac" else periphery.adc_bits
    if rule == "error" and any(one not in (own, None) for one in bits):
        note(
            f"the {converter.upper()}s' ranges are those of least error at {own} bits, also where "
            "they have others; compile for these bits to have their own"
        )
