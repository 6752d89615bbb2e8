"""Public functions and models: a misspelt keyword or a wrong type is one line, nothing is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from pydantic import BaseModel, model_validator

import nvmc
import nvmc.training as training
from nvmc import Compiled, Target, compile_model, load_device, simulate
from nvmc.arguments import checked, typed_options
from nvmc.compiled.options import CompileOptions
from nvmc.data import Dataset, load_data
from nvmc.errors import NvmcError, OptionError
from nvmc.evaluation.sensitivity import sensitivity
from nvmc.evaluation.sweep import sweep
from nvmc.evaluation.uncertainty import uncertainty
from nvmc.hardware.devices import SOURCES, Conductance, Defaults, Periphery, parse_noise
from nvmc.hardware.options import CheckedModel
from nvmc.models import resolve_model

PUBLIC: list[Any] = [
    *(getattr(nvmc, name) for name in nvmc.__all__ if name not in ("NvmcError", "__version__")),
    *(sweep, sensitivity, uncertainty, load_data, Dataset, parse_noise),
    *(Target.of, nvmc.Chip.of, Defaults, Conductance, Periphery, *SOURCES.values()),
    *(CompileOptions, training.train, training.make_task, training.make_method, training.Task),
    *(training.Settings, training.Augment, training.EventLog, *training.METHODS.values()),
]


class Nothing:
    """A value that nothing takes."""


def keywords(item: Any) -> dict[str, Any]:
    """The arguments of a callable, with those that a TypedDict adds -> annotation."""
    if isinstance(item, type) and issubclass(item, BaseModel):
        return {name: field.annotation for name, field in item.model_fields.items()}
    target = item.__init__ if isinstance(item, type) else item
    hints = get_type_hints(target, include_extras=True)
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(item).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            found[name] = hints[name]
        elif get_origin(hints[name]) is Unpack:
            found |= get_type_hints(get_args(hints[name])[0])
        elif get_origin(hints[name]) is Annotated:
            for part in get_args(hints[name])[1:]:
                is_model = issubclass(part, BaseModel)
                found |= dict.fromkeys(part.model_fields, Any) if is_model else get_type_hints(part)
    return found


def one_line(call: Callable[[], Any]) -> str:
    with pytest.raises(NvmcError) as caught:
        call()
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize("item", PUBLIC, ids=lambda item: item.__qualname__)
def test_every_misspelt_keyword_is_named(item: Any) -> None:
    """A letter less, one more, and two that are swapped: each in a call of nothing else."""
    known = keywords(item)
    for name in known or ["seed"]:
        wrong = {name[:-1], f"{name}e", f"{name[:-2]}{name[-2:][::-1]}"} - known.keys() - {""}
        for word in wrong:
            line = one_line(lambda word=word: item(**{word: 1}))
            assert f"has no option {word!r}" in line or f"key {word!r} is unknown" in line
            if len(name) > 4:
                assert "did you mean" in line


@pytest.mark.parametrize(
    "item",
    [item for item in PUBLIC if item is not CompileOptions],
    ids=lambda item: item.__qualname__,
)
def test_every_wrong_type_is_named(item: Any) -> None:
    for name, hint in keywords(item).items():
        if hint is not Any:
            line = one_line(lambda name=name: item(**{name: Nothing()}))
            assert name in line and ("Nothing" in line or issubclass(item, BaseModel))


class Extra(TypedDict, total=False):
    data: str | Sequence[float] | None
    weights: Mapping[str, float]


@checked
def function(
    runs: int,
    path: str | Path = "a",
    *,
    share: float = 1.0,
    kind: Literal["cells", "circuit"] | None = None,
    then: Callable[[int], None] | None = None,
    **options: Unpack[Extra],
) -> tuple[Any, ...]:
    return runs, path, share, kind, then, options


@pytest.mark.parametrize(
    "given",
    [
        {"runs": 1},
        {"runs": np.int64(3), "share": np.float32(0.5)},
        {"runs": 1, "share": 2, "path": Path("b"), "kind": "cells", "then": print},
        {"runs": 1, "data": "x", "weights": {"a": 1.0, "b": 2}},
        {"runs": 1, "data": [1.0, 2], "kind": None},
    ],
)
def test_what_fits_passes_as_it_is(given: dict[str, Any]) -> None:
    options = {key: value for key, value in given.items() if key in ("data", "weights")}
    expected = {"path": "a", "share": 1.0, "kind": None, "then": None} | given
    names = ("runs", "path", "share", "kind", "then")
    assert function(**given) == (*(expected[name] for name in names), options)


def test_numbers_of_numpy_become_plain() -> None:
    runs, _, share, *_ = function(np.int64(3), share=np.float32(0.5))
    assert (type(runs), type(share)) == (int, float)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"run": 1}, "function has no option 'run'; did you mean 'runs'?"),
        ({"zzz": 1}, "function has no option 'zzz'; it has runs, path, share, kind, then, data"),
        ({}, "function: missing a required argument: 'runs'"),
        ({"runs": 1.5}, "function: runs is 1.5; expected a whole number"),
        ({"runs": True}, "function: runs is True; expected a whole number"),
        ({"runs": "1"}, "function: runs is '1'; expected a whole number"),
        ({"runs": 1, "share": "a"}, "function: share is 'a'; expected a number"),
        ({"runs": 1, "path": 3}, "function: path is 3; expected a text or a path"),
        ({"runs": 1, "kind": "cell"}, "kind is 'cell'; expected 'cells' or 'circuit' or None"),
        ({"runs": 1, "then": 3}, "then is 3; expected a function or None"),
        ({"runs": 1, "data": [1.0, "b"]}, "expected a text or a list (a number per entry) or None"),
        ({"runs": 1, "weights": {"a": "b"}}, "expected a mapping from a text to a number"),
        ({"runs": "a\nb" * 100}, "…; expected a whole number"),
    ],
)
def test_what_does_not_fit_is_said(given: dict[str, Any], said: str) -> None:
    assert said in one_line(lambda: function(**given))


def test_a_text_is_no_list_of_texts() -> None:
    line = one_line(lambda: simulate(noise="read"))  # pyright: ignore
    assert "noise is 'read'; expected a list (a NoiseSource or a text per entry)" in line


def test_models_name_the_nearest_field_and_what_is_missing() -> None:
    class Thing(CheckedModel, extra="forbid"):
        weight_bits: int
        name: str = ""

    for call, said in (
        (lambda: Thing(weigth_bits=1), "did you mean 'weight_bits'?"),  # type: ignore[call-arg]
        (lambda: Thing(), "Thing: weight_bits: is missing"),  # type: ignore[call-arg]
        (lambda: Thing(weight_bits="x"), "Thing: weight_bits: "),  # type: ignore[arg-type]
        (lambda: Thing(3), "Thing: "),  # type: ignore[call-arg]
    ):
        assert said in one_line(call)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """From a device's name alone."""
    folder = tmp_path_factory.mktemp("arguments") / "mlp.nvmc"
    found = compile_model(resolve_model("zoo:mlp3-digits"), "fefet2", output=folder)
    assert found.manifest.target == Target.of(load_device("fefet2"))
    return found


def test_names_texts_and_pairs_of_arrays_simply_work(compiled: Compiled) -> None:
    data = load_data("digits", limit=20)
    texts = simulate(
        compiled,
        runs=2,
        device="rram4",
        noise=["stuck-at:p_low=0.01"],
        sigma=0.4,
        data=(data.x, data.y),
    )
    objects = simulate(
        compiled,
        runs=2,
        device=load_device("rram4"),
        noise=[parse_noise("stuck-at:p_low=0.01")],
        sigma=0.4,
        data=data,
    )
    np.testing.assert_array_equal(texts.values, objects.values)
    assert texts.metric == "accuracy" and texts.description.images == 20
    lists = simulate(compiled, runs=2, data=[data.x.tolist(), data.y.tolist()])  # type: ignore[union-attr]
    np.testing.assert_array_equal(lists.values, simulate(compiled, runs=2, data=data).values)
    assert sweep(compiled, {"sigma": "0.4"}, runs=2, data=data).points[0].at["sigma"].number == 0.4


def test_a_limit_counts_for_data_at_hand_too(compiled: Compiled) -> None:
    data = load_data("digits", limit=20)
    found = simulate(compiled, runs=1, data=data, limit=7)
    assert (found.description.images, found.description.limit) == (7, 7)


@pytest.mark.parametrize("data", [(), (1, 2, 3), (None, [1]), ([[1.0], [1.0, 2.0]], [0, 1]), "x"])
def test_what_is_no_pair_of_arrays_is_refused(data: Any) -> None:
    one_line(lambda: load_data(data))


WORDING = {
    "give --adc-bits 1 to 16": "give adc_bits=1 to 16",
    "give --adc-bits (1 to 16) and --dac-bits": "give adc_bits= (1 to 16) and dac_bits=",
    "choose another with --output; or so": "choose another with output=; or so",
    "leave --wire-ohm out": "leave wire_ohm out",
    "give --reference exact or none": "give reference exact or none",
    "--compensate verify: images is 3": "compensate verify: images is 3",
    "with --input sr=NUMBER": "with inputs sr=NUMBER",
    "--time is '1 hour'": "time_s is '1 hour'",
    "--to 'nope' is unknown": "kind='nope' is unknown",
    "--max-runs is 5 without": "max_runs is 5 without",
    "give --data SPEC, more --max-memory": "give data=SPEC, more nvmc.memory_limit=",
    "`nvmc compile MODEL --device NAME` does": "`nvmc compile MODEL --device NAME` does",
    "train nvmc transform --pass map-bias, no --bias": (
        "train nvmc transform --pass map-bias, no bias="
    ),
    "device '--adc-bits' is none; as in a--b": "device '--adc-bits' is none; as in a--b",
}


@pytest.mark.parametrize("text", WORDING)
def test_errors_name_options_for_commands_and_keywords_for_python(text: str) -> None:
    @checked
    def inner() -> None:
        raise OptionError(text)

    @checked
    def outer(*, time_s: float = 0.0) -> None:
        inner()

    for call in (inner, outer):
        with pytest.raises(NvmcError) as caught:
            call()
        assert str(caught.value) == WORDING[text]
        with typed_options(), pytest.raises(NvmcError) as caught:
            call()
        assert str(caught.value) == text


def test_keywords_are_those_of_the_function_that_was_called() -> None:
    @checked
    def several(*, times_s: Sequence[float] = (), devices: Sequence[str] = ()) -> None:
        raise OptionError("give --time 1h, or another --device")

    with pytest.raises(NvmcError, match="^give times_s=1h, or another devices=$"):
        several()


def test_models_name_keywords_too() -> None:
    said = one_line(lambda: nvmc.make_target("ideal", per_channel=True))
    assert "give weight_bits=1 to 16" in said

    class Own(CheckedModel):
        time_s: float

        @model_validator(mode="after")
        def _never(self) -> Own:
            raise ValueError("leave --time out")

    assert one_line(lambda: Own(time_s=1.0)).endswith("leave time_s out")
