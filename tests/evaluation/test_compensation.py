"""Chips that are calibrated on images, against closed forms and a slow loop; and what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc import Compiled, Target, compile_model, program_chip, simulate
from nvmc.data import load_data
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.population import Threads
from nvmc.evaluation.sweep import sweep
from nvmc.evaluation.tuning import Tuning
from nvmc.evaluation.workload import set_up
from nvmc.executors import parse_workers
from nvmc.hardware.chip import Chip
from nvmc.models import resolve_model
from nvmc.runtime.montecarlo import corrections, outputs_of
from nvmc.store import Store
from onnx_text import proto_of

DECAY = "retention:nu_mean=0.05,t0_s=20"
YEAR = 3.15e7
LINEAR = """
g (float[N,2,6,6] x) => (float[N,5] y)
<float[3,2,3,3] w, float[3] b, float[48,5] v, float[5] c>
{ h = Conv (x, w, b) f = Flatten (h) y = Gemm (f, v, c) }
"""
NORMED = """
g (float[N,8] x) => (float[N,4] y)
<float[8,6] w, float[6] b, float[6] s, float[6] t, float[6] m, float[6] k,
 float[6,4] v, float[4] s2, float[4] t2, float[4] m2, float[4] k2>
{
  h = Gemm (x, w, b)
  n = BatchNormalization <epsilon = 0.01> (h, s, t, m, k)
  r = Relu (n)
  u = MatMul (r, v)
  y = BatchNormalization (u, s2, t2, m2, k2)
}
"""


def compiled_of(text: str, folder: Path, **options: Any) -> Compiled:
    proto = proto_of(text)
    for tensor in proto.graph.initializer:
        if tensor.name.startswith("k"):  # a variance
            values = np.abs(onnx.numpy_helper.to_array(tensor)) + 0.5
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(proto, folder / "m.onnx")
    target = Target.of("ideal", **options)
    return compile_model(folder / "m.onnx", target, output=folder / "m.nvmc")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compiled_of(LINEAR, tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compiled_of(NORMED, tmp_path_factory.mktemp("normed"))


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("lenet") / "lenet.nvmc"
    return compile_model(resolve_model("zoo:lenet5-digits"), Target.of("rram4"), output=folder)


def made(compiled: Compiled, compensate: str, *noise: str, **options: Any) -> Any:
    """A workload, and the chips for it."""
    setup = Setup.of(
        compiled.manifest.target,
        noise=noise,
        time_s=options.pop("time_s", None),
        compensate=[compensate] if compensate else [],
    )
    workload = set_up(compiled, setup.target, tuning=Tuning(setup.compensate), **options)
    return workload, setup


@pytest.mark.parametrize("fidelity", ["cells", "circuit"])
@pytest.mark.parametrize("compensate", ["drift", "affine", "affine:fit=moments", "drift,affine"])
def test_a_linear_network_is_restored_from_a_pure_power_law(
    linear: Compiled, compensate: str, fidelity: Any
) -> None:
    workload, setup = made(linear, compensate, DECAY, time_s=YEAR, fidelity=fidelity)
    plain, aged = made(linear, "", DECAY, time_s=YEAR, fidelity=fidelity)
    ideal = outputs_of(plain.network, plain.feed, Chip.ideal())
    largest = np.abs(ideal).max()
    lost = outputs_of(plain.network, plain.feed, aged.chip(0, 4))
    found = outputs_of(workload.network, workload.feed, setup.chip(0, 4))
    assert np.abs(lost - ideal).max() > 0.1 * largest
    # Sums of 48 products, and statistics of some hundred values, in float32.
    assert np.abs(found - ideal).max() < 1e-4 * largest


def test_affine_is_the_least_squares_line_of_each_column(linear: Compiled) -> None:
    """Layer by layer from the front, in float64, by `numpy.linalg.lstsq`."""
    workload, setup = made(linear, "affine:images=40", "multiplicative:sigma=0.3")
    network, chip = workload.network, setup.chip(1, 2)
    found = corrections(network, chip)
    weights = {a.name: (a, chip.weights(a).astype(np.float64)) for a in network.arrays}
    source = {t.name: onnx.numpy_helper.to_array(t) for t in proto_of(LINEAR).graph.initializer}
    x = network.trial.inputs["x"].astype(np.float64)
    assert len(x) == 40

    def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, w) + source["b"][:, None, None]

    def corrected(y: np.ndarray, z: np.ndarray, names: list[str]) -> np.ndarray:
        """The columns along axis 1, fitted one by one."""
        result = np.empty_like(y)
        for column in range(y.shape[1]):
            own = y[:, column].ravel()
            both = np.stack([own, np.ones_like(own)], axis=1)
            (gain, offset), *_ = np.linalg.lstsq(both, z[:, column].ravel(), rcond=None)
            result[:, column] = gain * y[:, column] + offset
            for name, value in zip(names, (gain, offset), strict=True):
                assert found[name].ravel()[column] == pytest.approx(value, rel=1e-3, abs=1e-3)
        return result

    names = list(network.trial.names)
    ideal = conv(x, weights["w"][0].ideal)
    first = corrected(conv(x, weights["w"][1]), ideal, names[:2])
    z = ideal.reshape(40, -1) @ weights["v"][0].ideal + source["c"]
    corrected(first.reshape(40, -1) @ weights["v"][1] + source["c"], z, names[2:])
    assert {name: found[name].shape for name in names} == {
        names[0]: (1, 3, 1, 1),
        names[1]: (1, 3, 1, 1),
        names[2]: (1, 5),
        names[3]: (1, 5),
    }


def test_moments_restore_mean_and_spread(linear: Compiled) -> None:
    """On the calibration images themselves: the ideal chip's mean and spread of each output."""
    options: dict[str, Any] = {"data": str(seeded(linear)), "limit": 64}
    setup = Setup.of(
        linear.manifest.target,
        noise=["multiplicative:sigma=0.3"],
        compensate=["affine:fit=moments"],
    )
    tuning = Tuning(setup.compensate, options["data"])
    workload = set_up(linear, setup.target, tuning=tuning, **options)
    plain = set_up(linear, setup.target, **options)
    y = outputs_of(workload.network, workload.feed, setup.chip(0, 1))
    z = outputs_of(plain.network, plain.feed, Chip.ideal())
    assert np.allclose(y.mean(axis=0), z.mean(axis=0), atol=1e-3)
    assert np.allclose(y.std(axis=0), z.std(axis=0), rtol=1e-3)


def seeded(compiled: Compiled) -> Path:
    path = compiled.folder.parent / "x.npz"
    x = np.random.default_rng(0).standard_normal((64, 2, 6, 6)).astype(np.float32)
    np.savez(path, x=x)
    return path


def test_a_column_that_does_not_vary_keeps_its_gain(tmp_path: Path) -> None:
    text = "g (float[N,3] x) => (float[N,2] y) <float[2] b> { y = Gemm (x, w, b) }"
    proto = proto_of(text, w=np.array([[1, 0], [2, 0], [3, 0]], np.float32))
    onnx.save(proto, tmp_path / "m.onnx")
    compiled = compile_model(tmp_path / "m.onnx", "ideal", output=tmp_path / "m.nvmc")
    for fit in ("least-squares", "moments"):
        workload, setup = made(compiled, f"affine:fit={fit}", DECAY, time_s=YEAR)
        gain, offset = corrections(workload.network, setup.chip(0, 0)).values()
        assert gain[0, 1] == 1 and gain[0, 0] == pytest.approx((YEAR / 20) ** 0.05, rel=1e-4)
        assert np.isfinite(offset).all() and abs(offset[0, 1]) < 1e-6


@pytest.mark.parametrize("fidelity", ["cells", "circuit"])
def test_batchnorm_has_the_chip_s_own_statistics(normed: Compiled, fidelity: Any) -> None:
    noise = ("multiplicative:sigma=0.3",)
    workload, setup = made(normed, "batchnorm:images=50", *noise, fidelity=fidelity)
    plain, _ = made(normed, "", *noise)
    chip = setup.chip(3, 6)
    w, v = (chip.weights(array).astype(np.float64) for array in plain.network.arrays)
    p = {t.name: onnx.numpy_helper.to_array(t) for t in proto_of(NORMED).graph.initializer}
    x = workload.network.trial.inputs["x"].astype(np.float64)

    def normalised(y: np.ndarray, s: str, t: str, epsilon: float) -> np.ndarray:
        moments = y.mean(axis=0), y.var(axis=0)
        for name, value in zip(names, moments, strict=False):
            assert np.allclose(found[name], value, rtol=1e-4, atol=1e-5)
        del names[:2]
        return (y - moments[0]) / np.sqrt(moments[1] + epsilon) * p[s] + p[t]

    found = corrections(workload.network, chip)
    names = list(workload.network.trial.names)
    hidden = np.maximum(normalised(x @ w + p["b"], "s", "t", 0.01), 0)
    normalised(hidden @ v, "s2", "t2", 1e-5)
    assert not names
    # What the chip then puts out for these images is normalised by them.
    y = outputs_of(workload.network, type(workload.feed)({"x": x.astype(np.float32)}), chip)
    again = normalised_by_itself(y, p["s2"], p["t2"])
    assert np.abs(again - y).max() < 1e-3


def normalised_by_itself(y: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    spread = np.abs(scale) / y.std(axis=0)
    return (y - y.mean(axis=0)) * spread + shift


def test_values_do_not_depend_on_how_chips_are_run(lenet: Compiled) -> None:
    options: dict[str, Any] = {
        **{"runs": 7, "data": "digits", "limit": 60, "sigma": 0.4},
        **{"compensate": ["select:copies=2,affine:images=16"]},
    }
    expected = simulate(lenet, **options, jobs=1).values
    for more in ({"jobs": 3}, {"batch": 7}, {"executor": Threads(2)}):
        assert np.array_equal(simulate(lenet, **options, **more).values, expected)
    spans = ({"first": 0, "runs": 3}, {"first": 3, "runs": 4})
    parts = [simulate(lenet, **{**options, **span}).values for span in spans]
    assert np.array_equal(np.concatenate(parts), expected)
    assert len(set(expected)) > 1


def test_circuits_with_noisy_reads_do_not_depend_on_it_either(lenet: Compiled) -> None:
    options: dict[str, Any] = {
        **{"runs": 3, "data": "digits", "limit": 30, "device": "pcm-joshi2020"},
        **{"compensate": ["drift,affine:images=8"], "times_s": [3e7]},
    }
    target = Target.of("pcm-joshi2020")
    folder = lenet.folder.parent / "pcm.nvmc"
    compiled = compile_model(resolve_model("zoo:lenet5-digits"), target, output=folder)
    found = [simulate(compiled, **options, **more).values for more in ({}, {"batch": 4, "jobs": 1})]
    assert np.array_equal(*found)


@pytest.mark.slow
def test_processes_give_the_same(lenet: Compiled) -> None:
    options: dict[str, Any] = {
        **{"runs": 6, "data": "digits", "limit": 60, "sigma": 0.4},
        **{"compensate": ["select:copies=2", "affine:images=16"]},
    }
    with parse_workers("processes:2") as executor:
        there = simulate(lenet, **options, executor=executor).values
    assert np.array_equal(there, simulate(lenet, **options).values)


def test_chips_without_compensation_are_as_before(lenet: Compiled, tmp_path: Path) -> None:
    """The same values, under the same key, whatever else the store holds."""
    options: dict[str, Any] = {"runs": 4, "data": "digits", "limit": 50, "sigma": 0.4}
    plain = simulate(lenet, **options)
    found: list[int] = []
    with Store.open(tmp_path / "s.sqlite") as store:
        for compensate in ([], ["select:copies=2"], ["affine"], ["affine:images=32"], []):
            result = simulate(lenet, **options, store=store, compensate=compensate)
            found.append(result.recorded)
            if not compensate:
                assert np.array_equal(result.values, plain.values)
        keys = [entry.key for entry in store.experiments()]
    assert found == [0, 0, 0, 0, 4]
    assert len(keys) == 4 and sum("compensate" in key for key in keys) == 3
    assert sum("calibration" in key for key in keys) == 2


def test_a_file_of_a_chip_is_the_chip_that_is_simulated(lenet: Compiled, tmp_path: Path) -> None:
    import onnxruntime as ort

    data = load_data("digits", limit=100)
    compensate = ["select:copies=2", "affine:images=32"]
    options: dict[str, Any] = {"sigma": 0.4, "compensate": compensate, "seed": 4}
    values = simulate(lenet, runs=2, data="digits", limit=100, **options).values
    for index, value in enumerate(values):
        path = tmp_path / "c.onnx"
        program_chip(lenet, index, path, calibration_data="digits", **options)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        (logits,) = session.run(None, {session.get_inputs()[0].name: data.x})
        assert value == np.mean(np.argmax(logits, axis=1) == data.y)  # pyright: ignore


def test_what_it_needs_is_said(lenet: Compiled) -> None:
    compensate = ["drift", "affine:images=16"]
    result = simulate(lenet, runs=1, limit=4, noise=[DECAY], times_s=[YEAR], compensate=compensate)
    said = result.to_json()
    assert [one["type"] for one in said["description"]["compensate"]] == ["drift", "affine"]
    drift, affine = said["compensation"]
    assert drift["needs"]["multipliers"] == 5 and drift["needs"]["images"] == 0
    columns = 6 + 16 + 120 + 84 + 10
    assert affine["needs"]["multipliers"] == affine["needs"]["adders"] == columns
    assert affine["needs"]["images"] == 16 and affine["needs"]["labels"] == 0
    assert affine["left"] == []


def test_a_sweep_has_the_same_chips(lenet: Compiled) -> None:
    options: dict[str, Any] = {"runs": 3, "limit": 20, "compensate": ["select:copies=2"]}
    points = sweep(lenet, {"sigma": "0.2,0.4"}, **options).points
    for point, sigma in zip(points, (0.2, 0.4), strict=True):
        assert np.array_equal(point.values, simulate(lenet, sigma=sigma, **options).values)
        assert point.compensation[0].by.type == "select"


def test_a_sweep_calibrates_on_the_training_split(lenet: Compiled) -> None:
    options: dict[str, Any] = {"runs": 2, "limit": 20, "data": "digits"}
    options["compensate"] = ["affine:images=8"]
    (point,) = sweep(lenet, {"sigma": "0.4"}, **options).points
    assert np.array_equal(point.values, simulate(lenet, sigma=0.4, **options).values)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"compensate": ["drift"]}, OptionError, "no noise source by which cells change"),
        ({"compensate": ["batchnorm"]}, ModelError, "affine:fit=moments"),
        ({"compensate": ["affine:images=2000"], "data": "digits"}, DataError, "holds 1,087 images"),
        ({"compensate": ["batchnorm,affine:images=2"]}, OptionError, "the same number"),
        ({"calibration_data": "digits"}, OptionError, "no compensation is calibrated"),
        ({"compensate": "drift"}, OptionError, "compensate"),
        ({"compensation": ["drift"]}, OptionError, "compensation"),
    ],
)
def test_refusals(
    lenet: Compiled, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        simulate(lenet, **{"runs": 1, "limit": 4, **options})
    assert "\n" not in str(caught.value)


def test_images_that_chips_are_judged_on_calibrate_nothing_unasked(lenet: Compiled) -> None:
    digits = load_data("digits", limit=20)
    options: dict[str, Any] = {"runs": 1, "compensate": ["affine:images=8"], "data": digits}
    with pytest.raises(OptionError, match="no training split"):
        simulate(lenet, **options)
    simulate(lenet, **options, calibration_data="digits")
    simulate(lenet, **options, calibration_data=digits)


def test_a_file_needs_images(lenet: Compiled, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="calibration_data="):
        program_chip(lenet, 0, tmp_path / "c.onnx", compensate=["affine"])


def test_a_workload_for_other_chips_is_refused(lenet: Compiled) -> None:
    plain, _ = made(lenet, "")
    other = Setup.of(lenet.manifest.target, compensate=["affine"])
    with pytest.raises(OptionError, match="other compensation"):
        plain.describe(other, 0, 1)
