"""A picture of a device fit: spread, mean error, normality, and retention where there are times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from nvmc.hardware.fit.fitting import DeviceFit
from nvmc.report.figure import BLUE, GREY, RED, Sheet, as_sheet, figure_in, heading, style

__all__ = ["draw_fit"]

SHOWN = 2000  # quantiles in the picture of normality


def draw_fit(fit: DeviceFit, path: Path | Sheet, title: str) -> None:
    """Draw a fit into a file.

    Error bars are one standard error; a band is one standard error of the law.

    Args:
        fit: It.
        path: The file or sheet, as in `figure_in`.
        title: The device, and what it was measured in.

    Raises:
        OptionError: matplotlib is not installed.
        ArtifactError: `path` cannot be written.
    """
    sheet = as_sheet(path)
    with figure_in(sheet, 4.2 * 2, 3.4 * 2, narrow=8.0) as figure:
        heading(figure, [title])
        shape = (4, 1) if sheet.style.narrow else (2, 2)
        axes = figure.subplots(*shape).ravel()
        _spread(axes[0], fit)
        _bias(axes[1], fit)
        _normality(axes[2], fit)
        if fit.retention is None:
            _residuals(axes[3], fit)
        else:
            _retention(axes[3], fit)


def _spread(axes: Any, fit: DeviceFit) -> None:
    x = [g.target for g in fit.groups]
    measured = [g.spread for g in fit.groups]
    errors = [g.spread_error for g in fit.groups]
    axes.errorbar(x, measured, errors, fmt="o", color=BLUE, ms=4, capsize=2, label="measured")
    if fit.polynomial is None:
        axes.plot(x, [g.law for g in fit.groups], "-", color=RED, label="one factor per level")
    else:
        grid = np.linspace(fit.min_us, fit.max_us, 201)
        law = fit.polynomial(grid / fit.max_us)
        error = fit.polynomial.error(grid / fit.max_us)
        label = f"polynomial of degree {fit.polynomial.degree}"
        axes.plot(grid, law, "-", color=RED, label=label)
        axes.fill_between(grid, law - error, law + error, color=RED, alpha=0.25, linewidth=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    style(axes, "Spread", "target conductance, µS", "standard deviation, µS")


def _bias(axes: Any, fit: DeviceFit) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.errorbar(
        [g.target for g in fit.groups],
        [g.bias for g in fit.groups],
        [g.bias_error for g in fit.groups],
        fmt="o",
        color=BLUE,
        ms=4,
        capsize=2,
    )
    if fit.polynomial is not None:
        grid = np.linspace(fit.min_us, fit.max_us, 201)
        curve = np.polynomial.polynomial.polyval(grid / fit.max_us, fit.bias)
        axes.plot(grid, curve, "-", color=RED)
    style(axes, "Mean error", "target conductance, µS", "measured - target, µS")


def _normality(axes: Any, fit: DeviceFit) -> None:
    levels = (np.arange(min(SHOWN, len(fit.standard))) + 0.5) / min(SHOWN, len(fit.standard))
    expected = stats.norm.ppf(levels)
    axes.plot(expected, expected, "-", color=RED, linewidth=1)
    axes.plot(expected, np.quantile(fit.standard, levels), ".", color=BLUE, ms=3)
    style(axes, "Normality of the residuals", "normal quantile", "residual / spread")


def _residuals(axes: Any, fit: DeviceFit) -> None:
    axes.hist(fit.standard, bins=40, density=True, color=BLUE, alpha=0.6)
    grid = np.linspace(-4, 4, 201)
    axes.plot(grid, stats.norm.pdf(grid), "-", color=RED)
    style(axes, "Residuals", "residual / spread", "density")


def _retention(axes: Any, fit: DeviceFit) -> None:
    assert fit.retention is not None
    drifts = fit.retention.drifts
    axes.axhline(fit.retention.mean, color=RED, linewidth=1)
    axes.axhspan(
        fit.retention.mean - fit.retention.spread,
        fit.retention.mean + fit.retention.spread,
        color=RED,
        alpha=0.2,
        linewidth=0,
    )
    axes.errorbar(
        [d.target for d in drifts],
        [d.mean for d in drifts],
        [d.error for d in drifts],
        fmt="o",
        color=BLUE,
        ms=4,
        capsize=2,
    )
    style(axes, "Retention, g ~ t^-nu", "target conductance, µS", "nu (band: one spread)")
