"""Noise of activations: a slow loop, the closed form of a flipped sign, names and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from scipy.special import ndtr

from nvmc import Compiled, Target, compile_model, open_compiled, simulate, sweep
from nvmc.cli import main
from nvmc.data import Dataset
from nvmc.errors import ModelError, OptionError
from nvmc.evaluation.chip_file import program_chip
from nvmc.evaluation.inspection import inspect
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.sensitivity import sensitivity
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import load_device, parse_noise
from nvmc.rng import CountedDraw
from nvmc.runtime.montecarlo import ChipSession, Span, outputs_of
from onnx_text import proto_of

NETWORK = """g (float[N,6] x) => (float[N,3] y) <float[6,8] w, float[8,8] v, float[8,3] u> {
    h = MatMul (x, w)
    s = Sign (h)
    k = MatMul (s, v)
    r = Add (k, h)
    t = Sign (r)
    y = MatMul (t, u)
}"""
IMAGES, CLASSES = 40, 3
ADD, TIMES = "activation:sigma=0.7", "activation:law=multiplicative,sigma=0.7"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("noise")
    proto = proto_of(NETWORK)
    names = {"s": "first", "t": "second"}
    for node in proto.graph.node:
        node.name = names.get(node.output[0], f"layer_{node.output[0]}")
    onnx.save(proto, folder / "net.onnx")
    target = Target.of(load_device("ideal"), weight_bits=4)
    return compile_model(folder / "net.onnx", target, output=folder / "net.nvmc")


def images() -> Dataset:
    draws = np.random.default_rng(3)
    x = draws.standard_normal((IMAGES, 6)).astype(np.float32)
    return Dataset("made up", x, draws.integers(0, CLASSES, IMAGES))


def weights_of(workload: object, chip: Chip) -> dict[str, np.ndarray]:
    arrays: tuple[Array, ...] = workload.network.arrays  # pyright: ignore
    return {array.name: chip.weights(array) for array in arrays}


def normals(chip: int, place: str, source: str, image: int) -> np.ndarray:
    return CountedDraw(0, chip, place, source).normal((0, 0, image), (8,))


@pytest.mark.parametrize("texts", [(ADD,), (TIMES,), (ADD, "activation:sigma=0.2,at=sec*")])
def test_outputs_equal_a_slow_loop(compiled: Compiled, texts: tuple[str, ...]) -> None:
    setup = Setup.of(compiled.manifest.target, None, texts)
    workload = set_up(compiled, setup.target, data=images())
    chip = setup.chip(0, 5)
    w = weights_of(workload, chip)
    found = outputs_of(workload.network, workload.feed, chip)

    def noisy(x: np.ndarray, place: str, image: int) -> np.ndarray:
        for i, text in enumerate(texts):
            source = f"activation#{i}" if i else "activation"
            if "at=" in text and place != "second":
                continue
            z = np.float32(0.2 if "0.2" in text else 0.7) * normals(5, place, source, image)
            x = x + x * z if "multi" in text else x + z
        return x

    for image, x in enumerate(workload.feed.inputs["x"]):
        h = x @ w["w"]
        k = np.sign(noisy(h, "first", image)) @ w["v"]
        t = np.sign(noisy(k + h, "second", image))
        np.testing.assert_allclose(found[image], t @ w["u"], rtol=1e-5, atol=1e-5)


def test_the_shortcut_past_a_sign_stays_clean(compiled: Compiled) -> None:
    """`r` reads h, not h with noise: the second Sign alone sees the first's noise."""
    setup = Setup.of(compiled.manifest.target, None, ["activation:sigma=0,at=second", ADD])
    assert set_up(compiled, setup.target, data=images()).network.noisy_places == {
        "activation": ("second",),
        "activation#1": ("first", "second"),
    }


def test_signs_flip_as_often_as_the_normal_law_says(tmp_path: Path) -> None:
    """x + sigma z: with probability Phi(-|x| / sigma); x (1 + sigma z): with Phi(-1 / sigma)."""
    text = "g (float[N,4] x) => (float[N,4] y) <float[4,4] w> { s = Sign (x) y = MatMul (s, w) }"
    onnx.save(proto_of(text, w=np.eye(4, dtype=np.float32)), tmp_path / "net.onnx")
    compiled = compile_model(
        tmp_path / "net.onnx",
        Target.of(load_device("ideal"), weight_bits=4),
        output=tmp_path / "n.nvmc",
    )
    values, count = np.array([-1.5, -0.2, 0.4, 1.0], np.float32), 20_000
    draws = np.random.default_rng(0).standard_normal((count, 4))
    data = Dataset("rows", np.tile(values, (count, 1)), None, draws.astype(np.float32))
    for text, wanted in ((ADD, ndtr(-np.abs(values) / 0.7)), (TIMES, ndtr(np.full(4, -1 / 0.7)))):
        setup = Setup.of(compiled.manifest.target, None, [text])
        workload = set_up(compiled, setup.target, data=data)
        found = outputs_of(workload.network, workload.feed, setup.chip(0, 0))
        flipped = (np.sign(found) != np.sign(values)).mean(0)
        deviation = np.sqrt(wanted * (1 - wanted) / count)
        assert (np.abs(flipped - wanted) < 4.5 * deviation).all()


def test_numbers_depend_on_no_batch_part_thread_or_fidelity(compiled: Compiled) -> None:
    setup = Setup.of(compiled.manifest.target, None, [ADD])
    workload = set_up(compiled, setup.target, data=images())
    chip, feed = setup.chip(0, 1), workload.feed
    whole = outputs_of(workload.network, feed, chip)
    small = replace(workload.network, batch=7)
    assert np.array_equal(outputs_of(small, feed, chip), whole)
    part = ChipSession(small, chip, Span(20, 20)).outputs(feed, None, Span(20, 20))
    assert part is not None and np.array_equal(part, whole[20:])
    circuit = set_up(compiled, setup.target, data=images(), fidelity="circuit")
    np.testing.assert_allclose(outputs_of(circuit.network, feed, chip), whole, atol=1e-5)
    runs = {
        (jobs, fidelity): simulate(
            compiled, data=images(), runs=4, noise=[ADD], jobs=jobs, fidelity=fidelity
        ).values
        for jobs, fidelity in ((1, "cells"), (3, "cells"), (2, "circuit"))
    }
    assert len({tuple(values) for values in runs.values()}) == 1


def test_the_ideal_chip_is_silent_and_cells_are_as_before(compiled: Compiled) -> None:
    base = compiled.manifest.target
    plain = set_up(compiled, base, data=images())
    noisy = set_up(compiled, Setup.of(base, None, [ADD]).target, data=images())
    assert noisy.ideal == plain.ideal
    own = Setup.of(base, None, ["programming:sigma=0.3,basis=level"]).chip(0, 2)
    both = Setup.of(base, None, ["programming:sigma=0.3,basis=level", ADD]).chip(0, 2)
    for name, weights in weights_of(plain, own).items():
        assert np.array_equal(weights, weights_of(noisy, both)[name])


def test_sweeps_over_sigma_reuse_the_numbers_and_zero_is_no_noise(compiled: Compiled) -> None:
    found = sweep(compiled, {"sigma": "0,0.4,4"}, data=images(), runs=8, noise=["activation"])
    plain = simulate(compiled, data=images(), runs=8)
    means = [float(np.mean(point.values)) for point in found.points]
    assert list(found.points[0].values) == list(plain.values)
    assert means[0] != means[2]
    alone = simulate(compiled, data=images(), runs=8, noise=["activation:sigma=0.4"])
    assert list(found.points[1].values) == list(alone.values)


def test_what_is_kept_is_of_the_noise(compiled: Compiled) -> None:
    base = compiled.manifest.target
    identities = [
        Setup.of(base, None, [text]).identity(0)
        for text in (ADD, TIMES, "activation:sigma=0.7,at=first", "activation:sigma=0.6")
    ]
    assert len({repr(one) for one in identities}) == 4
    result = simulate(compiled, data=images(), runs=2, noise=[ADD])
    assert result.description.to_json()["noisy_places"] == {"activation": ["first", "second"]}
    plain = simulate(compiled, data=images(), runs=2)
    assert "noisy_places" not in plain.description.to_json()


def test_arrays_name_the_layers_that_use_them(compiled: Compiled) -> None:
    setup = Setup.of(compiled.manifest.target, None, ["activation:sigma=0.1,at=v;u"])
    workload = set_up(compiled, setup.target, data=images())
    assert workload.network.noisy_places == {"activation": ("layer_k", "layer_y")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("activation:sigma=0.1,at=nothing", "at=nothing"),
        ("activation:sigma=0.1,at=first;nothing", "'nothing' of at matches no node"),
    ],
)
def test_what_has_no_place_is_refused(compiled: Compiled, text: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        simulate(compiled, data=images(), runs=2, noise=[text])
    assert "\n" not in str(caught.value)


def test_a_network_without_sign_is_refused(tmp_path: Path) -> None:
    text = "g (float[N,4] x) => (float[N,3] y) <float[4,3] w> { y = MatMul (x, w) }"
    onnx.save(proto_of(text), tmp_path / "net.onnx")
    target = Target.of(load_device("ideal"), weight_bits=4)
    compiled = compile_model(tmp_path / "net.onnx", target, output=tmp_path / "net.nvmc")
    with pytest.raises(ModelError, match="finds no Sign of an activation"):
        simulate(open_compiled(compiled.folder), runs=2, noise=[ADD])


@pytest.mark.parametrize("text", ["activation", "activation:sigma=-1", "activation:law=x,sigma=1"])
def test_wrong_options_are_one_line(compiled: Compiled, text: str) -> None:
    with pytest.raises(OptionError) as caught:
        simulate(compiled, data=images(), runs=2, noise=[text])
    assert "\n" not in str(caught.value)


def test_globs_are_a_list_in_text_and_in_python() -> None:
    both = parse_noise("activation:sigma=0.1,at=a;b")
    assert both.at == ("a", "b")  # pyright: ignore
    assert parse_noise("activation:sigma=0.1,at=a").at == ("a",)  # pyright: ignore


@pytest.mark.parametrize(
    ("text", "said"), [(ADD, "no weights hold it"), ("read:sigma=0.1", "fresh at every read")]
)
def test_a_programmed_chip_cannot_hold_it(
    compiled: Compiled, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        program_chip(compiled, 3, tmp_path / "chip.onnx", noise=[text])
    assert not list(tmp_path.iterdir())


def test_a_programmed_chip_has_noise_that_weights_hold(compiled: Compiled, tmp_path: Path) -> None:
    """The file of `program --noise` computes as chip 3 of `simulate --noise` does."""
    noise = ["programming:sigma=0.3,basis=level", "additive:sigma=0.1"]
    program_chip(compiled, 3, tmp_path / "chip.onnx", noise=noise)
    session = onnxruntime.InferenceSession(str(tmp_path / "chip.onnx"))
    setup = Setup.of(compiled.manifest.target, None, noise)
    workload = set_up(compiled, setup.target, data=images())
    (found,) = session.run(None, workload.feed.inputs)
    wanted = outputs_of(workload.network, workload.feed, setup.chip(0, 3))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    program_chip(compiled, 3, tmp_path / "plain.onnx")
    (plain,) = onnxruntime.InferenceSession(str(tmp_path / "plain.onnx")).run(
        None, workload.feed.inputs
    )
    assert not np.allclose(plain, found)


def test_what_knows_of_cells_alone_refuses_it(compiled: Compiled) -> None:
    for command, options in ((sensitivity, {}), (inspect, {"layer": "layer_k"})):
        with pytest.raises(OptionError, match="acts on activations"):
            command(compiled, noise=[ADD], data=images(), **options)


def test_the_command_says_at_which_places_and_how_many(
    compiled: Compiled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = images()
    np.savez(tmp_path / "data.npz", x=data.x, y=data.y)
    command = ["simulate", str(compiled.folder), "--data", str(tmp_path / "data.npz")]
    command += ["--runs", "2", "--noise", ADD, "--no-store"]
    assert main(command) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "activation noise on 2 places: inputs of first, second" in shown
