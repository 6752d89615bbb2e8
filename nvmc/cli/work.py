"""What share of a network's multiply-adds is on crossbars, for people."""

from __future__ import annotations

import math

from nvmc.cli.console import note
from nvmc.compiled.artifact import Manifest
from nvmc.compiled.work import Work, dearest

__all__ = ["note_share", "share_text", "work_lines"]

ENOUGH = 0.95
"""Share of the weights' multiply-adds below which chips would look better than they are."""


def share_text(share: float | None) -> str:
    """The mapped share of a description, for the lines above a result."""
    if share is None:
        return "share of multiply-adds on crossbars not known"
    return f"{_percent(share)} of the weights' multiply-adds on crossbars"


def work_lines(work: Work) -> list[str]:
    """What is mapped of the multiply-adds per inference, in sentences."""
    whole = work.mapped + work.digital
    taken = ", ".join(f"{axis} = {size}" for axis, size in work.assumed.items())
    lines = [
        f"{_share(work.share)} of {whole:,} multiply-adds of weights per inference are on crossbars"
        f"{f' (taking {taken})' if taken else ''}"
    ]
    if work.activations:
        lines.append(
            f"{work.activations:,} more multiply two activations, which no crossbar holds: "
            f"{_share(work.share_of_all)} of all {whole + work.activations:,} are on crossbars"
        )
    if work.uncounted:
        lines.append(
            f"Not counted, since sizes are not known: {_names(work.uncounted)}; their share is not "
            "in these numbers"
        )
    return lines


def note_share(manifest: Manifest) -> None:
    """Say which digital operators make chips look too good, where much is digital."""
    work = manifest.work
    if work is None or (work.share is not None and work.share >= ENOUGH):
        return
    if work.share is None and not work.digital:
        note(f"what share of the multiply-adds is on crossbars is not known: {_unknown(manifest)}")
        return
    whole = work.mapped + work.digital
    dear = [
        f"{op} {_percent(number / whole)} ({reason})"
        for op, reason, number in dearest(manifest.digital)
    ]
    known = "at least " if work.share is None else ""
    note(
        f"{known}{_percent(work.digital / whole)} of the multiply-adds of weights are digital and "
        f"exact, so chips look better than they are: {', '.join(dear)}"
    )


def _unknown(manifest: Manifest) -> str:
    ops = {entry.op: entry.reason for entry in manifest.digital if entry.multiply_adds is None}
    told = [f"{op} is digital ({reason}) and could not be counted" for op, reason in ops.items()]
    return "; ".join(told[:3]) or "the network multiplies with no weights"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _share(share: float | None) -> str:
    return "An unknown share" if share is None else _percent(share)


def _percent(share: float) -> str:
    """Rounded down, so that only all is 100 %; shares below 0.1 % keep a digit that counts."""
    if 0 < share < 0.001:
        return f"{100 * share:.1g} %"
    return f"{math.floor(1000 * share) / 10:g} %"
