"""`nvmc train` as a user types it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from nvmc.cli import main
from nvmc.cli.train import _values, train_command
from nvmc.data import load_data
from nvmc.models import resolve_model
from nvmc.training import METHODS, Settings, loop, make_method
from onnx_text import proto_of
from small_training import blobs, small_network
from source_tree import ROOT

Capture = pytest.CaptureFixture[str]

NVMC = [sys.executable, "-W", "error", "-m", "nvmc"]
QUICK = ["--epochs", "3", "--batch", "64", "--chips", "6", "--every", "1", "--rate", "0.01"]
TRAINED = ["--data", "blobs.npz", "--device", "rram4", "--method", "erm", *QUICK]
SMALL = ["train", "mlp.onnx", *TRAINED]
FINDS = ["--method", "trice", "--method-option", "warm=1"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small network and its data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    small_network(tmp_path)
    save("blobs.npz")
    return tmp_path


def save(file: str, **changed: Any) -> None:
    data = blobs(240, 1)
    arrays = {"x": data.x, "y": data.y, **changed}
    np.savez(file, allow_pickle=False, **{k: v for k, v in arrays.items() if v is not None})


def ok(capsys: Capture, *words: str) -> str:
    """What a command prints; nothing but lines of epochs is to be on standard error."""
    assert main(words) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    assert without_epochs(captured.err) == ""
    return captured.out


def without_epochs(text: str) -> str:
    return re.sub(r"^epoch \d+ of \d+: .*\n", "", text, flags=re.MULTILINE)


def weights_of(file: Path | str) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}


def nodes_of(file: Path | str) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    return [
        (n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in onnx.load(file).graph.node
    ]


def test_the_same_network_comes_out_with_a_better_yield(capsys: Capture) -> None:
    """At this strength the median of 16 chips gains about 8 points (6 to 9 in three seeds).

    A chip's standard deviation is about 9 points, so the median's is about 3; and the chips before
    and after are the same.
    """
    source = resolve_model("zoo:mlp3-digits")
    words = ["train", "zoo:mlp3-digits", "--method", "gaussian", "--data", "digits"]
    words += ["--device", "fefet1", "--sigma", "0.4", "-o", "robust.onnx", "--epochs", "6"]
    words += ["--rate", "0.002", "--chips", "16", "--percentile", "50", "--every", "0", "--json"]
    found = json.loads(ok(capsys, *words))
    assert found["after"]["kpp"] > found["before"]["kpp"] + 0.03
    assert nodes_of("robust.onnx") == nodes_of(source)
    before, after = weights_of(source), weights_of("robust.onnx")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert np.array_equal(value, after[name]) == (value.dtype != np.float32), name
    onnx.checker.check_model("robust.onnx", full_check=True)
    data = load_data("digits")
    session = onnxruntime.InferenceSession("robust.onnx", providers=["CPUExecutionProvider"])
    logits: Any = session.run(None, {"image": data.x})[0]
    assert np.mean(logits.argmax(1) == data.y) > 0.9
    for command in found["next"]:
        assert main(shlex.split(command)[1:] + ["--runs", "3"] * ("simulate" in command)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "fefet1, sigma 0.4, noise" in said and "3 chips, seed" in said


def test_table(capsys: Capture) -> None:
    text = ok(capsys, *SMALL, *FINDS, "--cell-bits", "1", "--skip", "*_0", "--sigma", "0.3")
    assert max(map(len, text.splitlines()[:-3])) <= 80
    shown = " ".join(text.split())
    for phrase in (
        "mlp.onnx: rram4, sigma 0.3, trained with trice on 216 samples (blobs.npz)",
        "before after ideal chip accuracy",
        "1st percentile (KPP)",
        "KPP of 6 chips on 24 held-out samples",
        "3 epochs in",
        "trice: ",
        "Wrote mlp-trice.onnx",
        "nvmc compile mlp-trice.onnx --device rram4 --cell-bits 1 --skip '*_0'",
        "nvmc simulate mlp-trice.nvmc --data blobs.npz --sigma 0.3",
    ):
        assert phrase in shown


def test_json(capsys: Capture) -> None:
    words = [*SMALL, *FINDS, "--noise", "additive:sigma=0.02", "--json", "-o", "out.onnx"]
    found = json.loads(ok(capsys, *words))
    assert found["format"] == "nvmc.training/1"
    assert (found["source"], found["output"]) == ("mlp.onnx", "out.onnx")
    assert (found["device"], found["sigma"], found["method"]) == ("rram4", 0.1, "trice")
    assert (found["images"], found["validation_images"], found["held_out_images"]) == (216, 24, 24)
    assert found["options"]["warm"] == 1 and found["options"]["th"] == 2
    assert found["settings"]["epochs"] == 3 and found["settings"]["optimizer"] == "adamw"
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2, 3]
    assert all(0 <= epoch["kpp"] <= 1 and epoch["loss"] > 0 for epoch in found["epochs"])
    assert found["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in found["epochs"]))
    best = max(epoch["kpp"] for epoch in found["epochs"])
    assert found["after"]["kpp"] == best == found["epochs"][found["kept"] - 1]["kpp"]
    assert found["next"][1].endswith("--noise additive:sigma=0.02")
    assert (found["stopped"], found["resumed"], found["canonical"]) == (False, 0, False)


def test_quantised_activations_go_into_the_file(capsys: Capture) -> None:
    found = json.loads(ok(capsys, *SMALL, "--method", "erm", "--activation-bits", "4", "--json"))
    assert "Round" in {node.op_type for node in onnx.load("mlp-erm.onnx").graph.node}
    assert "--activation-bits" not in found["next"][0]
    onnx.checker.check_model("mlp-erm.onnx", full_check=True)


def test_same_command_same_weights_and_another_seed_others(capsys: Capture) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        ok(capsys, *SMALL, *FINDS, "--seed", seed, "-o", f"{name}.onnx")
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    assert Path("a.onnx").read_bytes() != Path("c.onnx").read_bytes()


def test_methods_are_listed(capsys: Capture) -> None:
    text = ok(capsys, "train", "--methods")
    for kind, method in METHODS.items():
        assert f"\n{kind} " in text
        for option in method.model_fields:
            assert f"{option}=" in text


@pytest.mark.parametrize("kind", METHODS)
def test_options_can_be_typed_as_they_are_listed(capsys: Capture, kind: str) -> None:
    """The listing breaks its lines behind commas and spaces, which no value has."""
    text = ok(capsys, "train", "--methods")
    own = re.search(rf"^{kind} .*\n((?: .*\n)*)", text, re.M)
    assert own is not None
    given = dict(re.findall(r"(\w+)=(\S+?),?\s", own[1]))
    assert given.keys() == METHODS[kind].model_fields.keys()
    typed = _values("--method-option", [f"{key}={value}" for key, value in given.items()], "th=2")
    assert make_method(kind, typed) == make_method(kind)


def test_one_number_where_several_may_stand(capsys: Capture) -> None:
    words = [*SMALL, "--method", "neft", "--json", "--method-option"]
    for text, offsets in (("offsets=0.1", [0.1]), ("offsets=0.2,0.1", [0.2, 0.1])):
        found = json.loads(ok(capsys, *words, text, "-o", "out.onnx"))
        assert found["options"]["offsets"] == offsets


def test_dropout_at_inference_is_told_and_simulated_with_passes(capsys: Capture) -> None:
    words = [*SMALL, "--method", "spindrop"]
    shown = " ".join(ok(capsys, *words).split())
    assert "24 held-out samples (blobs.npz), nothing dropped" in shown
    found = json.loads(ok(capsys, *words, "--json"))
    assert found["dropout_off"] is True
    assert found["next"][1].endswith("--mc-passes 10")
    for command in found["next"]:
        assert main(shlex.split(command)[1:] + ["--runs", "2"] * ("simulate" in command)) == 0
    assert "mean of 10 stochastic passes" in " ".join(capsys.readouterr().out.split())
    quiet = json.loads(ok(capsys, *words, "--method-option", "active=false", "--json"))
    assert quiet["dropout_off"] is False and "--mc-passes" not in quiet["next"][1]


def test_a_file_is_said_to_have_no_test_images(capsys: Capture) -> None:
    note = "blobs.npz has no splits, and all of it was trained on: simulate with other data."
    assert note in " ".join(ok(capsys, *SMALL, "--method", "erm").split())


def test_defaults_in_the_help_are_those_of_the_settings() -> None:
    options = {option.name: option for option in train_command.params}
    for name, field in Settings.model_fields.items():
        told = re.search(r"\[default: (.*)\]", getattr(options[name], "help", ""))
        assert (told[1] if told else "None") == f"{field.default}".removesuffix(".0"), name


def test_docs_name_every_method_and_option() -> None:
    text = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
    for kind in METHODS:
        assert f"`{kind}`" in text
    for option in train_command.params:
        flag = option.opts[0]
        assert re.search(rf"{flag}(?![\w-])", text) or flag == "model", flag


def test_curves_for_tensorboard(capsys: Capture) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = json.loads(ok(capsys, *SMALL, "--method", "erm", "--tensorboard", "logs", "--json"))
    events = accumulator.EventAccumulator("logs")
    events.Reload()
    for name in ("loss", "kpp"):
        curve = [(point.step, point.value) for point in events.Scalars(name)]
        told = [(epoch["epoch"], epoch[name]) for epoch in found["epochs"]]
        assert curve == [(step, pytest.approx(value, rel=1e-6)) for step, value in told]


LONG = ["--epochs", "16", "--seed", "3", *FINDS, "--method-option", "tolerance=1e-9"]
"""TRICE is searching all the time."""

# As `nvmc`, but it writes a byte into a pipe after each epoch that it has kept, and after so many
# it goes no further: whoever means to stop it on the way is never too late.
STOPPING = [
    *NVMC[:-2],
    "-c",
    """
import contextlib, os, sys, threading
from nvmc.__main__ import main
from nvmc.training import loop

left, pipe, save = int(sys.argv.pop(1)), int(sys.argv.pop(1)), loop.write_run

def stopping(*state):
    global left
    save(*state)
    with contextlib.suppress(BrokenPipeError):  # they have been counted
        os.write(pipe, b".")
    left -= 1
    if left <= 0:
        threading.Event().wait()

loop.write_run = stopping
sys.exit(main())
""",
]


def start(words: list[str], folder: Path, epochs: int) -> subprocess.Popen[str]:
    """A run in a process of its own that has kept some epochs and is about to go on."""
    told, tells = os.pipe()
    process = subprocess.Popen(
        [*STOPPING, str(epochs + 2), str(tells), *words],
        pass_fds=[tells],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    os.close(tells)
    with open(told, "rb") as pipe:
        assert len(pipe.read(epochs)) == epochs, process.communicate()
    return process


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_bits(capsys: Capture, folder: Path) -> None:
    words = [*SMALL, *LONG, "--sigma", "0.3"]
    process = start([*words, "-o", "out.onnx"], folder, epochs=4)
    time.sleep(0.05)  # into the next epoch
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not Path("out.onnx").exists()
    found = json.loads(ok(capsys, *words, "-o", "out.onnx", "--resume", "--json"))
    assert 4 <= found["resumed"] <= 6 and len(found["epochs"]) == 16
    assert not Path("out.onnx.checkpoint").exists()
    whole = json.loads(ok(capsys, *words, "-o", "whole.onnx", "--json"))
    assert Path("out.onnx").read_bytes() == Path("whole.onnx").read_bytes()
    for name in ("after", "kept", "summary"):
        assert found[name] == whole[name]
    for one, other in zip(found["epochs"], whole["epochs"], strict=True):
        assert (one["loss"], one["kpp"]) == (other["loss"], other["kpp"])


@pytest.mark.slow
def test_interrupted_leaves_no_half_file_and_says_how_to_go_on(folder: Path) -> None:
    process = start([*SMALL, *LONG, "-o", "out.onnx"], folder, epochs=2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130 and out == ""
    assert without_epochs(err) == (
        "nvmc: error: interrupted; every epoch that ended is kept in 'out.onnx.checkpoint'; the "
        "same command with --resume goes on from there\n"
    )
    left = {path.name for path in folder.iterdir()}
    assert left == {"mlp.onnx", "blobs.npz", "out.onnx.checkpoint"}


def test_epochs_are_told_where_there_is_no_terminal(capsys: Capture) -> None:
    """On standard error while they go, and the KPPs in the end; `--json` is silent."""
    assert main(SMALL) == 0
    told = capsys.readouterr()
    lines = told.err.splitlines()
    pattern = r"epoch {} of 3: loss [\d.e-]+, KPP [\d.]+ %(, about \d+ s left)?"
    assert [bool(re.fullmatch(pattern.format(k), line)) for k, line in enumerate(lines, 1)] == [
        True
    ] * 3
    assert [" left" in line for line in lines] == [True, True, False]
    rows = re.findall(r"^ +(\d) +([\d.e-]+) +([\d.]+ %)( +kept)? *$", told.out, re.MULTILINE)
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert [row[2] in line for row, line in zip(rows, lines, strict=True)] == [True] * 3
    assert sum("kept" in row[3] for row in rows) == 1
    assert all(len(line) <= 80 for line in [*lines, *told.out.splitlines()] if "nvmc " not in line)
    assert main([*SMALL, "-o", "b.onnx", "--json"]) == 0
    assert capsys.readouterr().err == ""


def test_of_many_kpps_some_are_shown_and_the_kept(capsys: Capture) -> None:
    words = ["--epochs", "20", "-o", "out.onnx"]
    printed = ok(capsys, *SMALL, *words)
    shown = re.findall(r"^ +(\d+) +[\d.e-]+ +[\d.]+ %( +kept)? *$", printed, re.MULTILINE)
    assert 7 <= len(shown) <= 8 and shown[-1][0] == "20"
    assert sum(bool(kept) for _, kept in shown) == 1
    assert f"{len(shown)} of 20 KPPs; --json has all" in printed


def test_whose_width_weights_were_clipped_at(capsys: Capture) -> None:
    words = [word for word in SMALL if word not in ("--method", "erm")]
    said = "Weights clipped at 1.5 standard deviations"
    assert f"{said}, hwa's default (--clip)" in ok(capsys, *words, "-o", "a.onnx")
    assert f"{said} (--clip)" in ok(capsys, *words, "--clip", "1.5", "-o", "b.onnx")


def fails(capsys: Capture, *words: str, code: int = 1) -> str:
    """The one line of an error, which leaves nothing behind."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert main(words) == code
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if "note:" not in line]
    assert len(lines) == 1 and lines[0].startswith("nvmc: error: "), captured.err
    assert "a fault of nvmc itself" not in lines[0]
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    return lines[0]


def test_resuming_another_run_is_refused(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    common = [*SMALL, *LONG, "-o", "out.onnx"]
    save_run = loop.write_run

    def interrupted(*state: Any) -> None:
        save_run(*state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_run", interrupted)
        assert main(common) == 130
    capsys.readouterr()
    assert "resume it, or remove the file" in fails(capsys, *common)
    for other, named in (
        (["--sigma", "0.3"], "sigma is"),
        (["--rate", "0.1"], "rate is 0.01 there and 0.1 here"),
        (["--skip", "*_0"], "skip is"),
        (["--cell-bits", "1"], "target"),
        (["--method-option", "th=1"], "th is"),
    ):
        assert named in fails(capsys, *common, *other, "--resume")
    save("blobs.npz", y=(blobs(240, 1).y + 1) % 3)
    assert "data is" in fails(capsys, *common, "--resume")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--method", "trise"], "trise"),
        (
            ["--method", "trice", "--method-option", "theta=2"],
            "key 'theta' is unknown; expected",
        ),
        (
            ["--method", "trice", "--method-option", "th=much"],
            "th: input should be a valid",
        ),
        (
            ["--method", "trice", "--method-option", "th=-1"],
            "than or equal to 0 (got -1)",
        ),
        (["--method", "trice"], "warm"),
        (["--method-option", "th"], "KEY=VALUE"),
        (["--method-option", "th=1", "--method-option", "th=2"], "twice"),
        (["--epochs", "0"], "--epochs: input should be greater than or equal to 1 (got 0)"),
        (["--batch", "-1"], "--batch: input"),
        (["--rate", "nan"], "--rate: input"),
        (["--decay", "-1"], "--decay: input"),
        (["--momentum", "1"], "--momentum: input"),
        (["--chips", "0"], "--chips: input"),
        (["--percentile", "100"], "100"),
        (["--activation-bits", "17"], "activation bits is 17"),
        (
            ["--augment", "blur=1"],
            "--augment: key 'blur' is unknown; expected one of turn,",
        ),
        (["--augment", "turn"], "KEY=VALUE; write it so, as turn=12"),
        (["--augment", "affine"], "augmentation"),
        (["--seed", "-1"], "--seed: input"),
        (["--sigma", "-1"], "-1"),
        (["--device", "nix"], "nix"),
        (["--noise", "dust"], "dust"),
        (["--weight-bits", "four"], "four"),
        (["--tile", "9"], "9"),
        (["--skip", "conv*"], "conv*"),
        (["--data", "absent.npz"], "absent.npz"),
        (["--validation", "absent.npz"], "absent.npz"),
        (["-o", "mlp.onnx"], "the source"),
        (["-o", "absent/out.onnx"], "absent"),
        (["-o", "."], "folder"),
        (["--checkpoint", "absent/c"], "absent"),
        (["--checkpoint", "mlp.onnx"], "'mlp.onnx' is the source"),
        (["--checkpoint", "./mlp-erm.onnx"], "'mlp-erm.onnx' is the result"),
        (["--checkpoint", "."], "folder"),
        (["--resume"], "no checkpoint"),
        (["--tensorboard", "mlp.onnx"], "no folder"),
    ],
)
def test_bad_option(capsys: Capture, options: list[str], named: str) -> None:
    assert named in fails(capsys, *SMALL, *options)


@pytest.mark.parametrize("flag", ["-o", "--checkpoint"])
def test_no_pipe_is_replaced(capsys: Capture, flag: str) -> None:
    os.mkfifo("pipe")
    assert "'pipe'" in fails(capsys, *SMALL, flag, "pipe")
    assert Path("pipe").is_fifo()


def test_cuda_without_a_gpu(capsys: Capture) -> None:
    import torch

    if torch.cuda.is_available():
        assert main([*SMALL, "--method", "erm", "--accelerator", "cuda"]) == 0
    else:
        assert "no CUDA device" in fails(capsys, *SMALL, "--accelerator", "cuda")


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"y": None}, "no labels"),
        ({"x": np.zeros((240, 5), np.float32)}, "5"),
        ({"x": np.zeros((240, 2, 4), np.float32)}, "2 x 4"),
        ({"y": np.arange(240) % 4}, "label 3"),
        ({"y": np.r_[7, np.arange(239) % 3]}, "label 7"),
        ({"x": np.zeros((1, 8), np.float32), "y": np.arange(1)}, "1 image; expected at least 2"),
    ],
)
def test_bad_data(capsys: Capture, arrays: dict[str, Any], named: str) -> None:
    save("bad.npz", **arrays)
    assert named in fails(capsys, *SMALL, "--data", "bad.npz")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("g (float[N,8] x) => (float[N,8] y) { y = Relu (x) }", "to train"),
        (
            """g (float[N,8] x) => (float[N,3] y) <float[8,3] w> {
            a = MatMul (x, w)
            y = Hardmax (a)
            }""",
            "no gradient",
        ),
        ("g (float[4,8] x) => (float[4,3] y) <float[8,3] w> { y = MatMul (x, w) }", "exactly 4"),
        (
            """g (float[N,8] x, float[N,8] z) => (float[N,3] y) <float[8,3] w> {
            a = Add (x, z)
            y = MatMul (a, w)
            }""",
            "x, z",
        ),
    ],
)
def test_bad_model(capsys: Capture, text: str, named: str) -> None:
    onnx.save(proto_of(text), "bad.onnx")
    assert named in fails(capsys, "train", "bad.onnx", *TRAINED)


def test_foreign_operator(capsys: Capture) -> None:
    model = onnx.load("mlp.onnx")
    model.graph.node[1].op_type, model.graph.node[1].domain = "Bend", "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, "bad.onnx")
    line = fails(capsys, "train", "bad.onnx", *TRAINED)
    assert "is Bend of domain 'com.example'" in line


def test_compiled_network_is_no_source(capsys: Capture) -> None:
    assert main(["compile", "mlp.onnx", "--device", "rram4"]) == 0
    capsys.readouterr()
    line = fails(capsys, "train", "mlp.nvmc/model.onnx", *TRAINED, "-o", "out.onnx")
    assert "train its source" in line


def test_usage(capsys: Capture) -> None:
    assert "MODEL" in fails(capsys, "train", code=2)
    assert "--data" in fails(capsys, "train", "mlp.onnx", code=2)
    assert "--optimizer" in fails(capsys, *SMALL, "--optimizer", "lion", code=2)


def test_torch_is_missing(folder: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from nvmc.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *SMALL], capture_output=True, text=True)
    assert done.returncode == 1
    is_named(done.stderr, "pip install 'nvmc[train]'", folder)


def test_tensorboard_is_missing(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main([*SMALL, "--tensorboard", "t"]) == 1
    is_named(capsys.readouterr().err, "pip install 'nvmc[tensorboard]'", folder)


def is_named(said: str, extra: str, folder: Path) -> None:
    (line,) = said.splitlines()
    assert line.startswith("nvmc: error: ") and extra in line
    assert {path.name for path in folder.iterdir()} == {"mlp.onnx", "blobs.npz"}
