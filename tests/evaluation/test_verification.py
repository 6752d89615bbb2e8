"""Which weights are verified, and that results of it are the same however chips are run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc import Compiled, Target, compile_model, load_device, program_chip, simulate
from nvmc.data import load_data
from nvmc.errors import DataError, OptionError
from nvmc.evaluation.marking import expected_squares, marks_of
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.sweep import sweep
from nvmc.evaluation.tuning import Tuning
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.compensation import Marks, Verify
from nvmc.models import resolve_model
from nvmc.rng import stream
from nvmc.store import Store
from onnx_text import proto_of

pytestmark = pytest.mark.torch

MLP = """
g (float[N,8] x) => (float[N,4] y) <float[8,6] w, float[6] b, float[6,4] v>
{ h = Gemm (x, w, b) r = Relu (h) y = MatMul (r, v) }
"""
RUN: dict[str, Any] = {"runs": 4, "data": "digits", "limit": 60, "sigma": 0.4}


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("lenet") / "lenet.nvmc"
    return compile_model(resolve_model("zoo:lenet5-digits"), Target.of("rram4"), output=folder)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("mlp")
    onnx.save(proto_of(MLP), folder / "m.onnx")
    target = Target.of("rram4", per_channel=True)
    return compile_model(folder / "m.onnx", target, output=folder / "m.nvmc")


def marks(compiled: Compiled, text: str, **options: Any) -> tuple[Marks, dict[str, Array]]:
    setup = Setup.of(compiled.manifest.target, compensate=[text], sigma=options.pop("sigma", None))
    tuning = Tuning(setup.compensate, options.pop("calibration_data", None), setup.sigma)
    workload = set_up(compiled, setup.target, tuning=tuning, **options)
    assert workload.marks is not None
    return workload.marks, {array.name: array for array in workload.network.arrays}  # pyright: ignore


def test_the_weights_are_those_of_the_greatest_expected_loss(mlp: Compiled) -> None:
    """By loops over images, classes and weights in float64."""
    x = stream(0, 0, "images").standard_normal((9, 8)).astype(np.float32)
    y = np.zeros(9, np.int64)
    found, arrays = marks(mlp, "verify:share=0.3,images=9", data=(x, y), calibration_data=(x, y))
    w, v = arrays["w"], arrays["v"]
    b = {t.name: onnx.numpy_helper.to_array(t) for t in proto_of(MLP).graph.initializer}["b"]
    second = {"w": np.zeros(w.codes.shape), "v": np.zeros(v.codes.shape)}
    for image in x.astype(float):
        h = image @ w.ideal + b
        r = np.maximum(h, 0)
        z = r @ v.ideal
        p = np.exp(z - z.max())
        p /= p.sum()
        loss = np.diag(p) - np.outer(p, p)
        for i, j in np.ndindex(w.codes.shape):
            jacobian = image[i] * (h[j] > 0) * v.ideal[j].astype(float)
            second["w"][i, j] += jacobian @ loss @ jacobian / len(x)
        for i, j in np.ndindex(v.codes.shape):
            second["v"][i, j] += r[i] ** 2 * loss[j, j] / len(x)
    # Eq. 14: both slices of a weight have sigma 0.1 levels, counted once and four times.
    worth = {
        name: second[name] * 0.1**2 * (1 + 16) * np.square(arrays[name].unit.astype(float))
        for name in ("w", "v")
    }
    everything = np.concatenate([worth[name].ravel() for name in ("w", "v")])
    least = np.sort(everything)[-round(0.3 * everything.size)]
    for name in ("w", "v"):
        assert np.array_equal(found.mask(arrays[name]), worth[name] >= least)
    assert found.marked == round(0.3 * 72)


def test_expected_squares_are_those_of_drawn_chips() -> None:
    """With spreads that depend on the level; other sources do not count."""
    device = load_device("rram-milo2021")
    target = Target.of(device, weight_bits=3)
    codes = np.repeat(np.arange(-7, 8, dtype=np.int8)[:, None], 4000, axis=1)
    array = Array("w", codes, np.float32(0.5), target)
    alone = device.model_copy(update={"noise": device.noise[:1]})
    chip = Chip.of(target.model_copy(update={"device": alone}), 1, 0)
    drawn = np.square(chip.weights(array).astype(float) - array.ideal)
    expected = expected_squares(array)[:, 0]
    assert np.all(np.abs(drawn.mean(axis=1) - expected) < 5 * drawn.std(axis=1) / 4000**0.5 + 1e-9)


def test_equals_are_told_apart_by_magnitude_and_shares_are_nested() -> None:
    array = Array(
        "w", np.array([[1, -3, 2, 3]], np.int8), np.float32(1), Target.of("rram4", weight_bits=2)
    )
    flat = {"w": np.ones((1, 4))}
    found = [
        marks_of(Verify(share=share), [array], flat).mask(array)[0].tolist()
        for share in (0.25, 0.5, 0.75)
    ]
    assert found == [
        [False, True, False, False],
        [False, True, False, True],
        [False, True, True, True],
    ]


@pytest.mark.parametrize("order", ["magnitude", "random"])
def test_other_orders_look_at_no_images(lenet: Compiled, order: str) -> None:
    found, arrays = marks(lenet, f"verify:order={order},share=0.2", limit=2)
    small, _ = marks(lenet, f"verify:order={order},share=0.1", limit=2)
    sizes = np.concatenate([np.abs(a.ideal).ravel() for a in arrays.values()])
    chosen = np.concatenate([found.mask(a).ravel() for a in arrays.values()])
    first = np.concatenate([small.mask(a).ravel() for a in arrays.values()])
    assert chosen.sum() == round(0.2 * chosen.size) and not (first & ~chosen).any()
    if order == "magnitude":
        assert sizes[chosen].min() >= sizes[~chosen].max()
    else:
        assert abs(np.corrcoef(sizes, chosen)[0, 1]) < 0.02


def test_share_0_is_the_plain_chip_and_share_1_a_device_that_verifies_all(lenet: Compiled) -> None:
    device = load_device("rram4")
    source = device.noise[0].model_copy(update={"tolerance": 0.2, "max_pulses": 20})
    plain = simulate(lenet, **RUN).values
    none = simulate(lenet, **RUN, compensate=["verify:share=0"]).values
    whole = simulate(lenet, **RUN, compensate=["verify:share=1,tolerance=0.2"]).values
    every = simulate(lenet, **RUN, device=device.model_copy(update={"noise": (source,)})).values
    assert np.array_equal(none, plain) and np.array_equal(whole, every)
    assert not np.array_equal(plain, every)


def test_values_do_not_depend_on_how_chips_are_run(lenet: Compiled) -> None:
    options: dict[str, Any] = {**RUN, "compensate": ["verify:images=16,affine:images=8"]}
    expected = simulate(lenet, **options, jobs=1)
    for more in ({"jobs": 2}, {"batch": 7}):
        again = simulate(lenet, **options, **more)
        assert np.array_equal(again.values, expected.values)
        assert again.description == expected.description
    part = simulate(lenet, **{**options, "first": 2, "runs": 2})
    assert np.array_equal(part.values, expected.values[2:])


def test_cells_and_circuits_agree(lenet: Compiled) -> None:
    options: dict[str, Any] = {**RUN, "limit": 20, "compensate": ["verify:images=16"]}
    one, other = (simulate(lenet, **options, fidelity=f) for f in ("cells", "circuit"))
    assert np.array_equal(one.values, other.values)
    assert one.description.marks == other.description.marks is not None


def test_results_of_other_weights_never_mix(lenet: Compiled, tmp_path: Path) -> None:
    kinds = [
        *([], ["verify:images=8"], ["verify:images=9"], ["verify:images=8,share=0.2"]),
        *(["verify:order=magnitude"], ["verify:images=8"]),
    ]
    options: dict[str, Any] = {**RUN, "limit": 10, "runs": 2}
    digits = load_data("digits", "validation", limit=20)
    with Store.open(tmp_path / "s.sqlite") as store:
        done = [simulate(lenet, **options, store=store, compensate=kind) for kind in kinds]
        # The same option, with marks from other images.
        more = {"compensate": kinds[1], "calibration_data": digits}
        other = simulate(lenet, **options, **more, store=store)
        keys = [entry.key for entry in store.experiments()]
    assert [result.recorded for result in done] == [0, 0, 0, 0, 0, 2] and other.recorded == 0
    assert len(keys) == 6 and sum("verified" in key for key in keys) == 5
    said = done[1].to_json()["description"]
    assert said["verified_data"] and len(said["verified_sha256"]) == 64
    assert other.to_json()["description"]["verified_sha256"] != said["verified_sha256"]
    assert done[0].to_json()["description"]["verified_sha256"] is None


def test_a_sweep_verifies_the_same_cells_at_every_strength(lenet: Compiled) -> None:
    own = ["verify:images=8,tolerance=0.2"]
    options: dict[str, Any] = {"runs": 2, "limit": 10, "compensate": own}
    points = sweep(lenet, {"sigma": "0.2,0.4"}, **options).points
    assert points[0].description.marks == points[1].description.marks
    writes = [point.compensation[0].needs.writes for point in points]
    assert 0 < writes[0] < writes[1]
    for point, sigma in zip(points, (0.2, 0.4), strict=True):
        alone = simulate(lenet, sigma=sigma, **options)
        assert np.array_equal(point.values, alone.values)
        assert alone.compensation == point.compensation


def test_a_file_of_a_chip_is_the_chip_that_is_simulated(lenet: Compiled, tmp_path: Path) -> None:
    import onnxruntime as ort

    data = load_data("digits", limit=60)
    own: dict[str, Any] = {"sigma": 0.4, "compensate": ["verify:images=16,tolerance=0.1"]}
    values = simulate(lenet, runs=1, data="digits", limit=60, **own).values
    path, cells = tmp_path / "c.onnx", tmp_path / "c.npz"
    program_chip(lenet, 0, path, calibration_data="digits", cells=cells, **own)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: data.x})
    assert values[0] == np.mean(np.argmax(logits, axis=1) == data.y)  # pyright: ignore
    with np.load(cells) as file:
        pulses = np.concatenate([file[k].ravel() for k in file.files if k.endswith("/pulses")])
    assert pulses.max() == 20 and (pulses > 1).mean() < 0.1


def test_what_it_needs_is_said(lenet: Compiled) -> None:
    result = simulate(lenet, runs=1, limit=4, sigma=0.4, compensate=["verify:images=8"])
    needs = result.to_json()["compensation"][0]["needs"]
    verified = round(0.1 * 61470) * 2  # LeNet-5's weights without biases, in two slices
    miss = 0.5485  # P(|z| > 0.6)
    assert needs["reads"] == pytest.approx(verified / (1 - miss), rel=1e-3)
    assert needs["writes"] == pytest.approx(verified * miss / (1 - miss), rel=1e-3)
    assert needs["images_once"] == 8 and needs["images"] == needs["labels"] == 0


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"device": "ideal"}, OptionError, "are none"),
        ({"compensate": ["verify:images=2000"], "data": "digits"}, DataError, "holds 1,087 images"),
        (
            {"compensate": ["verify:order=magnitude"], "calibration_data": "digits"},
            OptionError,
            "no compensation is calibrated",
        ),
    ],
)
def test_refusals(
    lenet: Compiled, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        simulate(lenet, **{"runs": 1, "limit": 4, "compensate": ["verify"], **options})
    assert "\n" not in str(caught.value)


def test_a_file_of_a_chip_needs_images(lenet: Compiled, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="calibration_data=SPEC, or order=magnitude"):
        program_chip(lenet, 0, tmp_path / "c.onnx", compensate=["verify"])
    program_chip(lenet, 0, tmp_path / "c.onnx", compensate=["verify:order=magnitude"])


def test_without_torch_it_says_what_to_do(lenet: Compiled) -> None:
    """In a process whose torch cannot be imported; order=magnitude needs none."""
    code = f"""
import sys
sys.modules["torch"] = None
from nvmc import open_compiled, simulate
from nvmc.errors import OptionError
network = open_compiled({str(lenet.folder)!r})
simulate(network, runs=1, limit=2, compensate=["verify:order=magnitude"])
try:
    simulate(network, runs=1, limit=2, compensate=["verify"])
except OptionError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs PyTorch" in done.stdout and "pip install 'nvmc[train]'" in done.stdout
    assert done.stdout.count("\n") == 1
