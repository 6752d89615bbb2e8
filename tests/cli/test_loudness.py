"""`--quiet` says results and errors only; `--verbose` says what is read, each step and times."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nvmc.cli import COMMANDS, main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("loudness") / "mlp3.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "rram4", "-o", folder]) == 0
    return folder


def run(words: list[str], capsys: Capture) -> tuple[str, str]:
    capsys.readouterr()
    assert main(words) == 0
    return capsys.readouterr()


def test_quiet_leaves_notes_out_and_results_as_they_are(compiled: str, capsys: Capture) -> None:
    words = ["sweep", compiled, "--sigma", "0.1,0.9", "--data", "digits", "--limit", "5"]
    words += ["--runs", "2", "--no-store"]
    loud, quiet = run(words, capsys), run([*words, "-q"], capsys)
    assert "nvmc: note: sigma 0.9 lies outside" in loud[1]
    assert quiet == (loud[0], "")


def test_verbose_says_each_step(compiled: str, capsys: Capture, tmp_path: Path) -> None:
    words = ["simulate", compiled, "--data", "digits", "--limit", "5", "--runs", "2"]
    told = run([*words, "--figure", str(tmp_path / "a.svg"), "--verbose"], capsys)[1]
    for said in ("numpy", f"reading {compiled}", "data digits", "2 chips:", "wrote", "s: done"):
        assert said in told, said
    assert not logging.getLogger("nvmc").handlers
    assert "reading" not in run(words, capsys)[1]


def test_every_command_has_both(capsys: Capture) -> None:
    for name in COMMANDS:
        text = run([name, "--help"], capsys)[0]
        assert "--quiet" in text and "--verbose" in text, name
    assert main(["doctor", "-q", "-v"]) == 2
    assert "give one" in capsys.readouterr().err
