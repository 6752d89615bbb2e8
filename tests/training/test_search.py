"""The search: its Gaussian process is the closed form, it repeats itself, it beats chance."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from nvmc.errors import OptionError
from nvmc.training.search import Acquisition, Search, Trial

BOTH = pytest.mark.parametrize("acquisition", ["mean", "ei"])
RANGES = [(0.0, 1.0), (-2.0, 3.0)]
NOISE = 1e-3


def bump(point: Sequence[float]) -> float:
    """Smooth, with one maximum at (0.7, 1.0), twice as sharp along the first axis."""
    return float(np.exp(-4 * (point[0] - 0.7) ** 2 - 0.2 * (point[1] - 1.0) ** 2))


def bowl(point: Sequence[float]) -> float:
    """A paraboloid in four dimensions, of very different widths; 0 at its top."""
    top, width = np.array([0.2, 0.7, 0.5, 0.9]), np.array([4.0, 1.0, 2.0, 0.1])
    return -float((width * (np.asarray(point) - top) ** 2).sum())


def told(trials: int, acquisition: Acquisition = "mean", seed: int = 0) -> Search:
    search = Search(RANGES, seed=seed, acquisition=acquisition, noise=NOISE)
    for _ in range(trials):
        point = search.ask()
        search.tell(point, bump(point))
    return search


def posterior(search: Search, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the function at points (n, d), each of shape (n,)."""
    optimizer = search._fitted()
    inputs = optimizer.space.transform(np.asarray(points, np.float64).tolist())
    mean, spread = optimizer.models[-1].predict(inputs, return_std=True)
    return -mean, spread  # it minimises


def kernel(search: Search) -> tuple[float, NDArray[np.float64]]:
    """k_0 (in squared units of the values) and k_1 … k_d of the fitted kernel, per unit²."""
    model = search._fitted().models[-1]
    low, high = np.transpose(RANGES)
    amplitude = model.kernel_.k1.constant_value * float(model.y_train_std_) ** 2
    return amplitude, 1 / (2 * (model.kernel_.k2.length_scale * (high - low)) ** 2)


def closed_form(
    search: Search, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eq. 8 and Eq. 9 in plain NumPy, around the mean of the values, with noise."""
    k0, k = kernel(search)
    known = np.array([trial.point for trial in search.trials])
    values = np.array([trial.value for trial in search.trials])

    def kappa(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return k0 * np.exp(-(((a[:, None] - b[None]) ** 2) * k).sum(-1))

    error = NOISE * (values.var() or 1.0)  # one value alone is not scaled
    noisy = kappa(known, known) + error * np.eye(len(known))
    weights = np.linalg.solve(noisy, kappa(known, points)).T
    mean = values.mean() + weights @ (values - values.mean())
    variance = k0 - (weights * kappa(points, known)).sum(1)
    return mean, np.sqrt(np.maximum(variance, 0))


@pytest.mark.parametrize("trials", [1, 2, 7, 12])
def test_the_posterior_is_the_closed_form(trials: int):
    search = told(trials)
    points = np.random.default_rng(trials).uniform((0, -2), (1, 3), (50, 2))
    mean, spread = posterior(search, points)
    expected_mean, expected_spread = closed_form(search, points)
    # The matrix's condition is at most n k0 / (noise var) < 1e6 (k0 <= 100 var), so float64 leaves
    # 1e-10; a difference of variances of size k0 has that times k0, and its root 1e-5 sqrt(k0).
    np.testing.assert_allclose(mean, expected_mean, atol=1e-8)
    scale = np.sqrt(kernel(search)[0])
    np.testing.assert_allclose(spread, expected_spread, atol=1e-4 * scale)


def test_the_posterior_knows_the_trials_and_little_far_from_them():
    search = told(12)
    mean, spread = posterior(search, [trial.point for trial in search.trials])
    np.testing.assert_allclose(mean, [trial.value for trial in search.trials], atol=0.1)
    assert spread.max() < posterior(search, [(0.0, -2.0), (1.0, -2.0)])[1].max()


def test_the_mean_is_asked_where_it_is_greatest():
    search = told(8)
    at = posterior(search, [search.ask()])[0][0]
    points = np.random.default_rng(0).uniform((0, -2), (1, 3), (5000, 2))
    assert at >= posterior(search, points)[0].max() - 1e-9


def test_improvement_is_asked_where_it_is_expected_to_be_greatest():
    search = told(8, "ei")
    best = max(trial.value for trial in search.trials)

    def expected(points: NDArray[np.float64]) -> NDArray[np.float64]:
        mean, spread = posterior(search, points)
        z = (mean - best) / spread
        return (mean - best) * norm.cdf(z) + spread * norm.pdf(z)

    points = np.random.default_rng(0).uniform((0, -2), (1, 3), (5000, 2))
    assert expected(np.array([search.ask()]))[0] >= 0.999 * expected(points).max() > 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
@settings(max_examples=20)
def test_the_first_points_share_no_slice_of_a_range(seed: int, initial: int):
    search = Search(RANGES, seed=seed, initial=initial)
    for _ in range(initial):
        search.tell(search.ask(), 0.0)
    unit = (np.array([t.point for t in search.trials]) - (0, -2)) / (1, 5)
    for axis in unit.T:
        assert sorted((axis * initial).astype(int)) == list(range(initial))


@BOTH
def test_a_search_made_again_from_its_trials_goes_on_the_same(acquisition: Acquisition):
    whole = told(9, acquisition)
    points = [trial.point for trial in whole.trials]
    for stop in (0, 3, 5, 8):
        text = json.dumps([asdict(trial) for trial in whole.trials[:stop]])
        trials = [Trial(tuple(row["point"]), row["value"]) for row in json.loads(text)]
        again = Search(RANGES, acquisition=acquisition, noise=NOISE, trials=trials)
        assert again.ask() == again.ask() == points[stop]


@BOTH
def test_seeds_name_searches(acquisition: Acquisition):
    assert told(7, acquisition).trials == told(7, acquisition).trials
    assert told(1, acquisition).trials != told(1, acquisition, seed=1).trials


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(("function", "dimensions"), [(bowl, 4), (bump, 2)])
def test_it_beats_random_search(
    acquisition: Acquisition, function: Callable[[Sequence[float]], float], dimensions: int
):
    """With the same budget: better for most seeds, and at most half as far from the top."""
    top, budget, seeds = (0.0 if function is bowl else 1.0), 14, range(5)
    ranges = RANGES if function is bump else [(0.0, 1.0)] * dimensions
    found, chance = [], []
    for seed in seeds:
        search = Search(ranges, seed=seed, acquisition=acquisition)
        for _ in range(budget):
            point = search.ask()
            search.tell(point, function(point))
        assert search.best is not None
        low, high = np.transpose(ranges)
        random = np.random.default_rng(seed).uniform(low, high, (budget, dimensions))
        found.append(top - search.best.value)
        chance.append(top - max(map(function, random)))
    assert sum(f < c for f, c in zip(found, chance, strict=True)) >= 4
    assert np.mean(found) <= 0.5 * np.mean(chance)


@BOTH
def test_noise_does_not_lead_it_astray(acquisition: Acquisition):
    """Values with an error of 0.1 of their range: the best posterior mean lies near the top."""
    random = np.random.default_rng(0)
    search = Search(RANGES, acquisition=acquisition, noise=0.1)
    for _ in range(20):
        point = search.ask()
        search.tell(point, bump(point) + 0.1 * random.standard_normal())
    points = random.uniform((0, -2), (1, 3), (5000, 2))
    chosen = points[posterior(search, points)[0].argmax()]
    assert bump(chosen) > 0.85


@BOTH
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
def test_diverged_trials_count_as_the_worst(acquisition: Acquisition, value: float):
    search, twin = told(6, acquisition), told(6, acquisition)
    point = search.ask()
    search.tell(point, value)
    twin.tell(point, min(trial.value for trial in twin.trials))
    assert search.ask() == twin.ask()
    hopeless = Search(RANGES, initial=1, acquisition=acquisition)
    hopeless.tell(hopeless.ask(), value)
    assert all(low <= x <= high for x, (low, high) in zip(hopeless.ask(), RANGES, strict=True))


def test_the_best_is_the_first_of_the_greatest():
    search = Search(RANGES)
    assert search.best is None
    for number, value in enumerate((float("nan"), float("inf"), 1.0, 2.0, 2.0, 0.0)):
        search.tell((number / 8, 0.0), value)
    assert search.best == Trial((3 / 8, 0.0), 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranges": []}, "at least one"),
        ({"ranges": [(1.0, 1.0)]}, "low < high"),
        ({"ranges": RANGES, "initial": 0}, "initial is 0"),
        ({"ranges": RANGES, "noise": 0.0}, "noise is 0.0"),
        ({"ranges": RANGES, "trials": [Trial((0.5,), 0.0)]}, "within"),
        ({"ranges": RANGES, "trials": [Trial((0.5, 4.0), 0.0)]}, "within"),
    ],
)
def test_what_makes_no_search_is_refused(options: dict[str, object], message: str):
    with pytest.raises(OptionError, match=message):
        Search(**options)  # type: ignore[arg-type]
