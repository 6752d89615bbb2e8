"""`nvmc devices fit` as a user types it."""

from __future__ import annotations

import builtins
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main
from nvmc.hardware.devices import load_device

Capture = pytest.CaptureFixture[str]
DATA = Path(__file__).parents[1] / "files"
LEVELS, DRIFTING = str(DATA / "four-levels.csv"), str(DATA / "drifting.csv")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_levels_are_fitted_shown_and_simulated(capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    assert main(["devices", "fit", LEVELS, "-o", "mine.toml"]) == 0
    text = capsys.readouterr().out
    for phrase in ("four-levels.csv (sha256", "100 readings", "Levene", "Wrote mine.toml"):
        assert phrase in text
    assert max(map(len, text.splitlines())) <= 80
    assert Path("mine.png").read_bytes().startswith(b"\x89PNG")
    device = load_device("mine.toml")
    assert device.name == "mine" and device.levels == 4
    assert main(["devices", "show", "mine.toml"]) == 0
    assert "conductance  " in capsys.readouterr().out
    assert main(["compile", "zoo:mlp3-digits", "--device", "mine.toml", "-o", "m.nvmc"]) == 0
    assert main(["simulate", "m.nvmc", "--runs", "3", "--data", "digits", "--limit", "50"]) == 0


def test_times_and_a_polynomial(capsys: Capture) -> None:
    words = ["devices", "fit", DRIFTING, "-o", "aged.toml", "--no-figure", "--name", "lab-7"]
    assert main([*words, "--title", "Lot 7"]) == 0
    text = capsys.readouterr().out
    for phrase in (
        "Spread: +",
        "chi-square",
        "No significant mean error",
        "Retention: nu = 0.0",
        "30 s",
    ):
        assert phrase in text
    assert not Path("aged.png").exists()
    device = load_device("aged.toml")
    assert (device.name, device.title, device.time_s) == ("lab-7", "Lot 7", 30.0)
    assert [source.type for source in device.noise] == ["programming", "retention"]


def test_json_tells_the_same_and_the_file_does_not_change(capsys: Capture) -> None:
    words = ["devices", "fit", DRIFTING, "-o", "a.toml", "--no-figure"]
    assert main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    found = json.loads(printed.out)
    assert found["format"] == "nvmc.fit/1" and found["law"] == "polynomial"
    assert found["retention"]["times"] == 3 and found["figure"] is None
    written = Path("a.toml").read_bytes()
    assert main(words) == 0
    assert Path("a.toml").read_bytes() == written
    assert re.search(rb"sha256 [0-9a-f]{64}", written)


def test_one_picture_is_the_same_bytes_twice() -> None:
    pytest.importorskip("matplotlib")
    for name in ("one.png", "two.png"):
        assert main(["devices", "fit", LEVELS, "-o", "a.toml", "--figure", name]) == 0
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()


def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(builtins, "__import__", missing)


def test_without_matplotlib_the_fit_is_written_and_the_picture_is_not(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_matplotlib(monkeypatch)
    assert main(["devices", "fit", LEVELS, "-o", "a.toml"]) == 0
    assert "no figure: matplotlib is not installed" in capsys.readouterr().err
    assert Path("a.toml").exists() and not Path("a.png").exists()
    assert main(["devices", "fit", LEVELS, "-o", "b.toml", "--figure", "b.png"]) == 1
    assert "pip install 'nvmc[report]'" in capsys.readouterr().err
    assert not Path("b.toml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.csv", "-o", "a.toml"], "cannot read measurements 'gone.csv'"),
        ([LEVELS, "-o", "a.txt"], "output is 'a.txt'; expected the name of a .toml file"),
        ([LEVELS, "-o", "no/a.toml"], "'no/a.png': there is no folder 'no'"),
        ([LEVELS, "-o", "no/a.toml", "--no-figure"], "cannot write 'no/a.toml'"),
        ([LEVELS, "-o", "a.toml", "--name", "a b"], "device name 'a b'"),
        ([LEVELS, "-o", "a b.toml"], "device name 'a b' .* give --name"),
        ([DRIFTING, "-o", "a.toml", "--law", "levels"], "level 0 has 1 readings"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    words: list[str], message: str, capsys: Capture
) -> None:
    assert main(["devices", "fit", *words]) == 1
    captured = capsys.readouterr()
    assert re.search(message, captured.err) and captured.err.count("\n") == 1
    assert captured.out == "" and not list(Path().iterdir())


def test_the_table_of_devices_fits_a_terminal(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("sonos-agrawal2022") for line in lines)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("pcm-joshi2020", ["0 to 25 µS", "20 s since programming", "at zero", "one_over_f=("]),
        ("rram-wan2022", ["172800 s (2 days)", "0.348;16.03;"]),
        ("sonos-agrawal2022", ["on/off 1e+07", "432000 s (5 days)", "saturating=("]),
        ("stt-mram", ["--sigma, --noise bitflip:p=", "166.667 to 333.333 µS, on/off 2"]),
        ("fefet1", ["sigma range  0 to 0.4", "profile=1;4;4;1"]),
    ],
)
def test_show_prints_what_the_file_states(name: str, facts: list[str], capsys: Capture) -> None:
    assert main(["devices", "show", name]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for fact in facts:
        assert " ".join(fact.split()) in text


def test_a_device_that_would_not_be_read_is_not_written(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The same file is read by every command afterwards, so it is checked before it is there."""
    from nvmc.hardware.fit import device_file

    monkeypatch.setattr(device_file, "device_text", lambda *_: 'name = "mine"')
    assert main(["devices", "fit", LEVELS, "-o", "mine.toml"]) == 1
    assert "device file 'mine.toml': " in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_times_beyond_what_a_device_may_say_are_refused(capsys: Capture) -> None:
    text = Path(DRIFTING).read_text().replace(",30,", ",3e301,")
    Path("late.csv").write_text(text)
    assert main(["devices", "fit", "late.csv", "-o", "mine.toml", "--no-figure"]) == 1
    assert "time_s is '3e301'; expected at most 1e+18" in capsys.readouterr().err
