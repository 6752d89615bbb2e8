"""`nvmc compile` on ADC ranges: what it warns of, and what it looks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nvmc import Compiled, Target, open_compiled, simulate
from nvmc.cli import main
from nvmc.data import load_data
from nvmc.evaluation.best_range import RANGES, best_range
from nvmc.hardware.chip import CHOOSING
from nvmc.hardware.devices import Periphery, load_device
from nvmc.models import resolve_model

Capture = pytest.CaptureFixture[str]

WASTE = "leaves more than half of its codes unused"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def compiled(capsys: Capture, *words: str) -> tuple[Compiled, str]:
    capsys.readouterr()
    assert main(["compile", "zoo:mlp3-digits", "-o", "m.nvmc", *words]) == 0
    return open_compiled("m.nvmc"), capsys.readouterr().err


def test_a_full_range_is_warned_of_and_the_option_that_helps_named(capsys: Capture) -> None:
    network, error = compiled(capsys, "--adc-bits", "6", "--dac-bits", "6")
    assert error.count("\n") == 1 and WASTE in error
    assert "fc3.weight (" in error and "--adc-range error with --data SPEC" in error
    for entry in network.manifest.arrays:
        codes = entry.adc_codes
        assert codes is not None and 0 < codes.reachable < 1 and codes.seen is None
        assert (f"{entry.name} (" in error) == (codes.reachable < 0.5)


def test_what_images_show_is_warned_of_where_weights_do_not_tell(capsys: Capture) -> None:
    """Currents can reach this range, but hardly ever do: no image makes half of it."""
    words = ["--adc-bits", "8", "--dac-bits", "6", "--adc-range", "4500", "--data", "digits"]
    network, error = compiled(capsys, *words)
    assert "were seen on 16 images" in error and "; --adc-range error fits" in error
    seen = [entry.adc_codes for entry in network.manifest.arrays]
    assert all(codes is not None and codes.seen is not None for codes in seen)
    assert any(c and c.seen and c.seen < 0.5 <= c.reachable for c in seen)


@pytest.mark.parametrize("words", [[], ["--adc-bits", "6", "--adc-range", "error"]])
def test_nothing_is_said_where_nothing_is_wasted(words: list[str], capsys: Capture) -> None:
    network, error = compiled(capsys, *words, "--data", "digits")
    assert error == ""
    assert all((entry.adc_codes is None) == (not words) for entry in network.manifest.arrays)


def ranges_of(capsys: Capture, *words: str) -> dict[str, tuple[float, float | None]]:
    network, _ = compiled(capsys, "--dac-bits", "5", "--adc-bits", "5", "--data", "digits", *words)
    found = network.manifest.target.periphery.ranges
    return {one.array: (one.input, one.current) for one in found}


@pytest.mark.parametrize("rule", ["calibrated", "error"])
def test_a_factor_scales_every_range(rule: str, capsys: Capture) -> None:
    whole = ranges_of(capsys, "--adc-range", rule)
    half = ranges_of(capsys, "--adc-range", f"{rule}:0.5")
    assert whole.keys() == half.keys()
    for name, (reach, current) in whole.items():
        assert current is not None and half[name] == (reach, pytest.approx(current / 2))


def test_both_converters_clip_where_that_costs_less_than_coarse_steps(capsys: Capture) -> None:
    seen = ranges_of(capsys, "--adc-range", "calibrated", "--dac-range", "calibrated")
    least = ranges_of(capsys, "--adc-range", "error", "--dac-range", "error")
    for name, (reach, current) in least.items():
        assert 0 < reach <= seen[name][0]
        assert current is not None
    assert any(least[name][0] < seen[name][0] for name in seen)


def test_a_sweep_says_that_ranges_are_those_of_other_bits(capsys: Capture) -> None:
    compiled(capsys, "--adc-bits", "5", "--adc-range", "error", "--data", "digits")
    common = ["sweep", "m.nvmc", "--runs", "1", "--limit", "5", "--percentile", "50", "--no-store"]
    assert main([*common, "--data", "digits", "--adc-bits", "4,5"]) == 0
    assert "the ADCs' ranges are those of least error at 5 bits" in capsys.readouterr().err
    assert main([*common, "--data", "digits", "--adc-bits", "5,none"]) == 0
    assert "least error" not in capsys.readouterr().err


def target(adc_range: Any) -> Target:
    periphery = Periphery(dac_bits=4, adc_bits=3, adc_range=adc_range)
    return Target.of(load_device("rram4"), weight_bits=4, periphery=periphery)


def test_the_best_kpp_is_that_of_simulations(tmp_path: Path) -> None:
    source, few = resolve_model("zoo:mlp3-digits"), {"chips": 3, "limit": 30}
    told: list[Any] = []
    best, tried = best_range(source, target("full"), "digits", on_tried=told.append, **few)  # pyright: ignore[reportArgumentType]
    assert [one.adc_range for one in tried] == list(RANGES) and told == tried
    assert best.kpp == max(one.kpp for one in tried)
    from nvmc import compile_model

    images = load_data("digits", "validation", 30)
    for one in tried[::3]:
        network = compile_model(source, target(one.adc_range), output=tmp_path / "n", data="digits")
        found = simulate(network, runs=3, data=images, seed=CHOOSING)
        assert (found.ideal, found.kpp.value) == (one.ideal, one.kpp)


def test_the_command_takes_the_best_and_says_what_it_tried(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nvmc.evaluation import best_range as module

    worth = {text: (1.0, 0.8) for text in RANGES} | {"error:0.7": (0.99, 0.85)}

    def judged(source: Path, target: Target, *rest: Any) -> tuple[float, float]:
        return worth[str(target.periphery.adc_range)]

    monkeypatch.setattr(module, "judged", judged)
    capsys.readouterr()
    words = ["compile", "zoo:mlp3-digits", "--adc-bits", "4", "--dac-bits", "4", "-o", "m.nvmc"]
    assert main([*words, "--adc-range", "kpp:0.1", "--data", "digits"]) == 0
    text = capsys.readouterr().out
    assert "of 100 chips at sigma 0.1" in text and "--adc-range error:0.5" in text
    assert "KPP 85.00 %, ideal chip 99.00 %" in text
    assert open_compiled("m.nvmc").manifest.target.periphery.adc_range == "error:0.7"
    assert main([*words, "--adc-range", "kpp", "--data", "digits", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["target"]["periphery"]["adc_range"] == "error:0.7"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--adc-bits", "4", "--adc-range", "kpp"], "judges chips, and needs --data"),
        (["--adc-range", "kpp", "--data", "digits"], "without --adc-bits"),
        (["--adc-bits", "4", "--adc-range", "kpp:x", "--data", "digits"], "kpp:SIGMA"),
        (["--adc-bits", "4", "--adc-range", "error"], "a range is to be calibrated, but there"),
        (["--adc-bits", "4", "--adc-range", "error:0"], "--adc-range is 'error:0'"),
        (["--adc-bits", "4", "--adc-range", "eror"], "--adc-range is 'eror'; expected full"),
        (["--dac-bits", "4", "--dac-range", "error"], "a range is to be calibrated, but there"),
    ],
)
def test_bad_options_are_one_line(words: list[str], message: str, capsys: Capture) -> None:
    assert main(["compile", "zoo:mlp3-digits", "-o", "m.nvmc", *words]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("m.nvmc").exists()


@pytest.mark.torch
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--adc-bits", "4", "--adc-range", "error"],
            "--adc-range error is found by",
        ),
        (
            ["--dac-bits", "4", "--dac-range", "error"],
            "--dac-range error is found by",
        ),
        (["--adc-bits", "4", "--adc-range", "kpp"], "which only `nvmc compile` looks for"),
    ],
)
def test_training_refuses_what_it_cannot_find(
    words: list[str], message: str, capsys: Capture
) -> None:
    common = ["train", "zoo:mlp3-digits", "--data", "digits", "--epochs", "1", "-o", "t.onnx"]
    assert main([*common, *words]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
