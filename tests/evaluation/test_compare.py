"""Comparisons: simulations of the same chips, side by side, and what cannot be compared."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc import (
    Compiled,
    Target,
    compare,
    compile_model,
    load_device,
    open_compiled,
    simulate,
)
from nvmc.cli.heading import heading
from nvmc.errors import OptionError
from nvmc.models import resolve_model
from nvmc.statistics.paired import kpp_difference, mean_difference, share_better
from onnx_text import proto_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def mlp(folder: Path) -> Compiled:
    model = resolve_model("zoo:mlp3-digits")
    return compile_model(model, Target.of(load_device("fefet2")), output=folder / "mlp.nvmc")


@pytest.fixture(scope="module")
def lenet(folder: Path) -> Compiled:
    model = resolve_model("zoo:lenet5-digits")
    return compile_model(model, Target.of(load_device("fefet2")), output=folder / "lenet.nvmc")


def small(folder: Path, name: str, classes: int) -> Compiled:
    text = f"g (float[N,4] x) => (float[N,{classes}] y) <float[4,{classes}] w> "
    model = proto_of(text + "{ y = MatMul (x, w) }")
    onnx.save(model, folder / f"{name}.onnx")
    target = Target.of(load_device("fefet2"))
    return compile_model(folder / f"{name}.onnx", target, output=folder / f"{name}.nvmc")


def test_values_are_those_of_simulations(mlp: Compiled, lenet: Compiled) -> None:
    """Bit for bit; differences are those of the statistics, whatever the number of jobs."""
    common: dict[str, Any] = {
        "data": "digits",
        "limit": 60,
        "runs": 6,
        "sigma": 0.4,
        "seed": 3,
        "first": 2,
    }
    result = compare(mlp, lenet, percentile=50, jobs=2, **common)
    assert [one.label for one in result.networks] == ["mlp", "lenet"]
    for one, network in zip(result.networks, (mlp, lenet), strict=True):
        alone = simulate(network, percentile=50, jobs=1, **common)
        assert np.array_equal(one.values, alone.values)
        assert (one.kpp, one.summary, one.ideal) == (alone.kpp, alone.summary, alone.ideal)
        assert one.description == alone.description
    first, other = result.networks
    assert first.against is None and other.against is not None
    a, b, found = first.values, other.values, other.against
    assert found.kpp.chips_alone == kpp_difference(a, b, 50).chips_alone
    assert found.mean == mean_difference(a, b, bounds=(0, 1))
    assert found.better == share_better(a, b) and found.layers == 0


def test_one_network_on_devices(mlp: Compiled) -> None:
    result = compare(mlp, devices=["fefet2", "fefet1"], data="digits", limit=40, runs=3)
    assert [one.label for one in result.networks] == ["fefet2", "fefet1"]
    alone = simulate(mlp, device="fefet1", data="digits", limit=40, runs=3)
    assert np.array_equal(result.networks[1].values, alone.values)
    assert result.networks[1].against is not None and result.networks[1].against.layers == 3
    assert result.shared["device"] == "fefet2 against fefet1"


@pytest.mark.parametrize("other", ["ideal", "stuck-at"])
def test_devices_of_other_noise_sources(mlp: Compiled, other: str) -> None:
    """Neither as many nor of the same types; the heading leaves them out."""
    result = compare(mlp, devices=["fefet2", other], data="digits", limit=20, runs=2)
    assert "noise" not in result.shared and "fidelity cells" in " ".join(heading(result.shared))


def test_networks_of_one_name_are_told_apart_by_device_or_folder(
    mlp: Compiled, tmp_path: Path
) -> None:
    """The legends of figures and the columns of tables have these labels."""
    few = {"data": "digits", "limit": 10, "runs": 2}
    there = tmp_path / "there" / "mlp.nvmc"
    shutil.copytree(mlp.folder, there)
    found = compare(mlp, open_compiled(there), **few)
    parent = Path(mlp.folder).parent.name
    assert [one.label for one in found.networks] == [f"{parent}/mlp", "there/mlp"]
    other = compile_model(
        resolve_model("zoo:mlp3-digits"),
        Target.of(load_device("rram4")),
        output=tmp_path / "mlp.nvmc",
    )
    found = compare(mlp, other, **few)
    assert [one.label for one in found.networks] == ["mlp on fefet2", "mlp on rram4"]


def test_a_network_against_itself(mlp: Compiled) -> None:
    result = compare(mlp, mlp, data="digits", limit=30, runs=8, sigma=0.5, percentile=50)
    assert [one.label for one in result.networks] == ["mlp (1)", "mlp (2)"]
    found = result.networks[1].against
    assert found is not None and found.kpp.value == found.mean.value == 0
    assert (found.better.better, found.better.equal, found.better.worse) == (0, 8, 0)


def test_less_is_better(folder: Path) -> None:
    """An error that rises is worse, and has no bounds, so no interval of its mean."""
    model = proto_of("g (float[N,4] x) => (float[N,1] y) <float[4,1] w> { y = MatMul (x, w) }")
    onnx.save(model, folder / "values.onnx")
    network = compile_model(
        folder / "values.onnx", Target.of(load_device("fefet2")), output=folder / "values.nvmc"
    )
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 1))
    data = (x.astype(np.float32), y.astype(np.float32))
    devices = ["ideal", "fefet2"]
    result = compare(network, devices=devices, data=data, runs=9, metric="rmse", percentile=50)
    ideal, noisy = result.networks
    found = noisy.against
    assert found is not None and found.mean.interval is None and noisy.kpp.less_is_better
    assert found.better.better == int(np.sum(noisy.values < ideal.values))
    assert (
        found.kpp.chips_alone
        == kpp_difference(ideal.values, noisy.values, 50, less_is_better=True).chips_alone
    )
    assert "none" in result.table()


def test_what_cannot_be_compared_is_one_line(folder: Path, mlp: Compiled) -> None:
    three, five = small(folder, "three", 3), small(folder, "five", 5)
    data = np.zeros((6, 4), np.float32), np.arange(6) % 3
    for call, words in (
        (lambda: compare(three, five, data=data), "output classes .* differ .3 and 5"),
        (lambda: compare(three, mlp, runs=2), "'three' and 'mlp' differ"),
        (lambda: compare(mlp), "nothing to compare"),
        (lambda: compare(mlp, three, devices=["fefet1", "fefet2"]), "2 networks and 2 devices"),
        (lambda: compare(mlp, "other"), "networks is"),  # type: ignore[arg-type]
    ):
        with pytest.raises(OptionError, match=words) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1


def test_tables_and_json(mlp: Compiled, lenet: Compiled) -> None:
    result = compare(mlp, lenet, data="digits", limit=60, runs=5, sigma=0.4)
    told = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert told["format"] == "nvmc.evaluation.comparison/1"
    first, other = list(csv.DictReader(io.StringIO(result.table("csv"))))
    assert first["kpp_difference"] == "" and first["label"] == "mlp"
    against = told["networks"][1]["against_first"]
    assert float(other["mean_difference"]) == against["mean_difference"]["value"]
    assert other["kpp_difference_low"] == "" and against["kpp_difference"]["low"] is None  # open
    text = result.table()
    assert "open" in text and max(map(len, text.splitlines())) <= 80
    assert "at most " in text and "up to" not in text
    assert "% An open end of the KPP's difference needs 477 chips: runs=477.\n" in result.table(
        "latex"
    )
    for kind in ("markdown", "latex", "html"):
        assert "lenet" in result.table(kind)
        assert "on fefet2, 4-bit weights, sigma 0.4, noise " in result.table(kind)
        assert "5 chips, 60 images of digits, seed 0" in result.table(kind)
    assert (first["sigma"], first["data"], first["images"]) == ("0.4", "digits", "60")
    with pytest.raises(OptionError, match="'pdf'"):
        result.table("pdf")
