"""KEY=VALUE texts, and the one line that says what is wrong with a setting."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from nvmc.errors import OptionError
from nvmc.hardware.options import pairs, problem, value_of


class Round(BaseModel, extra="forbid"):
    type: Literal["round"] = "round"
    radius: float


class Square(BaseModel, extra="forbid"):
    type: Literal["square"] = "square"
    side_length: Annotated[float, Field(gt=0)]
    corner: Literal["sharp"] | int | None = None


Shape = Annotated[Round | Square, Field(discriminator="type")]


class Drawing(BaseModel, extra="forbid"):
    shapes: tuple[Shape, ...] = ()
    line_width: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Drawing:
        if len(self.shapes) > 1:
            raise ValueError("Two shapes\nare too many")
        return self


def told(content: dict[str, Any], **how: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(content)
    return problem(caught.value, Drawing, **how)


ROUND = {"type": "round", "radius": 1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"line_widht": 1},
            "key 'line_widht' is unknown; expected one of shapes, line_width; did you mean "
            "'line_width'?",
        ),
        (
            {"shapes": [{"type": "square", "side_length": 1, "sid": 2}]},
            "shapes.0: key 'sid' is unknown; expected one of type, side_length, corner",
        ),
        ({"square": 1}, "key 'square' is unknown; expected one of shapes, line_width"),
        ({"shapes": [{"type": "round"}]}, "shapes.0.radius: is missing"),
        ({"shapes": [{"radius": 1}]}, "shapes.0: has no type; expected one of round, square"),
        (
            {"shapes": [{"type": "squar"}]},
            "shapes.0: type 'squar' is unknown; expected one of round, square; did you mean "
            "'square'?",
        ),
        (
            {"shapes": [{"type": "square", "side_length": -1}]},
            "shapes.0.side_length: input should be greater than 0 (got -1)",
        ),
        (
            {"shapes": [{"type": "square", "side_length": 1, "corner": "round"}]},
            "shapes.0.corner: input should be 'sharp' (got 'round')",
        ),
        ({"shapes": [ROUND, ROUND]}, "two shapes are too many"),
    ],
)
def test_a_problem_is_one_line_with_its_key_and_what_was_given(
    content: dict[str, Any], expected: str
):
    assert told(content) == expected


def test_keys_of_the_command_line_are_written_as_its_options():
    line = told({"line_width": "wide"}, option=True)
    assert line.startswith("--line-width: input should be a valid number")
    assert told({"shapes": [{"type": "round"}]}, option=True) == "--shapes 0 radius: is missing"


def test_a_union_and_a_plain_type_are_read_without_a_model_around_them():
    shape: TypeAdapter[Any] = TypeAdapter(Shape)
    with pytest.raises(ValidationError) as caught:
        shape.validate_python({"type": "round", "radios": 1, "radius": 1})
    assert problem(caught.value, Shape) == (
        "key 'radios' is unknown; expected one of type, radius; did you mean 'radius'?"
    )
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("x")
    assert problem(caught.value).endswith("(got 'x')")


def test_pairs_are_read_in_order_and_dashes_are_underscores():
    found = pairs("--x", ["b-c = 1", "", "a=x=y"], "a=1")
    assert list(found.items()) == [("b_c", "1"), ("a", "x=y")]


def test_names_stay_as_they_are():
    assert pairs("rates", ["conv-1=a=0.5"], "a=1", names=True) == {"conv-1=a": "0.5"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a"], "^--x: 'a' is not KEY=VALUE; write it so, as a=1$"),
        (["=1"], "'=1' is not KEY=VALUE"),
        (["a=1", "a=2"], "^--x: 'a' is given twice; give it once$"),
        (["a-b=1", "a_b=2"], "'a_b' is given twice"),
    ],
)
def test_what_is_no_pair_is_said_in_one_line(texts: list[str], message: str):
    with pytest.raises(OptionError, match=message):
        pairs("--x", texts, "a=1")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("1e-3", 1e-3), ("all", "all"), ("1;2.5", (1, 2.5)), ("a,2", ("a", 2)), ("", "")],
)
def test_values_are_numbers_where_they_can_be(text: str, value: Any):
    assert value_of(text) == value and type(value_of(text)) is type(value)
