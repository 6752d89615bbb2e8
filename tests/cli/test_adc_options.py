"""Kinds of ADC from the command line, and where they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]

BITS = ["--device", "fefet2", "--dac-bits", "4", "--adc-bits", "5"]
KIND = "sar:noise=0.2,mismatch=0.02"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def compiled(*words: str) -> int:
    return main(["compile", "zoo:mlp3-digits", *words, "-o", "n.nvmc"])


def manifest() -> dict[str, Any]:
    return json.loads(Path("n.nvmc/manifest.json").read_text())


def simulated(capsys: Capture, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    given = ["--data", "digits", "--limit", "40", "--runs", "3", "--no-store", "--json"]
    assert main(["simulate", "n.nvmc", *given, *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_kind_is_said_kept_and_counts_in_what_chips_are_worth(capsys: Capture) -> None:
    assert compiled(*BITS) == 0
    plain = simulated(capsys)
    assert not {"adc", "adc_share", "adc_rounding"} & plain["description"]["periphery"].keys()
    words = ["--adc", KIND, "--adc-share", "4", "--adc-rounding", "stochastic"]
    assert compiled(*BITS, *words) == 0
    told = capsys.readouterr().out
    assert f"ADC (range full), {KIND}, 4 columns each, stochastic rounding" in told
    held = manifest()["target"]["periphery"]
    assert (held["adc"]["type"], held["adc"]["mismatch"], held["adc_share"]) == ("sar", 0.02, 4)
    erring = simulated(capsys)
    assert erring["description"]["periphery"]["adc"]["noise"] == 0.2
    assert erring["ideal"] == plain["ideal"]
    assert erring["values"] != plain["values"]
    assert simulated(capsys, "--batch", "7", "--jobs", "2")["values"] == erring["values"]


def test_layers_have_kinds_of_their_own(capsys: Capture) -> None:
    Path("mine.toml").write_text(
        'device = "fefet2"\ndac_bits = 4\nadc_bits = 5\nadc = "flash:comparator=0.2"\n'
        '[[layers]]\nmatch = "*fc1*"\nadc = { type = "ramp", slope = 0.01 }\nadc_share = 2\n'
        '[[layers]]\nmatch = "*fc2*"\nadc_bits = "none"\n'
    )
    assert compiled("--target", "mine.toml") == 0
    told = capsys.readouterr().out
    assert "flash:comparator=0.2" in told and "adc ramp:slope=0.01, adc_share 2" in told
    layers = manifest()["target"]["layers"]
    assert layers[0]["adc"]["slope"] == 0.01 and "adc" not in layers[1]
    assert len(simulated(capsys)["values"]) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--adc", "sarr", *BITS],
            "--adc 'sarr': type 'sarr' is unknown; expected one",
        ),
        (["--adc", "sar:comparator=x", *BITS], "--adc 'sar:comparator=x': comparator: "),
        (["--adc", "sar:mismatch=0.1", "--device", "fefet2"], "adc needs adc_bits; give 1 to 16"),
        (["--adc-share", "0", *BITS], "--adc-share: input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], told: str, capsys: Capture) -> None:
    assert compiled(*words) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_target_file_says_which_key_is_wrong(capsys: Capture) -> None:
    Path("mine.toml").write_text('device = "fefet2"\nadc_bits = 5\nadc = "sar:mis=1"\n')
    assert compiled("--target", "mine.toml") == 1
    assert "target file 'mine.toml': adc: " in capsys.readouterr().err


def test_inspection_counts_the_codes_that_the_chip_gives(capsys: Capture) -> None:
    """An offset of some ten codes shows at currents that an ideal ADC calls nearly nothing."""
    found: list[dict[str, Any]] = []
    for adc in ("ideal", "ideal:offset=10"):
        assert compiled(*BITS, "--adc", adc) == 0
        capsys.readouterr()
        assert main(["inspect", "n.nvmc", "--data", "digits", "--limit", "5", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    codes = [one["arrays"][0]["codes"] for one in found]
    assert codes[1]["used"] > codes[0]["used"]
    assert codes[1]["highest"] > codes[0]["highest"] + 2
    errors = [one["layers"][0]["errors"]["ADC"] for one in found]
    assert errors[1] > errors[0]


@pytest.mark.parametrize(
    ("words", "key", "told"),
    [
        (["--adc-range-of", "slice"], "parts", "a range per slice"),
        (["--adc-range-of", "column"], "parts", "a range per column"),
        (["--adc-steps", "asymmetric"], "lowest", "asymmetric steps"),
        (["--adc-steps", "lloyd-max"], "levels", "lloyd-max steps"),
    ],
)
def test_ranges_are_found_on_data_and_kept(
    words: list[str], key: str, told: str, capsys: Capture
) -> None:
    """Outputs of the ideal chip err less than with one range for all, at 3 bits."""
    common = ["--device", "fefet2", "--dac-bits", "4", "--adc-bits", "3"]
    common += ["--adc-range", "calibrated", "--data", "digits", "--tile", "32x32"]
    together: list[float] = []
    for given in ([], words):
        assert compiled(*common, *given) == 0
        assert (f"ADC (range calibrated), {told}" in capsys.readouterr().out) == bool(given)
        assert main(["inspect", "n.nvmc", "--data", "digits", "--limit", "20", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        together.append(sum(layer["errors"]["ADC"] for layer in found["layers"]))
        assert all(a["codes"]["used"] <= a["codes"]["available"] for a in json_arrays(found))
    assert together[1] < together[0]
    for seen in manifest()["target"]["periphery"]["ranges"]:
        assert seen.keys() == {"array", "input", "current", key}


def json_arrays(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [array for array in found["arrays"] if array["codes"] is not None]


def test_levels_for_other_bits_are_refused(capsys: Capture) -> None:
    words = ["--adc-range", "calibrated", "--adc-steps", "lloyd-max", "--data", "digits"]
    assert compiled(*BITS, *words) == 0
    given = ["--adc-bits", "4", "--data", "digits", "--limit", "20", "--runs", "2", "--no-store"]
    assert main(["sweep", "n.nvmc", *given]) == 1
    assert "calibrated levels, but an ADC of 4 bits has 15 codes" in capsys.readouterr().err


def test_training_refuses_what_its_circuit_does_not_have(capsys: Capture) -> None:
    words = ["train", "zoo:mlp3-digits", "--data", "digits", *BITS, "--adc", KIND, "-o", "t.onnx"]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "cannot be trained through" in error and "--circuit judged" in error
    assert KIND in error
