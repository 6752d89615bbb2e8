"""How a network is compiled: what is wrong with an option is one line."""

from typing import Any

import pytest

from nvmc.compiled.options import CompileOptions
from nvmc.errors import OptionError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip": 3}, "skip is 3; expected a list of texts"),
        ({"skip": None}, "skip is None"),
        ({"skip": (3,)}, r"skip is \(3,\)"),
        ({"passes": (3,)}, r"passes is \(3,\)"),
        ({"store": "weights"}, "store is 'weights'; expected bias or norm"),
        ({"fold_batchnorm": "yes"}, "fold_batchnorm is 'yes'; expected True or False"),
        ({"fold_batchnorm": 1}, "fold_batchnorm is 1"),
        ({"activation_bits": "4"}, "activation bits is '4'; expected a whole number"),
        ({"activation_bits": 17}, "activation bits is 17"),
        ({"activation_bits": True}, "activation bits is True"),
        ({"skipp": ()}, "did you mean 'skip'"),
    ],
)
def test_what_is_wrong_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        CompileOptions(**options)
    assert "\n" not in str(caught.value)


def test_a_text_is_one_and_a_list_a_tuple() -> None:
    assert CompileOptions(skip="conv*", store=["bias"]) == CompileOptions(("conv*",), ("bias",))  # pyright: ignore
