"""The options of `nvmc compile` and `nvmc simulate` for circuits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nvmc.cli import main
from nvmc.compiled.artifact import open_compiled

Capture = pytest.CaptureFixture[str]


def nvmc(*arguments: str) -> int:
    return main(list(arguments))


def test_options_reach_the_target_and_choose_the_fidelity(tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "m.nvmc")
    options = ["--dac-bits", "6", "--dac-mode", "bit-serial", "--signed-inputs", "offset"]
    options += ["--adc-bits", "7", "--adc-range", "24.5", "--subtract", "digital"]
    assert nvmc("compile", "zoo:mlp3-digits", "-o", folder, *options) == 0
    assert "7-bit ADC (range 24.5)" in capsys.readouterr().out.replace("\n", " ")
    found = open_compiled(folder).manifest.target.periphery
    assert (found.dac_bits, found.dac_mode, found.signed_inputs) == (6, "bit-serial", "offset")
    assert (found.adc_bits, found.adc_range, found.subtract) == (7, 24.5, "digital")
    for asked, told in (([], "circuit"), (["--fidelity", "cells"], "cells")):
        assert nvmc("simulate", folder, "--runs", "1", "--limit", "4", "--json", *asked) == 0
        assert json.loads(capsys.readouterr().out)["description"]["fidelity"] == told


def test_compile_says_how_rows_are_spread_and_read(tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "m.nvmc")
    common = ["compile", "zoo:mlp3-digits", "-o", folder, "--tile", "48x64"]
    assert nvmc(*common) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "tiles of 48x64 3 arrays have more rows than a tile: the rows fill one tile after" in said
    )
    assert "row_split" not in (tmp_path / "m.nvmc" / "manifest.json").read_text()
    options = ["--rows", "even", "--rows-on", "16", "--column-limit", "90", "--adc-bits", "8"]
    assert nvmc(*common, *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 arrays have more rows than a tile: the rows are spread evenly over tiles" in said
    assert "at most 16 rows of a tile driven at a time; columns saturate at 90" in said
    found = open_compiled(folder).manifest.target.periphery
    assert (found.row_split, found.rows_on, found.column_limit) == ("even", 16, 90.0)
    for wrong in (["--rows-on", "0"], ["--column-limit", "-1"]):
        assert nvmc(*common, *wrong) == 1
        assert capsys.readouterr().err.startswith(f"nvmc: error: {wrong[0]}")


def test_compile_says_how_inputs_are_cut_and_added_up(tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "m.nvmc")
    options = ["--dac-bits", "7", "--dac-mode", "bit-serial", "--dac-slice-bits", "3"]
    options += ["--accumulate", "analog", "--signed-inputs", "bipolar", "--adc-bits", "8"]
    assert nvmc("compile", "zoo:mlp3-digits", "-o", folder, *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "bit-serial DAC, 3 bits a pulse, pulses added up before the ADC, bipolar" in said
    found = open_compiled(folder).manifest.target.periphery
    assert (found.dac_slice_bits, found.accumulate) == (3, "analog")
    assert found.signed_inputs == "bipolar"
    assert nvmc("simulate", folder, "--runs", "1", "--limit", "4", "--json") == 0
    assert json.loads(capsys.readouterr().out)["description"]["fidelity"] == "circuit"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "behind wires approximated (--wire-solution exact solves them)"),
        (["--wire-solution", "exact"], "every read solved with its wires"),
    ],
)
@pytest.mark.slow
def test_compile_says_how_cells_behind_wires_are_solved(
    options: list[str], told: str, tmp_path: Path, capsys: Capture
) -> None:
    folder = str(tmp_path / "m.nvmc")
    given = ["--device", "rram-milo2021", "--read-v", "0.2", "--wire-ohm", "1", *options]
    assert nvmc("compile", "zoo:mlp3-digits", "-o", folder, *given) == 0
    assert told in " ".join(capsys.readouterr().out.split())
    assert nvmc("simulate", folder, "--runs", "1", "--limit", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["description"]["fidelity"] == "circuit"


@pytest.mark.slow
def test_waiting_rows_reach_the_target(tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "m.nvmc")
    given = ["--device", "rram-milo2021", "--wire-ohm", "1", "--waiting-rows", "float"]
    given += ["--tile", "16x16"]
    assert nvmc("compile", "zoo:mlp3-digits", "-o", folder, *given) != 0
    assert "none waits; give rows_on" in " ".join(capsys.readouterr().err.split())
    assert nvmc("compile", "zoo:mlp3-digits", "-o", folder, *given, "--rows-on", "8") == 0
    assert "driven at a time, the others floating" in " ".join(capsys.readouterr().out.split())
    assert open_compiled(folder).manifest.target.periphery.waiting_rows == "float"
    assert nvmc("simulate", folder, "--runs", "1", "--limit", "2", "--json") == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--encoding", "offset"], "within the ADC's range; its nominal value is subtracted"),
        (["--encoding", "offset", "--reference", "exact"], "assumed to be subtracted before"),
        (["--encoding", "offset", "--reference", "column"], "subtracted by reference columns"),
        (["--encoding", "sign-magnitude"], "assumed to be subtracted before the ADC without error"),
        (["--subtract", "digital"], "within the ADC's range"),
        ([], None),  # pairs, subtracted before the ADC
    ],
)
def test_compile_says_what_becomes_of_the_off_current(
    options: list[str], told: str | None, tmp_path: Path, capsys: Capture
) -> None:
    folder = str(tmp_path / "m.nvmc")
    given = ["--device", "rram-milo2021", "--dac-bits", "6", "--adc-bits", "7", *options]
    assert nvmc("compile", "zoo:mlp3-digits", "-o", folder, *given) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("Current of level 0 (0.22 of the highest): " in said) is (told is not None)
    assert told is None or told in said
    asked = options[options.index("--reference") + 1] if "--reference" in options else "auto"
    assert open_compiled(folder).manifest.target.periphery.reference == asked


def test_a_reference_column_makes_a_circuit_of_itself(tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "m.nvmc")
    given = ["--device", "rram-milo2021", "--encoding", "offset", "--reference", "column"]
    assert nvmc("compile", "zoo:mlp3-digits", "-o", folder, *given) == 0
    assert "reference column" in " ".join(capsys.readouterr().out.split())
    assert nvmc("simulate", folder, "--runs", "1", "--limit", "4", "--json") == 0
    assert json.loads(capsys.readouterr().out)["description"]["fidelity"] == "circuit"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--adc-bits", "17"], "--adc-bits: input should be less than or equal to 16 (got 17)"),
        (["--dac-bits", "0"], "--dac-bits: input should be greater than or equal to 1 (got 0)"),
        (["--dac-mode", "bit-serial"], "bit-serial inputs need dac_bits"),
        (["--dac-bits", "1", "--signed-inputs", "offset"], "need at least 2 dac_bits"),
        (["--dac-bits", "4", "--dac-slice-bits", "2"], "multi-level inputs have one pulse; give"),
        (["--accumulate", "analog"], "multi-level inputs have one pulse; give dac_mode bit-serial"),
        (["--polarity", "opposed", "--subtract", "digital"], "subtracts in the bit line; give"),
        (["--polarity", "opposed", "--encoding", "offset"], "'opposed', but weights under offset"),
        (["--signed-inputs", "bipolar", "--read-v", "0.2"], "put negative voltages on cells"),
        (["--adc-range", "wide"], "--adc-range is 'wide'; expected full, calibrated, error, kpp,"),
        (["--adc-range", "-1"], "--adc-range is '-1'; expected full, calibrated, error, kpp,"),
        (["--adc-range", "nan"], "--adc-range is 'nan'; expected full, calibrated, error, kpp,"),
        (["--reference", "column"], "reference is 'column', but sign-magnitude leaves cells"),
        (["--read-v", "0"], "--read-v: input should be greater than 0 (got 0.0)"),
        (["--read-v", "0.2", "--device", "rram4"], "'rram4' states no current at a voltage; add"),
        (["--read-v", "0.6", "--device", "rram-milo2021"], "vouches for at most 0.5 V; lower it"),
        (["--wire-ohm", "1,x"], "--wire-ohm is '1,x'; expected R, or R,C, or R,C,DRIVER,SENSE in"),
        (["--wire-ohm", "1,2,3"], "expected R, or R,C, or R,C,DRIVER,SENSE in ohm"),
        (["--wire-ohm", "1,2,3,-4"], "--wire-ohm sense: input should be greater than or equal to"),
        (
            ["--wire-ohm", "5", "--device", "rram4"],
            "'rram4' states no conductance, which wires need",
        ),
        (["--adc-range", "calibrated"], "have no range; give --adc-bits 1 to 16, or leave"),
        (
            ["--adc-bits", "4", "--adc-range", "calibrated"],
            "a range is to be calibrated, but there are no images; give --data SPEC",
        ),
    ],
)
def test_bad_options_are_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: Capture
) -> None:
    assert nvmc("compile", "zoo:mlp3-digits", "-o", str(tmp_path / "m.nvmc"), *options) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
