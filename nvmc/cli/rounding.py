"""What `nvmc compile` says of quantisation: binary weights, the ideal chip against its source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from nvmc.cli.console import count, note
from nvmc.compiled.artifact import ArrayEntry, Manifest
from nvmc.compiled.rounding import SEEDED, Rounding
from nvmc.data.items import item_of

__all__ = ["note_rounding", "rounding_lines"]

SHOWN = 4
"""Most names in a line."""
DEAR = 1.25
"""Ratio of expected errors above which clipping is recommended."""


def rounding_lines(manifest: Manifest) -> Iterator[str]:
    """Lines below the table of arrays."""
    if any(entry.weight_bits == 1 for entry in manifest.arrays):
        yield "1-bit weights are -s and +s, s one scale per output channel"
    binary = [entry for entry, rounding in _rounded(manifest) if rounding.binary]
    exact = [entry.name for entry in binary if entry.weight_bits == 1]
    more = [entry.name for entry in binary if entry.weight_bits != 1]
    if exact:
        yield f"Binary in the source (one magnitude per channel), held exactly: {_names(exact)}"
    if more:
        yield (
            f"Binary in the source (one magnitude per channel): {_names(more)}; 1 bit holds them "
            f"exactly (--bits '{','.join(f'{name}=1' for name in more)}')"
        )
    if manifest.options.clip is not None:
        yield f"Weights are clipped (--clip {manifest.options.clip})"
    yield from _outlier_lines(manifest)
    against = manifest.against_source
    if against is not None:
        rows = count(against.images, item_of(against.data))
        on = f" on {rows} ({against.data})" if against.images else ""
        around = manifest.target.periphery
        apart = around.dac_bits is not None or around.adc_bits is not None
        yield f"Ideal chip against its source{on}{', converters left out' if apart else ''}:"
        little = against.data.startswith(SEEDED) and against.agreement is not None
        yield f"  {against}{' (random inputs: give --data for yours)' if little else ''}"


def note_rounding(manifest: Manifest) -> None:
    """Warn of zeros that one bit does not have, and of an ideal chip far from its source."""
    zeros = [(entry, rounding) for entry, rounding in _rounded(manifest) if rounding.zeros]
    if zeros:
        told = [f"{e.name} ({100 * r.zeros / math.prod(e.shape):.2g} %)" for e, r in zeros]
        note(
            f"1 bit has no zero: weights of 0 became +s in {_names(told)}; 2 bits hold them "
            f"(--bits '{zeros[0][0].name}=2')"
        )
    against = manifest.against_source
    if against is None or not against.low:
        return
    if all(entry.grid.startswith("kept") for entry in manifest.arrays):
        note(
            f"the ideal chip is far from what onnxruntime makes of its source ({against}), though "
            "all codes are the source's own: integer kernels saturate on some processors "
            "(docs/quantised.md)"
        )
        return
    clip = manifest.options.clip
    if clip is not None:
        do = "clip less, or not at all"
        if against.data.startswith(SEEDED):
            do = "seeded inputs are unlike real data: give --data to see the cost on yours"
        note(
            f"the ideal chip is far from its source ({against}), whose weights were clipped "
            f"(--clip {clip}); {do}"
        )
        return
    worst = sorted(_rounded(manifest), key=lambda pair: -pair[1].error)[:SHOWN]
    told = [f"{e.name} {100 * r.error:.0f} %{_zeroed(r)}" for e, r in worst if r.error]
    parts = f"; rounding errors: {', '.join(told)}" if told else ""
    note(
        f"the ideal chip is far from its source ({against}){parts}; give more --weight-bits, "
        "--per-channel, or some layers more --bits"
    )


def _outlier_lines(manifest: Manifest) -> Iterator[str]:
    """Where clipping would make the weights of chips better, and why."""
    found = [(entry.name, entry.outliers) for entry in manifest.arrays if entry.outliers]
    dear = [(name, outliers) for name, outliers in found if outliers.error > DEAR * outliers.best]
    sigma = manifest.target.device.sigma
    at = "" if sigma is None else f" at sigma {sigma:g}"
    for name, outliers in sorted(dear, key=lambda pair: pair[1].best - pair[1].error)[:1]:
        others = len(dear) - 1
        more = f" {count(others, 'more array')} would gain too." if others else ""
        error, best = (f"{100 * share:.0f} %" for share in (outliers.error, outliers.best))
        yield (
            f"On a chip{at}, the weights of {name} are expected to be off by {error} of their "
            f"size (rms), with --clip auto by {best}: the largest weight, {outliers.peak:.1f} "
            f"standard deviations, sets the step of all others, and --clip cuts it off.{more}"
        )


def _rounded(manifest: Manifest) -> list[tuple[ArrayEntry, Rounding]]:
    return [(entry, entry.rounding) for entry in manifest.arrays if entry.rounding is not None]


def _zeroed(rounding: Rounding) -> str:
    if not rounding.zeroed:
        return ""
    return f" ({rounding.zeroed} of {count(rounding.channels, 'channel')} all zero)"


def _names(names: Sequence[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{rest}"
