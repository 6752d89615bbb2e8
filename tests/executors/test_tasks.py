"""Tasks: chips by their names, small workloads, sizes that fit."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest

from nvmc import Chip, Target, compile_model, load_device
from nvmc.errors import ClusterError, ModelError
from nvmc.evaluation.population import Workload
from nvmc.evaluation.workload import set_up
from nvmc.executors.tasks import Done, Names, Pace, named, run_chips, versions
from nvmc.hardware.chips import Chips
from nvmc.hardware.restriction import AblatedChip, Selection
from nvmc.models import resolve_model
from nvmc.runtime.montecarlo import Network, Span, evaluate_chips

TARGET = Target.of(load_device("fefet2"))


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    folder = tmp_path_factory.mktemp("lenet") / "m.nvmc"
    compiled = compile_model(resolve_model("zoo:lenet5-digits"), TARGET, output=folder)
    return set_up(compiled, TARGET, data="digits", limit=40)


def chips(runs: int, sigma: float = 0.2) -> Chips:
    return Chips(Chip.of(TARGET, 0, 0, sigma), 0, runs)


def test_names_give_the_chips_back() -> None:
    some = Selection(frozenset({"conv1.weight"}))
    population = [
        *chips(3),
        *chips(2, 0.1),
        Chip.ideal(),
        *(AblatedChip.within(chip, some) for chip in chips(2)),
        replace(chips(1)[0], seed=9),
    ]
    names = named(population)
    assert [len(name.indices) for name in names] == [3, 2, 1, 2, 1]
    found = [chip for name in names for chip in name.chips()]
    assert found == population
    assert [type(chip) for chip in found] == [type(chip) for chip in population]


def test_a_thousand_names_are_a_small_message() -> None:
    """Some bytes per chip, whatever the sources."""
    one, many = (len(pickle.dumps(named(chips(runs)))) for runs in (1, 1001))
    assert many - one < 5 * 1000


def test_a_bench_is_sent_without_what_it_worked_out(workload: Workload) -> None:
    assert isinstance(workload.network, Network)
    codes = sum(array.codes.nbytes + array.scale.nbytes for array in workload.network.arrays)
    images = sum(x.nbytes for x in workload.feed.inputs.values())
    models = len(workload.network.model) + len(getattr(workload.network.stack, "model", b""))
    for array in workload.network.arrays:
        assert array.cells is not None  # as after a run
    sent = pickle.dumps(workload)
    # what it consists of, and names and numbers, of a tenth of that and less than 20 kB
    assert len(sent) < 1.1 * (codes + images + models) + 20_000
    there = pickle.loads(sent)
    arguments = (workload.feed, workload.metric, list(chips(3)))
    expected = evaluate_chips(workload.network, *arguments, jobs=1)
    assert np.array_equal(evaluate_chips(there.network, *arguments, jobs=1), expected)


def test_a_task_does_what_the_engine_does(workload: Workload) -> None:
    span, some = Span(7, 20), list(chips(5))
    expected = evaluate_chips(workload.network, workload.feed, workload.metric, some, span, jobs=2)
    found = run_chips(workload, named(some), span, versions())
    assert isinstance(found, Done)
    assert found.totals == tuple(expected)
    assert found.seconds > 0


def test_what_is_wrong_with_the_input_comes_back(workload: Workload) -> None:
    broken = replace(workload, network=replace(workload.network, output="no such output"))
    found = run_chips(broken, named(chips(1)), Span(0, 4), versions())
    assert isinstance(found, ModelError)
    assert str(pickle.loads(pickle.dumps(found))) == str(found)


@pytest.mark.parametrize("name", versions())
def test_other_versions_run_nothing(workload: Workload, name: str) -> None:
    expected = versions() | {name: "0.0"}
    found = run_chips(workload, [Names(Chip.ideal(), (None,))], Span(0, 4), expected)
    assert isinstance(found, ClusterError)
    assert f"{name} 0.0" in str(found)


def sizes(stack: int, chip_s: float, runs: int, threads: int) -> list[int]:
    """Sizes of the tasks when every chip takes `chip_s`."""
    pace, found = Pace(stack, 1.0), list[int]()
    while runs:
        found.append(pace.size(runs, threads))
        runs -= found[-1]
        pace.learn(found[-1], found[-1] * chip_s)
    return found


@pytest.mark.parametrize("stack", [1, 8])
@pytest.mark.parametrize("chip_s", [1e-4, 0.01, 0.3, 20])
def test_tasks_take_about_a_second_and_end_together(stack: int, chip_s: float) -> None:
    threads, runs = 4, 20_003
    found = sizes(stack, chip_s, runs, threads)
    assert sum(found) == runs
    assert found[0] == stack
    assert all(size % stack == 0 for size in found[:-1])
    largest = accumulate(found, max)
    assert all(two <= 2 * one for one, two in zip(largest, found[1:], strict=False))
    longest = max(found) * chip_s
    assert longest <= max(1.0, stack * chip_s) + 1e-9
    if chip_s * stack < 1:  # the most that fit, unless it is more than every thread's share
        assert longest > min(1 - stack * chip_s, runs * chip_s / (4 * threads))
    assert found[-1] <= stack or chip_s > 1


def test_a_task_that_took_longer_makes_the_next_ones_shorter() -> None:
    pace = Pace(8, 1.0)
    pace.learn(8, 0.01)
    pace.learn(16, 0.02)
    assert pace.size(10**6, 2) == 32
    pace.learn(32, 2.0)
    assert pace.size(10**6, 2) == 16
    pace.learn(16, 40.0)
    assert pace.size(10**6, 2) == 8
