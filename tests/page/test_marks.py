"""What charts and tables of a page promise: bounds of a metric, known ends, figures in words."""

from __future__ import annotations

import numpy as np
import pytest

from nvmc.page.sections.cost import _decimal
from nvmc.page.sections.distribution import _edges, _held
from nvmc.page.values import Unit


@pytest.mark.parametrize("values", [[0.9, 1.0], [1.0, 1.0], [0.0, 0.35], [0.0, 1.0]])
def test_no_bar_goes_beyond_the_bounds(values: list[float]) -> None:
    class Told:
        images = 20

    class One:
        ideal, description = 1.0, Told()

        def __init__(self) -> None:
            self.values = np.array(values)

    edges = _edges((One(),), Unit.of("accuracy"))  # type: ignore[arg-type]
    assert 0 <= edges[0] <= min(values) and edges[-1] == 1 and (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == 2


def test_a_bar_is_called_by_the_values_that_it_can_hold() -> None:
    unit = Unit.of("accuracy")
    assert _held(0.975, 1.0, 20, unit) == "100.00"
    assert _held(0.875, 0.975, 20, unit) == "90.00 to 95.00"
    assert _held(0.875, 0.975, None, unit) == "87.50 to 97.50"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.0000713, 2, "0.000071"), (1234567, 2, "1,200,000"), (0.06, 2, "0.06"), (0, 2, "0"),
     (3.6, 2, "3.6"), (99.96, 3, "100"), (10.0, 3, "10")],
)  # fmt: skip
def test_no_number_has_an_exponent(value: float, digits: int, text: str) -> None:
    assert _decimal(value, digits) == text
