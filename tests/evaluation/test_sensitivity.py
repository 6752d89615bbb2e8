"""What a part of the noise costs: laws of the differences, and how sure they are."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from nvmc import Compiled, Target, compile_model, load_device, simulate
from nvmc.data import Dataset, load_data
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.sensitivity import (
    PartCost,
    Sensitivity,
    paired_difference,
    population_count,
    sensitivity,
)
from nvmc.hardware.devices import parse_noise
from nvmc.models import resolve_model
from nvmc.rng import stream

STUCK = parse_noise("stuck-at:p_low=0.002")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("sensitivity") / "mlp.nvmc"
    target = Target.of(load_device("fefet1"))
    return compile_model(resolve_model("zoo:mlp3-digits"), target, output=folder)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits", limit=150)


@pytest.fixture(scope="module")
def setup(compiled: Compiled) -> Setup:
    return Setup(compiled.manifest.target.on(None, [STUCK]), sigma=0.3)


@pytest.fixture(scope="module")
def result(compiled: Compiled, digits: Dataset, setup: Setup) -> Sensitivity:
    return sensitivity(
        compiled, noise=[STUCK], sigma=0.3, runs=20, data=digits, percentile=20, seed=1
    )


def by_name(result: Sensitivity) -> dict[tuple[str, str], PartCost]:
    return {(cost.part.kind, cost.part.name): cost for cost in result.costs}


def test_parts_are_layers_slices_and_sources(compiled: Compiled, result: Sensitivity) -> None:
    layers = {("layer", entry.name) for entry in compiled.manifest.arrays}
    assert len(layers) == 3
    slices = {("slice", "0"), ("slice", "1")}
    assert by_name(result).keys() == layers | slices | {
        ("source", "programming"),
        ("source", "stuck-at"),
    }


def test_the_whole_chips_are_those_of_simulate(
    compiled: Compiled, digits: Dataset, result: Sensitivity
) -> None:
    alone = simulate(
        compiled, runs=20, data=digits, percentile=20, seed=1, sigma=0.3, noise=[STUCK]
    )
    assert (result.kpp, result.mean, result.ideal) == (alone.kpp, alone.summary.mean, alone.ideal)


def test_a_source_alone_is_a_simulation_without_the_others(
    compiled: Compiled, digits: Dataset, result: Sensitivity
) -> None:
    costs = by_name(result)
    programming = simulate(compiled, runs=20, data=digits, percentile=20, seed=1, sigma=0.3)
    assert costs["source", "programming"].kpp_alone == programming.kpp.value
    # with two sources, taking one out is leaving the other in
    assert costs["source", "stuck-at"].kpp_without == programming.kpp.value
    stuck = simulate(compiled, runs=20, data=digits, percentile=20, seed=1, sigma=0, noise=[STUCK])
    assert costs["source", "stuck-at"].kpp_alone == stuck.kpp.value
    difference = costs["source", "stuck-at"].cost_alone
    assert difference.kpp == pytest.approx(result.ideal - stuck.kpp.value, abs=1e-15)
    assert difference.mean == pytest.approx(result.ideal - stuck.summary.mean, abs=1e-15)


def test_the_upper_slice_costs_more(result: Sensitivity) -> None:
    """A step of slice 1 counts for four of slice 0."""
    costs = by_name(result)
    upper, lower = costs["slice", "1"], costs["slice", "0"]
    assert upper.cost.mean > lower.cost.mean + 3 * (lower.cost.mean_error or 0)
    assert upper.cost_alone.mean > lower.cost_alone.mean


def test_dearest_first(result: Sensitivity) -> None:
    kinds = [cost.part.kind for cost in result.costs]
    assert kinds == sorted(kinds)
    for kind in set(kinds):
        costs = [cost.cost.kpp for cost in result.costs if cost.part.kind == kind]
        assert costs == sorted(costs, reverse=True)


def test_every_population_is_run_once_and_counted(
    compiled: Compiled, digits: Dataset, setup: Setup
) -> None:
    seen: list[int] = []
    sensitivity(
        compiled,
        noise=[STUCK],
        sigma=0.3,
        runs=2,
        data=digits,
        on_chip=lambda chip, value: seen.append(chip),
    )
    # whole; 3 layers and 2 slices without and alone; of 2 sources, one's absence is the other alone
    assert population_count(compiled, setup) == 1 + 2 * 3 + 2 * 2 + 2
    assert len(seen) == 2 * 13


def test_an_only_source_is_all_there_is(compiled: Compiled, digits: Dataset) -> None:
    found = sensitivity(compiled, runs=6, data=digits, percentile=20)
    cost = by_name(found)["source", "programming"]
    assert (cost.kpp_alone, cost.kpp_without) == (found.kpp.value, found.ideal)
    assert cost.cost == cost.cost_alone


def test_results_do_not_depend_on_jobs(compiled: Compiled, digits: Dataset, setup: Setup) -> None:
    one, two = (
        sensitivity(compiled, noise=[STUCK], sigma=0.3, runs=3, data=digits, jobs=jobs).to_json()
        for jobs in (1, 2)
    )
    assert one | {"seconds": 0} == two | {"seconds": 0}


def test_json_is_json(result: Sensitivity) -> None:
    read = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert read["format"] == "nvmc.evaluation.sensitivity/1" and read["description"]["runs"] == 20
    assert {part["kind"] for part in read["parts"]} == {"layer", "slice", "source"}


def test_without_noise_there_is_nothing_to_say(compiled: Compiled) -> None:
    with pytest.raises(OptionError, match="no noise"):
        sensitivity(compiled, sigma=0, runs=2)


def test_differences_of_equal_chips_are_zero() -> None:
    values = stream(0, 0, "values").random(30)
    same = paired_difference(values, values, 10, stream(0, 0, "boot"))
    assert (same.kpp, same.kpp_error, same.mean, same.mean_error) == (0, 0, 0, 0)
    moved = paired_difference(values + 0.25, values, 10, stream(0, 0, "boot"))
    assert moved.kpp == pytest.approx(0.25) and moved.kpp_error < 1e-15


def test_one_run_has_no_error_of_the_mean() -> None:
    one = paired_difference(np.array([0.5]), np.array([0.25]), 1, stream(0, 0, "boot"))
    assert (one.kpp, one.mean, one.mean_error) == (0.25, 0.25, None)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "exponential", "lognormal", "pareto"])
def test_coverage_at_the_defaults_whatever_the_tail(law: str) -> None:
    """100 chips and the 5th percentile; losses are a shared part and the part's own."""
    rng = np.random.default_rng(12)
    draw = {
        "normal": lambda n: rng.normal(3, 1, n),
        "exponential": lambda n: rng.exponential(2, n),
        "lognormal": lambda n: np.exp(rng.normal(size=n)),
        "pareto": lambda n: rng.pareto(3, n),
    }[law]

    def values(n: int) -> tuple[Any, Any]:
        shared, own = draw(n), draw(n) / 2
        return -shared, -shared - own

    better, worse = values(1_000_000)
    truth = float(np.quantile(better, 0.05) - np.quantile(worse, 0.05))
    found = [paired_difference(*values(100), 5, rng) for _ in range(300)]
    held = np.mean([abs(each.kpp - truth) <= 1.96 * each.kpp_error for each in found])
    assert held >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 300)


@pytest.mark.slow
def test_standard_errors_cover() -> None:
    """Estimate ± 1.96 errors holds the true difference of 10th percentiles about 95 times in 100.

    Chips: a N(0, 1) part that all populations share and parts of their own. The true percentiles
    are those of N(0, 1 + s^2): -1.2816 sqrt(1 + s^2). Over 200 populations the count of hits is
    Binomial(200, 0.95), within 0.95 ± 4 sqrt(0.95 0.05 / 200) = 0.89 to 1; the bootstrap of a
    quantile is only asymptotically right, so 0.88 is asked.
    """
    generator = stream(0, 0, "coverage")
    truth = 1.2815515655446004 * (np.sqrt(1 + 0.8**2) - np.sqrt(1 + 0.3**2))
    hits, unpaired = 0, 0
    for _ in range(200):
        shared = generator.standard_normal(200)
        better = shared + 0.3 * generator.standard_normal(200)
        worse = shared + 0.8 * generator.standard_normal(200)
        found = paired_difference(better, worse, 10, generator)
        hits += abs(found.kpp - truth) <= 1.96 * found.kpp_error
        shuffled = paired_difference(generator.permutation(better), worse, 10, generator)
        unpaired += shuffled.kpp_error > found.kpp_error
    assert 0.88 <= hits / 200 < 1
    assert unpaired / 200 > 0.8  # pairing is what makes the differences sure
