"""What can be swept: how values are written, and what they change."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.errors import OptionError
from nvmc.evaluation.parameters import PARAMETERS, Setup, label_of, parse_time, parse_values
from nvmc.hardware.devices import Target, load_device, parse_noise
from nvmc.hardware.devices.sources.base import GaussianSource

RETENTION = "retention:nu_mean=0.05,nu_std=0.01,t0_s=20"


def numbers(name: str, text: str) -> list[float | None]:
    return [value.number for value in parse_values(name, text)]


def test_a_range_is_exact_and_inclusive() -> None:
    values = parse_values("sigma", "0:0.4:0.05")
    # written out: each is the double nearest to the decimal, which i * 0.05 is not
    assert [v.number for v in values] == [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]
    assert [v.text for v in values][:4] == ["0", "0.05", "0.1", "0.15"]
    assert 3 * 0.05 != 0.15


@given(first=st.integers(0, 500), count=st.integers(1, 60), step=st.integers(1, 999))
def test_every_value_of_a_range_is_the_decimal_it_is_written_as(
    first: int, count: int, step: int
) -> None:
    start, width = Decimal(first) / 1000, Decimal(step) / 1000
    last = start + (count - 1) * width
    expected = [float(start + i * width) for i in range(count)]
    assert numbers("sigma", f"{start}:{last}:{width}") == expected
    assert numbers("sigma", f"{start}:{last + width / 2}:{width}") == expected
    assert [float(v.text) for v in parse_values("sigma", f"{start}:{last}:{width}")] == expected


def test_lists_and_ranges_mix() -> None:
    assert numbers("sigma", "0.5, 0:0.2:0.1,1e-3") == [0.5, 0, 0.1, 0.2, 0.001]
    assert numbers("adc-bits", "4:8:2,none") == [4, 6, 8, None]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("0s", 0), ("20min", 1200), ("1h", 3600), ("1.5 d", 129600), ("30d", 2592000)]
    + [("1y", 365.25 * 86400), (".5h", 1800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert numbers("time", text) == [seconds]
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    ("name", "text"),
    [("sigma", text) for text in ("", "x", "-1", "nan", "inf", "0.1,", "0,0", "0.1,0:0.2:0.1")]
    + [("sigma", text) for text in ("0:1", "0:1:0", "0:1:-1", "1:0:1", "0:nan:1", "0:inf:1")]
    + [("sigma", text) for text in ("0:1:1e-9", "0:1:1:1", "a:b:c", "0:1:sNaN")]
    + [
        ("time", text)
        for text in ("1", "h", "1 week", "-1h", "1h2", "1e3s", "9999999999y", "0:9:3")
    ]
    + [("adc-bits", text) for text in ("0", "17", "4.5", "None", "eight", "0:4:1")]
    + [("dac-bits", "0"), ("dac-bits", "4:5:0.5")],
)
def test_what_is_no_value_is_refused(name: str, text: str) -> None:
    with pytest.raises(OptionError, match=f"--{name}") as caught:
        parse_values(name, text)
    assert len(str(caught.value)) < 250


def test_too_long_a_list_is_refused() -> None:
    text = ",".join(f"{first}:{first + 600}:1" for first in (0, 1000))
    with pytest.raises(OptionError, match="1202 values"):
        parse_values("sigma", text)


def test_each_parameter_changes_its_own() -> None:
    device = load_device("rram4").with_noise([parse_noise(RETENTION)])
    setup = Setup(Target.of(device))
    for name, text in (("sigma", "0.25"), ("time", "1h"), ("adc-bits", "6"), ("dac-bits", "5")):
        (value,) = parse_values(name, text)
        setup = PARAMETERS[name].change(setup, value.number)
    assert (setup.sigma, setup.time_s) == (0.25, 3600)
    assert (setup.target.periphery.adc_bits, setup.target.periphery.dac_bits) == (6, 5)
    chip = setup.chip(7, 3)
    assert (chip.seed, chip.index, chip.time_s) == (7, 3, 3600)
    assert chip.sources == device.sources(0.25)
    setup = PARAMETERS["adc-bits"].change(setup, None)
    assert setup.target.periphery.adc_bits is None


def test_bits_that_clash_with_the_periphery_are_refused() -> None:
    target = Target.of(load_device("rram4"))
    periphery = target.periphery.model_copy(update={"dac_mode": "bit-serial", "dac_bits": 4})
    setup = Setup(target.model_copy(update={"periphery": periphery}))
    with pytest.raises(OptionError, match="bit-serial"):
        PARAMETERS["dac-bits"].change(setup, None)


@pytest.mark.parametrize(
    ("device", "unit"),
    [
        ("rram4", "[level steps]"),
        ("additive", "[of full range]"),
        ("reram-lognormal", "[ln]"),
        ("rram-wan2022", "[factor]"),  # the polynomial has the unit
        ("sonos-agrawal2022", "[factor]"),
    ],
)
def test_sigma_says_its_unit(device: str, unit: str) -> None:
    assert label_of("sigma", load_device(device)).endswith(unit)


def test_sigma_of_several_units_says_none() -> None:
    mixed = load_device("rram4").with_noise([parse_noise("additive:")])
    assert "[" not in label_of("sigma", mixed)


class Bare(GaussianSource, frozen=True):
    """A source whose sigma is a plain number."""

    type: str = "bare"


def test_sigma_without_a_unit_says_none() -> None:
    bare = load_device("rram4").model_copy(update={"noise": (Bare(),)})
    assert "[" not in label_of("sigma", bare)
