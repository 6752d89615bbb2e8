"""Device files and `--noise`: what is wrong is said in one line, with the key's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nvmc.errors import DeviceError, OptionError
from nvmc.hardware.devices import SOURCES, Device, device_names, load_device, parse_noise

LIBRARY = [
    "additive",
    "bitflip",
    "fefet1",
    "fefet2",
    "ideal",
    "multiplicative",
    "pcm-joshi2020",
    "reram-lognormal",
    "rram-milo2021",
    "rram-wan2022",
    "rram4",
    "sonos-agrawal2022",
    "stt-mram",
    "stuck-at",
    "uniform",
]
HEAD = 'name = "mine"\ntitle = "Mine"\nsource = "measured"\n'
NOISE = '[[noise]]\ntype = "programming"\nbasis = "level"\n'


def test_the_library_is_what_the_issue_asks_for():
    assert device_names() == LIBRARY


@pytest.mark.parametrize("name", LIBRARY)
def test_library_files_load_and_state_their_source(name: str):
    device = load_device(name)
    assert device.name == name
    assert len(device.source) > 10 and device.title
    if not device.required:
        device.sources()


def test_fefet_profiles_are_equations_16_and_17():
    (first,), (second,) = load_device("fefet1").noise, load_device("fefet2").noise
    assert first.model_dump()["profile"] == (1, 4, 4, 1)
    assert second.model_dump()["profile"] == (1, 2, 2, 1)


def test_a_users_file_works_by_path(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text(HEAD + "levels = 4\nsigma = 0.2\n" + NOISE, encoding="utf-8")
    device = load_device(file)
    assert device == load_device(str(file)) and device.name == "mine"
    assert device.sources()[0].model_dump()["sigma"] == 0.2


BAD = {
    "unknown key": ("levels = 4\nsgima = 0.1\n", "key 'sgima' is unknown; .*did you mean 'sigma'"),
    "unknown key named like a source": ("levels = 4\nadditive = 1\n", "key 'additive' is unknown"),
    "unknown key of a source": (
        "levels = 4\nsigma = 0.1\n" + NOISE + "width = 1\n",
        "noise.0: key 'width' is unknown; expected one of .*profile",
    ),
    "unknown default": (
        "levels = 4\n[defaults]\nbits = 4\n",
        "defaults: key 'bits' is unknown; .*mean '(weight|cell)_bits'",
    ),
    "missing key": ("", "levels: is missing"),
    "one level": ("levels = 1\n", "levels: .*2"),
    "levels as text": ('levels = "4"\n', "levels: .*'4'"),
    "levels as truth": ("levels = true\n", "levels: .*True"),
    "sigma as text": ('levels = 4\nsigma = "0.1"\n' + NOISE, "sigma: .*'0.1'"),
    "negative sigma": ("levels = 4\nsigma = -0.1\n" + NOISE, "sigma: .*-0.1"),
    "NaN sigma": ("levels = 4\nsigma = nan\n" + NOISE, "sigma: .*nan"),
    "infinite sigma": ("levels = 4\nsigma = inf\n" + NOISE, "sigma: .*inf"),
    "missing sigma": ("levels = 4\n" + NOISE, "states no sigma .* add sigma"),
    "idle sigma": ("levels = 4\nsigma = 0.1\n", "sigma is set, but"),
    "sigma outside its range": (
        "levels = 4\nsigma = 0.5\nsigma_range = [0, 0.4]\n" + NOISE,
        "sigma is 0.5, outside",
    ),
    "reversed range": ("levels = 4\nsigma_range = [1, 0]\n", "sigma_range is 1.0 to 0.0"),
    "short profile": (
        "levels = 4\nsigma = 0.1\n" + NOISE + "profile = [1, 2]\n",
        "profile has 2 factors .* 4",
    ),
    "negative factor": (
        "levels = 2\nsigma = 0.1\n" + NOISE + "profile = [1, -2]\n",
        "noise.0.profile.1: .*-2",
    ),
    "profile without levels": (
        'levels = "continuous"\nsigma = 0.1\n' + NOISE + "profile = [1, 2]\n",
        "profile has 2 factors .* continuous",
    ),
    "missing basis": (
        'levels = 4\nsigma = 0.1\n[[noise]]\ntype = "programming"\n',
        "noise.0.basis: is missing",
    ),
    "wrong basis": (
        'levels = 4\nsigma = 0.1\n[[noise]]\ntype = "additive"\nbasis = "level"\n',
        "noise.0.basis: .*'level'",
    ),
    "unknown source": ('levels = 4\n[[noise]]\ntype = "gauss"\n', "noise.0: type 'gauss' is unk"),
    "source without type": ("levels = 4\n[[noise]]\np = 1\n", "noise.0: has no type"),
    "probability above one": (
        'levels = 4\n[[noise]]\ntype = "bitflip"\np = 1.5\n',
        "noise.0.p: .*1.5",
    ),
    "more faults than cells": (
        'levels = 4\n[[noise]]\ntype = "stuck-at"\np_low = 0.6\np_high = 0.6\n',
        r"p_low \+ p_high is 1.2",
    ),
    "clip as a number": ("levels = 4\nclip = 1\n", "clip: .*1"),
    "too many bits": (
        "levels = 4\n[defaults]\ncell_bits = 3\n",
        "defaults.cell_bits is 3, but 4 levels hold 2",
    ),
    "cell above weight": (
        "levels = 4\n[defaults]\nweight_bits = 1\ncell_bits = 2\n",
        "defaults.cell_bits is 2, above defaults.weight_bits 1",
    ),
    "17 weight bits": ("levels = 4\n[defaults]\nweight_bits = 17\n", "defaults.weight_bits: .*17"),
    "clip at nothing known": ('levels = 4\nclip = "top"\n', "clip: .*'top'"),
    "reversed conductances": (
        "levels = 4\n[conductance]\nmin_us = 2\nmax_us = 1\n",
        r"conductance: min_us is 2.0; expected less than max_us 1.0",
    ),
    "conductances that fall": (
        "levels = 3\n[conductance]\nmin_us = 1\nmax_us = 4\nlevels_us = [1, 4, 4]\n",
        "conductance: levels_us has 4.0 behind 4.0; expected conductances that rise",
    ),
    "levels beyond their range": (
        "levels = 3\n[conductance]\nmin_us = 1\nmax_us = 5\nlevels_us = [1, 2, 4]\n",
        "levels_us goes from 1.0 to 4.0; expected min_us 1.0 to max_us 5.0",
    ),
    "too few conductances": (
        "levels = 4\n[conductance]\nmin_us = 1\nmax_us = 4\nlevels_us = [1, 2, 4]\n",
        "conductance.levels_us has 3 conductances but the device's levels are 4",
    ),
    "conductances of continuous levels": (
        'levels = "continuous"\n[conductance]\nmin_us = 1\nmax_us = 4\nlevels_us = [1, 2, 4]\n',
        "levels_us has 3 conductances but the device's levels are continuous",
    ),
    "microsiemens of nothing": (
        'levels = 4\nsigma = 1\n[[noise]]\ntype = "programming"\nbasis = "us"\n',
        "'programming' is in microsiemens, .* add conductance",
    ),
    "idle time": ("levels = 4\ntime_s = 20\n", "time_s is set, but no noise source depends"),
    "growing noise without a time": (
        'levels = 4\n[[noise]]\ntype = "read"\nbasis = "value"\n'
        "one_over_f = { q = 0.01, exponent = 0.5, q_max = 0.2, t_read_s = 1e-6 }\n",
        "'read' grows with time; add time_s",
    ),
    "half a law": (
        'levels = 4\n[[noise]]\ntype = "retention"\nt0_s = 1\n'
        "nu_mean = { slope = 1, min = 0, max = 1 }\n",
        "noise.0.nu_mean.intercept: is missing",
    ),
    "a law of text": (
        'levels = 4\n[[noise]]\ntype = "retention"\nt0_s = 1\nnu_mean = "slow"\n',
        "noise.0.nu_mean: .*'slow'",
    ),
    "retention from the start": (
        'levels = 4\n[[noise]]\ntype = "retention"\nt0_s = 0\nnu_mean = 0.1\n',
        "noise.0.t0_s: .*greater than 0",
    ),
    "half a write-verify": (
        "levels = 4\nsigma = 0.1\n" + NOISE + "tolerance = 0.1\n",
        "noise.0: write-verify needs both",
    ),
    "two laws": (
        "levels = 2\nsigma = 0.1\n" + NOISE + "profile = [1, 2]\npolynomial = [1]\n",
        "noise.0: profile and polynomial are both given",
    ),
    "short bias": (
        "levels = 4\nsigma = 0.1\n" + NOISE + "bias = { profile = [0.1, 0.2] }\n",
        "profile has 2 factors .* 4",
    ),
    "an offset of nobody": (
        'levels = 4\nsigma = 0.1\n[[noise]]\ntype = "global"\nbasis = "level"\nscope = "row"\n',
        "noise.0.scope: .*'row'",
    ),
    "two lines in a key": ('levels = 4\n"a\\nb" = 1\n', "key 'a.nb' is unknown"),
    "not TOML": ("levels = [", "is not TOML"),
    "endless nesting": ("levels = " + "[" * 100_000, "is not TOML"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_naming_the_key(case: str, tmp_path: Path):
    text, message = BAD[case]
    file = tmp_path / "bad.toml"
    file.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(DeviceError, match=message) as caught:
        load_device(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path):
    file = tmp_path / "bad.toml"
    file.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(DeviceError, match=r"bad\.toml' is not TOML: .*utf-8"):
        load_device(file)


@pytest.mark.parametrize("name", ["gone.toml", "folder/gone", "folder.toml"])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path):
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(DeviceError, match="cannot read device file .*nvmc devices"):
        load_device(tmp_path / name)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(DeviceError, match=r"'fefet3' is unknown; .*fefet1, fefet2.*\.toml"):
        load_device("fefet3")


DOCS = (Path(__file__).parents[3] / "docs" / "devices.md").read_text(encoding="utf-8")


def test_the_documented_file_loads(tmp_path: Path):
    file = tmp_path / "doc.toml"
    file.write_text(
        DOCS.split('```toml title="my-reram.toml"\n')[1].split("```")[0], encoding="utf-8"
    )
    device = load_device(file)
    assert device.clip and [source.type for source in device.sources()] == [
        "programming",
        "stuck-at",
    ]


def test_the_documented_options_parse():
    lines = [line.partition("#")[0] for line in DOCS.splitlines() if line.startswith("--noise ")]
    assert len(lines) == 20
    for line in lines:
        parse_noise(line.removeprefix("--noise ").strip().strip('"'))


@pytest.mark.parametrize("name", [*LIBRARY, *SOURCES])
def test_the_page_has_a_row_for_every_name(name: str):
    assert f"| `{name}` |" in DOCS


def test_the_page_names_every_key():
    models = (Device, *SOURCES.values())
    for key in {key for model in models for key in model.model_fields} - {"noise", "defaults"}:
        assert f"`{key}" in DOCS, key


# --- `--noise` ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bitflip:p=0.1", {"type": "bitflip", "p": 0.1, "bits": "all"}),
        ("bitflip:p=1e-3,bits=sign", {"type": "bitflip", "p": 1e-3, "bits": "sign"}),
        ("additive", {"type": "additive", "sigma": None, "basis": "full_range"}),
        ("stuck-at:p_low=0.01", {"type": "stuck-at", "p_low": 0.01, "p_high": 0.0}),
        (
            "programming: sigma = 0.1, profile = 1;2;2;1",
            {"type": "programming", "sigma": 0.1, "basis": "level", "profile": (1, 2, 2, 1)},
        ),
        (
            "programming:sigma=0.1,tolerance=0.05,max_pulses=8",
            {
                "type": "programming",
                "sigma": 0.1,
                "basis": "level",
                "tolerance": 0.05,
                "max_pulses": 8,
            },
        ),
        (
            "retention:nu_mean=0.05,nu_std=0.01,t0_s=20",
            {"type": "retention", "nu_mean": 0.05, "nu_std": 0.01, "t0_s": 20},
        ),
        (
            "global:sigma=0.1,scope=tile",
            {"type": "global", "sigma": 0.1, "basis": "level", "scope": "tile"},
        ),
        (
            "read:polynomial=0.1;0.2",
            {"type": "read", "basis": "level", "polynomial": (0.1, 0.2)},
        ),
        (
            "programming:basis=value",
            {"type": "programming", "basis": "value"},
        ),
    ],
)
def test_noise_is_read_from_an_option(text: str, expected: dict[str, Any]):
    source = parse_noise(text)
    given = {key: value for key, value in source.model_dump().items() if value is not None}
    assert given == {key: value for key, value in expected.items() if value is not None}
    assert type(source) is SOURCES[expected["type"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "type '' is unknown; expected one of programming"),
        ("gauss:sigma=1", "type 'gauss' is unknown"),
        ("bitflip", "p: is missing"),
        ("bitflip:p=2", r"p: .*\(got 2\)"),
        ("bitflip:p=high", "p: .*'high'"),
        ("bitflip:p=0.1;0.2", "p: "),
        ("bitflip:p=0.1,bits=none", "bits: .*'none'"),
        ("additive:width=1", "key 'width' is unknown; expected one of .*sigma"),
        ("additive:sigma", "'sigma' is not KEY=VALUE"),
        ("additive:sigma=-1", "sigma: .*-1"),
        ("additive:sigma=nan", "sigma: .*nan"),
        ("additive:sigma=1,sigma=2", "'sigma' is given twice"),
        ("bitflip:type=uniform", "'type' is given twice"),
        ("programming:profile=1", "profile: "),
        ("read:basis=value", "neither sigma nor a law"),
        ("global:sigma=0.1", "scope: is missing"),
        ("retention:nu_mean=0.1", "t0_s: is missing"),
        ("programming:max_pulses=2.5,tolerance=1", r"max_pulses: .*\(got 2.5\)"),
        ("stuck-at:p_low=0.6,p_high=0.6", r"p_low \+ p_high is 1.2"),
    ],
)
def test_bad_noise_is_one_line(text: str, message: str):
    with pytest.raises(OptionError, match=message) as caught:
        parse_noise(text)
    assert repr(text) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["1e308", "-1e19", "3e301"])
def test_numbers_stay_numbers_in_float32(text: str, tmp_path: Path):
    """Cells are computed in float32: a greater one became infinite, with a warning."""
    file = tmp_path / "mine.toml"
    law = f"levels = 4\nsigma = 0.1\n{NOISE}polynomial = [0.1, {text}]"
    file.write_text(HEAD + law)
    with pytest.raises(DeviceError, match="expected a magnitude of at most 1e.18"):
        load_device(file)


@pytest.mark.parametrize(
    "text",
    [
        '[[noise]]\ntype = "programming"\nbasis = "level"\nsaturating = {a = 1.0, b = 1e-300}',
        '[[noise]]\ntype = "retention"\nt0_s = 5e-324\nnu_mean = 0.1',
        'time_s = 1e-19\n[[noise]]\ntype = "additive"',
    ],
)
def test_nothing_is_divided_by_what_is_0_in_float32(text: str, tmp_path: Path):
    """Cells became infinite or NaN, with a warning."""
    file = tmp_path / "mine.toml"
    file.write_text(f"{HEAD}levels = 4\nsigma = 0.1\n{text}")
    with pytest.raises(DeviceError, match="expected at least 1e-18"):
        load_device(file)


def test_the_power_of_a_read_law_is_a_number_in_float32(tmp_path: Path):
    file = tmp_path / "mine.toml"
    law = "one_over_f = {q = 0.0, exponent = 5.5, q_max = 1.0, t_read_s = 1e-6}"
    file.write_text(f'{HEAD}levels = 4\nsigma = 0.1\n[[noise]]\ntype = "read"\n{law}')
    with pytest.raises(DeviceError, match="exponent: input should be less than or equal to 5"):
        load_device(file)
