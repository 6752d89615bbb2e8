"""Devices and targets: what they refuse, and how they travel as JSON."""

from __future__ import annotations

import json
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.errors import OptionError
from nvmc.hardware.devices import (
    SOURCES,
    Conductance,
    Defaults,
    Device,
    Target,
    device_names,
    load_device,
    parse_noise,
)
from nvmc.hardware.devices.laws import Bias, LogLaw, OneOverF, Row, Saturating
from nvmc.hardware.devices.noise import Programming, Read, Source

unit = st.floats(0, 1)
positive = st.floats(0, 1e6)
strength = st.none() | positive
number = st.floats(-1e6, 1e6)
above = st.floats(1e-9, 1e9)
log_laws = st.builds(
    LogLaw, slope=number, intercept=number, min=st.floats(0, 1), max=st.floats(1, 2)
)
BY_TYPE: dict[str, Any] = {
    "programming": {
        "sigma": strength,
        "basis": st.sampled_from(["level", "full_range", "value", "us"]),
        "polynomial": st.none() | st.lists(number, min_size=1, max_size=12).map(tuple),
        "bias": st.none() | st.builds(Bias, polynomial=st.tuples(number, number)),
    },
    "retention": {"nu_mean": number | log_laws, "nu_std": unit | log_laws, "t0_s": above},
    "global": {
        "sigma": strength,
        "basis": st.sampled_from(["level", "full_range", "value", "us"]),
        "scope": st.sampled_from(["chip", "array", "tile"]),
    },
    "read": {
        "sigma": positive,
        "basis": st.sampled_from(["level", "full_range", "value", "us"]),
        "saturating": st.none() | st.builds(Saturating, a=positive, b=above),
    },
    "stuck-at": {"p_low": st.floats(0, 0.5), "p_high": st.floats(0, 0.5)},
    "bitflip": {"p": unit, "bits": st.sampled_from(["cells", "sign", "all"])},
    "lognormal-drift": {"sigma": strength},
    "additive": {"sigma": strength},
    "multiplicative": {"sigma": strength},
    "uniform": {"amplitude": strength},
}
profiles = st.tuples(positive, positive, positive, positive)
rows = st.tuples(
    st.builds(Row, time_s=st.just(1.0), profile=profiles),
    st.builds(Row, time_s=st.floats(2, 1e9), polynomial=st.tuples(number, number)),
)
MORE = [
    st.builds(Programming, sigma=strength, basis=st.just("level"), profile=profiles),
    st.builds(Programming, sigma=strength, basis=st.just("us"), table=rows),
    st.builds(
        Programming,
        sigma=strength,
        basis=st.just("value"),
        tolerance=above,
        max_pulses=st.integers(1, 1000),
    ),
    st.builds(
        Read,
        basis=st.just("value"),
        one_over_f=st.builds(OneOverF, q=positive, exponent=unit, q_max=unit, t_read_s=above),
    ),
]
sources = st.one_of([st.builds(SOURCES[k], **fields) for k, fields in BY_TYPE.items()] + MORE)


@st.composite
def targets(draw: st.DrawFn) -> Target:
    noise = tuple(draw(st.lists(sources, max_size=3)))
    needed = any(s.with_sigma(1.0) is not s for s in noise)
    sigma = draw(positive) if needed else None
    timed = any(s.timed for s in noise)
    always = any(s.needs_time for s in noise)
    device = Device(
        name="d",
        title="t",
        source="s",
        levels=4,
        noise=noise,
        sigma=sigma,
        conductance=Conductance(min_us=draw(unit), max_us=draw(st.floats(2, 100))),
        time_s=draw(above if always else st.none() | above) if timed else None,
        clip=draw(st.sampled_from([False, True, "zero"])),
    )
    return Target(
        device=device,
        weight_bits=draw(st.none() | st.integers(2, 16)),
        cell_bits=draw(st.integers(1, 2)),
        encoding=draw(st.sampled_from(["sign-magnitude", "differential", "offset", "balanced"])),
        rows=draw(st.integers(1, 1024)),
    )


def test_no_two_sources_have_the_same_type():
    assert list(SOURCES.values()) == list(get_args(get_args(Source)[0]))


@given(targets())
def test_json_round_trip_is_exact(target: Target):
    text = target.model_dump_json()
    again = Target.model_validate_json(text)
    assert again == target and again.model_dump_json() == text
    assert [type(s) for s in again.device.noise] == [type(s) for s in target.device.noise]
    assert Target.model_validate(json.loads(text)) == target


SCHEMA = jsonschema.Draft202012Validator(Target.model_json_schema())


@given(targets())
def test_the_published_schema_accepts_what_is_written(target: Target):
    SCHEMA.validate(json.loads(target.model_dump_json()))


@pytest.mark.parametrize(
    "noise",
    [
        {"type": "gauss", "sigma": 0.1},
        {"type": "bitflip"},
        {"type": "bitflip", "p": 2},
        {"type": "additive", "basis": "level"},
        {"type": "additive", "width": 1},
    ],
    ids=str,
)
def test_the_published_schema_refuses_what_is_wrong(noise: dict[str, Any]):
    content = json.loads(Target.of(load_device("fefet2")).model_dump_json())
    content["device"]["noise"] = [noise]
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(content)


# --- sigma -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", device_names())
def test_sigma_reaches_the_sources_that_state_none(name: str):
    device = load_device(name)
    if not device.needs_sigma:
        with pytest.raises(OptionError, match="no noise source that takes sigma"):
            device.sources(0.3)
        return
    if "bitflip" in device.required:
        device = device.with_noise([parse_noise("bitflip:p=0.1")])
    settled, *others = device.sources(0.3)  # the first takes sigma, the others state their own
    assert settled.model_dump()["sigma" if hasattr(settled, "sigma") else "amplitude"] == 0.3
    drifts = name == "sonos-agrawal2022"  # in its mean, whatever sigma is
    assert settled.active and device.sources(0.0)[0].active is drifts
    assert others == list(device.sources(0.0)[1:])
    if not device.required:
        assert device.sources() == device.sources(device.sigma)


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_a_sigma_must_be_finite_and_positive(sigma: float):
    with pytest.raises(OptionError, match=f"sigma is {sigma}"):
        load_device("rram4").sources(sigma)


def test_sigma_zero_does_not_silence_a_fixed_rate_in_silence():
    with pytest.raises(OptionError, match="no noise source that takes sigma"):
        load_device("bitflip").sources(0.0)
    assert load_device("ideal").sources(0.0) == ()


@pytest.mark.parametrize("kind", ["additive", "uniform", "programming"])
def test_an_added_source_without_strength_is_refused_before_any_chip(kind: str):
    device = load_device("ideal").with_noise([parse_noise(kind)])
    with pytest.raises(OptionError, match=f"'{kind}' states no strength .* --sigma"):
        device.sources()
    assert len(device.sources(0.1)) == 1


def test_a_source_of_its_own_strength_keeps_it():
    device = load_device("rram4").with_noise([parse_noise("additive:sigma=0.5")])
    programming, additive = device.sources(0.2)
    assert programming.model_dump()["sigma"] == 0.2 and additive.model_dump()["sigma"] == 0.5


def test_an_added_profile_must_fit_the_levels():
    extra = parse_noise("programming:sigma=0.1,profile=1;2")
    with pytest.raises(OptionError, match="profile has 2 factors .* 4"):
        load_device("rram4").with_noise([extra])
    device = load_device("rram4")
    assert device.with_noise([]) is device


def test_added_noise_needs_what_the_device_states():
    extra = parse_noise("read:sigma=0.1,basis=us")
    with pytest.raises(OptionError, match="--noise: noise source 'read' is in microsiemens"):
        load_device("rram4").with_noise([extra])
    assert load_device("rram-milo2021").with_noise([extra]).noise[-1] == extra


# --- targets -----------------------------------------------------------------------------------


def test_defaults_come_from_the_device():
    target = Target.of(load_device("fefet2"))
    assert (target.weight_bits, target.cell_bits, target.encoding) == (4, 2, "sign-magnitude")
    assert Target.of(load_device("reram-lognormal")).weight_bits is None
    assert Target.of(load_device("rram4"), weight_bits=1).cell_bits == 1
    assert Target.of(load_device("ideal"), weight_bits=6).cell_bits == 6


@pytest.mark.parametrize(
    ("device", "options", "message"),
    [
        ("rram4", {"weight_bits": 0}, "weight bits are 0"),
        ("rram4", {"weight_bits": 17}, "weight bits are 17"),
        ("rram4", {"cell_bits": 3}, "cell bits are 3.*4 levels"),
        ("rram4", {"cell_bits": 0}, "cell bits are 0"),
        ("ideal", {"weight_bits": 4, "cell_bits": 5}, "cell bits are 5.*weight bits"),
        (
            "ideal",
            {"weight_bits": 4, "cell_bits": 6, "encoding": "offset"},
            r"6.*\(4\) and one for",
        ),
        ("ideal", {"weight_bits": 1, "cell_bits": 2, "encoding": "offset"}, r"2; .*bits \(1\)$"),
        ("ideal", {"cell_bits": 2}, "B is 2, but the weights are analog"),
        ("ideal", {"per_channel": True}, "analog; give weight_bits="),
        ("rram4", {"rows": 0}, "tile is 0x128"),
        ("rram4", {"cols": -1}, "tile is 128x-1"),
        ("bitflip", {"weight_bits": "none"}, "'bitflip' acts on stored bits"),
    ],
)
def test_targets_that_cannot_be(device: str, options: dict[str, Any], message: str):
    with pytest.raises(OptionError, match=message):
        Target.of(load_device(device), **options)


def test_sign_flips_need_a_sign():
    device = load_device("rram4").with_noise([parse_noise("bitflip:p=0.1,bits=sign")])
    assert Target.of(device).encoding == "sign-magnitude"
    with pytest.raises(OptionError, match="'offset' does not store"):
        Target.of(device, encoding="offset")


def test_a_manifest_cannot_hold_more_cell_bits_than_there_are():
    content = json.loads(Target.of(load_device("rram4")).model_dump_json())
    with pytest.raises(ValueError, match="cell_bits is 3; expected at most 2"):
        Target.model_validate({**content, "cell_bits": 3})


# --- levels are never analog cells without a word ------------------------------------------------


@pytest.mark.parametrize("name", device_names())
def test_a_device_of_the_library_is_analog_only_where_levels_are_continuous(name: str):
    device = load_device(name)
    target = Target.of(device)
    assert (target.weight_bits is None) == (device.levels == "continuous")


def levelled(**given: Any) -> Device:
    return Device(name="d", title="", source="s", levels=4, **given)


def test_levels_without_a_choice_of_bits_are_refused_with_the_choice():
    with pytest.raises(OptionError, match=r"'d' has 4 levels .* weight_bits=1 to 16 \(none") as e:
        Target.of(levelled())
    assert "defaults.weight_bits" in str(e.value) and "\n" not in str(e.value)
    target = Target.of(levelled(), weight_bits=6)
    assert (target.weight_bits, target.cell_bits) == (6, 2)
    assert Target.of(levelled(), weight_bits=1).cell_bits == 1


def test_analog_cells_of_a_device_with_levels_must_be_asked_for():
    assert Target.of(levelled(), weight_bits="none").weight_bits is None
    stated = levelled(defaults=Defaults(weight_bits="none"))
    assert Target.of(stated).weight_bits is None
    assert Device.model_validate_json(levelled().model_dump_json()) == levelled()


def test_analog_weights_do_not_move_to_a_device_with_levels():
    analog = Target.of(load_device("ideal"))
    with pytest.raises(OptionError, match="analog, .* of 'ideal', but a cell of 'rram4' has 4"):
        analog.on(load_device("rram4"))
    assert analog.on(load_device("additive")).weight_bits is None
    asked = Target.of(load_device("rram4"), weight_bits="none")
    assert asked.on(load_device("fefet2")).weight_bits is None
