"""The words that all errors share."""

import pytest

from nvmc.errors import nearest, unknown


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sigm", "sigma"),
        ("Sigma", "sigma"),
        ("weight-bits", "weight_bits"),
        ("WEIGTH_BITS", "weight_bits"),
        ("cell_bits", "cell_bits"),
        ("percentage", None),
        ("", None),
    ],
)
def test_the_nearest_name_is_found_whatever_its_case_and_dashes(name: str, found: str | None):
    assert nearest(name, ("sigma", "seed", "weight_bits", "cell_bits")) == found


def test_a_name_that_was_not_written_out_is_found():
    assert nearest("lenet", ("mlp3-digits", "lenet5-digits")) == "lenet5-digits"


def test_nothing_is_near_where_nothing_is_known():
    assert nearest("sigma", ()) is None
    assert unknown("option", "sigma", ()) == "option 'sigma' is unknown; expected none"


def test_an_unknown_name_is_told_with_all_names_and_the_nearest():
    told = unknown("option", "sigm", ["sigma", "seed"])
    assert told == "option 'sigm' is unknown; expected one of sigma, seed; did you mean 'sigma'?"
    assert unknown("option", "q", ["sigma"]).endswith("expected one of sigma")
