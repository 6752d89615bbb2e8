"""What a report shows: results of the functions of nvmc, and what was asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.compiled.artifact import replacing_file
from nvmc.cost.result import Cost
from nvmc.errors import OptionError
from nvmc.evaluation.captions import name_of
from nvmc.evaluation.comparison import Comparison
from nvmc.evaluation.description import Description
from nvmc.evaluation.goals import as_goal
from nvmc.evaluation.parameters import duration_text
from nvmc.evaluation.records import Elsewhere
from nvmc.evaluation.result import Simulation
from nvmc.evaluation.sensitivity import Sensitivity
from nvmc.evaluation.sweep import Sweep
from nvmc.evaluation.uncertainty import Uncertainty
from nvmc.evaluation.value_uncertainty import ValueUncertainty
from nvmc.metrics import as_metric, find_metric
from nvmc.page.tile_map import TileMap
from nvmc.page.values import Unit
from nvmc.report.table import check_file
from nvmc.statistics import Kpp, Summary, Yield, yield_at

__all__ = ["RESULTS", "Population", "Report", "check_page", "report_of"]

RESULTS = (Comparison, Cost, Sensitivity, Simulation, Sweep, TileMap, Uncertainty, ValueUncertainty)
"""What a report can show."""

R = TypeVar("R")


@dataclass(frozen=True)
class Population:
    """Chips of one network at one time, from whatever result has them.

    Attributes:
        label: What sets it apart on the page: network, device or time.
        description: Network, chips, images, and how they were run.
        ideal: Value of the chip whose every cell is on target.
        values: One value per chip, in chip order, shape (runs,); NaN where a chip was dropped.
        kpp: K-th percentile performance and its intervals.
        summary: Mean, standard deviation, worst.
        reached: The yield at the goal; None without one.
        elsewhere: Chips that others had found.
    """

    label: str
    description: Description
    ideal: float
    values: NDArray[np.float64]
    kpp: Kpp
    summary: Summary
    reached: Yield | None
    elsewhere: Elsewhere


@checked
@dataclass(frozen=True)
class Report:
    """One page about one question: one set of chips, or several that are compared.

    Attributes:
        results: What is shown, such as a `Simulation`, a `Sweep` and a `Cost`; a result belongs to
            the network whose name it has.
        title: Heading of the page; made of the networks' names where it is empty.
        goal: What a chip must reach, as a value; None for the goal of the results.
        command: What was typed; empty where results come from Python.
        date: A date to be printed, as it is; empty for none, so that the same results give the
            same bytes.
        uncosted: Why networks have no cost where one was asked for, a sentence each.
    """

    results: tuple[Any, ...]
    title: str = ""
    goal: float | None = None
    command: str = ""
    date: str = ""
    uncosted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for one in self.results:
            if not isinstance(one, RESULTS):
                known = ", ".join(kind.__name__ for kind in RESULTS)
                raise OptionError(f"a report cannot show {type(one).__name__}; expected {known}")
        if not self.populations:
            raise OptionError(
                "a report needs chips; give a Simulation, a Comparison or a Sweep among its results"
            )

    def of(self, kind: type[R]) -> tuple[R, ...]:
        """The results of one kind, in the order given."""
        return tuple(one for one in self.results if isinstance(one, kind))

    @cached_property
    def populations(self) -> tuple[Population, ...]:
        """All chips that were simulated or compared; those of a sweep where there are no others."""
        found = [one for result in self.results for one in self._populations(result)]
        if not found:
            found = [one for swept in self.of(Sweep) for one in self._swept(swept)]
        return tuple(_told_apart(found))

    @property
    def unit(self) -> Unit:
        """How values are written."""
        return Unit.of(self.populations[0].description.metric)

    @property
    def heading(self) -> str:
        """The title of the page."""
        names = dict.fromkeys(name_of(one.description) for one in self.populations)
        whose = "its" if len(names) == 1 else "their"
        return self.title or f"{' against '.join(names)}: what {whose} chips are worth"

    def html(self, library: str | None = None) -> str:
        """The page, with everything that it needs in it.

        Args:
            library: The scripts that draw charts; those of `nvmc.page.library` by default.

        Raises:
            OptionError: vl-convert is not installed.
        """
        from nvmc.page.document import document  # which has the sections, which take reports

        return document(self, library)

    def write(self, path: str | Path, library: str | None = None) -> Path:
        """Write the page to a file, whole or not at all; gives its path.

        Raises:
            OptionError: The name ends in neither .html nor .htm, or vl-convert is not installed.
            ArtifactError: `path` cannot be written.
        """
        check_page(Path(path))
        text = self.html(library)
        with replacing_file(Path(path)) as file:
            file.write_text(text, encoding="utf-8", newline="\n")
        return Path(path)

    def _populations(self, result: Any) -> Iterator[Population]:
        if isinstance(result, Simulation):
            several = len(result.times) > 1
            for at in result.times:
                time = duration_text(at.time_s) if several and at.time_s is not None else ""
                goal = result.goal if self.goal is None else self.goal
                yield Population(
                    time or name_of(result.description),
                    result.description,
                    result.ideal,
                    at.values,
                    at.kpp,
                    at.summary,
                    None if goal is None else at.yield_at(goal),
                    result.elsewhere,
                )
        elif isinstance(result, Comparison):
            for one in result.networks:
                told = (one.values, one.kpp, one.summary, self._yield(one.values, one.kpp))
                yield Population(one.label, one.description, one.ideal, *told, one.elsewhere)

    def _swept(self, result: Sweep) -> Iterator[Population]:
        for point in result.points:
            label = ", ".join(f"{name} {point.at[name].text}" for name in result.axes)
            reached = point.reached if self.goal is None else self._yield(point.values, point.kpp)
            told = (point.ideal, point.values, point.kpp, point.summary, reached)
            yield Population(label, point.description, *told, point.elsewhere)

    def _yield(self, values: NDArray[np.float64], kpp: Kpp) -> Yield | None:
        if self.goal is None:
            return None
        return yield_at(values, self.goal, kpp.confidence, less_is_better=kpp.less_is_better)


def check_page(path: Path) -> None:
    """Complain now, rather than after the runs, that no page can be written to `path`.

    Raises:
        OptionError: The name ends in neither .html nor .htm.
        ArtifactError: There is no such folder, or `path` is one.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise OptionError(
            f"report is {str(path)!r}; expected a name that ends in .html, which a browser prints "
            "as PDF"
        )
    check_file(path)


def _told_apart(found: list[Population]) -> Iterator[Population]:
    """Each with a label that no other has."""
    labels = [one.label for one in found]
    for number, one in enumerate(found, 1):
        again = labels.count(one.label) > 1
        yield replace(one, label=f"{one.label} ({number})") if again else one


@checked
def report_of(
    *results: Any,
    goal: float | str | None = None,
    title: str = "",
    date: str = "",
    command: str = "",
) -> Report:
    """A report of results that there are already.

    Args:
        results: See `RESULTS`; the first ones say what the metric is.
        goal: What a chip must reach, as after `--goal`: the yield is stated.
        title: Heading of the page.
        date: A date to be printed.
        command: What was typed.

    Raises:
        OptionError: There are no chips among the results, they have different metrics, or the goal
            is none.
    """
    plain = Report(tuple(results), title)
    metrics = dict.fromkeys(one.description.metric for one in plain.populations)
    if len(metrics) > 1:
        raise OptionError(
            f"results have different metrics ({', '.join(metrics)}); give one report for each"
        )
    known = as_metric(find_metric(next(iter(metrics))))
    return replace(plain, goal=as_goal(goal, known), command=command, date=date)
