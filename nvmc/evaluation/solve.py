"""The pipeline behind `nvmc solve`: the least, or the most, of a parameter that meets a goal.

The same chips are judged at every value (common random numbers), so which values meet the goal
hardly depends on which chips were drawn, and a bisection finds where that changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, cast

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.data import Data
from nvmc.errors import OptionError, unknown
from nvmc.evaluation.goals import Requirement, as_target, check_reachable
from nvmc.evaluation.parameters import PARAMETERS, Setup, Value, parse_values
from nvmc.evaluation.plan import Plan, Watch, evaluate_population
from nvmc.evaluation.population import Executor, Population, Threads
from nvmc.evaluation.records import Archive
from nvmc.evaluation.solution import FORMAT, Find, Solution, TriedValue
from nvmc.evaluation.sweep import Workloads
from nvmc.evaluation.tuning import Tuning
from nvmc.evaluation.workload import Options, check_options
from nvmc.hardware.chips import Chips
from nvmc.hardware.compensation import Compensation, marked
from nvmc.hardware.devices import Device, NoiseSource
from nvmc.metrics import as_metric
from nvmc.progress import Progress

__all__ = ["FORMAT", "RUNS", "Solution", "TriedValue", "Wanted", "solve"]

RUNS = 500  # chips at a value: with fewer the interval's lower end lies much further down


class Wanted(Options, total=False):
    """`Options`, and what is asked of the chips.

    Attributes:
        require: What the chips must have, such as `yield>=99%`; by default that the lower end of
            the KPP's interval reaches the goal.
        find: Whether the least or the most of the parameter is looked for; by default the most
            where less of it makes better chips, as of sigma, and the least of bits.
        sigma: Strength of the device's noise; not where it is looked for. So are the next two.
        time_s: Seconds since programming.
        temperature_c: Of the cells, degrees Celsius.
        compensate: What the chips do against their noise.
        calibration_data: Images that this is calibrated on.
        percentile: k of the KPP; 1 by default.
        seed: Population of chips; 0 by default.
        delta: Drop chips that cannot matter, at this risk at every value of another answer there.
    """

    require: Requirement | str | None
    find: Find | None
    sigma: float | None
    time_s: float | None
    temperature_c: float | None
    compensate: Sequence[Compensation | str]
    calibration_data: Data | None
    percentile: float
    seed: int
    delta: float | None


@checked
def solve(
    compiled: Compiled,
    over: str,
    goal: float | str,
    *,
    runs: int = RUNS,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    jobs: int | None = None,
    executor: Executor | None = None,
    store: Archive | None = None,
    watch: Watch | None = None,
    **options: Unpack[Wanted],
) -> Solution:
    """The least, or the most, of a parameter at which chips meet a goal.

    Chips 0 ... runs - 1 of population `seed` are judged at the easiest and the hardest value, then
    at those that halve what is left: at most 2 + log2(values). Every value decides as `simulate`
    with it does: by the lower end of the 95 % interval. That chips get no better towards harder
    values is assumed in between, and checked among the values that were tried.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        over: A row of `nvmc.evaluation.parameters.PARAMETERS`, as `adc-bits`; the values to look
            among may stand behind it, as in `sigma=0:0.5:0.01`.
        goal: What must be reached: `97%` or 0.97 by the KPP, or, where a yield is required, by a
            chip.
        runs: Chips at every value.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources behind the device's own: sources, or texts as after `--noise`.
        jobs: Chips in parallel.
        executor: Where chips are run; in `jobs` threads by default.
        store: Keeps every chip, and knows those that it has; as in `simulate`.
        watch: Told how many chips are done at one value, and of how many.
        **options: What is required, sigma, data and the like (`Wanted` and its `Options`).

    Raises:
        OptionError: The hardest value meets the goal and the easiest does not; or an option is
            wrong, or so few chips could never show what is required.
        DataError, ModelError, StoreError: By what is wrong.
    """
    started = time.perf_counter()
    question = _Question.of(over, goal, runs, jobs, options)
    setup = question.setup(compiled, device, noise, options)
    told = watch or Progress("chips at one value", runs).tell
    run = executor or Threads(jobs), store, told
    judge = _judge(compiled, question, setup, options, run)
    return _solution(judge.question, _bisected(judge), time.perf_counter() - started)


@dataclass(frozen=True)
class _Question:
    """What is looked for, and among which values, ascending."""

    name: str
    values: list[Value]
    assumed: bool
    find: Find
    plan: Plan
    seed: int

    @classmethod
    def of(
        cls, over: str, goal: float | str, runs: int, jobs: int | None, options: Wanted
    ) -> _Question:
        share, wanted = as_target(goal, options.get("require"), as_metric(options.get("metric")))
        percentile = options.get("percentile", 1.0)
        check_options(runs, jobs, percentile)
        check_reachable(wanted, runs, percentile)
        plan = Plan(runs, percentile, options.get("delta"), goal=share, require=(wanted,))
        name, values, assumed = _candidates(over)
        usual: Find = "least" if PARAMETERS[name].better == "more" else "most"
        find = options.get("find") or usual
        return cls(name, values, assumed, find, plan, options.get("seed", 0))

    def setup(
        self,
        compiled: Compiled,
        device: Device | str | Path | None,
        noise: Sequence[NoiseSource | str],
        options: Wanted,
    ) -> Setup:
        """What all values have in common.

        Raises:
            OptionError: It states what is looked for.
        """
        sigma, age = options.get("sigma"), options.get("time_s")
        celsius = options.get("temperature_c")
        given = {"sigma": sigma, "time": age, "temperature": celsius}.get(self.name)
        if given is not None:
            raise OptionError(
                f"{self.name} is {given:g}, but it is what is looked for; leave it out"
            )
        compensate = options.get("compensate", ())
        return Setup.of(compiled.manifest.target, device, noise, sigma, age, compensate, celsius)

    def setups(self, base: Setup) -> dict[Value, Setup]:
        """What chips are made with at each value: at the usual ones those that can be.

        Raises:
            OptionError: A given value cannot be, or fewer than two of the usual ones.
        """
        found: dict[Value, Setup] = {}
        refused: OptionError | None = None
        for value in self.values:
            try:
                setup = PARAMETERS[self.name].change(base, value.number)
                setup.chip(self.seed, 0)
                found[value] = setup
            except OptionError as error:
                if not self.assumed:
                    raise
                refused = error
        if refused is not None and len(found) < 2:
            raise refused
        return found

    @property
    def easiest_first(self) -> list[Value]:
        return self.values if self.find == "most" else self.values[::-1]


def _judge(
    compiled: Compiled,
    question: _Question,
    base: Setup,
    options: Wanted,
    run: tuple[Executor, Archive | None, Watch | None],
) -> _Judge:
    name, setups = question.name, question.setups(base)
    question = replace(question, values=list(setups))
    points = [({name: value}, setup) for value, setup in setups.items()]
    tuning = Tuning(base.compensate, options.get("calibration_data"), base.sigma)
    given = cast(dict[str, Any], options)
    shared = cast(Options, {key: given[key] for key in Options.__annotations__ if key in given})
    workloads = Workloads(compiled, {name: question.values}, points, question.seed, tuning, shared)
    return _Judge(question, setups, workloads, *run)


def _solution(question: _Question, tried: dict[Value, TriedValue], seconds: float) -> Solution:
    easy, hard = (tried[question.easiest_first[i]] for i in (0, -1))
    if hard.verdict.met and not easy.verdict.met:
        other = "least" if question.find == "most" else "most"
        raise OptionError(
            f"{question.name} {hard.value.text} meets the goal and {easy.value.text} misses it, so "
            f"chips do not get worse that way; give --find {other}, or look at nvmc sweep"
        )
    ordered = [tried[value] for value in question.easiest_first if value in tried]
    met = [one for one in ordered if one.verdict.met]
    missed = [one for one in ordered if not one.verdict.met]
    return Solution(
        parameter=question.name,
        find=question.find,
        requirement=question.plan.require[0],
        goal=question.plan.goal,
        values=tuple(question.values),
        assumed=question.assumed,
        tried=tuple(ordered if question.find == "most" else ordered[::-1]),
        found=met[-1] if met else None,
        next=missed[0] if missed else None,
        seconds=seconds,
    )


@dataclass(frozen=True)
class _Judge:
    """Judges the chips at one value of a parameter."""

    question: _Question
    setups: dict[Value, Setup]
    workloads: Workloads
    executor: Executor
    store: Archive | None
    watch: Watch | None

    def at(self, value: Value) -> TriedValue:
        setup, plan, seed = self.setups[value], self.question.plan, self.question.seed
        workload = self.workloads.of(setup)
        described = workload.describe(setup, seed, plan.runs)
        records = None
        if self.store is not None:
            records = workload.records(self.store, described, self.executor)
        chips = Chips(marked(setup.chip(seed, 0), workload.marks), 0, plan.runs)
        population = Population(workload, chips, self.executor, records)
        found = evaluate_population(population, plan, self.watch)
        reached = None if plan.goal is None else found.yield_at(plan.goal)
        verdict = plan.require[0].judge(found.kpp, reached, found.time_s)
        elsewhere = population.elsewhere(plan.runs)
        return TriedValue(value, described, workload.ideal, found, verdict, elsewhere)


def _candidates(over: str) -> tuple[str, list[Value], bool]:
    """The parameter, its values ascending, and whether these are the usual ones."""
    name, given, text = over.partition("=")
    name = name.strip()
    if name not in PARAMETERS:
        raise OptionError(unknown("parameter", name, PARAMETERS))
    values = parse_values(name, text if given else PARAMETERS[name].usual)
    if len(values) < 2:
        raise OptionError(
            f"over is {over!r}, a single value; give several, such as "
            f"{name}={PARAMETERS[name].usual}"
        )
    return name, sorted(values, key=lambda v: math.inf if v.number is None else v.number), not given


def _bisected(judge: _Judge) -> dict[Value, TriedValue]:
    """What was tried: both ends, easiest first, then halves of what is left."""
    values = judge.question.easiest_first
    first, last = 0, len(values) - 1
    tried = {values[i]: judge.at(values[i]) for i in (first, last)}
    if tried[values[last]].verdict.met or not tried[values[first]].verdict.met:
        return tried
    while last - first > 1:
        middle = (first + last) // 2
        tried[values[middle]] = judge.at(values[middle])
        if tried[values[middle]].verdict.met:
            first = middle
        else:
            last = middle
    return tried
