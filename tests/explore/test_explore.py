"""Exploration: the front of exhaustive search, with a part of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc import estimate_cost, open_compiled, simulate
from nvmc.data import Dataset, load_data
from nvmc.errors import NvmcError
from nvmc.explore.explore import explore_designs
from nvmc.explore.result import Exploration
from nvmc.explore.space import Space, read_space
from nvmc.models import resolve_model
from nvmc.store import Store

MLP = resolve_model("zoo:mlp3-digits")
RUNS, IMAGES = 40, 60
FEW: dict[str, Any] = {"percentile": 10.0, "seed": 3}

SPACE = """
title = "a small one"
[choices]
device = "rram4"
weight_bits = 4
cell_bits = [1, 2]
tile = ["64x64", "128x128"]
dac_bits = 4
adc_bits = [3, 5]
adc_range = "calibrated"
"""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits", limit=IMAGES)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    file = tmp_path_factory.mktemp("space") / "space.toml"
    file.write_text(SPACE)
    return read_space(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explore") / "mlp.explore"


def explored(space: Space, folder: Path, goal: float, digits: Dataset, **more: Any) -> Exploration:
    with Store.open(folder.parent / f"{goal}.sqlite") as store:
        return explore_designs(
            MLP,
            space,
            goal,
            folder,
            runs=RUNS,
            data="digits",
            limit=IMAGES,
            store=store,
            **{**FEW, **more},
        )


def exhaustive(
    found: Exploration, goal: float, minimise: list[str], digits: Dataset, cache: dict[int, Any]
) -> set[int]:
    """Numbers of the designs on the front by its definition: all chips of all designs are run."""
    points: list[tuple[int, float, tuple[float, ...]]] = []
    for one in (*found.front, *found.beaten, *found.missed):
        number = one.design.number
        if number not in cache:
            network = open_compiled(one.folder)
            result = simulate(network, runs=RUNS, data="digits", limit=IMAGES, **FEW)
            cost = estimate_cost(network, "generic")
            cache[number] = result.kpp.interval.low, cost
        low, cost = cache[number]
        area = {"energy": cost.energy.value, "area": cost.area_mm2.value}
        points.append((number, low, tuple(area[name] for name in minimise)))
    good = [point for point in points if point[1] >= goal]
    front = set[int]()
    for number, low, costs in good:
        beaten = any(
            other_low >= low
            and all(a <= b for a, b in zip(others, costs, strict=True))
            and (other_low > low or others != costs)
            for _, other_low, others in good
        )
        if not beaten:
            front.add(number)
    return front


CACHE: dict[int, Any] = {}


@pytest.mark.parametrize(
    ("goal", "minimise"),
    [(0.5, ["energy"]), (0.7, ["energy", "area"]), (0.99, ["energy"])],
)
def test_the_front_is_that_of_exhaustive_search(
    space: Space, folder: Path, digits: Dataset, goal: float, minimise: list[str]
) -> None:
    found = explored(space, folder, goal, digits, minimise=minimise)
    known = exhaustive(found, goal, minimise, digits, CACHE)
    assert {one.design.number for one in found.front} == known
    assert found.judged == 8 and not found.refused
    for one in found.front:  # their figures are those of all chips
        assert one.raced.at is not None and not np.isnan(one.raced.at.values).any()
        assert one.raced.end == CACHE[one.design.number][0]
        assert one.costs["generic"]["energy"] == CACHE[one.design.number][1].energy
    for one in (*found.beaten, *found.missed):  # what is said of the others is a bound
        assert one.raced.end is not None and one.raced.end >= CACHE[one.design.number][0]
    assert found.share < (0.8 if known else 0.2)  # of few chips and designs: see test_race.py
    assert found.met == bool(known)


def test_other_metrics(space: Space, folder: Path, digits: Dataset) -> None:
    """Several sums are not raced in parts; errors have no share to compare."""
    found = explored(space, folder, 0.2, digits, metric="miou")
    assert found.front and found.shared["metric"] == "miou"
    for one in found.front:
        assert one.raced.at is not None and one.raced.images == RUNS * IMAGES
    with pytest.raises(NvmcError, match="but the metric is NLL"):
        explored(space, folder, 0.3, digits, metric="nll")
