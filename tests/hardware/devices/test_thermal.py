"""Temperature: Arrhenius' law of ageing, and coefficients of conductance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import constants, stats

from nvmc.errors import OptionError
from nvmc.evaluation.parameters import Setup, parse_temperature, parse_values
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import SOURCES, Cells, Device, Target, load_device, parse_noise
from nvmc.hardware.devices.sources.thermal import BOLTZMANN_EV
from nvmc.rng import Draw

ARRHENIUS = {"activation_ev": 1.1, "reference_c": 25.0}
ROWS = [{"time_s": 1.0, "polynomial": [0.1]}, {"time_s": 1e8, "polynomial": [0.5]}]
RETENTION = {"type": "retention", "nu_mean": 0.05, "nu_std": 0.02, "t0_s": 20.0}
TABLE = {"type": "programming", "basis": "level", "sigma": 1.0, "table": ROWS}


def device(*noise: dict[str, Any], **options: Any) -> Device:
    head = {"name": "d", "title": "t", "source": "s", "levels": 4, "noise": noise}
    return Device.model_validate({**head, **options})


def levels(made: Device, time_s: float | None = None) -> np.ndarray:
    target = Target.of(made, weight_bits=2)
    codes = np.full((40, 50), 3, np.int8)
    held = Array("w", codes, np.ones((), np.float32), target)
    return Chip.of(target, 1, 0, time_s=time_s).program(held).levels


def acceleration(ev: float, celsius: float, reference_c: float) -> float:
    """exp(Ea/k (1/T0 - 1/T)) with the constants of scipy."""
    k = constants.k / constants.e
    return math.exp(ev / k * (1 / (reference_c + 273.15) - 1 / (celsius + 273.15)))


def test_the_constant_is_boltzmanns():
    assert pytest.approx(constants.k / constants.e, rel=1e-9) == BOLTZMANN_EV


@pytest.mark.parametrize("celsius", [-40.0, 25.0, 55.0, 85.0, 125.0])
@pytest.mark.parametrize("noise", [RETENTION, TABLE], ids=lambda n: n["type"])
def test_a_time_at_a_temperature_is_an_accelerated_time_at_the_reference(
    noise: dict[str, Any], celsius: float
):
    """The same chip, cell by cell; to float rounding of the logarithm of the time."""
    hot = device({**noise, **ARRHENIUS, "temperature_c": celsius})
    hour = 3600.0
    later = hour * acceleration(1.1, celsius, 25.0)
    found, expected = levels(hot, hour), levels(device(noise), later)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (celsius == 25) == np.array_equal(found, levels(device(noise), hour))


def test_125_degrees_are_worth_years():
    """Ea = 1.1 eV, 125 C against 55 C: 12,765 K (3.0474e-3 - 2.5116e-3) / K = 6.839 by hand."""
    source = SOURCES["retention"].model_validate(
        {**RETENTION, "activation_ev": 1.1, "reference_c": 55.0, "temperature_c": 125.0}
    )
    exponent = 1.1 / 8.617333e-5 * (1 / 328.15 - 1 / 398.15)
    assert source.aged(1.0) == pytest.approx(math.exp(exponent), rel=1e-6)
    assert source.aged(1.0) == pytest.approx(933.6, abs=0.1)


def test_without_a_temperature_nothing_changes_and_nothing_is_written():
    plain, stated = device(RETENTION, TABLE), device({**RETENTION, **ARRHENIUS}, TABLE)
    assert np.array_equal(levels(plain, 1e6), levels(stated, 1e6))
    for source in (*plain.noise, *load_device("pcm-joshi2020").noise):
        assert not {"activation_ev", "reference_c", "temperature_c"} & source.model_dump().keys()
    assert stated.noise[0].model_dump()["activation_ev"] == 1.1


def test_a_temperature_is_part_of_what_a_result_is_of():
    target = Target.of(device({**RETENTION, **ARRHENIUS}), weight_bits=2)
    cold, hot = Setup.of(target, time_s=1e3), Setup.of(target, time_s=1e3, temperature_c=85.0)
    assert cold.identity(0) != hot.identity(0)
    assert hot.target.device.noise[0].model_dump()["temperature_c"] == 85.0
    swept = Setup.of(target, time_s=1e3)
    (value,) = parse_values("temperature", "85C")
    from nvmc.evaluation.parameters import PARAMETERS

    assert PARAMETERS["temperature"].change(swept, value.number) == hot


def test_temperatures_as_people_write_them():
    texts = {"85C": 85.0, "85": 85.0, "-40C": -40.0, "85°C": 85.0, "358.15K": 85.0, "0K": None}
    for text, celsius in {**texts, "85F": None, "": None, "nan": None}.items():
        if celsius is None:
            with pytest.raises(OptionError, match="expected degrees Celsius"):
                parse_temperature(text)
        else:
            assert parse_temperature(text) == celsius
    assert [v.number for v in parse_values("temperature", "25:125:50")] == [25, 75, 125]


def test_a_device_that_does_not_depend_on_it_says_so():
    with pytest.raises(OptionError, match="no noise source that depends on temperature"):
        load_device("pcm-joshi2020").at_temperature(85.0)
    with pytest.raises(OptionError, match="expected -200 to 1000 C"):
        device({**RETENTION, **ARRHENIUS}).at_temperature(2000.0)


@pytest.mark.parametrize(
    ("noise", "problem"),
    [
        ({**RETENTION, "activation_ev": 1.1}, "give both"),
        ({**RETENTION, "reference_c": 25.0}, "give both"),
        ({**RETENTION, "temperature_c": 85.0}, "add activation_ev"),
        ({**RETENTION, "activation_ev": 0.0, "reference_c": 25.0}, "greater than 0"),
        ({**RETENTION, "activation_ev": 1.1, "reference_c": 298.15e3}, "less than"),
        ({**TABLE, "table": None, **ARRHENIUS}, "of a table"),
        (
            {**RETENTION, "activation_ev": 9.0, "reference_c": -150.0, "temperature_c": 500.0},
            "1e100 times",
        ),
    ],
)
def test_what_is_wrong_with_a_temperature(noise: dict[str, Any], problem: str):
    with pytest.raises(ValidationError, match=problem):
        SOURCES[noise["type"]].model_validate(noise)


def test_a_hot_hour_may_be_later_than_the_source_vouches_for():
    made = device({**RETENTION, **ARRHENIUS}, time_limit_s=86400.0, time_s=3600.0)
    assert made.time() == made.time(3600.0) == 3600.0
    hot = made.at_temperature(85.0)
    for time_s in (None, 3600.0):
        with pytest.raises(OptionError, match=r"counts as 4.69\d+e\+06 s at its temperature"):
            hot.time(time_s)


# --- coefficients of conductance ---------------------------------------------------------------


def coefficient(**options: Any) -> Any:
    kind = "temperature-coefficient"
    return SOURCES[kind].model_validate({"type": kind, "reference_c": 25.0, **options})


def cells(count: int = 100_000) -> Cells:
    return Cells(np.full((1, count), 2.0, np.float32), 3.0, (2,), 1.0)


@pytest.mark.parametrize("celsius", [-40.0, 85.0, 125.0])
def test_conductance_is_linear_in_temperature(celsius: float):
    """alpha of every cell from its levels: normal with the mean and spread that were given."""
    held, source = cells(), coefficient(per_k=-2e-3, std_per_k=5e-4, temperature_c=celsius)
    moved = source.apply(held.targets, held, Draw(5, 0, "w", source.type)).ravel().astype(float)
    alpha = (moved / 2 - 1) / (celsius - 25)
    assert stats.kstest(alpha, stats.norm(-2e-3, 5e-4).cdf).pvalue > 1e-4
    other = coefficient(per_k=-2e-3, std_per_k=5e-4, temperature_c=45.0)
    same = other.apply(held.targets, held, Draw(5, 0, "w", source.type)).ravel()
    np.testing.assert_allclose((same / 2 - 1) / 20, alpha, atol=4 * 2.0**-24)


def test_what_a_cell_conducts_counts_not_its_level():
    """On 2 to 20 µS, 6 µS a step, level 0 conducts a third of a step; a factor is at least 0."""
    half = coefficient(per_k=-0.01, temperature_c=75.0)
    made = device(half.model_dump(), conductance={"min_us": 2.0, "max_us": 20.0})
    np.testing.assert_allclose(levels(made), (3 + 1 / 3) / 2 - 1 / 3, rtol=1e-6)
    gone = levels(made.at_temperature(500.0))
    np.testing.assert_allclose(gone, -1 / 3, rtol=1e-6)


def test_at_its_reference_it_is_silent():
    assert not coefficient(per_k=0.1).active
    assert not coefficient(per_k=0.1, temperature_c=25.0).active
    assert not coefficient(per_k=0.0, temperature_c=85.0).active
    text = "temperature-coefficient:per_k=1e-3,reference_c=25"
    assert parse_noise(text).with_temperature(85.0).active
