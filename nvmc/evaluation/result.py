"""What a simulation found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.errors import OptionError
from nvmc.evaluation.at_time import AtTime
from nvmc.evaluation.captions import of_text
from nvmc.evaluation.description import Compensated, Description
from nvmc.evaluation.given_values import Given, parameter_named
from nvmc.evaluation.goals import Requirement, Verdict
from nvmc.evaluation.pictures import draw_simulation
from nvmc.evaluation.records import Elsewhere
from nvmc.evaluation.reported import WithReport
from nvmc.evaluation.sweep import Sweep, sweep
from nvmc.evaluation.tabulated import kpp_text, simulation_rows, simulation_table
from nvmc.report.drawn import Drawn
from nvmc.report.figure import Sheet
from nvmc.statistics import Ends, Kpp, Summary, Yield
from nvmc.tables import Cell, Shown, Table, frame_of

__all__ = ["FORMAT", "AtTime", "Simulation"]

FORMAT = "nvmc.evaluation.simulation/1"

NOT_SWEPT = (
    "runs",
    "require",
    "delta",
    "precision",
    "max_runs",
    "executor",
    "store",
    "on_chip",
    "watch",
)
"""Arguments of `simulate` that a sweep from its result does not take over."""


@checked
@dataclass(frozen=True, repr=False)
class Simulation(Shown, Drawn, WithReport):
    """What a population of chips is worth.

    Attributes:
        description: Network, chips, images, and how they were run; its time is the first one's.
        ideal: Value of the chip whose every cell is on target.
        executor: Where the chips were run.
        times: The same chips at each time asked for; without any, at the device's own.
        seconds: Wall time of the runs.
        recorded: Chips, at all times together, that were not run again: a store had them.
        elsewhere: Chips, at all times together, that others had found.
        compensation: What the chips do against their noise, and what that needs.
        deviation: Standard deviation of the target values; None where there are none.
        goal: What a chip must reach, in the unit of values; None where nobody said.
        require: What the chips must have, at every time.
        asked: The arguments of `nvmc.simulate` that gave it, for `sweep`.
    """

    description: Description
    executor: str
    ideal: float
    times: tuple[AtTime, ...]
    seconds: float
    recorded: int = 0
    elsewhere: Elsewhere = Elsewhere()
    deviation: float | None = None
    compensation: tuple[Compensated, ...] = ()
    goal: float | None = None
    require: tuple[Requirement, ...] = ()
    asked: Mapping[str, Any] | None = field(default=None, compare=False)

    @property
    def metric(self) -> str:
        """What values are; see `Description`."""
        return self.description.metric

    @property
    def values(self) -> NDArray[np.float64]:
        """One value per chip at the first time, in chip order, shape (runs,)."""
        return self.times[0].values

    @property
    def kpp(self) -> Kpp:
        """The k-th percentile performance at the first time."""
        return self.times[0].kpp

    @property
    def interval(self) -> Ends:
        """The KPP's interval at the first time; `kpp.covers` says what it is certain over."""
        return self.kpp.interval

    @property
    def summary(self) -> Summary:
        """Mean, standard deviation and minimum at the first time."""
        return self.times[0].summary

    def yield_at(self, goal: float | str) -> Yield:
        """The share of chips that reach a goal at the first time, with its interval.

        Args:
            goal: As after `--goal`: `0.95` or `"95%"`; of other metrics a value in their own unit.

        Raises:
            OptionError: No chip can reach it, or it is no such value.
        """
        return self.times[0].yield_at(goal)

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        return f"Simulation of {of_text(self.description)}: {kpp_text(self.metric, self.kpp)}"

    def shown(self) -> Table:
        """A column for each time, rounded."""
        return simulation_table(self)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each time: what the chips are worth."""
        return simulation_rows(self)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each chip and time: `chip`, `time_s`, the metric.

        A dropped chip's value is NaN.

        Raises:
            OptionError: pandas is not installed.
        """
        first, metric = self.description.first, self.metric
        return frame_of(
            {"chip": first + chip, "time_s": at.time_s, metric: float(value)}
            for at in self.times
            for chip, value in enumerate(at.values)
        )

    def _draw(self, sheet: Sheet) -> None:
        """How the chips are spread, all of them."""
        if any(at.dropped for at in self.times):
            raise OptionError(
                "a histogram shows all chips, but delta let most be dropped; simulate without it"
            )
        draw_simulation(self, sheet)

    def sweep(self, **values: Given) -> Sweep:
        """The same chips of the same network on the same data, over one or two parameters.

            result.sweep(sigma=[0, 0.1, 0.2, 0.3]).figure("fig.pdf")

        Metric, seed, percentile, noise and the like are those of this result; so are sigma, time
        and temperature where they are not swept.

        Args:
            **values: By parameter (`sigma`, `time`, `temperature`, `adc_bits`, `dac_bits`): a text
                such as `0:0.4:0.05`, or numbers; see `nvmc.sweep`.

        Raises:
            OptionError: There is no parameter, or no such one or value, the result has several
                times and `time` is not swept, or it was not made by `nvmc.simulate`.
        """
        if self.asked is None:
            raise OptionError(
                "this result does not know what it was simulated with; call nvmc.sweep(network, …)"
            )
        if not values:
            raise OptionError(
                "Simulation.sweep has no parameter; give one or two with their values, such as "
                "result.sweep(sigma=[0, 0.1, 0.2])"
            )
        values = {parameter_named(name): given for name, given in values.items()}
        if len(self.times) > 1 and "time" not in values:
            raise OptionError(
                f"this result has {len(self.times)} times; say which one: sweep(…, time='1h')"
            )
        asked = {name: value for name, value in self.asked.items() if name not in NOT_SWEPT}
        set_to: dict[str, Given] = {
            "sigma": asked.pop("sigma", None),
            "time": (asked.pop("times_s", None) or [None])[0],
            "temperature": asked.pop("temperature_c", None),
        }
        kept = {n: value for n, value in set_to.items() if value is not None and n not in values}
        compiled = asked.pop("compiled")
        return sweep(compiled, {**values, **kept}, runs=len(self.values), **asked)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Whether each requirement is met, at each time."""
        return tuple(
            one.judge(at.kpp, None if self.goal is None else at.yield_at(self.goal), at.time_s)
            for one in self.require
            for at in self.times
        )

    def rmse(self, value: float) -> float | None:
        """The root mean square error that a value R^2 stands for: deviation * sqrt(1 - R^2).

        None where no values are to be met; the least that it may be where R^2 is the lowest.
        """
        return None if self.deviation is None else self.deviation * (1 - value) ** 0.5

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc simulate --json` prints it; docs/simulate.md names the keys."""
        return {
            "format": FORMAT,
            "description": self.description.to_json(),
            "ideal": self.ideal,
            **self.times[0].to_json(self.goal),
            "times": [time.to_json(self.goal) for time in self.times],
            "seconds": self.seconds,
            "recorded": self.recorded,
            "elsewhere": self.elsewhere.to_json(),
            "deviation": self.deviation,
            "compensation": [one.to_json() for one in self.compensation],
            "required": [verdict.to_json() for verdict in self.verdicts],
        }
