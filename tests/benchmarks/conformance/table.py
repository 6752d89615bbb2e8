"""The tables of docs/conformance.md, from what the phases found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from figures import table

__all__ = ["findings", "findings_list", "kind_table"]

LARGE = 20_000_000
"""Bytes from which on a file's size means more than what any session takes."""
LEAST_SHARE, MOST_DIFFERENCE, MOST_DRIFT = 0.95, 1e-3, 2e-3

HEAD = ("network", "file", "MB", "mapped", "difference", "chips", "trained", "seconds", "memory")


def kind_table(results: Sequence[dict[str, Any]]) -> str:
    """The table of one kind of networks, a row each."""
    return table(HEAD, [_row(result) for result in results])


def findings_list(results: Sequence[dict[str, Any]]) -> str:
    """What was refused or went wrong, a line each."""
    lines = [f"- **{result['name']}**: {line}" for result in results for line in findings(result)]
    return "\n".join(lines or ["Nothing."])


def findings(result: dict[str, Any]) -> list[str]:
    """What is not as it should be of one network, a line each."""
    found: list[str] = []
    for phase in ("write", "compile", "compare", "simulate", "train"):
        for key in ("skipped", "refused", "fault"):
            if key in result.get(phase, {}):
                found.append(f"{phase}: {key}: {result[phase][key]}")
    share = result.get("compile", {}).get("share")
    if share is not None and share < LEAST_SHARE:
        found.append(f"{share:.1%} of its weights' multiply-adds mapped")
    difference = result.get("compare", {}).get("difference", 0)
    if difference > MOST_DIFFERENCE:
        found.append(f"the ideal chip differs by {difference:.1e}")
    if not _same_chip(result.get("simulate", {})):
        simulated = result["simulate"]
        found.append(f"chip 0 is {simulated['chips'][0]}, but its file gives {simulated['again']}")
    return found


def _same_chip(simulated: dict[str, Any]) -> bool:
    if "chips" not in simulated:
        return True
    value, again = simulated["chips"][0], simulated["again"]
    return abs(value - max(again, -1.0)) <= MOST_DRIFT or (value < -1 and again < -1)


def _row(result: dict[str, Any]) -> list[str]:
    size = result["write"].get("size")
    phases = [result.get(phase, {}) for phase in ("compile", "simulate", "train")]
    compiled, simulated, trained = phases
    share, difference = compiled.get("share"), result.get("compare", {}).get("difference")
    seconds = [f"{phase['seconds']:.0f}" if "seconds" in phase else "–" for phase in phases]
    memory = [f"{phase['memory'] / size:.1f}" if "memory" in phase else "–" for phase in phases]
    cells = [
        result["name"],
        result["made"],
        "–" if size is None else f"{size / 1e6:.3g}",
        _refused(compiled) if share is None else f"{100 * share:.4g} %",
        "–" if difference is None else f"{difference:.0e}" if difference else "0",
        ("same" if _same_chip(simulated) else "**other**")
        if "chips" in simulated
        else _refused(simulated),
        "yes" if "moved" in trained else _refused(trained),
        " / ".join(seconds),
        " / ".join(memory) if size and size >= LARGE else "",
    ]
    return cells


def _refused(phase: dict[str, Any]) -> str:
    return "refused" if "refused" in phase else "**fault**" if "fault" in phase else "–"
