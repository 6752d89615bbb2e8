"""`--temperature` of every command that makes chips."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]
Run = Callable[..., str]

RETENTION = "retention:nu_mean=0.2,nu_std=0.1,t0_s=1"
ARRHENIUS = ["--noise", f"{RETENTION},activation_ev=1.1,reference_c=25"]
COMMON = ["--data", "digits", "--limit", "60", "--runs", "4", "--no-store"]
FACTOR = math.exp(1.1 / 8.617333262e-5 * (1 / 298.15 - 1 / 358.15))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("hot") / "mlp3.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", folder]) == 0
    return folder


@pytest.fixture
def run(compiled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Run:
    monkeypatch.chdir(tmp_path)

    def runner(command: str, *words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main([command, compiled, *words]) == code
        captured = capsys.readouterr()
        return captured.out if code == 0 else captured.err

    return runner


def test_an_hour_at_85_degrees_is_54_days_at_25(run: Run) -> None:
    hot = json.loads(
        run("simulate", *COMMON, *ARRHENIUS, "--time", "1h", "--temperature", "85C", "--json")
    )
    later = ["--noise", RETENTION, "--time", f"{3600 * FACTOR}s"]
    cold = json.loads(run("simulate", *COMMON, *later, "--json"))
    assert hot["values"] == cold["values"]
    (_, aged) = hot["description"]["noise"]
    assert (aged["temperature_c"], aged["activation_ev"], aged["reference_c"]) == (85.0, 1.1, 25.0)
    text = run("simulate", *COMMON, *ARRHENIUS, "--time", "1h", "--temperature", "85C")
    assert "temperature_c=85" in "".join(text.split())


def test_a_sweep_over_temperature_is_the_same_chips(run: Run) -> None:
    at = ["--time", "1h", *ARRHENIUS, *COMMON, "--json"]
    swept: dict[str, Any] = json.loads(run("sweep", "--temperature", "25:125:50", *at))
    assert [point["at"]["temperature_c"] for point in swept["points"]] == [25, 75, 125]
    alone = json.loads(run("simulate", "--temperature", "75", *at))
    assert swept["points"][1]["values"] == alone["values"]
    plain = json.loads(run("simulate", *at))
    assert swept["points"][0]["values"] == plain["values"]
    assert swept["points"][2]["mean"] < swept["points"][0]["mean"]
    (_, shared) = swept["description"]["noise"]
    assert shared["activation_ev"] == 1.1 and "temperature_c" not in shared


def test_a_chip_is_written_at_its_temperature(run: Run, tmp_path: Path) -> None:
    """In place of `--noise`, which `program` has not, a device file."""
    (tmp_path / "hot.toml").write_text(
        """name = "hot"
        title = "t"
        source = "s"
        levels = 4
        time_s = 3600.0
        [[noise]]
        type = "retention"
        t0_s = 1.0
        nu_mean = 0.2
        activation_ev = 1.1
        reference_c = 25.0"""
    )
    for name, words in (("cold", []), ("hot", ["--temperature", "85C"])):
        files = ["-o", f"{name}.onnx", "--cells", f"{name}.npz"]
        run("program", "--chip", "0", "--device", "./hot.toml", *files, *words)
    cold, hot = (np.load(tmp_path / f"{name}.npz") for name in ("cold", "hot"))
    name = next(key for key in cold.files if key.endswith("/programmed"))
    kept = hot[name] / np.where(cold[name] == 0, 1, cold[name])
    np.testing.assert_allclose(kept[cold[name] != 0], FACTOR**-0.2, rtol=1e-5)


@pytest.mark.parametrize("command", ["simulate", "sweep", "sensitivity", "program"])
def test_a_temperature_that_changes_nothing_is_refused(run: Run, command: str) -> None:
    more = {"program": ["--chip", "0", "-o", "c.onnx"], "sweep": ["--sigma", "0.1"]}
    error = run(command, "--temperature", "85C", *more.get(command, []), code=1)
    assert "no noise source that depends on temperature (got 85 C)" in error
    (line,) = error.splitlines()
    error = run(command, "--temperature", "85F", *more.get(command, []), code=1)
    assert "expected degrees Celsius from -200 to 1000" in error
