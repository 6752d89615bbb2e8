"""Bad input gets one clear line, exit code 1 (usage: 2), no traceback, nothing half-written."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nvmc.cli import main
from nvmc.models import resolve_model
from onnx_text import proto_of

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in an empty folder and return the one line of its error."""
    monkeypatch.chdir(tmp_path)

    def runner(*words: str, code: int = 1) -> str:
        before = {p.relative_to(tmp_path) for p in tmp_path.rglob("*")}
        assert main(words) == code
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if "note:" not in line]
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("nvmc: error: ")
        assert "Traceback" not in captured.err + captured.out
        assert {p.relative_to(tmp_path) for p in tmp_path.rglob("*")} == before
        return lines[0]

    return runner


def dense(weight: np.ndarray, opset: int = 21) -> onnx.ModelProto:
    """y = x @ weight."""
    rows, cols = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", cols])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(10, 10)
    )


@pytest.fixture
def good(tmp_path: Path) -> str:
    """A good model of 4 inputs and 3 classes."""
    path = tmp_path / "good.onnx"
    onnx.save(dense(np.random.default_rng(0).standard_normal((4, 3))), path)
    return str(path)


@pytest.fixture
def compiled(good: str, tmp_path: Path) -> str:
    """The good model compiled."""
    folder = str(tmp_path / "good.nvmc")
    assert main(["compile", good, "--device", "rram4", "-o", folder]) == 0
    return folder


def test_model_does_not_exist(run: Run) -> None:
    assert "absent.onnx" in run("compile", "absent.onnx")


def test_model_is_a_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    assert "folder" in run("compile", "folder.onnx")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"hello world"])
def test_model_is_not_onnx(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "not.onnx").write_bytes(content)
    assert "not.onnx" in run("compile", "not.onnx")


def test_model_is_random_bytes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "random.onnx").write_bytes(np.random.default_rng(1).bytes(5000))
    assert "random.onnx" in run("compile", "random.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_model_is_truncated(run: Run, tmp_path: Path, share: float) -> None:
    whole = resolve_model("zoo:lenet5-digits").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(share * len(whole))])
    assert "cut.onnx" in run("compile", "cut.onnx")


@pytest.mark.parametrize("opset", [6, 27, 99])
def test_opset_is_not_supported(run: Run, tmp_path: Path, opset: int) -> None:
    onnx.save(dense(np.ones((2, 2)), opset), tmp_path / "m.onnx")
    line = run("compile", "m.onnx")
    assert str(opset) in line and "7" in line


@pytest.mark.parametrize("location", ["gone.bin", "../outside.bin", "/etc/hostname"])
def test_external_data_is_missing_or_outside(run: Run, tmp_path: Path, location: str) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(16))
    model = dense(np.ones((2, 2)))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "inner" / "m.onnx").write_bytes(model.SerializeToString())
    assert location in run("compile", "inner/m.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_are_not_finite(run: Run, tmp_path: Path, value: float) -> None:
    weight = np.ones((3, 3))
    weight[1, 2] = value
    onnx.save(dense(weight), tmp_path / "m.onnx")
    assert "'w'" in run("compile", "m.onnx")


def test_model_is_compiled_already(run: Run, compiled: str) -> None:
    assert "compile its source" in run("compile", f"{compiled}/model.onnx", "-o", "again.nvmc")


def test_skip_matches_no_layer(run: Run, good: str) -> None:
    """A name that is misspelt would put a layer on crossbars unnoticed."""
    assert "matches no layer; its nodes are fc" in run("compile", good, "--skip", "conv*")


def test_chip_and_cells_go_to_one_file(run: Run, compiled: str) -> None:
    words = ("program", compiled, "--chip", "0", "-o", "a.npz", "--cells", "./a.npz")
    assert "give two files" in run(*words)


def test_nothing_can_be_mapped(run: Run, tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    assert "Relu" in run("compile", "m.onnx")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--device", "fefet3"], "fefet3"),
        (["--device", "./absent.toml"], "absent.toml"),
        (["--pass", "insert-dropuot"], "insert-dropuot"),
        (["--pass", "insert-dropout:rat=0.2"], "rat"),
        (["--weight-bits", "17"], "17"),
        (["--weight-bits", "four"], "four"),
        (["--weight-bits", "4", "--cell-bits", "5"], "5"),
        (["--device", "fefet2", "--cell-bits", "3"], "3"),
        (["--tile", "128"], "128"),
        (["--tile", "0x8"], "0x8"),
        (["--activation-bits", "4"], "give --data SPEC"),
        (["-o", "/proc/absent/out.nvmc"], "/proc/absent/out.nvmc"),
        (["-o", "good.onnx"], "good.onnx"),
    ],
)
def test_compile_option(run: Run, good: str, options: list[str], named: str) -> None:
    assert named in run("compile", good, *options)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('name = "x"\ntitle = "x"\nsource = "x"\nlevels = 4\ncolour = 1', "colour"),
        ('name = "x"\ntitle = "x"\nsource = "x"\nlevels = 1', "levels"),
        ('name = "x"\ntitle = "x"\nlevels = 4', "source"),
        ("name = ", "TOML"),
        (
            'name = "x"\ntitle = "x"\nsource = "x"\nlevels = 4\nsigma = -0.1\n'
            '[[noise]]\ntype = "programming"\nbasis = "level"',
            "sigma",
        ),
        (
            'name = "x"\ntitle = "x"\nsource = "x"\nlevels = 4\n[[noise]]\ntype = "pink"',
            "pink",
        ),
    ],
)
def test_device_file(run: Run, good: str, tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    line = run("compile", good, "--device", "./mine.toml")
    assert named in line and "mine.toml" in line


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--sigma", "-0.1"], "-0.1"),
        (["--sigma", "nan"], "nan"),
        (["--runs", "0"], "0"),
        (["--runs", "-5"], "-5"),
        (["--runs", "99999999999"], "1,000,000"),
        (["--jobs", "0"], "0"),
        (["--limit", "0"], "0"),
        (["--seed", "-1"], "-1"),
        (["--percentile", "0"], "0"),
        (["--percentile", "100"], "100"),
        (["--device", "nix"], "nix"),
        (["--noise", "stuck-at:p=0.1"], "key 'p' is unknown"),
        (["--noise", "dust"], "dust"),
        (["--output", "logits"], "logits"),
        (["--data", "imagenet"], "imagenet"),
        (["--data", "absent.npz"], "absent.npz"),
        (["--data", "mnist:absent"], "absent"),
        (["--time", ""], "--time: got ''"),
        (["--time", "1h,soon"], "soon"),
    ],
)
def test_simulate_option(run: Run, compiled: str, options: list[str], named: str) -> None:
    assert named in run("simulate", compiled, *options)


X, Y = np.zeros((5, 4), np.float32), np.arange(5) % 3


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"x": np.zeros((5, 7), np.float32), "y": Y}, "7"),
        ({"x": X, "y": np.array([0, 1, 2, 3, 0])}, "3"),
        ({"x": X, "y": np.array([0, 1, -1, 2, 0])}, "-1"),
        ({"x": X, "y": Y[:4]}, "4"),
        ({"x": X, "y": Y + 0.5}, "y"),
        ({"x": X[:0], "y": Y[:0]}, "nothing in split test, expected at least one"),
        ({"x": X * np.nan, "y": Y}, "NaN"),
        ({"z": X}, "x"),
    ],
)
def test_data(
    run: Run, compiled: str, tmp_path: Path, arrays: dict[str, np.ndarray], named: str
) -> None:
    np.savez(tmp_path / "d.npz", allow_pickle=False, **arrays)
    assert named in run("simulate", compiled, "--data", "d.npz", "--runs", "1")


def test_no_compiled_network_here(run: Run) -> None:
    assert "nvmc compile" in run("simulate")


def test_compiled_network_is_damaged(run: Run, compiled: str) -> None:
    manifest = Path(compiled) / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text[: len(text) // 2])
    assert "compile again" in run("simulate", compiled)
    manifest.write_text(text.replace("nvmc.compiled/3", "nvmc.compiled/99"))
    assert "nvmc.compiled/99" in run("simulate", compiled)


def test_no_pipe_is_replaced(run: Run, compiled: str) -> None:
    os.mkfifo("pipe")
    assert "no regular file" in run("program", compiled, "--chip", "0", "-o", "pipe")
    assert Path("pipe").is_fifo()


def test_other_folder_is_not_replaced(run: Run, good: str, tmp_path: Path) -> None:
    (tmp_path / "mine.nvmc").mkdir()
    (tmp_path / "mine.nvmc" / "diary.txt").write_text("dear diary")
    assert "mine.nvmc" in run("compile", good, "-o", "mine.nvmc")


@pytest.mark.parametrize(
    "options",
    [["--chip", "-1", "-o", "c.onnx"], ["--chip", "0", "-o", "/proc/absent/c.onnx"]],
)
def test_program(run: Run, compiled: str, options: list[str]) -> None:
    run("program", compiled, *options)


def test_program_with_bad_cells_name(run: Run, compiled: str) -> None:
    line = run("program", compiled, "--chip", "0", "-o", "c.onnx", "--cells", "c.csv")
    assert ".npz" in line


@pytest.mark.parametrize("command", [["program", "--chip", "0"], ["transform"]])
def test_output_in_a_compiled_network(
    run: Run, good: str, compiled: str, command: list[str]
) -> None:
    source = [compiled] if command[0] == "program" else [good, "--pass", "canonicalize"]
    before = {p: p.read_bytes() for p in Path(compiled).iterdir()}
    for name in ("model.onnx", "new.onnx"):
        assert "compiled network" in run(*command, *source, "-o", f"{compiled}/{name}")
    assert {p: p.read_bytes() for p in Path(compiled).iterdir()} == before


def test_transform_never_overwrites_its_source(run: Run, good: str) -> None:
    content = Path(good).read_bytes()
    assert "source" in run("transform", good, "--pass", "fold-batchnorm", "-o", good)
    assert Path(good).read_bytes() == content


@pytest.mark.parametrize("output", ["good.onnx", "good.nvmc/model.onnx", "good.nvmc/chip.onnx"])
def test_a_chip_never_overwrites_its_network(
    run: Run, compiled: str, output: str, tmp_path: Path
) -> None:
    kept = [tmp_path / "good.onnx", Path(compiled) / "model.onnx"]
    content = [path.read_bytes() for path in kept]
    assert "choose another -o" in run("program", compiled, "--chip", "0", "-o", output)
    assert [path.read_bytes() for path in kept] == content


def test_a_source_inside_the_output_is_not_lost(run: Run, compiled: str) -> None:
    source = Path(compiled) / "again.onnx"
    onnx.save(dense(np.eye(4, 3)), source)
    assert "would be replaced" in run("compile", str(source), "-o", compiled)
    assert source.is_file()


def test_another_model_is_no_set_of_ideal_chips(run: Run, compiled: str) -> None:
    assert main(["program", compiled, "--chip", "0", "-o", "chip.onnx"]) == 0
    shutil.copy("chip.onnx", Path(compiled) / "model.onnx")
    assert "is not the file that" in run("simulate", compiled, "--runs", "2")
    assert "is not the file that" in run("program", compiled, "--chip", "0", "-o", "again.onnx")


def test_manifest_is_nested_beyond_reason(run: Run, compiled: str) -> None:
    (Path(compiled) / "manifest.json").write_text("[" * 100_000)
    assert "is damaged" in run("simulate", compiled)


def test_images_along_another_axis_than_the_first(run: Run, tmp_path: Path) -> None:
    """A sequence-first network whose sequences are as many as the data's would run, wrongly."""
    model = proto_of(
        "net (float[3, batch, 4] x) => (float[batch, 2] y) <int64[1] axis = {0}, float[4, 2] w> "
        "{ h = MatMul(x, w)  y = ReduceMean<keepdims = 0>(h, axis) }"
    )
    onnx.save(model, tmp_path / "first.onnx")
    assert main(["compile", "first.onnx", "--device", "rram4"]) == 0
    np.savez(tmp_path / "d.npz", allow_pickle=False, x=np.zeros((6, 3, 4), np.float32))
    for data in ([], ["--data", "d.npz"]):
        assert "--batch-axis x=1" in run("simulate", "--runs", "1", *data)
    said = ["simulate", "--runs", "1", "--data", "d.npz", "--batch-axis", "x=1"]
    assert main(said) == 0


def test_network_without_an_input(run: Run, tmp_path: Path) -> None:
    text = "net () => (float[2, 2] y) <float[2, 2] w> "
    text += "{ x = RandomNormal<shape = [2, 2]>()  y = MatMul(x, w) }"
    onnx.save(proto_of(text), tmp_path / "none.onnx")
    assert main(["compile", "none.onnx", "--device", "rram4"]) == 0
    assert "no input" in run("simulate", "--runs", "1")


def test_onnxruntime_does_not_speak_beside_the_error(
    compiled: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It writes to the process's standard error itself, past Python's."""
    model = proto_of(
        "net (int64[N] i) => (float[N, 2] y) <float[3, 2] t, float[2, 2] w> "
        "{ h = Gather(t, i)  y = MatMul(h, w) }"
    )
    onnx.save(model, tmp_path / "gather.onnx")
    folder = str(tmp_path / "gather.nvmc")
    assert main(["compile", str(tmp_path / "gather.onnx"), "-o", folder]) == 0
    np.savez(tmp_path / "d.npz", allow_pickle=False, x=np.array([0, 7]))
    capfd.readouterr()
    assert main(["simulate", folder, "--runs", "1", "--data", str(tmp_path / "d.npz")]) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_what_nobody_foresaw_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("spanner")

    monkeypatch.setattr("nvmc.cli.running.find_compiled", broken)
    assert "KeyError: 'spanner'" in run("simulate")
    with pytest.raises(KeyError):
        main(["--debug", "simulate"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(("target", "code"), [(">/dev/full", 1), (">&-", 0)])
def test_standard_output_is_full_or_closed(target: str, code: int) -> None:
    python = "import sys; from nvmc.cli import main; sys.exit(main(['devices', '--json']))"
    words = f"{shlex.quote(sys.executable)} -c {shlex.quote(python)} {target}"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == code and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [["compile"], ["frobnicate"], ["simulate", "--runs", "many"], ["compile", "--nope", "m.onnx"]],
)
def test_usage(run: Run, words: list[str]) -> None:
    assert "--help" in run(*words, code=2)


def test_source_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "lenet.onnx"
    shutil.copy(resolve_model("zoo:lenet5-digits"), source)
    stamp, content = source.stat().st_mtime_ns, source.read_bytes()
    assert main(["compile", "lenet.onnx"]) == 0
    assert (source.stat().st_mtime_ns, source.read_bytes()) == (stamp, content)


def test_an_input_without_a_shape_is_not_transformed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result would be no valid ONNX: a fault of nvmc itself, it said."""
    proto = proto_of("g (float[N,3] x) => (float[N,3] y) { y = Relu (x) }")
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    out = tmp_path / "out.onnx"
    words = ["transform", str(tmp_path / "m.onnx"), "--pass", "canonicalize", "-o", str(out)]
    assert main(words) == 1 and not out.exists()
    assert "input 'x' has no shape, and ONNX asks for one" in capsys.readouterr().err
