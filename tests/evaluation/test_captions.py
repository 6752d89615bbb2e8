"""What results say of themselves in captions and titles: setups that differ, differ in words."""

from __future__ import annotations

from typing import Any

import pytest

import nvmc
from nvmc.cli.heading import heading
from nvmc.evaluation.captions import counts_of, of_text, setup_words, title_of, words_apart
from nvmc.evaluation.description import Description
from nvmc.evaluation.parameters import Setup, duration_text
from nvmc.evaluation.reading import Reading
from nvmc.hardware.devices import Target, as_noise
from nvmc.hardware.devices.adc.kinds import parse_adc
from nvmc.hardware.devices.periphery import Periphery
from nvmc.hardware.devices.settings import LayerTarget, Settings
from nvmc.hardware.devices.wires import WireOhm

CIRCUIT = {"dac_bits": 8, "adc_bits": 5, "adc_range": "calibrated"}


def target(**settings: Any) -> Target:
    around = {k: v for k, v in settings.items() if k in Periphery.model_fields}
    cells = {k: v for k, v in settings.items() if k not in around}
    return Target.of("fefet2", periphery=Periphery(**around), **cells)


def told(on: Target, **changed: Any) -> Description:
    setup = {k: changed.pop(k) for k in ("sigma", "time_s", "compensate") if k in changed}
    fields: dict[str, Any] = {
        "network": "lenet5.nvmc",
        "network_sha256": "0" * 64,
        "mapped_share": 1.0,
        "clip": None,
        "activation_bits": None,
        "calibration": None,
        "marks": None,
        "against_source": None,
        "setup": Setup.of(on, **setup),
        "fidelity": "cells" if on.ideal else "circuit",
        "mc_passes": None,
        "reading": Reading("y", "class scores"),
        "metric": "accuracy",
        "data": "digits",
        "data_sha256": None,
        "images": 531,
        "limit": None,
        "seed": 0,
        "first": 0,
        "runs": 300,
    }
    return Description(**{**fields, **changed})


OTHER: dict[str, Any] = {
    "weight_bits": 3,
    "cell_bits": 1,
    "encoding": "differential",
    "per_channel": True,
    "rows": 64,
    "cols": 64,
    "dac_bits": 6,
    "dac_mode": "bit-serial",
    "dac_slice_bits": 2,
    "accumulate": "analog",
    "dac_inl": 0.5,
    "dac_range": "calibrated",
    "signed_inputs": "offset",
    "adc_bits": 8,
    "adc_range": "full",
    "adc_range_of": "slice",
    "adc_steps": "asymmetric",
    "adc": parse_adc("sar:mismatch=0.01"),
    "adc_share": 8,
    "adc_rounding": "stochastic",
    "subtract": "digital",
    "polarity": "interleaved",
    "reference": "column",
    "wire_ohm": WireOhm(row=1.0, col=2.0),
    "wire_solution": "approximate",
    "read_v": 0.2,
    "row_split": "even",
    "rows_on": 32,
    "waiting_rows": "float",
    "column_limit": 50.0,
    "bias": "rows",
}
"""A setting -> another value than that of `CIRCUIT` and its defaults."""
SERIAL = {"dac_mode": "bit-serial"}


def test_every_setting_of_a_circuit_is_in_its_words() -> None:
    assert OTHER.keys() == Settings.model_fields.keys()
    alike = []
    for name, value in OTHER.items():
        around = CIRCUIT | (SERIAL if name in ("dac_slice_bits", "accumulate") else {})
        plain = told(target(**around))
        changed = {name: value}
        if name in Periphery.model_fields:  # whether or not it may be so without other settings
            changed = {"periphery": plain.setup.target.periphery.model_copy(update=changed)}
        other = plain.setup.target.model_copy(update=changed)
        if setup_words(plain) == setup_words(told(other)):
            alike.append(name)
    assert alike == []


def test_what_is_said_beside_the_circuit() -> None:
    on, plain = target(**CIRCUIT), told(target(**CIRCUIT))
    layers = (LayerTarget(glob="fc1", weight_bits=2),)
    narrow = (LayerTarget(glob="fc1", weight_bits=4, cell_bits=1),)
    aged = target().model_copy(
        update={"device": nvmc.load_device("pcm-joshi2020"), "weight_bits": None}
    )
    for other, said in (
        (told(on, sigma=0.3), "sigma 0.3"),
        (told(on, clip="auto"), "weights clipped (auto)"),
        (told(on, mc_passes=10), "mean of 10 stochastic passes"),
        (told(on, fidelity="cells"), "fidelity cells"),
        (told(on, calibration=("digits", "0" * 64)), "calibrated on digits"),
        (told(on, compensate=["affine"]), "compensated by affine:images=64,fit=least-squares"),
        (told(target(**CIRCUIT, wire_ohm=1.0)), "wires of 1 ohm"),
        (told(target(**CIRCUIT, layers=layers)), "layers fc1 2-bit"),
        (told(target(**CIRCUIT, layers=narrow)), "layers fc1 4-bit in 1-bit cells"),
        (told(aged, time_s=3600.0), "1 h since programming"),
        (told(with_noise(on, "stuck-at:p_low=0.2")), "noise stuck-at (p_low=0.2, p_high=0)"),
        (told(on, activation_bits=8), "8-bit activations"),
    ):
        assert said in setup_words(other).values(), said
        assert said not in setup_words(plain).values()
    assert counts_of(told(on, first=7)).startswith("300 chips from chip 7, ")


def test_what_differs_differs_in_words() -> None:
    """Long lists of noise sources and of layers, and numbers of many digits."""
    three = [f"stuck-at:p_low={low},p_high=0.01" for low in (0.1, 0.2, 0.1000001)]
    for one, other in (
        (with_noise(target(), *three[:2], three[0]), with_noise(target(), *three)),
        (layered(6), layered(7)),
    ):
        assert setup_words(told(one)) != setup_words(told(other))
    ages = [duration_text(age) for age in (1e6, 1_000_001.0, 1_000_001.5, 31_557_600e6)]
    assert ages == ["1e+06 s", "1000001 s", "1000001.5 s", "1e+06 y"]


def layered(weights: int) -> Target:
    parts = [LayerTarget(glob=f"layer{i}", adc_bits=weights, dac_bits=5) for i in range(9)]
    return target(**CIRCUIT, layers=tuple(parts))


def test_bits_of_layers_in_json() -> None:
    parts = (
        LayerTarget(glob="a", weight_bits=2),
        LayerTarget(glob="b", weight_bits=4, cell_bits=1),
        LayerTarget(glob="c", adc_bits=4),
    )
    facts = told(target(**CIRCUIT, layers=parts)).to_json()
    assert facts["bits"] == ["a=2", "b=4", "c=4"]
    assert facts["layer_cell_bits"] == ["a=2", "b=1", "c=2"]
    assert [line for line in heading(facts) if "cell bits b=1 (else 2)" in line]


def with_noise(on: Target, *texts: str) -> Target:
    device = on.device.model_copy(update={"noise": tuple(map(as_noise, texts))})
    return on.model_copy(update={"device": device})


def test_at_fidelity_cells_no_converter_is_said() -> None:
    words = setup_words(told(target(**CIRCUIT), fidelity="cells"))
    assert not any("ADC" in text or "DAC" in text for text in words.values())


def test_several_say_what_they_have_in_common_and_what_each_has_of_its_own() -> None:
    five, eight = told(target(**CIRCUIT)), told(target(dac_bits=8, adc_bits=8))
    exact = told(target(dac_bits=8))
    shared, own = words_apart([five, eight, exact])
    assert own == [["5-bit ADC", "calibrated ADC range"], ["8-bit ADC", "full ADC range"],
                   ["exact currents"]]  # fmt: skip
    assert "8-bit DAC" in shared.values() and "exact currents" not in shared.values()
    assert words_apart([five, five]) == (setup_words(five), [[], []])
    assert "ADC" not in of_text(five, eight) and "5-bit ADC" in of_text(five)
    lines = title_of([five, eight], ["a", "b"])
    assert lines[1] == "a: 5-bit ADC, calibrated ADC range; b: 8-bit ADC, full ADC range"
    assert lines[0].startswith("lenet5 on fefet2, 4-bit weights, ")
    assert lines[2] == "300 chips, 531 images of digits, seed 0"
    assert title_of([five])[0] == of_text(five).removesuffix(f", {lines[2]}")


@pytest.mark.parametrize(
    ("range_of", "text"),
    [("full", "full"), ("error", "least-error"), ("calibrated:0.7", "0.7 x calibrated")],
)
def test_ranges_of_adcs_are_words(range_of: str, text: str) -> None:
    words = setup_words(told(target(adc_bits=5, adc_range=range_of)))
    assert words["adc_range"] == f"{text} ADC range"
