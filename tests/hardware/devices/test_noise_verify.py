"""Write-verify: the truncated law of what is accepted, and the geometric law of the pulses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from nvmc.hardware.devices import SOURCES, Cells
from nvmc.rng import Draw

N = 200_000
ALPHA = 1e-4


def program(sigma: float, tolerance: float, most: int, **options: Any) -> tuple[Any, Any]:
    """Errors in level steps and pulses of N cells at level 1."""
    fields = {"basis": "level", "sigma": sigma, "tolerance": tolerance, "max_pulses": most}
    law: Any = SOURCES["programming"].model_validate({"type": "programming", **fields, **options})
    targets = np.ones((1, N), np.float32)
    cells = Cells(targets, 3.0, (2,), 1.0)
    levels, pulses = law.program(targets * 0, cells, Draw(5, 0, "verify"))  # errors, unrounded
    return levels[0].astype(float), pulses[0]


@pytest.mark.parametrize(("sigma", "tolerance"), [(0.5, 0.4), (0.5, 0.1), (0.1, 0.3)])
def test_accepted_errors_are_a_truncated_normal(sigma: float, tolerance: float):
    errors, pulses = program(sigma, tolerance, 1000)
    assert np.abs(errors).max() <= np.float32(tolerance) and pulses.max() < 1000
    bound = tolerance / sigma
    law = stats.truncnorm(-bound, bound, scale=sigma)
    assert stats.kstest(errors, law.cdf).pvalue > ALPHA
    assert abs(errors.mean()) < 5 * law.std() / np.sqrt(N)


@pytest.mark.parametrize(("sigma", "tolerance"), [(0.5, 0.4), (0.5, 0.1), (0.1, 0.1)])
def test_pulses_are_geometric(sigma: float, tolerance: float):
    """Chi-square over the counts of 1, 2, ... pulses, the rare ones together."""
    _, pulses = program(sigma, tolerance, 1000)
    law = stats.geom(2 * stats.norm.cdf(tolerance / sigma) - 1)
    last = int(law.isf(50 / N))  # every class is expected 50 times or more
    counts = np.bincount(np.minimum(pulses, last + 1), minlength=last + 2)[1:]
    expected = N * np.append(law.pmf(np.arange(1, last + 1)), law.sf(last))
    assert stats.chisquare(counts, expected).pvalue > ALPHA
    assert abs(pulses.mean() - law.mean()) < 5 * law.std() / np.sqrt(N)


@pytest.mark.parametrize("most", [1, 3])
def test_a_cell_that_is_never_accepted_keeps_its_last_pulse(most: int):
    """(1 - p)^n of the cells fail, with errors of the normal's tails."""
    errors, pulses = program(0.5, 0.2, most)
    p = 2 * stats.norm.cdf(0.4) - 1
    failed = np.abs(errors) > 0.2
    assert stats.binomtest(int(failed.sum()), N, (1 - p) ** most).pvalue > ALPHA
    assert pulses.max() == most and np.all(pulses[failed] == most)
    tails = stats.norm(scale=0.5)
    beyond = (tails.cdf(-np.abs(errors[failed])) - 0) / tails.cdf(-0.2)
    assert stats.kstest(beyond, stats.uniform.cdf).pvalue > ALPHA


def test_verify_sees_the_mean_error():
    """N(0.3, 0.5) cut to the tolerance: what is kept leans to the bias."""
    errors, _ = program(0.5, 0.4, 1000, bias={"profile": (0.0, 0.3, 0.0, 0.0)})
    law = stats.truncnorm((-0.4 - 0.3) / 0.5, (0.4 - 0.3) / 0.5, loc=0.3, scale=0.5)
    assert stats.kstest(errors, law.cdf).pvalue > ALPHA


def test_a_settled_cell_does_not_depend_on_the_others():
    """With a hundredth of sigma more, cells that were accepted at once keep their normals."""
    errors, pulses = program(0.5, 0.4, 1000)
    wider, _ = program(0.505, 0.4, 1000)
    kept = (pulses == 1) & (np.abs(errors) < 0.39)
    np.testing.assert_allclose(wider[kept], 1.01 * errors[kept], rtol=2.0**-21)


@pytest.mark.parametrize(("basis", "bound"), [("value", 0.2), ("full_range", 0.6)])
def test_the_tolerance_is_in_the_basis(basis: str, bound: float):
    """At level 1 of 3: 0.2 of the value is 0.2 steps, 0.2 of the range 0.6."""
    errors, _ = program(1.0, 0.2, 1000, basis=basis)
    assert 0.99 * bound < np.abs(errors).max() <= np.float32(bound)


def test_no_spread_takes_one_pulse():
    errors, pulses = program(0.0, 0.1, 10)
    assert not errors.any() and np.all(pulses == 1)
