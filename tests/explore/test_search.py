"""A search in a large space: reproducible, and towards the front. Without optuna left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvmc.explore.explore import explore_designs
from nvmc.explore.search import Search
from nvmc.explore.space import Space
from nvmc.models import resolve_model

pytest.importorskip("optuna")

BITS = tuple(range(1, 17))


def searched(seed: int, trials: int) -> list[int]:
    """A made-up cost and end: more bits cost more, and all above six bits are as good."""
    space = Space({"weight_bits": BITS, "adc_bits": BITS, "encoding": ("offset", "differential")})
    search, found = Search(space, seed, 1), list[int]()
    for _ in range(trials):
        design = search.ask()
        found.append(design.number)
        weight, adc = int(design.choices["weight_bits"]), int(design.choices["adc_bits"])  # type: ignore[arg-type]
        if design.choices["encoding"] == "offset":
            search.tell(None)
        else:
            search.tell((weight * 2.0**adc, min(weight, 6) + min(adc, 6)))
    return found


def test_the_same_seed_proposes_the_same_designs() -> None:
    assert searched(0, 30) == searched(0, 30) != searched(1, 30)
    assert all(1 <= number <= 512 for number in searched(0, 30))


def test_a_search_leads_to_a_front(tmp_path: Path) -> None:
    space = Space(
        {
            **{"device": ("rram4",), "weight_bits": (4,), "cell_bits": (1, 2, 3)},
            **{"tile": ("128x128",), "dac_bits": (4,), "adc_bits": (2, 3, 5)},
            **{"adc_range": ("calibrated",)},
        }
    )
    found = explore_designs(
        resolve_model("zoo:mlp3-digits"),
        space,
        "60%",
        tmp_path / "e",
        runs=40,
        percentile=10.0,
        data="digits",
        limit=40,
        most=8,
        trials=8,
    )
    assert found.searched and found.front and found.combinations == 9
    tried = [one.design.number for one in (*found.front, *found.beaten, *found.missed)]
    tried += [one.design.number for one in found.refused]
    assert len(set(tried)) == len(tried) <= 8
