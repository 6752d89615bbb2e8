"""`nvmc targets`, and `--target` wherever a network is compiled or trained for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nvmc.cli import main
from nvmc.compiled.artifact import open_compiled
from nvmc.hardware.devices import Target, target_names

MINE = """device = "rram4"
weight_bits = 6
adc_bits = 8
dac_bits = 6

[[layers]]
match = "conv*"
device = "fefet2"
rows = 64
adc_bits = 5
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(MINE)


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    assert main(list(words)) == 0, capsys.readouterr().err
    streams = capsys.readouterr()
    return " ".join(streams.out.split()), " ".join(streams.err.split())


def test_targets_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("targets",), ("targets", "list")):
        assert all(name in ran(capsys, *words)[0] for name in target_names())
        listed = json.loads(ran(capsys, *words, "--json")[0])["targets"]
        assert [one["name"] for one in listed] == target_names()
    told, _ = ran(capsys, "targets", "show", "isaac")
    assert "Shafiee et al., ISCA 2016" in told and "not modelled" in told
    assert "weight bits 15 cell bits 2 encoding offset" in told
    told, _ = ran(capsys, "targets", "show", "mine.toml")
    assert "layers conv* device fefet2, rows 64, adc bits 5" in told
    shown = json.loads(ran(capsys, "targets", "show", "mine.toml", "--json")[0])
    assert shown["layers"] == [{"match": "conv*", "device": "fefet2", "rows": 64, "adc_bits": 5}]
    assert main(["targets", "show", "isac"]) == 1
    assert "did you mean 'isaac'?" in capsys.readouterr().err


def test_compile_takes_a_target_and_says_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    told, err = ran(capsys, "compile", "zoo:lenet5-digits", "--target", "mine.toml")
    assert "array device tile adc bits" in told and "in place of" not in err
    assert "conv1.weight fefet2 64x128 5" in told and "fc1.weight rram4 128x128 8" in told
    assert "Layers conv*: fefet2 (sigma 0.1)" in told
    target = open_compiled("lenet5-digits.nvmc").manifest.target
    assert target.of_array("conv1.weight").periphery.adc_bits == 5
    expected = Target.load("mine.toml").layers[0]
    assert target.layers[0].model_copy(update={"arrays": ()}) == expected


def test_options_override_the_file_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--adc-bits", "7", "--tile", "32x16", "--device", "fefet1")
    _, err = ran(capsys, "compile", "zoo:lenet5-digits", "--target", "mine.toml", *words)
    assert "adc_bits 7 in place of 8 of target mine; layers conv* keep their own" in err
    assert "rows 32 of target mine; layers conv* keep their own" in err
    assert "cols 16 of target mine" in err
    assert "device fefet1 in place of rram4 of target mine; layers conv* keep" in err
    target = open_compiled("lenet5-digits.nvmc").manifest.target
    own, rest = target.of_array("conv1.weight"), target.of_array("fc1.weight")
    assert (own.device.name, own.rows, own.cols, own.periphery.adc_bits) == ("fefet2", 64, 16, 5)
    assert (rest.device.name, rest.rows, rest.periphery.adc_bits) == ("fefet1", 32, 7)


def test_a_glob_of_no_layer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text(MINE.replace("conv*", "cnv*"))
    assert main(["compile", "zoo:lenet5-digits", "--target", "mine.toml"]) == 1
    err = capsys.readouterr().err
    assert "glob 'cnv*' of the target's layers" in err and "conv1.weight" in err
    assert err.count("\n") == 1 and not Path("lenet5-digits.nvmc").exists()


def test_simulate_says_which_layers_options_do_not_reach(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran(capsys, "compile", "zoo:lenet5-digits", "--target", "mine.toml")
    short = ("--runs", "2", "--limit", "3", "--data", "digits")
    told, err = ran(capsys, "simulate", *short, "--sigma", "0.2", "--noise", "additive:sigma=0.1")
    assert "--sigma, --noise for all layers but conv*, which have their own" in err
    assert "layers conv*: fefet2 (sigma 0.1)" in told
    _, err = ran(capsys, "simulate", *short)
    assert "which have their own" not in err
    _, err = ran(capsys, "sweep", *short, "--adc-bits", "6,8", "--sigma", "0.1")
    assert "--sigma, --adc-bits for all layers but conv*" in err


def test_train_takes_a_target_and_passes_it_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "zoo:mlp3-digits", "--target", "mine.toml", "--data", "digits")
    Path("mine.toml").write_text(MINE.replace('"conv*"', '"*"').replace("fefet2", "fefet1"))
    options = ("--epochs", "1", "--chips", "2", "--validation-limit", "20", "--seed", "1")
    told, _ = ran(capsys, *words, *options, "--batch", "1024", "--circuit", "judged")
    assert "nvmc compile mlp3-digits-hwa.onnx --target mine.toml" in told


def test_verification_counts_by_the_devices_of_layers(capsys: pytest.CaptureFixture[str]) -> None:
    """All layers on PCM of their own, beside a base of fefet2: as a network on PCM."""
    pcm = 'device = "pcm-joshi2020"\nweight_bits = "none"\nencoding = "differential"\n'
    Path("all.toml").write_text(
        f'device = "fefet2"\nweight_bits = 4\n\n[[layers]]\nmatch = "*"\n{pcm}'
    )
    ran(capsys, "compile", "zoo:mlp3-digits", "--target", "all.toml", "-o", "all.nvmc")
    words = ("--device", "pcm-joshi2020", "--encoding", "differential")
    ran(capsys, "compile", "zoo:mlp3-digits", *words, "-o", "pcm.nvmc")
    verify = ("--compensate", "verify:share=0.5,order=magnitude,tolerance=0.3")
    words = ("--data", "digits", "--limit", "4", "--runs", "1", "--no-store", "--json", *verify)
    own, plain = (
        json.loads(ran(capsys, "simulate", name, *words)[0])["compensation"]
        for name in ("all.nvmc", "pcm.nvmc")
    )
    assert own[0]["needs"] == plain[0]["needs"] and own[0]["needs"]["writes"] > 1000


def test_ranges_to_be_found_need_an_adc(capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever bits and range are stated: here, there, or the one here and the other there."""
    words = ("compile", "zoo:mlp3-digits", "--data", "digits", "--target")
    base = 'device = "rram4"\n'
    Path("t.toml").write_text(base + "dac_bits = 4\nadc_bits = 5\n")
    ran(capsys, *words, "t.toml", "--adc-range", "calibrated")
    layer = '[[layers]]\nmatch = "fc1*"\nadc_range = "calibrated"\n'
    for text, where in (
        (base + 'adc_range = "calibrated"\n', "target t: --adc-range is calibrated"),
        (base + layer, "target t, layers fc1*: --adc-range is calibrated"),
    ):
        Path("t.toml").write_text(text)
        assert main([*words, "t.toml"]) == 1
        told = capsys.readouterr().err
        assert where in told and told.count("\n") == 1


def test_a_layer_without_adc_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bare.toml").write_text(MINE.replace("adc_bits = 5", 'adc_bits = "none"'))
    ran(capsys, "compile", "zoo:lenet5-digits", "--target", "bare.toml", "-o", "bare.nvmc")
    assert main(["cost", "bare.nvmc", "--hardware", "isaac-32nm"]) == 1
    told = capsys.readouterr().err
    assert "array 'conv1.weight' was compiled with no ADC" in told
    assert "state adc_bits (1 to 16) of its layers in the target file" in told
    told, _ = ran(capsys, "inspect", "bare.nvmc", "--data", "digits", "--limit", "2")
    assert "Currents in % of the ADC's range" in told
    assert "There is no ADC behind conv1.weight, conv2.weight, so there are no codes" in told
