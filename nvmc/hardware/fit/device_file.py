"""A fit as a device file: the TOML text that `nvmc.hardware.devices.load_device` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import numpy as np

from nvmc.errors import OptionError
from nvmc.hardware.fit.doubts import retention_doubts, spread_doubts
from nvmc.hardware.fit.fitting import DeviceFit

__all__ = ["device_text", "provenance"]


def provenance(fit: DeviceFit) -> str:
    """Where the numbers come from: the file, its digest, how many readings; no date."""
    return (
        f"fit of {_printable(fit.read.file)} (sha256 {fit.read.digest}, "
        f"{len(fit.read.measured)} readings, {fit.used} of them for the spread)"
    )


def device_text(fit: DeviceFit, name: str, title: str | None = None) -> str:
    """The device file of a fit. The same measurements give the same bytes.

    Args:
        fit: From `fit_device`.
        name: Name of the device.
        title: One line for people.

    Raises:
        OptionError: `name` is not one a device may have.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise OptionError(
            f"device name {name!r} is not made of letters, digits, dots, dashes and underscores; "
            "give --name"
        )
    described = title or f"Cells measured in {fit.read.file}"
    levels = str(len(fit.groups)) if fit.law == "levels" else '"continuous"'
    lines = [
        f"name = {_quoted(name)}",
        f"title = {_quoted(described)}",
        f"source = {_quoted(provenance(fit))}",
        f"levels = {levels}",
        'clip = "zero"  # no cell conducts less than nothing',
        *_sigma(fit),
        *([f"time_s = {_number(fit.retention.t0_s)}  # s"] if fit.retention else []),
        *_defaults(fit),
        "",
        f"[conductance]  # µS; the fit holds for {fit.min_us:.6g} to {fit.max_us:.6g} µS",
        f"min_us = {_number(fit.min_us)}",
        f"max_us = {_number(fit.max_us)}",
        *([] if fit.even else [f"levels_us = {_list(g.target for g in fit.groups)}  # not even"]),
        "",
        "[[noise]]",
        'type = "programming"',
        *(_levels(fit) if fit.law == "levels" else _polynomial(fit)),
        *(f"# {doubt}" for doubt in spread_doubts(fit)),
        *_retention(fit),
    ]
    return "\n".join(lines) + "\n"


def _defaults(fit: DeviceFit) -> list[str]:
    if fit.law == "polynomial":
        return []
    return [
        "",
        "[defaults]  # a choice: no measurement of cells says how weights are to use them",
        f"weight_bits = {fit.weight_bits}",
        f"cell_bits = {fit.cell_bits}  # whole bits of {len(fit.groups)} levels",
    ]


def _sigma(fit: DeviceFit) -> list[str]:
    if fit.law == "polynomial":
        return ["sigma = 1.0  # factor on the fitted spread"]
    return [f"sigma = {_number(_typical(fit))}  # level steps of {fit.step_us:.6g} µS"]


def _typical(fit: DeviceFit) -> float:
    """Root mean square of the levels' spreads, in level steps, as it is written."""
    mean = float(np.sqrt(np.mean([g.spread**2 for g in fit.groups]))) / fit.step_us
    return float(_number(mean))


def _levels(fit: DeviceFit) -> list[str]:
    typical = _typical(fit) * fit.step_us
    factors = _list(g.spread / typical for g in fit.groups)
    errors = ", ".join(f"{g.spread_error / typical:.2g}" for g in fit.groups)
    lines = ['basis = "level"', f"profile = {factors}  # standard errors {errors}"]
    bias = _list(g.bias / fit.step_us for g in fit.groups)
    if fit.biased:
        lines.append(f"bias = {{ profile = {bias} }}  # level steps")
    else:
        lines.append(f"# mean errors are no more than chance: {bias} level steps")
    return lines


def _polynomial(fit: DeviceFit) -> list[str]:
    assert fit.polynomial is not None
    errors = ", ".join(f"{error:.2g}" for error in fit.polynomial.errors)
    lines = [
        'basis = "us"',
        f"polynomial = {_list(fit.polynomial.coefficients)}  # of x = g/max_us; "
        f"standard errors {errors}",
    ]
    if fit.biased:
        lines.append(f"bias = {{ polynomial = {_list(fit.bias)} }}  # µS, of x")
    else:
        lines.append(f"# the mean error is no more than chance: {_list(fit.bias)} µS, of x")
    return lines


def _retention(fit: DeviceFit) -> list[str]:
    kept = fit.retention
    if kept is None:
        return []
    return [
        "",
        "[[noise]]",
        'type = "retention"',
        f"t0_s = {_number(kept.t0_s)}  # s, the earliest of {kept.times} times",
        f"nu_mean = {_number(kept.mean)}  # standard error {kept.error:.2g}",
        f"nu_std = {_number(kept.spread)}",
        *(f"# {doubt}" for doubt in retention_doubts(fit)),
    ]


def _number(value: float) -> str:
    """Six significant digits, as a TOML float."""
    return repr(float(f"{value:.6g}"))


def _list(values: Iterable[float]) -> str:
    return "[" + ", ".join(map(_number, values)) + "]"


def _quoted(text: str) -> str:
    return json.dumps(_printable(text), ensure_ascii=False)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
