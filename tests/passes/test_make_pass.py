from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

import nvmc.passes
from nvmc.errors import OptionError
from nvmc.passes import PASSES, make_pass
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.quantize_weights import QuantizeWeights


def test_values_take_the_types_of_the_fields() -> None:
    found = make_pass("quantize-weights:bits=4,per_channel=true,skip=a*,b")
    assert found == QuantizeWeights(4, True, ("a*", "b"))
    assert make_pass("quantize-weights:bits=3, per-channel=no") == QuantizeWeights(3, False)


def test_a_pass_without_options() -> None:
    assert make_pass("canonicalize") == Canonicalize()


def test_none_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Some:
        rate: float | None
        mode: Literal["a", "b"] = "a"

    monkeypatch.setattr(nvmc.passes, "_class_of", lambda name: Some)
    monkeypatch.setattr(
        "typing.get_type_hints", lambda kind: {"rate": float | None, "mode": Literal["a", "b"]}
    )
    assert make_pass("x:rate=none") == Some(None)  # type: ignore[comparison-overlap]
    assert make_pass("x:rate=0.5,mode=b") == Some(0.5, "b")  # type: ignore[comparison-overlap]
    with pytest.raises(OptionError, match="mode.*'c'"):
        make_pass("x:rate=1,mode=c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fold-norm", "pass 'fold-norm' is unknown; expected one of .*fold-batchnorm"),
        ("", "pass '' is unknown"),
        ("quantize-weights", "'bits' is missing; add bits=VALUE"),
        (
            "quantize-weights:bit=4",
            "key 'bit' is unknown; .* bits, per_channel, skip, target; .*'bits'",
        ),
        ("quantize-weights:bits=four", "bits: .*valid integer.*got 'four'"),
        ("quantize-weights:bits=4.5", "bits: .*got '4.5'"),
        ("quantize-weights:bits=17", "weight bits are 17; expected 1 to 16"),
        ("quantize-weights:bits=4,bits=5", "'bits' is given twice"),
        ("quantize-weights:4", "'4' is not KEY=VALUE; write it so, as bits=4"),
        ("canonicalize:a=1", "key 'a' is unknown; expected none"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        make_pass(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(PASSES))
def test_every_pass_of_the_table_exists(name: str) -> None:
    kind = nvmc.passes._class_of(name)
    words = "".join(word.capitalize() for word in name.split("-"))
    assert kind.__name__ == words
