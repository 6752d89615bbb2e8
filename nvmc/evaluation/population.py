"""Chips on a workload, how far each was run, and where.

`Population` knows how far each chip was run and hands what an `Executor` adds to the `Records`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.rounding import AgainstSource
from nvmc.data import IGNORED
from nvmc.errors import OptionError
from nvmc.evaluation.description import Compensated, Description, Fidelity
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.reading import Reading
from nvmc.evaluation.records import Archive, Elsewhere, Records, check_some, expected_of
from nvmc.hardware.chip import Chip
from nvmc.hardware.chips import Chips, Chosen
from nvmc.hardware.compensation import Marks
from nvmc.metrics import Metric, Total, total_of
from nvmc.runtime.montecarlo import (
    ENGINE,
    CircuitNetwork,
    Feed,
    Network,
    Span,
    default_jobs,
    evaluate_chips,
)
from nvmc.runtime.networks import fitting_chips
from nvmc.statistics import Images
from nvmc.store import Found, Origin

__all__ = ["Executor", "Population", "Threads", "Workload"]


class Executor(Protocol):
    """Where chips are run."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    @property
    def engine(self) -> str:
        """What computes, with its version: its rounding may decide a close call."""
        ...

    def totals(
        self,
        workload: Workload,
        chips: Sequence[Chip],
        span: Span,
        done: Callable[[int, Total], None],
    ) -> None:
        """Run chips on some images.

        Args:
            workload: The network, the images and the metric.
            chips: The chips.
            span: The images.
            done: To be called once a chip with its position in `chips` and the sum of the metric
                over the images, in any order and from any thread.
        """
        ...


@dataclass(frozen=True)
class Threads:
    """Chips in parallel threads of this process.

    Attributes:
        jobs: How many at once; as many as there are cores by default.
        cut: Whether that is fewer than there are cores, because more have no memory.
    """

    jobs: int | None = None
    cut: bool = False

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"{self.jobs or default_jobs()} at once{', as memory allows' * self.cut}"

    @property
    def engine(self) -> str:
        """onnxruntime, with its version."""
        return ENGINE

    def totals(
        self,
        workload: Workload,
        chips: Sequence[Chip],
        span: Span,
        done: Callable[[int, Total], None],
    ) -> None:
        """Run chips on some images; see `Executor`."""
        jobs = min(self.jobs or default_jobs(), len(chips))
        evaluate_chips(
            workload.network, workload.feed, workload.metric, chips, span, jobs=jobs, on_chip=done
        )


def _settled(executor: Executor, workload: Workload, chips: int) -> Executor:
    """The executor, where nobody says how many threads with as many as there is memory for."""
    if not isinstance(executor, Threads) or executor.jobs is not None:
        return executor
    jobs = fitting_chips(workload.network, wanted := min(default_jobs(), chips))
    return Threads(jobs, cut=True) if jobs < wanted else executor


@dataclass(frozen=True)
class Workload:
    """A network and the images it is judged on: what chips are tried out with.

    Attributes:
        network: The network, to be run as chips.
        feed: The images, in the order in which they are run.
        metric: How outputs become one number.
        ideal: Value of the chip whose every cell is on target.
        data: What the images are, for people.
        name: What the network is called.
        hard: How many images come first because they are hard; the others are in random order.
        limit, data_note, mapped_share, clip, activation_bits: As `Description` has them.
        against_source: The ideal chip against its source; None where it was not compared.
        identity: What decides a value beside chip and engine; empty for a network that is no file.
        reading: How the scored output is read.
        compensation: What the chips do against their noise, and what that needs.
        calibration: The images that they are calibrated on, by name and SHA-256, or None.
        marks: Which weights the chips verify, or None.
    """

    network: Network | CircuitNetwork
    feed: Feed
    metric: Metric
    ideal: float
    data: str
    name: str = ""
    hard: int = 0
    limit: int | None = None
    data_note: str = ""
    mapped_share: float | None = None
    clip: str | None = None
    activation_bits: int | None = None
    against_source: AgainstSource | None = None
    identity: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reading: Reading = Reading("", "class scores", 1)
    compensation: tuple[Compensated, ...] = ()
    calibration: tuple[str, str] | None = None
    marks: Marks | None = None

    @property
    def fidelity(self) -> Fidelity:
        """What the network runs as."""
        return "circuit" if isinstance(self.network, CircuitNetwork) else "cells"

    @property
    def mc_passes(self) -> int | None:
        """Stochastic passes that are averaged; None where the network has no random layers."""
        return self.network.passes if self.network.draws else None

    @property
    def sampled(self) -> Images | None:
        """What a value is a share of; None where the metric counts no decisions.

        The same number of decisions in each image: only then is a value a mean over images.
        """
        classes, images = self.metric.classes, len(self.feed)
        if classes is None or classes.size % images:
            return None
        counted = np.count_nonzero(classes.reshape(images, -1) != IGNORED, axis=1)
        return Images(images, int(counted[0])) if (counted == counted[0]).all() else None

    def run(
        self,
        chips: Sequence[Chip],
        executor: Executor | None = None,
        records: Records | None = None,
        on_chip: Callable[[int, float], None] | None = None,
    ) -> NDArray[np.float64]:
        """The value of every chip, in the order of `chips`; shape (len(chips),).

        Args:
            chips: The chips.
            executor: Where they are run; in threads by default.
            records: What is known of them already, and where more is kept.
            on_chip: Called with (position, value) as each chip is done, from any thread.
        """
        return Population(self, chips, executor or Threads(), records, on_chip).complete()

    def describe(self, setup: Setup, seed: int, runs: int, first: int = 0) -> Description:
        """What a result of chips on this workload is of.

        Args:
            setup: How the chips are made; its target is the workload's.
            seed: Population of chips.
            runs: Number of chips.
            first: Index of the first.

        Raises:
            OptionError: The network is in memory only, or was set up for other compensation.
        """
        if tuple(done.by for done in self.compensation) != setup.compensate:
            raise OptionError("the workload was set up for other compensation than its chips have")
        if not self.identity:
            raise OptionError("the network is in memory only, so its chips cannot be named")
        data: str = self.identity["data"]
        told: Any = {"setup": setup, "seed": seed, "first": first, "runs": runs}
        told |= {"noisy_places": self.network.noisy_places, "mc_passes": self.mc_passes}
        own = "mapped_share clip activation_bits calibration marks against_source"
        own += " limit data_note reading fidelity"
        told |= {name: getattr(self, name) for name in own.split()}
        return Description(
            network=self.name,
            network_sha256=self.identity["network"],
            metric=self.metric.name,
            data=self.data,
            data_sha256=None if data.startswith("seeded") else data,
            images=len(self.feed),
            **told,
        )

    def records(self, store: Archive, described: Description, executor: Executor) -> Records:
        """Where a store keeps the chips that are described, and others of their population."""
        facts = described.to_json()
        del facts["first"], facts["runs"]  # the store counts its chips itself
        decisions = None if self.sampled is None else self.sampled.decisions
        ideal = {"ideal": self.ideal if math.isfinite(self.ideal) else None}
        info = {**facts, **ideal, "decisions": decisions}
        population = described.setup.identity(described.seed) | self.metric.identity()
        key = {**self.identity, **population, "engine": executor.engine}
        return store.experiment(key, info, expected_of(self.metric, len(self.feed)))


class Population:
    """Chips on a workload, each with how far it was run.

    Attributes:
        workload: The network and the images.
        chips: The chips.
        executor: Where they are run.
        images: Images that each chip was run on, shape (chips,).
        totals: Sums of the metric over them, shape (chips, *metric.shape).
        recorded: Which chips the records held complete at the start, shape (chips,).
        origins: Where what the records held comes from, shape (chips,); `nvmc.store.Origin`.

    Args:
        workload: The network and the images.
        chips: The chips.
        executor: Where they are run.
        records: What is known of them already, and where more is kept.
        on_chip: Called with (position, value) as a chip is done, from any thread.
    """

    def __init__(
        self,
        workload: Workload,
        chips: Sequence[Chip],
        executor: Executor,
        records: Records | None = None,
        on_chip: Callable[[int, float], None] | None = None,
    ) -> None:
        self.workload = workload
        self.chips = chips
        self.executor = _settled(executor, workload, len(chips))
        self._records = records
        self._on_chip = on_chip
        self._lock = Lock()
        self._parts: dict[int, dict[int, Total]] = {}
        self.images = np.zeros(len(chips), np.int64)
        self.totals = np.zeros((len(chips), *workload.metric.shape))
        self.origins = np.full(len(chips), Origin.HERE)
        found = Found() if records is None else records.read()
        for position, index in enumerate(_indices(chips) if found.known else ()):
            if index in found.known:
                self.images[position], self.totals[position] = found.known[index]
                self.origins[position] = found.origins.get(index, Origin.HERE)
                if index in found.parts:
                    self._parts[position] = dict(found.parts[index])
        self.recorded = self.images == len(workload.feed)

    @property
    def values(self) -> NDArray[np.float64]:
        """The value of every chip that was run on all images, NaN for the others."""
        return np.array([self._value(position) for position in range(len(self.totals))])

    @property
    def time_s(self) -> float | None:
        """Seconds since the chips were programmed, where that matters."""
        return self.chips[0].time_s

    def history(self, runs: int) -> dict[int, dict[int, Total]]:
        """For the first `runs` chips, the sums that are known: position -> images -> sum."""
        known = {p: dict(sums) for p, sums in self._parts.items() if p < runs}
        for position in np.flatnonzero(self.images[:runs]).tolist():
            sums = known.setdefault(position, {})
            sums[int(self.images[position])] = total_of(self.totals[position])
        return known

    def trust(self, runs: int) -> None:
        """Run some chips again of those that others found, before any of these is used.

        Raises:
            StoreError: One comes out differently.
        """
        unknown = np.flatnonzero(self.origins[:runs] == Origin.ELSEWHERE).tolist()
        if self._records is None or self._records.trusted or not unknown:
            return
        sums = {p: {*self._parts.get(p, ()), int(self.images[p])} for p in unknown}
        numbers = {p: self.chips[p].index or 0 for p in unknown}
        chosen = check_some(self._records, numbers, sums, self._totals)
        self.origins[unknown] = Origin.VOUCHED
        self.origins[chosen] = Origin.CHECKED

    def complete(self) -> NDArray[np.float64]:
        """The value of every chip, run on all images; shape (chips,)."""
        self.trust(len(self.chips))
        self.advance(range(len(self.chips)), len(self.workload.feed))
        return self.values

    def elsewhere(self, runs: int) -> Elsewhere:
        """What others found of the first `runs` chips."""
        return Elsewhere.of(self.origins[:runs])

    def advance(
        self,
        positions: Sequence[int],
        images: int,
        on_images: Callable[[int], None] | None = None,
    ) -> None:
        """Run chips until each was run on the first `images` images.

        Args:
            positions: Of the chips.
            images: How many.
            on_images: Called as a chip is done, with how many more images it was run on, from any
                thread.
        """
        chosen = np.asarray(positions, np.int64)
        done = self.images[chosen]
        for first in sorted(set(done[done < images].tolist())):
            self._run(chosen[done == first], Span(first, images - first), on_images)

    def _run(
        self,
        positions: NDArray[np.int64],
        span: Span,
        on_images: Callable[[int], None] | None,
    ) -> None:
        chips = Chosen(self.chips, positions)

        def done(number: int, total: Total) -> None:
            position = int(positions[number])
            with self._lock:
                self.totals[position] += total
                self.images[position] = span.end
                if span.end < len(self.workload.feed):
                    self._parts.setdefault(position, {})[span.end] = total_of(self.totals[position])
                self._keep(chips[number], position)
            if self._on_chip is not None and span.end == len(self.workload.feed):
                self._on_chip(position, self._value(position))
            if on_images is not None:
                on_images(span.count)

        self.executor.totals(self.workload, chips, span, done)

    def _totals(self, positions: list[int], span: Span) -> dict[int, Total]:
        """Sums of chips over some images, which are kept nowhere."""
        totals: dict[int, Total] = {}
        chips = Chosen(self.chips, np.asarray(positions, np.int64))
        self.executor.totals(self.workload, chips, span, totals.__setitem__)
        return {positions[number]: total for number, total in totals.items()}

    def _value(self, position: int) -> float:
        images = len(self.workload.feed)
        if self.images[position] != images:
            return float("nan")
        return self.workload.metric.finish(total_of(self.totals[position]), images)

    def _keep(self, chip: Chip, position: int) -> None:
        if self._records is None or chip.index is None:
            return
        value = self._value(position)
        images, total = int(self.images[position]), total_of(self.totals[position])
        self._records.add(chip.index, images, total, None if np.isnan(value) else value)


def _indices(chips: Sequence[Chip]) -> Iterable[int | None]:
    if isinstance(chips, Chips):
        return range(chips.first, chips.first + len(chips))
    return (chip.index for chip in chips)
