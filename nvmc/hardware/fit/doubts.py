"""What is to be doubted of a fit: said on the screen, in JSON and in the device file alike."""

from __future__ import annotations

from nvmc.hardware.fit.fitting import DeviceFit

__all__ = ["DOUBTFUL", "chance", "retention_doubts", "spread_doubts"]

DOUBTFUL = 0.01
"""P-value below which a fit is said not to describe the data."""


def spread_doubts(fit: DeviceFit) -> list[str]:
    """Of the spread and its errors, a sentence each."""
    doubts: list[str] = []
    if fit.quality is not None and fit.quality[2] < DOUBTFUL:
        doubts.append(
            f"The polynomial does not describe the spread (chi-square, {chance(fit.quality[2])})"
        )
    odd = [i for i, g in enumerate(fit.groups) if g.normal < DOUBTFUL / len(fit.groups)]
    if odd:
        kind = "level" if fit.law == "levels" else "group"
        doubts.append(
            f"Not normal: {kind} {', '.join(map(str, odd))}; a chip is drawn with normal errors "
            "all the same, and standard errors of spreads may be far too small"
        )
    return doubts


def retention_doubts(fit: DeviceFit) -> list[str]:
    """Of the retention, a sentence each."""
    kept = fit.retention
    if kept is None:
        return []
    doubts: list[str] = []
    if kept.uneven:
        each = ", ".join(f"{d.mean:.4g} at {d.target:.4g} µS" for d in kept.drifts)
        doubts.append(f"nu differs between conductances; one was saved for all ({each})")
    if kept.by_cell and not kept.corrected:
        doubts.append(
            "No cell was read three times: the spread of nu holds the error of measuring it"
        )
    if not kept.by_cell:
        doubts.append("No column cell: the spread of nu comes from how the spread of ln g grows")
    if kept.normal is not None and kept.normal < DOUBTFUL:
        doubts.append(
            f"nu is not normal between cells ({chance(kept.normal)}); chips draw it normal"
        )
    if kept.skipped:
        doubts.append(f"{kept.skipped} readings of cells that read 0 µS were left out of retention")
    return doubts


def chance(value: float) -> str:
    """A p-value."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
