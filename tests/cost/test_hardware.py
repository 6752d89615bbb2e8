"""Hardware files: what ships, what is refused, and fitting one to a macro."""

from __future__ import annotations

from pathlib import Path

import pytest

import nvmc.cost.hardware as hardware_module
from nvmc import load_hardware
from nvmc.cost.band import bands, factor, judges, ratios
from nvmc.cost.components import COMPONENTS
from nvmc.cost.counts import Counts, Use
from nvmc.cost.fit import fit_hardware, hardware_text
from nvmc.cost.hardware import Hardware, hardware_names, parse_hardware
from nvmc.cost.macros import DIMENSIONS, Macro, macros, parse_macros, predicted, published
from nvmc.cost.quantity import Quantity
from nvmc.errors import HardwareError, OptionError

NAMES = ["aimc-28nm", "generic", "hermes-14nm", "isaac-32nm", "neurram-130nm"]


def test_five_come_with_nvmc() -> None:
    assert hardware_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_constant_says_where_it_is_from(name: str) -> None:
    hardware = load_hardware(name)
    assert hardware.calibration.macros
    assert hardware.calibration.source
    found = [
        value
        for part in hardware.components.values()
        for value in vars(part).values()
        if isinstance(value, Quantity)
    ]
    assert len(found) > 15
    assert all(len(value.source) > 5 for value in found)


@pytest.mark.parametrize("name", NAMES)
def test_calibrated_macros_are_met_on_average(name: str) -> None:
    hardware = load_hardware(name)
    on = [macro for macro in macros() if macro.chip in hardware.calibration.macros]
    for dimension in DIMENSIONS:
        found = factor(hardware, dimension, on)
        assert found is None or found == pytest.approx(1, rel=5e-3), dimension


@pytest.mark.parametrize("name", NAMES)
def test_bands_are_the_extremes_of_macros_that_were_held_out(name: str) -> None:
    """A slow loop: published over predicted, by chips that the factor did not see."""
    hardware = load_hardware(name)
    fitted = hardware.calibration.macros
    for dimension, band in bands(hardware).items():
        values: dict[str, list[float]] = {}
        for macro in macros():
            if not macro.measured or not macro.conducts or dimension not in published(macro):
                continue
            one = published(macro)[dimension] / predicted(hardware, macro)[dimension]
            if macro.chip in fitted:
                others = [m for m in macros() if m.chip in fitted and m.chip != macro.chip]
                left = factor(hardware, dimension, others)
                if left is None:
                    continue
                one /= left
            values.setdefault(macro.chip, []).append(one)
        every = [value for chip in values.values() for value in chip]
        assert (band.low, band.high) == pytest.approx((min(every), max(every)))
        assert band.chips == len(values)
        assert band.coverage == (band.chips - 1) / (band.chips + 1)


def test_eight_chips_of_whole_columns_judge_and_sram_does_not() -> None:
    judging = {r.macro.chip for r in ratios(load_hardware("generic"), "energy") if judges(r)}
    assert len(judging) == 8
    assert {macro.chip for macro in macros() if macro.cell == "SRAM"}.isdisjoint(judging)
    assert "isaac" not in judging  # a design on paper


def test_published_figures_by_hand() -> None:
    hermes = next(macro for macro in macros() if macro.name == "hermes")
    found = published(hermes)
    # 2 x 256 x 256 operations at 10.5 TOPS/W are 12.483 nJ; in 130 ns 1.0083 TOPS; / 1.59 mm2
    assert found["energy"] == pytest.approx(12.483e-9, rel=1e-3)
    assert found["time"] == pytest.approx(130e-9)
    assert found["area"] == pytest.approx(0.6341e-6, rel=1e-3)


def test_isaacs_crossbar_has_the_power_of_its_table() -> None:
    """Table I: 24.08 mW for 8 crossbars, each read in 100 ns."""
    isaac = next(macro for macro in macros() if macro.name == "isaac")
    hardware = load_hardware("isaac-32nm")
    assert predicted(hardware, isaac)["energy"] == pytest.approx(24.08e-3 / 8 * 100e-9, rel=0.01)
    assert predicted(hardware, isaac)["time"] == pytest.approx(100e-9)


def test_time_of_tiles_is_a_pipeline_of_two_stages_where_columns_are_held() -> None:
    hardware = load_hardware("isaac-32nm")
    use, counts = Use(128, 128, 1, 8, 8), Counts(vectors=5, pulses=8, columns=64)
    read, convert = 100e-9, 64 * 0.78125e-9
    assert hardware.tiles_s(counts, use) == pytest.approx(40 * read + convert)
    parts = {name: part for name, part in hardware.components.items() if name != "sample_hold"}
    without = hardware.model_copy(update={"components": parts})
    assert without.tiles_s(counts, use) == pytest.approx(40 * (read + convert))


HEAD = """
name = "x"
title = "x"
source = "here"
node = { value = 32, unit = "nm", source = "here" }
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is not TOML"),
        (HEAD + "[adcs]\n", "section 'adcs' is unknown; expected one of"),
        (HEAD + "[adc]\nkind = 'pipeline'\n", "kind 'pipeline' is unknown; expected one of flash"),
        (HEAD + "[adc]\nshared = 1\n", "adc has no kind; expected one of flash, sar, ramp, survey"),
        (HEAD + "adc = 3\n", "adc is 3; expected a section [adc]"),
        (HEAD, "section 'array' is missing"),
        (
            HEAD + '[dac]\nenergy_bit = { value = -1, unit = "pJ", source = "here" }\n',
            "dac.energy_bit.value: input should be greater than or equal to 0 (got -1)",
        ),
        (
            HEAD + '[dac]\nenergy_bit = { value = 1, unit = "pJ" }\n',
            "dac.energy_bit.source: is missing",
        ),
        (
            HEAD + '[dac]\nenergy_bit = { value = 1, unit = "ns", source = "here" }\n',
            "dac.energy_bit: unit 'ns' measures time; expected energy",
        ),
        (HEAD + "[dac]\nnergy = 1\n", "did you mean 'energy'?"),
    ],
)
def test_bad_files_are_one_line(text: str, said: str) -> None:
    with pytest.raises(HardwareError) as caught:
        parse_hardware(text.encode(), "bad.toml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "bad.toml" in str(caught.value)


def test_names_and_files_that_are_not_there() -> None:
    with pytest.raises(HardwareError, match=r"did you mean 'isaac-32nm'"):
        load_hardware("isac-32nm")
    with pytest.raises(HardwareError, match=r"cannot read hardware file './none.toml'"):
        load_hardware("./none.toml")
    with pytest.raises(OptionError, match="load_hardware has no option"):
        load_hardware(hardware="generic")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_written_is_the_hardware(name: str) -> None:
    hardware = load_hardware(name)
    again = parse_hardware(hardware_text(hardware).encode(), "again.toml")
    assert again == hardware


MINE = """
[[macro]]
name = "mine"
chip = "mine"
title = "My macro"
source = "my lab's notebook"
cell = "RRAM"
low_us = 2.0
high_us = 50.0
node_nm = 22
rows = 256
cols = 256
inputs = 256
outputs = 64
conversions = 64
cells = 2
dac_bits = 4
adc_bits = 6
adcs = 64
tops_per_w = 30.0
time_ns = 50
tops_per_mm2 = 2.0
"""


def mine() -> tuple[Macro, ...]:
    return parse_macros(MINE.encode(), "mine.toml")


@pytest.mark.parametrize("base", ["generic", "hermes-14nm"])
def test_a_fitted_file_meets_its_macro(base: str) -> None:
    fitted = fit_hardware(mine(), load_hardware(base), "mine-22nm")
    again = parse_hardware(hardware_text(fitted).encode(), "mine-22nm.toml")
    assert again.node.value == 22
    assert again.calibration.macros == ("mine",)
    for dimension in DIMENSIONS:
        ours, theirs = predicted(again, mine()[0])[dimension], published(mine()[0])[dimension]
        assert ours == pytest.approx(theirs)
    assert bands(again)["energy"].chips == 8  # all that come with nvmc judge it


def test_macros_of_two_nodes_are_no_fit() -> None:
    two = (*mine(), next(macro for macro in macros() if macro.name == "liu"))
    with pytest.raises(OptionError, match="macros are of 2 nodes"):
        fit_hardware(two, load_hardware("generic"), "both")


def test_a_macro_file_that_is_wrong_is_one_line() -> None:
    for text, said in (
        ("x = 1", "expected [[macro]] only"),
        (MINE.replace("tops_per_w = 30.0", "tops_per_w = 0.0"), "tops_per_w"),
        (MINE.replace("adcs = 64\n", ""), "adcs: is missing"),
    ):
        with pytest.raises(HardwareError) as caught:
            parse_macros(text.encode(), "bad.toml")
        assert said in str(caught.value)


def test_hardware_of_ones_own_has_a_band(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(hardware_text(load_hardware("generic")), encoding="utf-8")
    assert load_hardware(path) == load_hardware("generic")


def test_hardware_calibrated_on_everything_is_refused() -> None:
    hardware = load_hardware("generic")
    only = [macro for macro in macros() if macro.chip in ("hermes", "liu")]
    one = hardware.calibration.model_copy(update={"macros": ("hermes",)})
    fitted: Hardware = hardware.model_copy(update={"calibration": one})
    with pytest.raises(HardwareError, match="so it has no band"):
        bands(fitted, only)


def test_one_more_component_is_a_class_and_a_row() -> None:
    assert all(cls.__doc__ for kinds in COMPONENTS.values() for cls in kinds.values())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("columns = 14", "columns = 0", "mesh.columns"),
        ("columns = 14", "columns = 13", "shared_columns = 2 does not divide"),
        ("hop = {", "hops = {", "hops"),
        ('value = 64, unit = "KiB"', 'value = 64, unit = "ns"', "expected memory"),
        ("[router]", "[leakage2]", "leakage2"),
    ],
)
def test_an_impossible_mesh_is_one_line(old: str, new: str, said: str) -> None:
    library = Path(hardware_module.__file__).parent / "library" / "isaac-32nm.toml"
    text = library.read_text()
    assert old in text
    with pytest.raises(HardwareError) as caught:
        parse_hardware(text.replace(old, new, 1).encode(), "mine.toml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mesh_needs_a_router_and_survives_a_fit() -> None:
    hardware = load_hardware("isaac-32nm")
    parts = {name: part for name, part in hardware.components.items() if name != "router"}
    with pytest.raises(ValueError, match="router"):
        Hardware.model_validate(hardware.model_dump() | {"components": parts})
    again = parse_hardware(hardware_text(hardware).encode(), "mine.toml")
    assert again.mesh == hardware.mesh
