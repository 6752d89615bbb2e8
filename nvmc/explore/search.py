"""Designs of a large space, proposed by optuna from those that were tried before.

Needs optuna (extra `explore`), which is imported when a search is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from nvmc.errors import OptionError
from nvmc.explore.space import Design, Space

__all__ = ["Search"]


class Search:
    """Ask for a design, tell what came of it, and so on.

    Optuna's tree-structured Parzen estimator for several objectives (Bergstra et al., NeurIPS 24,
    2011; Ozaki et al., GECCO 2020): the costs fall, the lower end of the interval rises. The same
    seed and answers give the same designs.

    Args:
        space: What designs may differ in.
        seed: Non-negative.
        costs: How many quantities are minimised.

    Raises:
        OptionError: optuna is not installed.
    """

    def __init__(self, space: Space, seed: int, costs: int) -> None:
        try:
            optuna: Any = importlib.import_module("optuna")
        except ImportError as error:
            raise OptionError(
                f"the space has {space.count:,} combinations, more than are all tried, and a "
                "search needs optuna, which is not installed; run `pip install 'nvmc[explore]'`, "
                "give fewer values, or raise --most"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False)
        directions = [*["minimize"] * costs, "maximize"]
        self._study: Any = optuna.create_study(sampler=sampler, directions=directions)
        self._failed: Any = optuna.trial.TrialState.FAIL
        self._space, self._trial = space, None

    def ask(self) -> Design:
        """The next design; it may have been proposed before."""
        self._trial = self._study.ask()
        places = {
            name: self._trial.suggest_int(name, 0, len(self._space.choices[name]) - 1)
            if _ordered(self._space.choices[name])
            else self._trial.suggest_categorical(name, range(len(self._space.choices[name])))
            for name in self._space.varied
        }
        return self._space.design(places)

    def tell(self, objectives: Sequence[float] | None) -> None:
        """What came of the last design: its costs and the end; None where it cannot be."""
        if objectives is None:
            self._study.tell(self._trial, state=self._failed)
        else:
            self._study.tell(self._trial, list(objectives))


def _ordered(values: Sequence[Any]) -> bool:
    """Whether values are numbers that rise or fall, so that neighbours resemble each other."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return False
    return numbers in (sorted(numbers), sorted(numbers, reverse=True))
