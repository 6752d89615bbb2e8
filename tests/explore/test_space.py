"""Spaces: what a file may say, and what a design makes of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from nvmc.errors import NvmcError, OptionError
from nvmc.explore.choices import choice_of_text, text_of
from nvmc.explore.search import Search
from nvmc.explore.space import Design, Space, read_space
from nvmc.hardware.devices.sources.programming import Programming
from source_tree import ROOT


def space_of(tmp_path: Path, choices: str, title: str = "") -> Space:
    file = tmp_path / "space.toml"
    file.write_text(f"{title}\n[choices]\n{choices}\n")
    return read_space(file)


ALL = """
device = ["fefet2", "rram4"]
weight_bits = [4, "none"]
cell_bits = 2
per_channel = [true, false]
tile = "32x64"
adc_bits = 6
rows_on = ["none", 16]
tolerance = ["none", 0.1]
max_pulses = 7
digital = ["none", "conv*", ["fc1*", "fc3*"]]
clip = [2.5, "auto", "none"]
activation_bits = ["none", 8]
"""


def test_every_combination_is_a_design(tmp_path: Path) -> None:
    space = space_of(tmp_path, ALL, 'title = "all"')
    designs = list(space.designs())
    assert len(designs) == space.count == 2**6 * 9 and space.title == "all"
    assert [one.number for one in designs] == list(range(1, len(designs) + 1))
    assert len({one.name for one in designs}) == len(designs)
    places = [range(len(space.choices[name])) for name in space.varied]
    again = [
        space.design(dict(zip(space.varied, each, strict=True)))
        for each in itertools.product(*places)
    ]
    assert again == designs


def test_values_survive_a_table(tmp_path: Path) -> None:
    for design in space_of(tmp_path, ALL).designs():
        back = {name: choice_of_text(name, text_of(v)) for name, v in design.choices.items()}
        assert back == dict(design.choices)
        assert [type(v) for v in back.values()] == [type(v) for v in design.choices.values()]


def test_a_design_states_target_and_options() -> None:
    choices = {
        **{"device": "rram4", "weight_bits": 4, "cell_bits": 1, "tile": "32x64", "adc_bits": 6},
        **{"tolerance": 0.05, "digital": ("fc1*",), "clip": "2.5", "trained": "/x/better.onnx"},
    }
    design = Design(1, choices)
    target, options = design.target(), design.options()
    assert (target.rows, target.cols, target.cell_bits) == (32, 64, 1)
    assert target.periphery.adc_bits == 6
    (source,) = target.device.noise
    assert isinstance(source, Programming)
    assert (source.tolerance, source.max_pulses) == (0.05, 20)
    assert (options.skip, options.clip) == (("fc1*",), "2.5")
    assert design.source(Path("a.onnx")) == Path("/x/better.onnx")
    plain = Design(2, {"device": "rram4", "trained": "none"})
    assert plain.source(Path("a.onnx")) == Path("a.onnx") and plain.options().skip == ()


def test_files_lie_beside_the_space(tmp_path: Path) -> None:
    own = (ROOT / "nvmc/hardware/devices/library/fefet2.toml").read_text()
    (tmp_path / "own.toml").write_text(own)
    (tmp_path / "better.onnx").write_bytes(b"")
    space = space_of(tmp_path, 'device = "own.toml"\ntrained = ["none", "better.onnx"]')
    assert space.choices["device"] == (str(tmp_path / "own.toml"),)
    assert space.choices["trained"] == ("none", str(tmp_path / "better.onnx"))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ("weight_bit = 4", "did you mean 'weight_bits'"),
        ("weight_bits = []", "has no values"),
        ("weight_bits = [4, 4]", "twice"),
        ("weight_bits = 40", "weight_bits"),
        ("adc_bits = 'many'", "adc_bits"),
        ("tile = '128'", "expected ROWSxCOLS"),
        ("tolerance = 0", "tolerance is 0"),
        ("max_pulses = 'none'", "max_pulses is 'none'"),
        ("digital = [[]]", "digital is []"),
        ("device = 'os:getcwd'", "expected a name of `nvmc devices`"),
        ("clip = 'kpp'", "clip is 'kpp'"),
        ("trained = 'better'", "expected an ONNX file"),
        ("adc = 'sar'", "choice 'adc' is unknown"),
        ("", "no table [choices]"),
        ("= 4", "is not valid TOML"),
    ],
)
def test_wrong_spaces_are_one_line(tmp_path: Path, choices: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        space_of(tmp_path, choices)
    assert said in str(caught.value) and "space.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_keys_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="key 'name' is unknown"):
        space_of(tmp_path, "weight_bits = 4", 'name = "x"')
    with pytest.raises(NvmcError, match="cannot read"):
        read_space(tmp_path / "none.toml")


def test_write_verify_needs_noise_of_programming() -> None:
    with pytest.raises(OptionError, match="has no programming noise"):
        Design(1, {"device": "bitflip", "tolerance": 0.1}).target()
    with pytest.raises(OptionError, match="max_pulses is given without tolerance"):
        Design(1, {"device": "rram4", "max_pulses": 3}).target()


def test_a_large_space_without_optuna_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    space = Space({"weight_bits": tuple(range(1, 9)), "adc_bits": tuple(range(1, 9))})
    with pytest.raises(OptionError, match=r"pip install 'nvmc\[explore\]'") as caught:
        Search(space, 0, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ('device = ["fefet2", "nosuch"]', "device 'nosuch' is unknown"),
        ('trained = ["none", "gone.onnx"]', "there is no such file"),
    ],
)
def test_names_of_nothing_are_refused_before_anything_is_built(
    tmp_path: Path, choices: str, said: str
) -> None:
    file = tmp_path / "space.toml"
    file.write_text(f"[choices]\n{choices}\n")
    with pytest.raises(OptionError, match=said) as caught:
        read_space(file)
    assert "\n" not in str(caught.value)
