"""`nvmc solve`, as typed: the answer in words, as JSON, and exit codes."""

from __future__ import annotations

import json

import pytest

from nvmc import Target, compile_model, load_device
from nvmc.cli import main
from nvmc.models import resolve_model

FEW = ["--data", "digits", "--limit", "60", "--runs", "40", "--percentile", "10", "--seed", "5"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("net") / "mlp.nvmc"
    target = Target.of(load_device("rram4"))
    return str(compile_model(resolve_model("zoo:mlp3-digits"), target, output=folder).folder)


def test_answers_in_words_and_as_json(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["solve", network, *FEW, "--goal", "60%", "--over", "sigma=0:0.8:0.1"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["met"] and found["find"] == "most" and found["over"] == "sigma"
    value, missed = found["found"]["sigma"], found["next"]["sigma"]
    assert missed == pytest.approx(value + 0.1)
    assert found["found"]["required"]["low"] >= 0.6 > found["next"]["required"]["low"]
    assert main(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"Most sigma that meets kpp>=60%: {value:g} ({missed:g} misses it)." in printed
    assert f"Tried {len(found['tried'])} of 9 values; between them" in printed
    assert "lower end of the 95% interval of chips and images" in printed


def test_a_yield_is_looked_for_too(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--goal", "80%", "--require", "yield>=50%", "--over", "sigma=0,0.8", "--no-store"]
    assert main(["solve", network, *FEW, *words]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "reach 80 %" in printed and "that meets yield>=50% at 80 %: 0 (0.8" in printed


def test_no_value_that_meets_it_exits_with_3(
    network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["solve", network, *FEW, "--goal", "99%", "--over", "sigma=2,3", "--no-store"]
    assert main(words) == 3
    assert "No sigma of 2 to 3 meets kpp>=99%." in capsys.readouterr().out


def test_every_value_that_meets_it_is_said(
    network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["solve", network, *FEW, "--goal", "30%", "--over", "sigma=0,0.01", "--no-store"]
    assert main(words) == 0
    assert "every value from 0 to 0.01 does" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--goal", "97", "--over", "sigma"], 1, "97% or 0.97"),
        (["--goal", "97%", "--over", "sgma"], 1, "did you mean 'sigma'?"),
        (["--goal", "97%", "--over", "sigma=0:1"], 1, "is no range"),
        (["--over", "sigma"], 2, "--goal"),
    ],
)
def test_wrong_words_are_one_line(
    network: str, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["solve", network, *FEW, *words]) == code
    assert said in capsys.readouterr().err
