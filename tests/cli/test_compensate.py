"""`--compensate` on the command line: what is printed, kept and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]
DECAY = ["--noise", "retention:nu_mean=0.05,t0_s=20", "--time", "30d"]
RUN = ["--data", "digits", "--limit", "30", "--runs", "3"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compensate") / "mlp3.nvmc"
    assert main(["compile", "zoo:mlp3-digits", "--device", "rram4", "-o", str(folder)]) == 0
    return folder


def printed(capsys: Capture, *words: Any, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(map(str, words))) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def read(capsys: Capture, *words: Any) -> dict[str, Any]:
    return json.loads(printed(capsys, *words, "--json"))


def test_a_result_says_what_compensated_it(compiled: Path, capsys: Capture) -> None:
    words = ["simulate", compiled, *RUN, *DECAY, "--compensate", "affine:images=16,drift"]
    found = read(capsys, *words)
    kinds = [one["type"] for one in found["description"]["compensate"]]
    assert kinds == [one["type"] for one in found["compensation"]] == ["drift", "affine"]
    assert found["description"]["compensate"][1] == {
        **{"type": "affine", "images": 16, "fit": "least-squares"},
    }
    text = " ".join(printed(capsys, *words).split())
    assert "compensated by drift:since_s=0" in text
    assert "compensated by affine:images=16,fit=least-squares" in text
    assert "needs 16 images, 394 multipliers, 394 adders" in text
    assert "3 chips not run again" in text
    again = [*words[:-1], "drift", "--compensate", "affine:images=16"]
    assert read(capsys, *again)["recorded"] == 3
    assert read(capsys, *words[:-2])["recorded"] == 0


def test_the_store_tells_them_apart(compiled: Path, capsys: Capture) -> None:
    for extra in ([], ["--compensate", "select:copies=2"]):
        printed(capsys, "simulate", compiled, *RUN, "--sigma", "0.3", *extra)
    listed = read(capsys, "results", "list", compiled)
    alike = [one for one in listed["experiments"] if one["info"]["sigma"] == 0.3]
    assert sorted(len(one["info"]["compensate"]) for one in alike) == [0, 1]
    (done,) = (one for one in alike if one["info"]["compensate"])
    assert "compensated by" in printed(capsys, "results", "show", done["id"], "--store", compiled)


def test_a_sweep_and_a_file_of_a_chip(compiled: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ["sweep", compiled, *RUN, "--sigma", "0.1,0.3", "--compensate", "select:copies=2"]
    found = read(capsys, *words)
    assert found["description"]["compensate"] == [{"type": "select", "copies": 2}]
    assert found["points"][0]["compensation"][0]["needs"]["writes"] > 0
    assert "select needs" in printed(capsys, *words)
    file = tmp_path / "chip.onnx"
    options = ["--chip", "1", "--compensate", "affine:images=8", "-o", file]
    assert "--calibration-data" in printed(capsys, "program", compiled, *options, code=1)
    assert not file.exists()
    printed(capsys, "program", compiled, *options, "--calibration-data", "digits")
    assert file.exists()


@pytest.mark.torch
def test_verification_is_said_with_what_was_assumed(compiled: Path, capsys: Capture) -> None:
    words = ["simulate", compiled, *RUN, "--sigma", "0.3", "--compensate", "verify:images=8"]
    text = " ".join(printed(capsys, *words).split())
    told = "compensated by verify:share=0.1,order=swim,images=8,sigmas=0.6,max_pulses=20"
    assert told in text and "8 images once for all chips" in text
    found = read(capsys, *words)
    digest = found["description"]["verified_sha256"]
    assert f"verified weights {digest[:12]} found on digits" in text
    assert found["recorded"] == 3
    listed = read(capsys, "results", "list", compiled)
    (kept,) = (e for e in listed["experiments"] if e["info"].get("verified_sha256"))
    assert kept["info"]["verified_sha256"] == digest
    swept = printed(capsys, "sweep", compiled, *RUN, "--sigma", "0.3,0.4", *words[-2:])
    assert "verify needs" in swept and digest[:12] in swept


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--compensate", "drift"], "no noise source by which cells change with time"),
        (["--compensate", "batchnorm"], "no BatchNormalization"),
        (["--compensate", "verify:share=2"], "share"),
        (["--compensate", "verify", "--device", "ideal"], "are none"),
        (["--compensate", "selct"], "did you mean 'select'"),
        (["--compensate", "affine:images=16,images=17"], "given twice"),
        (["--calibration-data", "digits"], "no compensation is calibrated"),
    ],
)
def test_refusals_are_one_line(
    compiled: Path, capsys: Capture, words: list[str], told: str
) -> None:
    said = printed(capsys, "simulate", compiled, *RUN, *words, code=1)
    assert told in said and said.count("\n") == 1
