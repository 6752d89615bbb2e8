"""The commands as a user types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import onnxruntime as ort
import pydantic
import pytest
from numpy.typing import NDArray

from nvmc.cli import COMMANDS, main
from nvmc.compiled.artifact import manifest_schema, open_compiled
from nvmc.compiled.options import Calibration, CompileOptions
from nvmc.data import load_data
from nvmc.hardware.devices import device_names
from nvmc.models import resolve_model
from nvmc.passes import PASSES
from nvmc.runtime.montecarlo import Feed

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


VERIFIED = """
name = "verified"
title = "Four levels, each pulse off by 0.1"
source = "made up"
levels = 4
sigma = 0.1

[defaults]
weight_bits = 4

[[noise]]
type = "programming"
basis = "level"
tolerance = 0.1
max_pulses = 5
"""


def ok(capsys: Capture, *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def as_json(capsys: Capture, *words: str) -> dict[str, Any]:
    """The JSON a command prints: one object, nothing else on either stream."""
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_help_names_every_command(capsys: Capture) -> None:
    text = ok(capsys, "--help")
    assert ok(capsys) == text
    for command in COMMANDS:
        assert command in text
        assert ok(capsys, command, "--help").startswith(f"Usage: nvmc {command}")


def test_a_first_session(capsys: Capture) -> None:
    compiled = ok(capsys, "compile", "zoo:lenet5-digits", "--device", "fefet2")
    assert "conv2.weight" in compiled and "Wrote lenet5-digits.nvmc" in compiled
    assert "5 layers on 36 tiles; the critical path is 5 layers in series" in compiled
    text = ok(capsys, "simulate", "--runs", "20", "--data", "digits")
    for phrase in (
        "lenet5-digits.nvmc (the newest here)",
        "20 chips, seed 0, 531 images",
        "KPP",
        "at most",
        "no lower limit yet  368 chips give one: --runs 368",
    ):
        assert phrase in text
    assert max(map(len, text.splitlines())) <= 80


def test_manifest_follows_its_published_schema(capsys: Capture) -> None:
    printed = as_json(capsys, "compile", "zoo:lenet5-digits", "--store", "bias")
    text = (resources.files("nvmc.compiled") / "schema" / "manifest.schema.json").read_text()
    if tuple(map(int, pydantic.VERSION.split(".")[:2])) >= (2, 14):  # others word it otherwise
        assert json.loads(text) == manifest_schema(), "run `make schema`"
    written = json.loads(Path("lenet5-digits.nvmc/manifest.json").read_text())
    assert printed == written
    jsonschema.validate(written, json.loads(text))
    assert written["format"] == "nvmc.compiled/3"
    graph = json.loads(Path("lenet5-digits.nvmc/tiles.json").read_text())
    tiles = [node for node in graph["nodes"] if node["kind"] == "tile"]
    for array in written["arrays"]:  # tiles.json lists each tile, the manifest counts them
        own = [tile["cells"] for tile in tiles if tile["array"] == array["name"]]
        assert (len(own), sum(own)) == (array["tiles"], array["cells"])
    assert len(tiles) == sum(array["tiles"] for array in written["arrays"])
    # LeNet-5 has 61,470 weights and 236 biases; 4 bits in 2-bit cells are 2 slices each, with a
    # positive and a negative crossbar where products are taken.
    assert sum(array["cells"] for array in written["arrays"]) == 2 * (2 * 61470 + 236)


def test_json_of_simulate(capsys: Capture) -> None:
    ok(capsys, "compile", "zoo:lenet5-digits", "--device", "rram4")
    result = as_json(
        capsys, "simulate", "--runs", "9", "--data", "digits", "--limit", "50", "--sigma", "0.3"
    )
    assert (
        result["format"] == "nvmc.evaluation.simulation/1"
        and result["description"]["fidelity"] == "cells"
    )
    assert tuple(result["description"][key] for key in ("runs", "images", "seed")) == (9, 50, 0)
    assert tuple(result["description"][key] for key in ("device", "sigma", "metric")) == (
        *("rram4", 0.3, "accuracy"),
    )
    values = result["values"]
    assert len(values) == 9 and len(set(values)) > 1
    assert result["mean"] == pytest.approx(np.mean(values), rel=1e-12)
    assert result["std"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert result["min"] == min(values) == result["percentile"]["value"]
    assert result["percentile"]["k"] == 1 and result["percentile"]["low"] is None
    assert result["percentile"]["confidence"] == 0.95


def test_values_do_not_depend_on_jobs_runs_or_limit_order(capsys: Capture) -> None:
    ok(capsys, "compile", "zoo:lenet5-digits", "--device", "fefet1")
    common = ["simulate", "--data", "digits", "--limit", "60", "--sigma", "0.2"]
    alone = as_json(capsys, *common, "--runs", "12", "--jobs", "1")["values"]
    for jobs in ("2", "5"):
        assert as_json(capsys, *common, "--runs", "12", "--jobs", jobs)["values"] == alone
    assert as_json(capsys, *common, "--runs", "5")["values"] == alone[:5]
    assert as_json(capsys, *common, "--runs", "12", "--seed", "1")["values"] != alone


def test_sigma_sweep_is_one_population_getting_worse(capsys: Capture) -> None:
    ok(capsys, "compile", "zoo:lenet5-digits", "--device", "rram4")
    common = ["simulate", "--data", "digits", "--runs", "6"]
    means = [as_json(capsys, *common, "--sigma", s)["mean"] for s in ("0", "0.2", "0.3", "0.4")]
    assert means == sorted(means, reverse=True) and means[0] > means[-1] + 0.02
    still = as_json(capsys, *common, "--sigma", "0")
    assert set(still["values"]) == {still["ideal"]}


def test_program_writes_the_chip_that_simulate_ran(capsys: Capture) -> None:
    ok(capsys, "compile", "zoo:lenet5-digits", "--device", "fefet1")
    values = as_json(capsys, "simulate", "--data", "digits", "--runs", "4", "--sigma", "0.3")
    ok(capsys, "program", "--chip", "3", "--sigma", "0.3", "-o", "c.onnx", "--cells", "c.npz")
    onnx.checker.check_model("c.onnx", full_check=True)
    data = load_data("digits")
    session = ort.InferenceSession("c.onnx", providers=["CPUExecutionProvider"])
    hits = session.run(None, {"image": data.x})[0].argmax(1) == data.y  # pyright: ignore
    assert np.mean(hits) == values["values"][3]
    cells = np.load("c.npz")
    target, programmed = cells["conv1.weight/target"], cells["conv1.weight/programmed"]
    assert target.shape == programmed.shape == (2, 6, 1, 5, 5)
    assert set(np.unique(target)) <= {0, 1, 2, 3} and not np.array_equal(target, programmed)


def test_program_writes_an_aged_chip(capsys: Capture) -> None:
    """Half an hour of drift lowers every conductance; the noise of reads is left out, and said."""
    ok(capsys, "compile", "zoo:mlp3-digits", "--device", "pcm-joshi2020")
    levels: list[np.ndarray] = []
    for time in ("20s", "30min"):
        main(["program", "--chip", "1", "--time", time, "-o", "c.onnx", "--cells", "c.npz"])
        assert "Every read of this chip is noisy" in capsys.readouterr().err
        cells = np.load("c.npz")
        assert not [name for name in cells if name.endswith("/pulses")]
        levels.append(cells[next(name for name in cells if name.endswith("/programmed"))])
    assert np.all(levels[1] <= levels[0]) and levels[1].sum() < 0.9 * levels[0].sum()


def test_program_writes_the_pulses_of_write_verify(capsys: Capture) -> None:
    with open("mine.toml", "w", encoding="utf-8") as file:
        file.write(VERIFIED)
    ok(capsys, "compile", "zoo:mlp3-digits", "--device", "./mine.toml")
    ok(capsys, "program", "--chip", "1", "-o", "c.onnx", "--cells", "c.npz")
    cells = np.load("c.npz")
    names = [name.removesuffix("/pulses") for name in cells if name.endswith("/pulses")]
    assert len(names) == 3
    for name in names:
        error = np.abs(cells[f"{name}/programmed"] - cells[f"{name}/target"])
        pulses = cells[f"{name}/pulses"]
        assert pulses.shape == error.shape and 1 <= pulses.min() < pulses.max() <= 5
        assert error[pulses < 5].max() <= 0.1 + 2.0**-22  # levels below 4 round to 2^-23


def test_without_data_it_says_so(capsys: Capture) -> None:
    ok(capsys, "compile", "zoo:mlp3-digits", "--device", "rram4")
    text = " ".join(ok(capsys, "simulate", "--runs", "3").split())
    assert "No labels" in text and "not accuracy" in text
    result = as_json(capsys, "simulate", "--runs", "3")
    assert result["description"]["metric"] == "agreement" and result["ideal"] == 1


def test_any_encoding_will_do(capsys: Capture, tmp_path: Path) -> None:
    ok(capsys, "compile", "zoo:mlp3-digits", "-o", "a.nvmc")
    python = "import sys; from nvmc.cli import main; sys.exit(main(['simulate', '--runs', '2']))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", python], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "over chips" in done.stdout


def test_one_of_a_thing_is_singular(capsys: Capture) -> None:
    text = ok(capsys, "compile", "zoo:mlp3-digits", "--skip", "fc1*", "--skip", "fc2*")
    assert "1 layer on " in text and text.count("1 layer in series") == 1


def test_names_are_printed_as_they_are(capsys: Capture, tmp_path: Path) -> None:
    """What looks like markup or an emoji in a name is neither."""
    name = "[red]x :smile:"
    shutil.copy(resolve_model("zoo:mlp3-digits"), tmp_path / f"{name}.onnx")
    assert f"Wrote {name}.nvmc" in ok(capsys, "compile", f"{name}.onnx")
    assert ok(capsys, "simulate", "--runs", "1", "--limit", "2").startswith(f"{name}.nvmc")


def test_newest_network_is_taken(capsys: Capture) -> None:
    ok(capsys, "compile", "zoo:mlp3-digits", "-o", "old.nvmc")
    ok(capsys, "compile", "zoo:mlp3-digits", "-o", "new.nvmc")
    os.utime("old.nvmc/manifest.json", (1, 1))
    assert "new.nvmc (the newest here)" in ok(capsys, "simulate", "--runs", "1", "--limit", "5")


def test_other_device_and_more_noise(capsys: Capture, tmp_path: Path) -> None:
    ok(capsys, "compile", "zoo:lenet5-digits", "--device", "rram4")
    common = ["simulate", "--data", "digits", "--runs", "3"]
    here = as_json(capsys, *common)
    assert as_json(capsys, *common, "--device", "fefet1")["mean"] < here["mean"]
    stuck = as_json(capsys, *common, "--noise", "stuck-at:p_low=0.3,p_high=0.3")
    assert stuck["mean"] < here["mean"]
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\ntitle = "mine"\nsource = "measured"\nlevels = 4\nsigma = 0.0\n'
        '[[noise]]\ntype = "programming"\nbasis = "level"\n'
    )
    mine = as_json(capsys, *common, "--device", "./mine.toml")
    assert mine["description"]["device"] == "mine" and set(mine["values"]) == {mine["ideal"]}


def test_sigma_beyond_the_source_is_noted(capsys: Capture) -> None:
    ok(capsys, "compile", "zoo:mlp3-digits", "--device", "rram4")
    assert main(["simulate", "--runs", "1", "--limit", "5", "--sigma", "0.6"]) == 0
    assert "0.4" in capsys.readouterr().err


def test_activation_bits(capsys: Capture) -> None:
    ok(capsys, "compile", "zoo:lenet5-digits", "-o", "float.nvmc")
    text = ok(
        capsys,
        *("compile", "zoo:lenet5-digits", "-o", "four.nvmc", "--activation-bits", "4"),
        *("--data", "digits"),
    )
    assert "Activation ranges from 1,087 images of digits" in text
    common = ["--data", "digits", "--runs", "1", "--sigma", "0"]
    ideal = as_json(capsys, "simulate", "float.nvmc", *common)["ideal"]
    four = as_json(capsys, "simulate", "four.nvmc", *common)["ideal"]
    assert four > ideal - 0.05
    manifest = open_compiled("four.nvmc").manifest
    images = load_data("digits", "train")
    assert manifest.options == CompileOptions(activation_bits=4)
    assert manifest.calibration == Calibration("digits", images.sha256, len(images.x), 0)
    assert open_compiled("float.nvmc").manifest.calibration is None
    assert "Round" in {node.op_type for node in onnx.load("four.nvmc/model.onnx").graph.node}


def test_calibration_sees_the_training_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[NDArray[Any]] = []

    def record(model: Any, tensors: list[str], images: Feed, weights: Any) -> dict[str, Any]:
        seen.extend(images.inputs.values())
        return dict.fromkeys(tensors, (0.0, 1.0))

    monkeypatch.setattr("nvmc.compiler.calibrate", record)
    options = ("--activation-bits", "4", "--data", "digits", "--skip", "*conv*")
    assert main(["compile", "zoo:lenet5-digits", *options]) == 0
    (images,) = seen
    assert np.array_equal(images, load_data("digits", "train").x)
    nodes = onnx.load("lenet5-digits.nvmc/model.onnx").graph.node
    assert sum(node.op_type == "Round" for node in nodes) == 3  # skipped layers' inputs stay exact


def test_skipped_layers_stay_digital(capsys: Capture) -> None:
    assert main(["compile", "zoo:lenet5-digits", "--skip", "*conv*", "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    digital = {entry["name"]: entry["reason"] for entry in manifest["digital"]}
    skipped = [name for name, reason in digital.items() if "*conv*" in reason]
    assert len(skipped) == 2 and len(manifest["layers"]) == 3


def test_transform(capsys: Capture) -> None:
    text = ok(
        capsys,
        *("transform", "zoo:lenet5-digits", "-o", "out.onnx"),
        *("--pass", "insert-dropout:rate=0.2", "--pass", "quantize-weights:bits=4"),
    )
    assert "insert-dropout:rate=0.2: changed the graph" in text
    model = onnx.load("out.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert sum(node.op_type == "Dropout" for node in model.graph.node) == 4


UNCHANGING = {
    "canonicalize": "",
    "clip-weights": "percentile=100",
    "fold-batchnorm": "",
    "insert-dropout": "rate=0",
    "invert-normalization": "",
    "map-bias": "skip=*",
    "quantize-weights": "bits=4,skip=*",
}
"""Passes with options that leave a canonical network of dense layers as it is; quantize-activations
has none, since it refuses ranges of tensors that it does not round."""


def test_a_transform_that_changes_nothing_says_so_and_writes_nothing(capsys: Capture) -> None:
    assert {*UNCHANGING, "quantize-activations"} == PASSES.keys()
    assert main(["transform", "zoo:mlp3-digits", "--pass", "canonicalize", "-o", "in.onnx"]) == 0
    capsys.readouterr()
    for name, options in UNCHANGING.items():
        text = f"{name}:{options}" if options else name
        assert main(["transform", "in.onnx", "--pass", text, "-o", "out.onnx"]) == 1, name
        said = capsys.readouterr().err.strip()
        assert f"{text} changed nothing" in said and "\n" not in said
        assert not Path("out.onnx").exists()


def test_devices(capsys: Capture) -> None:
    listed = as_json(capsys, "devices")["devices"]
    assert [device["name"] for device in listed] == device_names()
    for name in device_names():
        assert as_json(capsys, "devices", "show", name)["name"] == name
        assert name in ok(capsys, "devices", "show", name)


def test_clip_kpp_says_what_strength_a_device_wants(capsys: Capture) -> None:
    words = ["compile", "zoo:mlp3-digits", "--data", "digits", "--device"]
    refused = [
        (["stt-mram", "--clip", "kpp"], "states no sigma; give it as --clip kpp:SIGMA"),
        (["stt-mram", "--clip", "kpp:0.1"], "--noise bitflip:p=1e-6"),
        (["ideal", "--clip", "kpp:0.1"], "no noise source of device 'ideal' takes a sigma"),
        (["rram4", "--clip", "2", "--noise", "additive"], "only --clip kpp judges chips"),
        (["rram4", "--noise", "additive"], "only --clip kpp judges chips"),
    ]
    for given, told in refused:
        assert main([*words, *given]) == 1
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
    assert not list(Path().glob("*.nvmc"))
