"""`--goal` and `--require`, as typed: yields, exit codes, and the same from the store."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from scipy.stats import binomtest

from nvmc import Target, compile_model, load_device, open_compiled, simulate
from nvmc.cli import main
from nvmc.errors import OptionError
from nvmc.models import resolve_model

DATA = ["--data", "digits", "--limit", "200", "--sigma", "0.3"]


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net") / "lenet.nvmc"
    target = Target.of(load_device("fefet2"))
    return compile_model(resolve_model("zoo:lenet5-digits"), target, output=folder).folder


def test_the_yield_stands_in_table_json_and_store(
    lenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [str(lenet), *DATA, "--runs", "40", "--goal", "90%"]
    assert main(["simulate", *common, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    reached = sum(value >= 0.9 for value in found["values"])
    known = binomtest(reached, 40).proportion_ci()
    assert 0 < reached < 40
    assert found["yield"]["value"] == reached / 40 == found["times"][0]["yield"]["value"]
    assert found["yield"]["low"] == pytest.approx(known.low)
    assert found["yield"]["covers"] == "chips" and found["required"] == []
    assert main(["simulate", *common]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    said = f"95% interval {100 * known.low:.1f} to {100 * known.high:.1f} %, of chips alone"
    assert f"chips that reach 90 % {100 * reached / 40:.1f} %" in printed and said in printed
    assert main(["results", "list", str(lenet), "--json"]) == 0
    name = json.loads(capsys.readouterr().out)["experiments"][0]["id"]
    show = ["results", "show", name, "--store", str(lenet), "--goal", "0.9"]
    assert main([*show, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["yield"] == found["yield"]
    assert main(show) == 0
    assert "chips that reach 90 %" in capsys.readouterr().out


def test_what_is_required_decides_the_exit_code(
    lenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["simulate", str(lenet), *DATA, "--runs", "40", "--no-store", "--percentile", "50"]
    assert main([*common, "--require", "kpp>=50%"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "required kpp >= 50 % met lower end of the 95% interval of chips and images" in printed
    assert main([*common, "--require", "kpp>=50%", "--require", "kpp >= 99.9%", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [one["met"] for one in found["required"]] == [True, False]
    assert {one["low"] for one in found["required"]} == {found["percentile"]["low"]}
    goal = ["--goal", "90%", "--json", "--require"]
    assert main([*common, *goal, "yield>=1%"]) == 0
    found = json.loads(capsys.readouterr().out)
    share = 100 * found["yield"]["value"]  # the share itself is no proof of it
    assert found["required"][0]["low"] == found["yield"]["low"]
    assert main([*common, *goal, f"yield>={share}%"]) == 3


def test_an_open_end_meets_nothing(lenet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", str(lenet), *DATA, "--runs", "4", "--no-store", "--require", "kpp>=1%"]
    assert main(words) == 3
    assert "chips and images: is open" in " ".join(capsys.readouterr().out.split())


def test_dropped_chips_leave_a_high_goal_open(lenet: Path) -> None:
    options = {"data": "digits", "limit": 200, "sigma": 0.3, "runs": 60}
    network = open_compiled(lenet)
    full = simulate(network, **options, goal=1.0)
    part = simulate(network, **options, goal=1.0, delta=0.2)
    assert part.times[0].dropped
    found, known = part.times[0].yield_at(1.0), full.times[0].yield_at(1.0)
    assert found.value is None and known.value is not None
    assert found.low <= known.low and found.high >= known.high
    low = float(part.kpp.value)
    assert part.times[0].yield_at(low) == full.times[0].yield_at(low)


def test_rounds_share_the_risk(lenet: Path) -> None:
    found = simulate(
        open_compiled(lenet),
        data="digits",
        limit=200,
        sigma=0.3,
        runs=10,
        max_runs=30,
        percentile=50,
        precision=0.001,
        goal="90%",
    )
    at = found.times[0]
    assert at.looks > 1
    reached = int((at.values >= 0.9).sum())
    known = binomtest(reached, len(at.values)).proportion_ci(1 - 0.05 / at.looks)
    assert at.yield_at(0.9).low == pytest.approx(known.low)


def test_several_times_and_sweeps_have_a_column(
    lenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(lenet), "--data", "digits", "--limit", "100", "--runs", "6", "--no-store"]
    assert (
        main(
            [
                "simulate",
                *words,
                "--goal",
                "90%",
                "--noise",
                "retention:nu_mean=0.01,t0_s=1",
                "--time",
                "1h,1d",
            ]
        )
        == 0
    )
    assert "reach 90 %" in capsys.readouterr().out
    file = tmp_path / "points.csv"
    goal = ["--goal", "90%", "--csv", str(file)]
    assert main(["sweep", *words, "--sigma", "0.1,0.4", *goal]) == 0
    assert "reach 90 %" in capsys.readouterr().out
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert {row["goal"] for row in rows} == {"0.9"}
    for row in rows:
        known = binomtest(round(6 * float(row["yield"])), 6).proportion_ci()
        assert [float(row["yield_low"]), float(row["yield_high"])] == pytest.approx(
            [known.low, known.high]
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--goal", "97"], "expected a share of at most 1, such as 97% or 0.97"),
        (["--require", "yield>=99%"], "give what a chip must reach, as --goal 97%"),
        (["--require", "mean>=99%"], "expected kpp>=SHARE or yield>=SHARE"),
        (["--require", "kpp>=99"], "97% or 0.97"),
        (["--require", "yield>=-1%", "--goal", "1%"], "expected a yield of 0 to 1"),
    ],
)
def test_wrong_goals_are_one_line(
    lenet: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["simulate", str(lenet), "--data", "digits", "--runs", "2", *words]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_wrong_goal_from_python_is_refused(lenet: Path) -> None:
    with pytest.raises(OptionError, match="97% or 0.97"):
        simulate(open_compiled(lenet), data="digits", runs=2, goal=97.0)
