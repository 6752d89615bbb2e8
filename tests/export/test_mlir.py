"""`--to mlir`: xDSL verifies the text, and running it gives the circuit's own bits."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.circuits import (
    CONV,
    CONVERTERS,
    DENSE,
    LSTM,
    PLAIN,
    SERIAL,
    SHAPED,
    SHAPES,
    SPREAD,
    STACK,
    WHOLE,
    awkward,
    calibrated,
    circuits,
    network,
    tabled,
)
from export.consumers import XDSL
from nvmc import Compiled, Target, compile_model, export_network
from nvmc.errors import ModelError, OptionError
from nvmc.export.mlir import text
from nvmc.export.mlir.digital import LOWERED
from nvmc.export.mlir.write import FORMAT
from nvmc.hardware.devices import Periphery
from nvmc.models import resolve_model
from onnx_text import proto_of
from source_tree import ROOT

READER = Path(__file__).with_name("run_mlir.py")


@pytest.fixture(scope="module")
def python(pytestconfig: pytest.Config) -> str:
    """Of an environment that has xDSL."""
    found = pytestconfig.getoption("--consumers")
    if subprocess.run([found, "-c", f"import {XDSL}"], capture_output=True).returncode:
        pytest.skip(f"{found} has no {XDSL}; give --consumers PYTHON of one that has")
    return found


def read(python: str, folder: Path, *inputs: Any) -> subprocess.CompletedProcess[str]:
    """Verify and run the module; MLIR itself reads it too where IREE is installed."""
    np.savez(folder / "in.npz", *inputs)
    iree = subprocess.run([python, "-c", "import iree.compiler"], capture_output=True)
    more = [] if iree.returncode else ["mlir"]
    words = [python, str(READER), "out", "in.npz", "found.npz", *more]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


def hold(
    compiled: Compiled, chip: int | None, x: NDArray[np.float32], folder: Path, python: str
) -> str:
    export_network(compiled, "mlir", folder / "out", chip=chip)
    done = read(python, folder, x)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "found.npz") as outputs:
        (found,) = outputs.values()
    (wanted,) = circuits(compiled, chip, x)
    assert wanted.any()
    np.testing.assert_array_equal(found, wanted)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("chip", [None, 3])
@pytest.mark.parametrize("name", ["mlp3-digits", "lenet5-digits"])
def test_networks_of_the_zoo_give_the_circuits_bits(
    name: str, chip: int | None, tmp_path: Path, python: str
) -> None:
    target = Target.of("rram4", periphery=Periphery(**SERIAL, subtract="digital"))
    output = tmp_path / "net.nvmc"
    compiled = compile_model(resolve_model(f"zoo:{name}"), target, output=output)
    x = np.random.default_rng(5).random((1, 1, 28, 28), dtype=np.float32)
    assert "cim.digital" not in hold(compiled, chip, x, tmp_path, python)


@pytest.mark.slow
@pytest.mark.parametrize("chip", [None, 2])
@pytest.mark.parametrize(
    ("cells", "surround"),
    [
        ({}, SERIAL),
        ({"encoding": "differential"}, {**SERIAL, "subtract": "digital", "column_limit": 9.0}),
        ({"encoding": "balanced", "per_channel": True}, {**WHOLE, "signed_inputs": "offset"}),
        ({"encoding": "offset"}, {**SERIAL, "signed_inputs": "offset", "row_split": "even"}),
        ({"encoding": "offset", "rows": 40, "cols": 16}, {**SERIAL, "rows_on": 5}),
    ],
)
@pytest.mark.parametrize("net", [CONV, DENSE])
def test_every_way_to_read_gives_the_circuits_bits(
    net: str,
    cells: dict[str, Any],
    surround: dict[str, Any],
    chip: int | None,
    tmp_path: Path,
    python: str,
) -> None:
    own = {"rows": 7, "cols": 4, **cells}
    target = Target.of("rram4", periphery=Periphery(**surround), **own)
    compiled = network(tmp_path, net, target, **(SHAPES if net == DENSE else {}))
    shape = (1, 4, 7, 6) if net == CONV else (1, 5, 9)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    said = hold(compiled, chip, x, tmp_path, python)
    assert ("cim.digital" in said) == (net == DENSE)  # a Tanh


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPED)
def test_every_shape_gives_the_circuits_bits(name: str, tmp_path: Path, python: str) -> None:
    proto = proto_of(SHAPED[name])
    shape = [dim.dim_value or 1 for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    target = Target.of("rram4", rows=5, cols=3, periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, SHAPED[name], target)
    x = np.random.default_rng(8).standard_normal(shape).astype(np.float32)
    x[0].flat[0] = 0
    hold(compiled, 1, x, tmp_path, python)


@pytest.mark.slow
@pytest.mark.parametrize("chip", [None, 3])
def test_analog_weights_give_the_circuits_bits(
    chip: int | None, tmp_path: Path, python: str
) -> None:
    target = Target.of("additive", rows=9, cols=4, periphery=Periphery(**WHOLE))
    compiled = network(tmp_path, CONV, target)
    x = np.random.default_rng(9).standard_normal((1, 4, 7, 6)).astype(np.float32)
    hold(compiled, chip, x, tmp_path, python)


LOWER = """g (float[N,2,6,5] x) => (float[N,12,6] y, float[N,2,6,5] z)
<float[6,5] u, float[2,1,1] v, float[5,12] w> {
  a = Add (x, u)
  s = Sub (v, a)
  m = Mul (s, s)
  d = Div (m, u)
  z = Softmax <axis = -1> (d)
  p = MaxPool <kernel_shape = [2, 3], pads = [1, 0, 1, 2], strides = [1, 1], dilations = [2, 1]> (z)
  t = Transpose <perm = [0, 2, 3, 1]> (p)
  r = Relu (t)
  q = Identity (r)
  c = Clip (q, , v0)
  k = Reshape (c, shape)
  h = MatMul (k, w)
  y = Reshape (h, back)
}"""


@pytest.mark.slow
def test_digital_nodes_are_lowered_or_kept(tmp_path: Path, python: str) -> None:
    stored = {
        "shape": np.array([-1, 5]),
        "back": np.array([1, 12, -1]),
        "v0": np.array(0.75, np.float32),
    }
    target = Target.of("rram4", periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, LOWER, target, **stored)
    export_network(compiled, "mlir", tmp_path / "out")
    x = np.random.default_rng(1).standard_normal((1, 2, 6, 5)).astype(np.float32)
    done = read(python, tmp_path, x)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as outputs:
        everything = list(outputs.values())
    for found, wanted in zip(everything, circuits(compiled, None, x), strict=True):
        np.testing.assert_array_equal(found, wanted)
    module = (tmp_path / "out" / "model.mlir").read_text()
    assert sorted(re.findall(r'op = "(\w+)"', module)) == ["Clip", "Softmax"]
    assert "operands = array<i64: 0, -1, 1>" in module


@pytest.mark.slow
def test_large_constants_lie_beside_the_text(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "INLINE_BYTES", 100)
    target = Target.of("rram4", periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, CONV, target)
    x = np.random.default_rng(1).standard_normal((1, 4, 7, 6)).astype(np.float32)
    assert "cim.load" in hold(compiled, 1, x, tmp_path, python)
    assert max(map(len, (tmp_path / "out" / "model.mlir").read_text().splitlines())) < 2000


@pytest.mark.slow
def test_names_may_hold_anything(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "INLINE_BYTES", 30)
    compiled = awkward(tmp_path, Target.of("rram4", periphery=Periphery(**SERIAL)))
    x = np.random.default_rng(7).standard_normal((1, 4, 7, 6)).astype(np.float32)
    hold(compiled, None, x, tmp_path, python)


@pytest.mark.slow
def test_the_manuals_example_runs(tmp_path: Path, python: str) -> None:
    manual = (ROOT / "docs" / "export.md").read_text().partition("\n## mlir\n")[2]
    code = manual.partition("```python\n")[2].partition("```")[0]
    target = Target.of("rram4", periphery=Periphery(**SERIAL))
    compiled = compile_model(
        resolve_model("zoo:lenet5-digits"), target, output=tmp_path / "net.nvmc"
    )
    export_network(compiled, "mlir", tmp_path / "out")
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "conv1.weight tiles [0, 1, 2, 3] vectors 784" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "instead", "said"),
    [
        (r'"cim.release"\(%\d+\) : \(!cim.tile\) -> \(\)', "", "a tile is released once"),
        (r"rows = 4 : i64", "rows = 5 : i64", "of a tile of (5, 5)"),
        (r", low = [^,}]*", "", None),
        (r"low = [^,}]*", "low = 3 : i64", None),
        (r"tensor<4x5xi8>", "tensor<4x6xi8>", None),
        (r"line = 0", "line = 1", "codes go on lines of the tile"),
    ],
)
def test_a_wrong_module_does_not_verify(
    pattern: str, instead: str, said: str | None, tmp_path: Path, python: str
) -> None:
    target = Target.of("rram4", encoding="offset", periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, PLAIN, target)
    export_network(compiled, "mlir", tmp_path / "out")
    path = tmp_path / "out" / "model.mlir"
    right = path.read_text()
    x = np.ones((1, 4), np.float32)
    assert read(python, tmp_path, x).returncode == 0
    wrong = re.sub(pattern, instead, right, count=1)
    assert wrong != right
    path.write_text(wrong)
    done = read(python, tmp_path, x)
    assert done.returncode != 0
    assert said is None or said in done.stderr


def test_the_text_is_of_the_format_that_the_manual_describes(tmp_path: Path) -> None:
    target = Target.of("rram4", rows=7, cols=4, periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, CONV, target)
    said = export_network(compiled, "mlir", tmp_path / "out", chip=1)
    assert "0 digital nodes left as cim.digital" in said.lines[0]
    module = (tmp_path / "out" / "model.mlir").read_text()
    assert module.startswith(f'module attributes {{cim.format = "{FORMAT}"}} {{\n')
    manual = (ROOT / "docs" / "export.md").read_text().partition("\n## mlir\n")[2]
    for name in set(re.findall(r"cim\.[a-z]+", module)) - {"cim.format", "cim.tile"}:
        assert f"`{name}`" in manual
    for name in LOWERED:
        assert name in manual


@pytest.mark.parametrize(
    ("net", "surround", "said"),
    [
        (LSTM, SERIAL, "CrossbarLSTM .* cannot be written in this version of the dialect"),
        (STACK, SERIAL, "has a stack of matrices; .* keep the layer digital with skip="),
        (PLAIN, {"dac_bits": 8}, "array 'w' has no ADC, .*; compile with adc_bits="),
    ],
)
def test_what_the_dialect_cannot_say_is_refused_in_one_line(
    net: str, surround: dict[str, Any], said: str, tmp_path: Path
) -> None:
    compiled = network(tmp_path, net, Target.of("rram4", periphery=Periphery(**surround)))
    with pytest.raises((ModelError, OptionError), match=said) as found:
        export_network(compiled, "mlir", tmp_path / "out")
    assert "\n" not in str(found.value)


@pytest.mark.slow
@pytest.mark.parametrize("chip", [None, 1])
@pytest.mark.parametrize("more", [row for row in CONVERTERS if tabled(row)])
def test_converters_by_table_give_the_circuits_bits(
    more: dict[str, Any], chip: int | None, tmp_path: Path, python: str
) -> None:
    compiled, x = calibrated(more, tmp_path)
    said = hold(compiled, chip, x[:1], tmp_path, python)
    assert ("cim.execute_table" in said) == tabled(more, chip)


@pytest.mark.slow
@pytest.mark.parametrize("chip", [None, 4])
def test_transposed_convolutions_give_the_circuits_bits(
    chip: int | None, tmp_path: Path, python: str
) -> None:
    target = Target.of("rram4", rows=3, cols=8, periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, SPREAD, target)
    x = np.random.default_rng(4).standard_normal((1, 4, 3, 3)).astype(np.float32)
    hold(compiled, chip, x, tmp_path, python)
