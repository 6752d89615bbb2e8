"""Without the compiled provider: the same bits from a session in parts, or one line why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.errors import ModelError, ProviderError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Device, Periphery, Target
from nvmc.runtime import missing
from nvmc.runtime.crossbar.ranges import RangeObserver
from nvmc.runtime.parted import PartedSession
from nvmc.runtime.provider import make_session, observe_arrays, register_provider, registration
from provider_networks import batch, codes_of, matmul, network
from source_tree import ROOT

NOISE = [
    {"type": "programming", "basis": "level", "sigma": 0.2},
    {"type": "read", "basis": "level", "sigma": 0.3},
]
SCALE = np.float32(0.1).reshape(())
CONSTANTS: dict[str, NDArray[Any]] = {
    "a_codes": codes_of((4, 6), 1),
    "b_codes": codes_of((6, 6), 2),
    "c_codes": codes_of((6, 3), 3),
    "s": SCALE,
    "bias": np.arange(3, dtype=np.float32),
}
BRANCHED = """g (float[N, 4] x, bool up) => (float[N, 3] y, float[N, 6] h) {
    a = nvmc.CrossbarMatMul <arrays = ["a"]> (x, a_codes, s)
    two = Constant <value_float = 2.0> ()
    r = Relu (a)
    b = nvmc.CrossbarMatMul <arrays = ["b"]> (r, b_codes, s)
    d = Mul (r, two)
    e = Add (d, b)
    h = If (up) <
        then_branch = t () => (float[N, 6] v) { v = Mul (e, two) },
        else_branch = f () => (float[N, 6] w) { w = Neg (e) }
    >
    y = nvmc.CrossbarGemm <arrays = ["c"]> (h, c_codes, s, bias)
}"""
LOOPED = """g (float[N, 4] x, bool up) => (float[N, 4] y) {
    [choice] y = If (up) <
        then_branch = t () => (float[N, 4] v) {
            [dense] v = nvmc.CrossbarMatMul <arrays = ["a"]> (x, q_codes, s) },
        else_branch = f () => (float[N, 4] w) { w = Neg (x) }
    >
}"""


def noisy() -> Target:
    """Cells with read noise behind ADCs, so that circuits are computed."""
    text = {"name": "d", "title": "t", "source": "s", "levels": 4, "noise": NOISE}
    periphery = Periphery.model_validate({"adc_bits": 6, "dac_bits": 4})
    return Target.of(Device.model_validate(text), weight_bits=4, periphery=periphery)


@pytest.fixture
def without_shim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "_shim", None)


def runs(model: bytes | Path, feeds: dict[str, Any], **options: Any) -> list[Any]:
    """Two runs, since reads go on from one to the next."""
    session = make_session(model, chip=3, **options)
    return [value for _ in range(2) for value in session.run(None, feeds)]


@pytest.mark.parametrize("up", [True, False])
def test_branches_and_reads_have_the_providers_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, up: bool
) -> None:
    model = network(BRANCHED, CONSTANTS, noisy(), ("CrossbarMatMul", "CrossbarGemm"))
    (tmp_path / "model.onnx").write_bytes(model)
    feeds = {"x": batch(5), "up": np.array(up)}
    expected = runs(model, feeds, first_image=10, images=5)
    monkeypatch.setattr(registration, "_shim", None)
    for source in (model, tmp_path / "model.onnx"):
        found = runs(source, feeds, first_image=10, images=5)
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
    assert not np.array_equal(found[0], found[2])  # reads are fresh


def test_what_is_seen_at_arrays_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(BRANCHED, CONSTANTS, noisy(), ("CrossbarMatMul", "CrossbarGemm"))
    ends: list[dict[str, Any]] = []
    for shim in (registration._shim, None):
        monkeypatch.setattr(registration, "_shim", shim)
        with observe_arrays(RangeObserver) as seen:
            session = make_session(model, chip=Chip.ideal())
        session.run(["h"], {"x": batch(5), "up": np.array(True)})
        ends.append({name: observer.current for name, observer in seen.items()})
    assert set(ends[0]) == {"a", "b", "c"} and ends[0] == ends[1]


@pytest.mark.usefixtures("without_shim")
def test_its_inputs_and_outputs() -> None:
    session = make_session(matmul())
    assert isinstance(session, PartedSession)
    (entry,) = session.get_inputs()
    assert (entry.name, entry.shape) == ("x", ["N", 4])
    assert [value.name for value in session.get_outputs()] == ["y"]
    with pytest.raises(ModelError, match="input 'x' is missing"):
        session.run(None, {})
    with pytest.raises(ModelError, match="no output 'z'"):
        session.run(["z"], {"x": batch()})
    with pytest.raises(ModelError, match="damaged"):
        make_session(b"no network")


@pytest.mark.usefixtures("without_shim")
def test_what_needs_the_provider_is_refused_in_one_line() -> None:
    constants = {"q_codes": codes_of((4, 4)), "s": SCALE}
    model = network(LOOPED, constants, noisy(), ("CrossbarMatMul",))
    for refused in (lambda: make_session(model), register_provider):
        with pytest.raises(ProviderError, match=r"not compiled here.*install g\+\+") as raised:
            refused()
        assert "\n" not in str(raised.value)
    with pytest.raises(ProviderError, match="'dense' is inside If 'choice'"):
        make_session(model)


def test_the_line_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing.slow_text() == ""
    monkeypatch.setitem(sys.modules, "nvmc.rng._normals", None)
    assert "(random numbers)" in missing.slow_text() and "\n" not in missing.slow_text()


BLOCKED = """
import json, sys
if sys.argv[1] == "blocked":
    for name in ("runtime.crossbar._native", "rng._normals", "runtime.provider._shim"):
        sys.modules[f"nvmc.{name}"] = None
from nvmc.cli import main
options = ["lenet.nvmc", "--data", "digits", "--limit", "3", "--runs", "2", "--sigma", "0.4"]
for fidelity in ("cells", "circuit"):
    assert main(["simulate", *options, "--fidelity", fidelity, "--json", "--no-store"]) == 0
import numpy, nvmc
session = nvmc.make_session("lenet.nvmc/model.onnx", chip=7, sigma=0.4)
found = session.run(None, {"image": numpy.ones((2, 1, 28, 28), "f")})[0]
print(type(session).__name__, found.tobytes().hex())
"""


@pytest.mark.slow
def test_an_installation_without_compiled_code_gives_the_same_numbers(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )

    compile_it = ("compile", "zoo:lenet5-digits", "--device", "fefet2", "--data", "digits")
    circuit = ("--adc-bits", "6", "--adc-range", "calibrated", "-o", "lenet.nvmc")
    run("-m", "nvmc", *compile_it, *circuit)
    compiled, blocked = run("-c", BLOCKED, "compiled"), run("-c", BLOCKED, "blocked")
    ours, theirs = compiled.stdout.splitlines(), blocked.stdout.splitlines()
    assert ours[-1].split()[0] == "InferenceSession" and theirs[-1].split()[0] == "PartedSession"
    assert ours[-1].split()[1] == theirs[-1].split()[1]
    told = [line for line in blocked.stderr.splitlines() if "without its compiled code" in line]
    assert len(told) == 2 and "without its compiled" not in compiled.stderr
    values = [[line for line in lines if line.startswith(' "values"')] for lines in (ours, theirs)]
    assert values[0] == values[1]
