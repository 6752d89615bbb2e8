"""Bayesian optimisation with a Gaussian process: few, expensive, noisy evaluations of a function.

Needs scikit-optimize (extra `train`), which is imported when the first trial is asked for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.rng import stream

__all__ = ["Acquisition", "Search", "Trial"]

Acquisition: TypeAlias = Literal["mean", "ei"]

AMPLITUDES = (1e-2, 1e2)
"""Bounds of k_0 of the kernel, for values of variance one."""
LENGTHS = (0.1, 10.0)
"""Bounds of a length scale, as fractions of a range: below, trials teach nothing of each other."""
RESTARTS = 1
"""Further random starts of the likelihood's maximisation."""
CANDIDATES = {"n_points": 2000, "n_restarts_optimizer": 3}
"""How many uniform points the acquisition is taken at, and how many of the best are refined."""


@dataclass(frozen=True)
class Trial:
    """One evaluation: plain numbers, so that a list of trials can be written anywhere.

    Attributes:
        point: Where the function was evaluated.
        value: What it was; larger is better. It need not be finite.
    """

    point: tuple[float, ...]
    value: float


class Search:
    """Maximise a function of d numbers, each within a range, by asking and telling.

    The first `initial` points are uniform, as a Latin hypercube: in every range they share no
    `initial`-th part. From then on a Gaussian process is fitted to all trials
    (values standardised, inputs scaled to [0, 1]), and the next point is where its posterior mean
    is greatest (`mean`) or where the improvement on the best trial is expected to be (`ei`).
    The kernel is k_0 exp(-sum_i k_i (a_i - b_i)^2), with k_0 and every k_i = 1 / (2 l_i^2) found by
    maximum likelihood.

    The next point is a function of the seed and of the trials told so far and of nothing else, so
    a search made again from its trials goes on as if it had never stopped.

    Source: Ye et al., BayesFT, DAC 2021, Eq. 5 to 9 and Alg. 1, lines 8 and 9 (posterior mean);
    Jones et al., Journal of Global Optimization 13, 1998 (expected improvement). The paper names
    no noise term; without one, equal points with different values have no posterior.

    Args:
        ranges: Lowest and highest value of each number.
        seed: Non-negative.
        acquisition: `mean` or `ei`.
        initial: How many uniform points come first, at least 1.
        noise: Variance of a trial's error, as a fraction of the variance of all values; positive.
        trials: Trials made before, in their order.

    Raises:
        OptionError: No ranges, an empty range, `initial` below 1, noise that is not positive, or
            a trial that does not fit.
    """

    def __init__(
        self,
        ranges: Sequence[tuple[float, float]],
        *,
        seed: int = 0,
        acquisition: Acquisition = "mean",
        initial: int = 5,
        noise: float = 1e-3,
        trials: Iterable[Trial] = (),
    ) -> None:
        if not ranges or any(not low < high for low, high in ranges):
            raise OptionError(f"ranges are {list(ranges)}; expected at least one with low < high")
        if initial < 1:
            raise OptionError(f"initial is {initial}; expected at least 1")
        if not noise > 0:
            raise OptionError(f"noise is {noise}; expected more than 0")
        self._ranges = [(float(low), float(high)) for low, high in ranges]
        self._seed, self._acquisition, self._initial = seed, acquisition, initial
        self._noise = noise
        self._trials: list[Trial] = []
        for trial in trials:
            self.tell(trial.point, trial.value)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials so far, oldest first."""
        return tuple(self._trials)

    @property
    def best(self) -> Trial | None:
        """The trial of the greatest finite value, the first among equals; None without one."""
        known = [trial for trial in self._trials if math.isfinite(trial.value)]
        return max(known, key=lambda trial: trial.value, default=None)

    def ask(self) -> tuple[float, ...]:
        """The point to evaluate next; the same until another trial is told."""
        count = len(self._trials)
        if count < self._initial:
            unit = self._design()[count]
            low, high = np.transpose(self._ranges)
            return _numbers(low + unit * (high - low))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # points met before, bounds touched: no user's concern
            return _numbers(self._fitted().ask())

    def tell(self, point: Sequence[float], value: float) -> None:
        """Add a trial.

        Raises:
            OptionError: The point has another dimension, or lies outside the ranges.
        """
        inside = len(point) == len(self._ranges) and all(
            low <= number <= high for number, (low, high) in zip(point, self._ranges, strict=True)
        )
        if not inside:
            raise OptionError(f"trial at {tuple(point)}; expected a point within {self._ranges}")
        self._trials.append(Trial(_numbers(point), float(value)))

    def _design(self) -> NDArray[np.float64]:
        """Uniform points that share no slice of any range: a Latin hypercube (initial, d)."""
        random = stream(self._seed, 0, "search")
        shape = (self._initial, len(self._ranges))
        slices = random.permuted(np.tile(np.arange(self._initial), (shape[1], 1)), axis=1).T
        return (slices + random.random(shape)) / self._initial

    def _fitted(self) -> Any:
        """scikit-optimize's optimiser, told all trials at once and seeded by their number.

        It minimises, so it is told the negative. The posterior mean is its lower confidence bound
        at kappa = 0.
        """
        from skopt import Optimizer

        seed = int(stream(self._seed, len(self._trials), "surrogate").integers(2**31))
        mean = self._acquisition == "mean"
        optimizer: Any = Optimizer(
            self._ranges,
            base_estimator=_gaussian_process(len(self._ranges), self._noise, seed),
            n_initial_points=0,
            acq_func="LCB" if mean else "EI",
            acq_func_kwargs={"kappa": 0.0} if mean else {"xi": 0.0},
            acq_optimizer_kwargs=CANDIDATES,
            avoid_duplicates=False,
            random_state=seed,
        )
        points = [list(trial.point) for trial in self._trials]
        optimizer.tell(points, (-_finite([trial.value for trial in self._trials])).tolist())
        return optimizer


def _gaussian_process(dimensions: int, noise: float, seed: int) -> Any:
    """A regressor with the kernel of Eq. 9 of scikit-optimize's own classes, which know slopes."""
    from skopt.learning import GaussianProcessRegressor
    from skopt.learning.gaussian_process.kernels import RBF, ConstantKernel

    ones: Any = [1.0] * dimensions
    lengths: Any = RBF(ones, [LENGTHS] * dimensions)
    return GaussianProcessRegressor(
        ConstantKernel(1.0, AMPLITUDES) * lengths,
        alpha=noise,
        normalize_y=True,
        n_restarts_optimizer=RESTARTS,
        random_state=seed,
    )


def _numbers(point: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(number) for number in point)


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    """The values, with the worst finite one (or 0) in place of what diverged."""
    array = np.asarray(values, np.float64)
    known = array[np.isfinite(array)]
    return np.where(np.isfinite(array), array, known.min() if known.size else 0.0)
