"""Estimates that a device is fitted with: a spread that depends on the conductance, a drift.

Everything here is a function of arrays. `nvmc.hardware.fit.fitting` decides what to estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "CellDrifts",
    "FittedSpread",
    "choose_mean",
    "choose_spread",
    "drift_of_cells",
    "drift_of_means",
    "equal_spreads",
    "fit_spread",
    "growth_of_spread",
    "normality",
    "spread_chi_square",
    "spread_error",
]

Float = NDArray[np.floating[Any]]


def normality(values: Float) -> float:
    """P-value of normality, mean and spread unknown: the Anderson-Darling test.

    Stephens' statistic A² (1 + 0.75/n + 2.25/n²) and his approximation of its distribution, good
    to two digits where it matters (D'Agostino and Stephens, Goodness-of-Fit Techniques, 1986,
    Table 4.9).

    Returns:
        The p-value; 0 where all values are the same.
    """
    n = len(values)
    spread = np.std(values, ddof=1)
    if spread == 0:
        return 0.0
    z = np.sort((values - np.mean(values)) / spread)
    i = np.arange(1, n + 1)
    terms = (2 * i - 1) * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1]))
    a = float((-n - np.mean(terms)) * (1 + 0.75 / n + 2.25 / n**2))
    if a >= 0.6:
        p = np.exp(1.2937 - 5.709 * min(a, 10.0) + 0.0186 * min(a, 10.0) ** 2)
    elif a >= 0.34:
        p = np.exp(0.9177 - 4.279 * a - 1.38 * a**2)
    elif a >= 0.2:
        p = 1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2)
    else:
        p = 1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2)
    return float(np.clip(p, 0.0, 1.0))


def spread_error(values: Float) -> float:
    """Standard error of the standard deviation, whatever the law of the values.

    The jackknife of ln s (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 11),
    but no less than s / sqrt(2 (n - 1)), which is right for normal values and far too small for
    heavy tails. How often it covers: docs/fit.md.
    """
    n = len(values)
    squares = (values - np.mean(values)) ** 2
    total, s = float(np.sum(squares)), float(np.std(values, ddof=1))
    normal = s / np.sqrt(2 * (n - 1))
    left = (total - squares * n / (n - 1)) / (n - 2)  # variances without one value each
    if n < 3 or np.any(left <= 0):
        return float(normal)
    logs = np.log(left) / 2
    jackknife = s * np.sqrt((n - 1) / n * np.sum((logs - np.mean(logs)) ** 2))
    return float(max(jackknife, normal))


def equal_spreads(groups: Sequence[Float]) -> float:
    """P-value of one spread for all groups, whatever their means: Levene's test on medians."""
    result: Any = stats.levene(*groups, center="median")
    return float(result.pvalue)


def _powers(x: Float, degree: int) -> Float:
    """The columns 1, x, ..., x^degree; shape (len(x), degree + 1)."""
    return np.vander(x, degree + 1, increasing=True)


@dataclass(frozen=True)
class FittedSpread:
    """sigma(x) = sum_i c_i x^i, in the residuals' unit.

    Attributes:
        coefficients: c_0 ... c_d.
        covariance: Their covariance: from the Fisher information, times the excess of the fourth
            moment over a normal's, where there is one.
        aicc: Akaike's criterion with its small-sample correction; the smaller the better.
    """

    coefficients: Float
    covariance: Float
    aicc: float

    @property
    def degree(self) -> int:
        """Degree d."""
        return len(self.coefficients) - 1

    @property
    def errors(self) -> Float:
        """Standard errors of the coefficients."""
        return np.sqrt(np.diag(self.covariance))

    def __call__(self, x: Float) -> Float:
        """Sigma at x."""
        return _powers(x, self.degree) @ self.coefficients

    def error(self, x: Float) -> Float:
        """Standard error of sigma at x."""
        columns = _powers(x, self.degree)
        return np.sqrt(np.einsum("ij,jk,ik->i", columns, self.covariance, columns))


def fit_spread(x: Float, residuals: Float, degree: int) -> FittedSpread | None:
    """The polynomial under which `residuals` ~ N(0, sigma(x)²) are likeliest (Fisher scoring).

    A step of the scoring is a least-squares fit to sigma + (r² - sigma²) / (2 sigma) with weights
    1 / sigma², halved until sigma stays positive and the likelihood does not fall.

    Args:
        x: Where each residual was measured, scaled to about 0 ... 1.
        residuals: As many numbers.
        degree: d.

    Returns:
        The law, or None where the best one is not positive over the range of x, or the data do
        not tell its coefficients.
    """
    columns = _powers(x, degree)
    c = np.zeros(degree + 1)
    c[0] = np.sqrt(np.mean(residuals**2))
    best = _likelihood(columns @ c, residuals)
    for _ in range(100):
        sigma = columns @ c
        pseudo = sigma + (residuals**2 - sigma**2) / (2 * sigma)
        full = np.linalg.lstsq(columns / sigma[:, None], pseudo / sigma, rcond=None)[0] - c
        step = 1.0
        while _likelihood(columns @ (c + step * full), residuals) < best and step > 1e-6:
            step /= 2
        gained = _likelihood(columns @ (c + step * full), residuals) - best
        if gained < 1e-9:
            break
        c, best = c + step * full, best + gained
    weighted = columns / (columns @ c)[:, None]
    points: Float = np.linspace(float(x.min()), float(x.max()), 201)
    grid = _powers(points, degree)
    if np.any(grid @ c <= 0) or np.linalg.matrix_rank(weighted) <= degree:
        return None
    n, k = len(x), degree + 1
    aicc = 2 * k - 2 * best + 2 * k * (k + 1) / max(n - k - 1, 1)
    inverse = _positive_inverse(2 * weighted.T @ weighted)
    if inverse is None:  # within rounding, the data tell fewer coefficients
        return None
    # The score of a residual is w (z^2 - 1), whose variance is 2 w w' for normal ones. Each is
    # divided by 1 - its leverage, as in the jackknife.
    leverage: Float = 2 * np.sum((weighted @ inverse) * weighted, axis=1)
    excess = ((residuals / (columns @ c)) ** 2 - 1) / (1 - np.minimum(leverage, 0.99))
    tails = max(1.0, float(np.mean(excess**2)) / 2)
    return FittedSpread(c, tails * inverse, float(aicc))


def _positive_inverse(matrix: Float) -> Float | None:
    """The inverse of a positive definite matrix; None for one that is none within rounding."""
    try:
        inverse = np.linalg.inv(matrix)
        return inverse if np.linalg.eigvalsh(inverse)[0] > 0 else None
    except np.linalg.LinAlgError:
        return None


def _likelihood(sigma: Float, residuals: Float) -> float:
    """Logarithm of the likelihood, without its constant."""
    if np.any(sigma <= 0):
        return -np.inf
    return float(-np.sum(np.log(sigma)) - 0.5 * np.sum((residuals / sigma) ** 2))


def choose_spread(x: Float, residuals: Float, highest: int) -> FittedSpread | None:
    """The law of degree 0 ... `highest` with the smallest AICc."""
    laws = [fit_spread(x, residuals, degree) for degree in range(highest + 1)]
    return min((law for law in laws if law is not None), key=lambda law: law.aicc, default=None)


def choose_mean(x: Float, residuals: Float, sigma: Float, highest: int) -> Float:
    """Coefficients of the mean of the residuals over x, by weighted least squares.

    The degree, 0 to `highest`, is the one with the smallest AICc.
    """
    n = len(x)
    best, chosen = np.inf, np.zeros(1)
    for degree in range(highest + 1):
        columns = _powers(x, degree)
        c = np.linalg.lstsq(columns / sigma[:, None], residuals / sigma, rcond=None)[0]
        k = degree + 1
        score = float(np.sum(((residuals - columns @ c) / sigma) ** 2))
        score += 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1)
        if score < best:
            best, chosen = score, c
    return chosen


def spread_chi_square(groups: Sequence[Float], parameters: int) -> tuple[float, int, float] | None:
    """How well a law fits the spreads of groups of standardised residuals, (r - mean) / sigma.

    sum over groups of (ln s)² · 2 (n - 1), which is chi-square where the residuals are normal: the
    variance of ln s is 1 / (2 (n - 1)).

    Returns:
        (chi-square, degrees of freedom, p-value), or None where no degree of freedom is left. It is
        infinite where a group has no spread at all.
    """
    free = len(groups) - parameters
    if free < 1:
        return None
    counts = np.array([len(group) for group in groups])
    spreads = np.array([np.std(group, ddof=1) for group in groups])
    with np.errstate(divide="ignore"):
        value = float(np.sum(np.log(spreads) ** 2 * 2 * (counts - 1)))
    return value, free, float(stats.chi2.sf(value, free))


@dataclass(frozen=True)
class CellDrifts:
    """Exponents nu of cells; every array has shape (cells,).

    Attributes:
        nu: Exponent; NaN where a cell was read once.
        scatter: Sum of squares of ln g about the cell's line.
        free: Degrees of freedom of that sum.
        length: Sum of squares of ln t about its mean.
    """

    nu: Float
    scatter: Float
    free: Float
    length: Float

    def of(self, rows: Any) -> CellDrifts:
        """Some of the cells."""
        return CellDrifts(self.nu[rows], self.scatter[rows], self.free[rows], self.length[rows])

    @property
    def noise(self) -> float:
        """Variance that nu has from the readings' scatter; NaN where nothing is known of it."""
        free = float(np.sum(self.free))
        if free < 1:
            return np.nan
        return float(np.mean(float(np.sum(self.scatter)) / free / self.length))


def drift_of_cells(cell: NDArray[np.int64], time: Float, measured: Float) -> CellDrifts:
    """Exponent nu of every cell that was read at two times or more.

    Args:
        cell: Which cell each row is of, 0 ... cells - 1.
        time: Seconds since programming.
        measured: Conductances, above 0.
    """
    x, y = np.log(time), np.log(measured)
    n = np.bincount(cell).astype(np.float64)
    shape = len(n)
    mean_x = np.bincount(cell, x, shape) / n
    mean_y = np.bincount(cell, y, shape) / n
    dx, dy = x - mean_x[cell], y - mean_y[cell]
    sxx = np.bincount(cell, dx * dx, shape)
    sxy = np.bincount(cell, dx * dy, shape)
    slope = np.full(shape, np.nan)
    known = n > 1
    slope[known] = sxy[known] / sxx[known]
    rest = (dy - np.nan_to_num(slope)[cell] * dx) ** 2
    scatter = np.bincount(cell, rest, shape).astype(np.float64)
    return CellDrifts(-slope, scatter, np.maximum(n - 2, 0), sxx.astype(np.float64))


def drift_of_means(length: Float, logs: Sequence[Float], common: float) -> tuple[float, float]:
    """Exponent nu of one level whose cells are not told apart, and its standard error.

    The mean of ln g is a - nu ln(t/t0): a line through the times by least squares, weighted by the
    number of readings over their variance. Its error is that of other cells at every time, or of
    the same cells, whose nu is the same at every time: the greater of the two.

    Args:
        length: ln(t/t0) of each time, two distinct values or more.
        logs: ln g of the readings at each.
        common: Variance of nu between cells.
    """
    counts = np.array([len(values) for values in logs])
    variances = np.array([np.var(values, ddof=1) for values in logs])
    means = np.array([np.mean(values) for values in logs])
    slope, error = _line(length, means, counts / variances)
    shares = counts / variances
    shares = shares * (length - np.average(length, weights=shares))
    shares = shares / np.sum(shares * length)  # slope = sum of shares * means
    rest = np.maximum(variances - common * length**2, 0.0)
    same = common / counts.min() + float(np.sum(shares**2 * rest / counts))
    return -slope, max(error, float(np.sqrt(same)))


def growth_of_spread(length: Float, logs: Sequence[Float], common: float) -> tuple[float, float]:
    """Variance of nu of one level whose cells are not told apart, and its standard error.

    The variance of ln g is v + var(nu) ln(t/t0)^2. The line through the times is weighted by what
    the variances would be if var(nu) were `common`: weights of the variances seen would favour the
    smaller ones.

    Returns:
        The variance (below 0 by chance where there is none) and its error.
    """
    variances = np.array([np.var(values, ddof=1) for values in logs])
    counts = np.array([len(values) for values in logs])
    rest = float(np.average(variances - common * length**2, weights=counts))
    expected = max(rest, 0.01 * float(variances.min())) + common * length**2
    return _line(length**2, variances, (counts - 1) / (2 * expected**2))


def _line(x: Float, y: Float, weights: Float) -> tuple[float, float]:
    """Slope of y over x with weights 1 / variance, and its standard error."""
    dx = x - np.sum(weights * x) / np.sum(weights)
    sxx = float(np.sum(weights * dx * dx))
    return float(np.sum(weights * dx * y)) / sxx, 1 / np.sqrt(sxx)
