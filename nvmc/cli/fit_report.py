"""What `nvmc devices fit` prints: every level with its residuals, the laws, how well they fit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nvmc.hardware.fit.device_file import provenance
from nvmc.hardware.fit.doubts import chance, retention_doubts, spread_doubts
from nvmc.hardware.fit.fitting import DeviceFit, Group

__all__ = ["fit_json", "print_fit"]


def print_fit(fit: DeviceFit, console: Console) -> None:
    """Print a fit for people."""
    console.print(provenance(fit)[0].upper() + provenance(fit)[1:])
    console.print()
    console.print(_groups(fit))
    console.print()
    lines = (_spread_lines, _bias_lines, _retention_lines, _level_lines)
    for line in (line for part in lines for line in part(fit)):
        console.print(line)


def _groups(fit: DeviceFit) -> Table:
    table = Table(box=None, pad_edge=False)
    first = "level" if fit.law == "levels" else "group"
    for column in (first, "target", "readings", "mean error", "spread", "law", "normal"):
        table.add_column(column, justify="right", no_wrap=True)
    for i, g in enumerate(fit.groups):
        table.add_row(
            str(i),
            f"{g.target:.4g}",
            str(g.count),
            f"{g.bias:+.3g} ± {g.bias_error:.1g}",
            f"{g.spread:.4g} ± {g.spread_error:.1g}",
            f"{g.law:.4g}",
            chance(g.normal),
        )
    table.caption = "conductances in µS; normal: p-value of Anderson-Darling"
    table.caption_justify = "left"
    return table


def _spread_lines(fit: DeviceFit) -> list[str]:
    lines: list[str] = []
    if fit.polynomial is not None:
        terms = " ".join(
            f"{c:+.5g}{'' if i == 0 else ' x' if i == 1 else f' x^{i}'}"
            for i, c in enumerate(fit.polynomial.coefficients)
        )
        lines.append(f"Spread: {terms} µS, x = g / {fit.max_us:g} µS (degree by AICc)")
    elif fit.equal is not None:
        same = "may be the same at every level" if fit.equal >= 0.05 else "differs between levels"
        lines.append(
            f"Spread: it {same} (Levene: {chance(fit.equal)}); one sigma per level was saved"
        )
    if fit.quality is not None:
        value, free, p = fit.quality
        lines.append(f"Fit of the spread: chi-square {value:.1f} on {free} ({chance(p)})")
    return lines + spread_doubts(fit)


def _bias_lines(fit: DeviceFit) -> list[str]:
    worst = max(fit.groups, key=_weight)
    size = f"{worst.bias:+.3g} µS at {worst.target:.4g} µS"
    if fit.biased:
        return [f"Mean error: more than chance, {size}; it was saved as bias"]
    return [f"No significant mean error ({size}): no bias was saved"]


def _level_lines(fit: DeviceFit) -> list[str]:
    """How levels are spaced, and how weights will use them."""
    if fit.law == "polynomial":
        told = f"Levels: continuous, {fit.min_us:.4g} to {fit.max_us:.4g} µS; analog weights"
        if fit.read.target is not None and len(set(fit.read.target.tolist())) == len(fit.groups):
            told += f" (--law levels takes the {len(fit.groups)} targets for levels)"
        return [told]
    count = len(fit.groups)
    even = f"evenly spaced by {fit.step_us:.4g} µS"
    if not fit.even:
        even = (
            f"not evenly spaced, by up to {fit.unevenness:.2g} of a level step; levels_us was "
            "saved, and every chip has that error"
        )
    unused = count - 2 ** (fit.cell_bits or 0)
    spare = f"; the {unused} highest levels are not used" if unused else ""
    return [
        f"Levels: {count}, {even}",
        f"Used as: {fit.weight_bits}-bit weights in {fit.cell_bits}-bit cells{spare} (defaults in "
        "the file; --weight-bits and --cell-bits override)",
    ]


def _weight(group: Group) -> float:
    return abs(group.bias) / group.bias_error if group.bias_error else 0.0


def _retention_lines(fit: DeviceFit) -> list[str]:
    kept = fit.retention
    if kept is None:
        return []
    lines = [
        f"Retention: nu = {kept.mean:.4g} ± {kept.error:.1g}, spread {kept.spread:.4g}, from "
        f"{kept.times} times after {kept.t0_s:g} s"
    ]
    lines += [
        f"  at {d.target:.4g} µS: nu = {d.mean:.4g} ± {d.error:.1g}, spread {d.spread:.4g} "
        f"({d.count})"
        for d in kept.drifts
    ]
    return lines + retention_doubts(fit)


def fit_json(fit: DeviceFit, output: Path, figure: Path | None) -> dict[str, Any]:
    """A fit as JSON."""
    kept = fit.retention
    return {
        "format": "nvmc.fit/1",
        "source": provenance(fit),
        "output": str(output),
        "figure": None if figure is None else str(figure),
        "law": fit.law,
        "min_us": fit.min_us,
        "max_us": fit.max_us,
        "evenly_spaced": fit.even,
        "unevenness_steps": fit.unevenness if fit.law == "levels" else None,
        "weight_bits": fit.weight_bits,
        "cell_bits": fit.cell_bits,
        "groups": [_group_json(g) for g in fit.groups],
        "polynomial": None
        if fit.polynomial is None
        else {
            "coefficients_us": fit.polynomial.coefficients.tolist(),
            "errors_us": fit.polynomial.errors.tolist(),
            "aicc": fit.polynomial.aicc,
        },
        "chi_square": None
        if fit.quality is None
        else dict(zip(("value", "freedom", "p"), map(_number, fit.quality), strict=True)),
        "equal_spreads_p": fit.equal,
        "biased": fit.biased,
        "doubts": spread_doubts(fit) + retention_doubts(fit),
        "retention": None
        if kept is None
        else {
            "t0_s": kept.t0_s,
            "times": kept.times,
            "nu_mean": kept.mean,
            "nu_mean_error": kept.error,
            "nu_std": kept.spread,
            "by_cell": kept.by_cell,
            "corrected": kept.corrected,
            "uneven": kept.uneven,
            "normal_p": kept.normal,
            "skipped": kept.skipped,
        },
    }


def _number(value: float) -> float | None:
    """A number; None for an infinite one, which JSON lacks."""
    return value if math.isfinite(value) else None


def _group_json(group: Group) -> dict[str, Any]:
    return {
        "level": group.level,
        "target_us": group.target,
        "readings": group.count,
        "bias_us": group.bias,
        "bias_error_us": group.bias_error,
        "spread_us": group.spread,
        "spread_error_us": _number(group.spread_error),
        "law_us": group.law,
        "normal_p": group.normal,
    }
