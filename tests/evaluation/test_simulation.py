"""What `simulate` states, recomputed from programmed chips by other means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from nvmc import Compiled, Target, compile_model, load_device, program_chip, simulate
from nvmc.data import load_data
from nvmc.models import resolve_model
from nvmc.passes.io.load import load_model
from nvmc.passes.program_chip import arrays_of

SIGMA = 0.3


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("lenet") / "lenet.nvmc"
    target = Target.of(load_device("fefet1"))
    return compile_model(resolve_model("zoo:lenet5-digits"), target, output=folder)


def decisions(path: Path, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"image": x})
    return np.argmax(outputs, axis=1)  # pyright: ignore


@pytest.mark.parametrize(("k", "index"), [(1, 0), (10, 1), (25, 2), (50, 5), (99, 9)])
def test_the_percentile_is_the_one_asked_for(lenet: Compiled, k: float, index: int) -> None:
    """Ten chips: sorted ascending, the one at floor(10 k / 100)."""
    result = simulate(lenet, runs=10, data="digits", limit=100, sigma=0.15, percentile=k)
    assert len(set(result.values)) > 5
    assert result.kpp.value == sorted(result.values)[index]
    assert result.to_json()["percentile"]["k"] == k


def test_ideal_is_the_compiled_network_in_stock_onnxruntime(lenet: Compiled) -> None:
    data = load_data("digits")
    result = simulate(lenet, runs=1, data="digits")
    assert result.ideal == np.mean(decisions(lenet.model_path, data.x) == data.y) < 1


def test_agreement_is_with_the_ideal_chip_on_the_same_inputs(
    lenet: Compiled, tmp_path: Path
) -> None:
    """On images without labels, recomputed from the chips as files."""
    x = load_data("digits", limit=100).x
    np.savez(tmp_path / "x.npz", x=x)
    result = simulate(lenet, runs=3, data=str(tmp_path / "x.npz"), sigma=SIGMA, seed=4)
    assert (result.metric, result.ideal, result.description.images) == ("agreement", 1, 100)
    ideal = decisions(lenet.model_path, x)
    for index, value in enumerate(result.values):
        program_chip(lenet, index, tmp_path / "c.onnx", seed=4, sigma=SIGMA)
        assert value == np.mean(decisions(tmp_path / "c.onnx", x) == ideal)


def test_seeded_inputs_are_those_of_the_seed(lenet: Compiled) -> None:
    first, again, other = (simulate(lenet, runs=6, seed=s, sigma=SIGMA).values for s in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_another_device_and_noise_are_the_simulated_ones(lenet: Compiled) -> None:
    """Chips on fefet2 are fefet2's own, as if compiled for it: its codes do not change."""
    x = load_data("digits", limit=50)
    same = Target.of(load_device("fefet2"))
    (array, *_) = arrays_of(load_model(lenet.model_path))
    assert array.target.layout == same.layout
    here = simulate(lenet, runs=5, data=x, device=load_device("fefet2"), sigma=SIGMA)
    assert here.description.setup.target == same
    strong = simulate(lenet, runs=5, data=x, sigma=SIGMA)
    assert here.summary.mean > strong.summary.mean  # spreads of 2 sigma instead of 4


SCRIPT = """
import sys
from nvmc import load_device, make_session, open_compiled, simulate
from nvmc.rng import stream
values = simulate(open_compiled(sys.argv[1]), runs=4, data="digits", limit=60, sigma=0.2).values
x = stream(0, 0, "x").random((20, 1, 28, 28), dtype="float32")
session = make_session(sys.argv[1] + "/model.onnx", chip=2, threads=int(sys.argv[2]))
print(values.tolist(), session.run(None, {"image": x})[0].tobytes().hex())
"""


def test_processes_and_thread_counts_agree_bit_for_bit(lenet: Compiled) -> None:
    """The engine and the provider; Python's hashes and BLAS's threads differ between processes."""
    said: set[str] = set()
    for count in ("1", "4"):
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
        environment = {**os.environ, **threads, "PYTHONHASHSEED": count}
        command = [sys.executable, "-c", SCRIPT, str(lenet.folder), count]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        said.add(done.stdout)
    assert len(said) == 1 and len(said.pop()) > 20 * 10 * 8
