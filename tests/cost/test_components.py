"""Every formula against a calculation by hand, with numbers that people can follow."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from nvmc.cost.components import COMPONENTS
from nvmc.cost.components.adc_flash import FlashAdc
from nvmc.cost.components.adc_ramp import RampAdc
from nvmc.cost.components.adc_sar import SarAdc
from nvmc.cost.components.adc_survey import SurveyAdc
from nvmc.cost.components.array import Array
from nvmc.cost.components.buffer import Buffer
from nvmc.cost.components.dac import Dac
from nvmc.cost.components.digital import Digital
from nvmc.cost.components.driver import Driver
from nvmc.cost.components.leakage import Leakage
from nvmc.cost.components.registers import Registers
from nvmc.cost.components.router import Router
from nvmc.cost.components.sample_hold import SampleHold
from nvmc.cost.components.shift_add import ShiftAdd
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Quantity
from nvmc.errors import OptionError


def q(value: float, unit: str) -> Quantity:
    return Quantity(value=value, unit=unit, source="by hand")


USE = Use(rows=128, cols=64, pulse_bits=1, dac_bits=8, adc_bits=6)
COUNTS = Counts(
    tiles=10,
    readers=5,
    vectors=7,
    pulses=8,
    columns=64,
    drives=1000,
    active=400,
    conversions=2000,
    additions=2100,
    width=16,
    linear_s=0.5,
    squared_s=0.2,
    read_bits=3000,
    written_bits=600,
    moved_bits=900,
    operations=50,
    multiply_adds=20,
)


def array(coding: str) -> Array:
    return Array.model_validate(
        {
            "coding": coding,
            "voltage": q(200, "mV"),
            "read": q(10, "ns"),
            "settle": q(3, "ns"),
            "cell": q(0.1, "um2"),
            "low": q(1, "uS"),
            "high": q(40, "uS"),
        }
    )


def test_current_through_cells_by_ohms_law() -> None:
    # 0.04 V^2 x 10 ns x 0.2 S = 80 pJ; widths of 3 bits are up to 70 ns: 0.04 x 70 ns x 0.5 S
    assert array("amplitude").energy_j(COUNTS, USE) == pytest.approx(80e-12)
    three = replace(USE, pulse_bits=3)
    assert array("amplitude").energy_j(COUNTS, three) == pytest.approx(80e-12)
    assert array("width").energy_j(COUNTS, three) == pytest.approx(1400e-12)
    assert array("bits").energy_j(COUNTS, three) == pytest.approx(600e-12)
    assert array("width").energy_j(COUNTS, USE) == pytest.approx(200e-12)
    assert array("width").read_s(three) == pytest.approx(73e-9)
    assert array("bits").read_s(three) == pytest.approx(33e-9)
    assert array("amplitude").area_m2(COUNTS, USE) == pytest.approx(10 * 128 * 64 * 0.1e-12)


def test_sar() -> None:
    adc = SarAdc(
        shared=8,
        energy_bit=q(0.1, "pJ"),
        energy_code=q(1, "fJ"),
        energy_noise=q(0.01, "fJ"),
        time=q(1, "ns"),
        time_bit=q(2, "ns"),
        area=q(10, "um2"),
        area_bit=q(5, "um2"),
        area_code=q(2, "um2"),
    )
    # 6 bits: 0.6 pJ + 64 fJ + 4096 x 0.01 fJ = 0.70496 pJ; 1 + 12 ns; 10 + 30 + 128 um2
    assert adc.conversion_j(6) == pytest.approx(0.70496e-12)
    assert adc.conversion_s(6) == pytest.approx(13e-9)
    assert adc.converter_m2(6) == pytest.approx(168e-12)
    assert adc.energy_j(COUNTS, USE) == pytest.approx(2000 * 0.70496e-12)
    # 64 columns by eights are 8 converters; each takes 8 columns in turn
    assert adc.convert_s(COUNTS, USE) == pytest.approx(8 * 13e-9)
    assert adc.area_m2(COUNTS, USE) == pytest.approx(5 * 8 * 168e-12)
    assert adc.convert_s(replace(COUNTS, columns=9), USE) == pytest.approx(2 * 13e-9)
    assert adc.convert_s(COUNTS, replace(USE, adcs=64)) == pytest.approx(13e-9)


def test_flash_doubles_with_each_bit() -> None:
    adc = FlashAdc(
        shared=1,
        energy=q(10, "fJ"),
        energy_comparator=q(20, "fJ"),
        time=q(1, "ns"),
        area_comparator=q(3, "um2"),
    )
    assert adc.conversion_j(3) == pytest.approx(150e-15)  # 10 + 7 x 20
    assert adc.conversion_s(3) == adc.conversion_s(6) == 1e-9
    assert adc.converter_m2(3) == pytest.approx(21e-12)


def test_ramp_takes_a_step_a_code() -> None:
    adc = RampAdc(
        shared=1,
        integrates=True,
        energy_step=q(0.15, "pJ"),
        time_step=q(300, "ps"),
        area=q(100, "um2"),
        area_bit=q(10, "um2"),
    )
    assert adc.conversion_j(8) == pytest.approx(38.4e-12)
    assert adc.conversion_s(8) == pytest.approx(76.8e-9)
    assert adc.converter_m2(8) == pytest.approx(180e-12)
    assert adc.overlaps()


def test_survey_gives_what_its_authors_model_gives() -> None:
    """hwcomponents-adc 1.0.21 at 8 bits, 32 nm, 1.28 GS/s: 1.93 pJ and 6,467 um2."""
    adc = SurveyAdc(shared=1, node=q(32, "nm"), rate=q(1.28, "GHz"))
    assert adc.conversion_j(8) == pytest.approx(1.93e-12, rel=5e-3)
    assert adc.converter_m2(8) == pytest.approx(6467e-12, rel=5e-3)
    assert adc.conversion_s(8) == pytest.approx(1 / 1.28e9)
    # By hand: SNDR 49.92 dB; FOM min(213.78 - 2.8719 x 20.970, 154.07) = 153.56 dB
    joules = 0.5 * 10 ** ((49.92 - 153.56) / 10)
    factor = math.exp(26.0496 + 1.8800 * 3.4657 - 2.8291 * 2.0794 - 1.4702)
    assert adc.conversion_j(8) == pytest.approx(joules * factor * 1e-12, rel=5e-3)


def test_survey_knows_no_converter_below_four_bits_and_says_so() -> None:
    adc = SurveyAdc(shared=1, node=q(32, "nm"), rate=q(100, "MHz"))
    assert adc.conversion_j(2) == adc.conversion_j(4)
    assert adc.notes(USE) == []
    assert "begins at 4" in adc.notes(replace(USE, adc_bits=2))[0]


def test_what_stands_at_the_rows() -> None:
    dac = Dac(energy=q(10, "fJ"), energy_bit=q(40, "fJ"), time=q(1, "ns"), area_bit=q(0.2, "um2"))
    assert dac.energy_j(COUNTS, USE) == pytest.approx(1000 * 50e-15)
    assert dac.energy_j(COUNTS, replace(USE, pulse_bits=8)) == pytest.approx(1000 * 330e-15)
    assert dac.area_m2(COUNTS, USE) == pytest.approx(10 * 128 * 0.2e-12)
    assert dac.read_s(USE) == 1e-9
    driver = Driver(
        voltage=q(1, "V"), capacitance=q(2, "fF"), capacitance_cell=q(0.5, "fF"), area=q(1, "um2")
    )
    assert driver.energy_j(COUNTS, USE) == pytest.approx(400 * 34e-15)  # 2 + 64 x 0.5 fF
    assert driver.area_m2(COUNTS, USE) == pytest.approx(1280e-12)
    registers = Registers(energy_in=q(0.1, "pJ"), energy_out=q(0.01, "pJ"), area=q(300, "um2"))
    assert registers.energy_j(COUNTS, USE) == pytest.approx(100e-12 + 2000 * 6 * 0.01e-12)
    assert registers.area_m2(COUNTS, USE) == pytest.approx(3000e-12)


def test_what_stands_at_the_columns() -> None:
    hold = SampleHold(energy=q(1, "fJ"), area=q(0.04, "um2"))
    assert hold.energy_j(COUNTS, USE) == pytest.approx(2e-12)
    assert hold.area_m2(COUNTS, USE) == pytest.approx(5 * 64 * 0.04e-12)
    assert hold.overlaps()
    adder = ShiftAdd(energy_bit=q(1, "fJ"), area=q(30, "um2"))
    assert adder.energy_j(COUNTS, USE) == pytest.approx(2100 * 16e-15)
    assert adder.area_m2(COUNTS, USE) == pytest.approx(150e-12)


def test_what_serves_whole_layers() -> None:
    buffer = Buffer(
        energy_read=q(0.1, "pJ"),
        energy_write=q(0.2, "pJ"),
        bandwidth=q(1, "GHz"),
        area=q(100, "um2"),
    )
    assert buffer.energy_j(COUNTS, USE) == pytest.approx(300e-12 + 120e-12)
    assert buffer.layer_s(COUNTS, USE) == pytest.approx(360e-9)  # 3,600 bits over 10 tiles
    router = Router(energy=q(0.1, "pJ"), bandwidth=q(1, "GHz"), area=q(100, "um2"))
    assert router.energy_j(COUNTS, USE) == pytest.approx(90e-12)
    assert router.layer_s(COUNTS, USE) == pytest.approx(90e-9)
    digital = Digital(
        energy=q(0.2, "pJ"),
        energy_multiply_add=q(1, "pJ"),
        rate=q(1, "GHz"),
        area=q(1000, "um2"),
    )
    assert digital.energy_j(COUNTS, USE) == pytest.approx(30e-12)
    assert digital.layer_s(COUNTS, USE) == pytest.approx(7e-9)
    for part in (buffer, router, digital):
        assert part.per_image
        assert part.area_m2(COUNTS, USE) > 0
        assert part.layer_s(Counts(), USE) == 0
    assert Leakage(power=q(0.3, "mW")).idle_j(0.002) == pytest.approx(0.6e-6)


def test_every_kind_of_the_table_is_told_apart() -> None:
    kinds = [kind for section in COMPONENTS.values() for kind in section.values()]
    assert len(kinds) == len(set(kinds))
    assert {"flash", "sar", "ramp", "survey"} == COMPONENTS["adc"].keys()


def test_a_misspelt_field_and_a_wrong_unit_are_one_line() -> None:
    with pytest.raises(OptionError, match=r"did you mean 'energy_bit'"):
        ShiftAdd(energy_bits=q(1, "fJ"), area=q(30, "um2"))  # type: ignore[call-arg]
    with pytest.raises(OptionError, match=r"unit 'nJ' measures energy; expected area: um2, mm2"):
        ShiftAdd(energy_bit=q(1, "fJ"), area=q(30, "nJ"))
    with pytest.raises(OptionError, match=r"unit 'um' is unknown"):
        q(1, "um")
    with pytest.raises(OptionError, match=r"greater than or equal to 0"):
        q(-1, "pJ")
