"""Devices and targets: what they refuse, and how they travel as JSON."""

from __future__ import annotations

import json
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.devices import SOURCES, Device, Target, device_names, load_device, parse_noise
from nvmc.devices.noise import Source
from nvmc.errors import OptionError

unit = st.floats(0, 1)
positive = st.floats(0, 1e6)
strength = st.none() | positive
BY_TYPE: dict[str, Any] = {
    "programming": {
        "sigma": strength,
        "basis": st.sampled_from(["level", "full_range", "value"]),
        "profile": st.none() | st.tuples(positive, positive, positive, positive),
    },
    "stuck-at": {"p_low": st.floats(0, 0.5), "p_high": st.floats(0, 0.5)},
    "bitflip": {"p": unit, "bits": st.sampled_from(["cells", "sign", "all"])},
    "lognormal-drift": {"sigma": strength},
    "additive": {"sigma": strength},
    "multiplicative": {"sigma": strength},
    "uniform": {"amplitude": strength},
}
sources = st.one_of([st.builds(SOURCES[kind], **fields) for kind, fields in BY_TYPE.items()])


@st.composite
def targets(draw: st.DrawFn) -> Target:
    noise = tuple(draw(st.lists(sources, max_size=3)))
    needed = any(s.with_sigma(1.0) is not s for s in noise)
    sigma = draw(positive) if needed else None
    return Target(
        device=Device(name="d", title="t", source="s", levels=4, noise=noise, sigma=sigma),
        weight_bits=draw(st.none() | st.integers(2, 16)),
        cell_bits=draw(st.integers(1, 2)),
        encoding=draw(st.sampled_from(["sign-magnitude", "differential", "offset"])),
        rows=draw(st.integers(1, 1024)),
    )


def test_the_table_and_the_type_name_the_same_sources():
    members = get_args(get_args(Source)[0])
    assert set(members) == set(SOURCES.values())
    assert all(SOURCES[member.model_fields["type"].default] is member for member in members)


@given(targets())
def test_json_round_trip_is_exact(target: Target):
    text = target.model_dump_json()
    again = Target.model_validate_json(text)
    assert again == target and again.model_dump_json() == text
    assert [type(s) for s in again.device.noise] == [type(s) for s in target.device.noise]
    assert Target.model_validate(json.loads(text)) == target


SCHEMA = Target.model_json_schema()


@given(targets())
def test_the_published_schema_accepts_what_is_written(target: Target):
    jsonschema.validate(json.loads(target.model_dump_json()), SCHEMA)


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
        jsonschema.validate(content, SCHEMA)


# --- sigma -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", device_names())
def test_sigma_reaches_the_sources_that_state_none(name: str):
    device = load_device(name)
    if not device.needs_sigma:
        with pytest.raises(OptionError, match="no noise source that takes sigma"):
            device.sources(0.3)
        return
    (settled,) = device.sources(0.3)
    assert 0.3 in settled.model_dump().values()
    assert not settled.silent and device.sources(0.0)[0].silent
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
        ("ideal", {"cell_bits": 2}, "B is 2, but the weights are analog"),
        ("ideal", {"per_channel": True}, "analog; give --weight-bits"),
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
