"""Scaling between nodes, against the paper's table and by hand."""

from __future__ import annotations

import pytest

from nvmc.cost.scaling import NODES, scale
from nvmc.errors import OptionError


def test_digital_energy_is_the_papers_quadratic_at_nominal_supply() -> None:
    # 65 nm, 1.1 V: 3.755 x 1.21 - 4.398 x 1.1 + 1.975 = 1.68075; 7 nm, 0.7 V: 0.047815
    found = scale("energy", 65, 7, analog=False)
    assert found == pytest.approx(0.047815 / 1.68075, rel=1e-4)


def test_digital_area_is_the_papers_table() -> None:
    assert scale("area", 130, 65, analog=False) == pytest.approx(0.23)
    assert scale("area", 65, 32, analog=False) == pytest.approx(0.31, rel=0.02)


def test_delay_is_the_papers_cubic() -> None:
    # 14 nm, 0.8 V: -40.66 x 0.512 + 109.2 x 0.64 - 100.6 x 0.8 + 35.92 = 4.51
    at_14 = -40.66 * 0.512 + 109.2 * 0.64 - 100.6 * 0.8 + 35.92
    at_10 = -34.95 * 0.421875 + 93.65 * 0.5625 - 85.99 * 0.75 + 30.4
    assert scale("time", 14, 10, analog=False) == pytest.approx(at_10 / at_14)


def test_analog_goes_with_the_supply_squared() -> None:
    assert scale("energy", 130, 14, analog=True) == pytest.approx((0.8 / 1.3) ** 2)
    assert scale("time", 130, 14, analog=True) == 1
    assert scale("area", 130, 65, analog=True) == pytest.approx(0.5)


@pytest.mark.parametrize("analog", [True, False])
@pytest.mark.parametrize("dimension", ["energy", "time", "area"])
def test_there_and_back_is_nothing(dimension: str, analog: bool) -> None:
    for node in (*NODES, 22, 28, 40, 55):
        there = scale(dimension, 32, node, analog=analog)  # type: ignore[arg-type]
        back = scale(dimension, node, 32, analog=analog)  # type: ignore[arg-type]
        assert there * back == pytest.approx(1)


def test_between_nodes_lies_between_their_values() -> None:
    ends = [scale("energy", 32, node, analog=False) for node in (20, 32)]
    assert min(ends) < scale("energy", 32, 28, analog=False) < max(ends)


def test_nodes_beyond_the_fits_are_refused() -> None:
    with pytest.raises(OptionError, match=r"node is 5 nm; expected 7 to 180 nm"):
        scale("area", 32, 5, analog=False)
