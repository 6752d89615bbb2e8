"""The pipeline behind `nvmc explore`: a space of designs, a goal, and what it costs least.

Designs are compiled, costed, and raced from the cheapest on: each must clear the goal and every
design that costs no more, and is run only as far as it takes to know whether it does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, cast

from nvmc.arguments import checked
from nvmc.cost.hardware import Hardware, hardware_names, load_hardware
from nvmc.data import Data, Dataset, load_data
from nvmc.errors import NvmcError, OptionError
from nvmc.evaluation.description import Description, in_common
from nvmc.evaluation.goals import Requirement, as_target, check_reachable
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.plan import Plan, Watch
from nvmc.evaluation.population import Executor, Population, Threads
from nvmc.evaluation.records import Archive
from nvmc.evaluation.solve import RUNS
from nvmc.evaluation.tuning import Tuning
from nvmc.evaluation.workload import Options, check_options, set_up
from nvmc.explore.build import Builder, Built, refusal_of
from nvmc.explore.front import QUANTITIES, Candidate, Quantity, bar_of, non_dominated
from nvmc.explore.race import Order, race
from nvmc.explore.result import Exploration, Refused
from nvmc.explore.search import Search
from nvmc.explore.space import Space, read_space
from nvmc.hardware.chips import Chips
from nvmc.hardware.compensation import Compensation, marked
from nvmc.hardware.devices import NoiseSource

__all__ = ["MOST", "TRIALS", "Asked", "explore_designs"]

MOST = 500
"""Combinations that are all tried; of more, a search proposes some."""
TRIALS = 200
"""Designs that a search proposes."""


class Asked(Options, total=False):
    """`Options`, and what is asked of the chips; as in `nvmc.solve`.

    Attributes:
        require: `yield>=99%`, where the goal is what a chip must reach.
        sigma: Strength of the devices' noise; None for each device's own.
        time_s: Seconds since programming.
        temperature_c: Of the cells, degrees Celsius.
        noise: More noise sources behind the devices' own.
        compensate: What the chips do against their noise.
        calibration_data: Images that this is calibrated on.
        percentile: k of the KPP; 1 by default.
        seed: Population of chips, and of a search; 0 by default.
        delta: Drop chips that cannot matter, at this risk in every design of another answer.
    """

    require: Requirement | str | None
    sigma: float | None
    time_s: float | None
    temperature_c: float | None
    noise: Sequence[NoiseSource | str]
    compensate: Sequence[Compensation | str]
    calibration_data: Data | None
    percentile: float
    seed: int
    delta: float | None


@checked
def explore_designs(
    model: str | Path,
    space: Space | str | Path,
    goal: float | str,
    folder: str | Path,
    *,
    minimise: Quantity | Sequence[Quantity] = "energy",
    hardware: Hardware | str | Path = "generic",
    runs: int = RUNS,
    most: int = MOST,
    trials: int = TRIALS,
    jobs: int | None = None,
    executor: Executor | None = None,
    store: Archive | None = None,
    watch: Watch | None = None,
    **options: Unpack[Asked],
) -> Exploration:
    """The designs of a space that reach a goal and that no other beats.

    A design is on the front where the lower end of its chips' 95 % interval reaches the goal, and
    no other that does so is as good in that end and in all that is minimised, and better in one.

    Args:
        model: An ONNX file.
        space: What designs may differ in, or its TOML file.
        goal: What must be reached: `97%` or `kpp>=97%` by the KPP, or, where a yield is required,
            `97%` by a chip.
        folder: Where compiled designs are kept; made where there is none.
        minimise: One quantity or several.
        hardware: Which hardware's figures decide. Those of all others are stated too.
        runs: Chips of a design.
        most: Combinations that are all tried; of more, optuna proposes `trials`.
        trials: That number.
        jobs: Chips in parallel.
        executor: Where chips are run; in `jobs` threads by default.
        store: Keeps every chip, and knows those that it has.
        watch: Told how many designs are judged, and of how many.
        **options: What is required, sigma, data and the like (`Asked` and its `Options`).

    Raises:
        OptionError: No combination can be, an option is wrong, or a search needs optuna and it is
            not installed.
        NvmcError: One of its other children, by what is wrong.
    """
    started = time.perf_counter()
    question = _Question.of(goal, minimise, runs, jobs, options)
    chosen = space if isinstance(space, Space) else read_space(space)
    ground = _Ground.of(Path(model), Path(folder), hardware, options)
    judge = _Judge(question, ground, (executor or Threads(jobs), store))
    tried = _tried(judge, chosen, most, trials, watch)
    return _exploration(judge, tried, chosen, chosen.count > most, time.perf_counter() - started)


@dataclass(frozen=True)
class _Question:
    """What is asked of every design."""

    plan: Plan
    minimise: tuple[Quantity, ...]
    seed: int
    least: float

    @classmethod
    def of(
        cls,
        goal: float | str,
        minimise: Quantity | Sequence[Quantity],
        runs: int,
        jobs: int | None,
        options: Asked,
    ) -> _Question:
        share, wanted = as_target(goal, options.get("require"))
        percentile = options.get("percentile", 1.0)
        check_options(runs, jobs, percentile)
        check_reachable(wanted, runs, percentile)
        plan = Plan(runs, percentile, options.get("delta"), goal=share, require=(wanted,))
        named = (minimise,) if isinstance(minimise, str) else tuple(minimise)
        if not named or len(set(named)) < len(named):
            raise OptionError(
                f"minimise is {minimise!r}; expected each once of {', '.join(QUANTITIES)}"
            )
        return cls(plan, cast(tuple[Quantity, ...], named), options.get("seed", 0), wanted.least)


@dataclass(frozen=True)
class _Ground:
    """What all designs are built and judged with."""

    builder: Builder
    options: Asked

    @classmethod
    def of(
        cls, model: Path, folder: Path, hardware: Hardware | str | Path, options: Asked
    ) -> _Ground:
        first = load_hardware(hardware)
        others = [load_hardware(name) for name in hardware_names() if name != first.name]
        data = options.get("data")
        images: Dataset | None = None
        if data is not None:
            images = load_data(data, "train")
            loaded = load_data(data, limit=options.get("limit"))
            options = {**options, "data": loaded}
        return cls(Builder(model, folder, data, images, [first, *others]), options)


@dataclass
class _Judge:
    """Judges designs one after the other; each sets a bar for those that cost as much."""

    question: _Question
    ground: _Ground
    run: tuple[Executor, Archive | None]

    def __post_init__(self) -> None:
        self.order = Order(self.question.plan.runs)
        self.passed: list[tuple[int, tuple[float, ...], float]] = []
        self.described: list[Description] = []

    @property
    def hardware(self) -> tuple[str, ...]:
        """The deciding one, then the others."""
        return tuple(one.name for one in self.ground.builder.hardware)

    def values(self, built: Built) -> tuple[float, ...]:
        """What is minimised of a design."""
        figures = built.costs[self.hardware[0]]
        assert figures is not None
        return tuple(figures[quantity].value for quantity in self.question.minimise)

    def judge(self, built: Built) -> Candidate:
        """A design with what its chips showed."""
        plan, costs = self.question.plan, self.values(built)
        bar, by = bar_of(self.question.least, costs, self.passed)
        try:
            population = self._population(built)
        except OptionError as error:
            raise OptionError(f"design {built.design.number}: {error}") from error
        raced = race(population, plan, bar, self.order)
        if raced.cleared and raced.end is not None:
            self.passed.append((built.design.number, costs, raced.end))
        ideal, folder = population.workload.ideal, str(built.compiled.folder)
        beaten = by if not raced.cleared else None
        return Candidate(built.design, folder, built.costs, ideal, raced, beaten)

    def _population(self, built: Built) -> Population:
        given, plan, seed = self.ground.options, self.question.plan, self.question.seed
        executor, store = self.run
        setup = Setup.of(
            built.compiled.manifest.target,
            None,
            given.get("noise", ()),
            given.get("sigma"),
            given.get("time_s"),
            given.get("compensate", ()),
            given.get("temperature_c"),
        )
        tuning = Tuning(setup.compensate, given.get("calibration_data"), setup.sigma)
        everything = cast(dict[str, Any], given)
        shared = {k: everything[k] for k in Options.__annotations__ if k in everything}
        workload = set_up(
            built.compiled, setup.target, seed=seed, tuning=tuning, **cast(Options, shared)
        )
        described = workload.describe(setup, seed, plan.runs)
        self.described.append(described)
        records = None if store is None else workload.records(store, described, executor)
        chips = Chips(marked(setup.chip(seed, 0), workload.marks), 0, plan.runs)
        return Population(workload, chips, executor, records)


@dataclass
class _Tried:
    """What came of the designs that were tried."""

    judged: list[Candidate]
    refused: list[Refused]
    assumptions: tuple[str, ...]


def _tried(judge: _Judge, space: Space, most: int, trials: int, watch: Watch | None) -> _Tried:
    """Try all designs of a small space, the cheapest first, or those that a search proposes."""
    found = _Tried([], [], ())
    if space.count <= most:
        built = list(_built(judge, space.designs(), found))
        built.sort(key=lambda one: (judge.values(one), one.design.number))
        for number, one in enumerate(built, start=1):
            found.judged.append(judge.judge(one))
            _tell(watch, number, len(built))
    else:
        search = Search(space, judge.question.seed, len(judge.question.minimise))
        known: dict[int, Candidate | None] = {}
        for number in range(1, trials + 1):
            design = search.ask()
            if design.number not in known:
                one = next(_built(judge, [design], found), None)
                known[design.number] = None if one is None else judge.judge(one)
            candidate = known[design.number]
            name, minimise = judge.hardware[0], judge.question.minimise
            search.tell(
                None
                if candidate is None
                else (*candidate.values(name, minimise), candidate.raced.end or 0.0)
            )
            _tell(watch, number, trials)
        found.judged.extend(one for one in known.values() if one is not None)
    if not found.judged:
        why = found.refused[0].why if found.refused else "there is none"
        raise OptionError(
            f"none of the {len(found.refused)} combinations can be; the first one: {why}"
        )
    return found


def _tell(watch: Watch | None, done: int, total: int) -> None:
    if watch is not None:
        watch(done, total)


def _built(judge: _Judge, designs: Any, found: _Tried) -> Iterator[Built]:
    """Those that can be; the others are noted."""
    for design in designs:
        try:
            one = judge.ground.builder.build(design)
        except NvmcError as error:
            found.refused.append(Refused(design, refusal_of(error)))
            continue
        found.assumptions = tuple(dict.fromkeys((*found.assumptions, *one.assumptions)))
        yield one


def _exploration(
    judge: _Judge, tried: _Tried, space: Space, searched: bool, seconds: float
) -> Exploration:
    question, name = judge.question, judge.hardware[0]
    cleared = [one for one in tried.judged if one.raced.cleared]
    front = non_dominated(cleared, name, question.minimise)
    others = [one for one in tried.judged if not any(one is other for other in front)]
    near = [one for one in others if (one.raced.end or 0.0) >= question.least]
    beaten = [_beaten(one, front, name, question.minimise) for one in near]
    missed = [one for one in others if (one.raced.end or 0.0) < question.least]
    return Exploration(
        title=space.title,
        varied=space.varied,
        combinations=space.count,
        searched=searched,
        requirement=question.plan.require[0],
        goal=question.plan.goal,
        hardware=judge.hardware,
        minimise=question.minimise,
        front=tuple(front),
        beaten=tuple(beaten),
        missed=tuple(replace(one, beaten_by=None) for one in missed),
        refused=tuple(tried.refused),
        runs=question.plan.runs,
        images=judge.described[0].images,
        shared=in_common(judge.described),
        assumptions=tried.assumptions,
        seconds=seconds,
    )


def _beaten(
    one: Candidate, front: Sequence[Candidate], hardware: str, minimise: Sequence[Quantity]
) -> Candidate:
    """A design with that of the front which beats it: the cheapest that does."""
    mine = one.values(hardware, minimise)
    for other in front:
        costs = other.values(hardware, minimise)
        cheaper = all(a <= b for a, b in zip(costs, mine, strict=True))
        if cheaper and (other.raced.end or 0.0) >= (one.raced.end or 0.0):
            return replace(one, beaten_by=other.design.number)
    return one
