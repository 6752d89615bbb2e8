"""The engine: same bits whatever the batch, the order, the threads; faults come out as errors."""

from __future__ import annotations

import resource
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.metrics import r2_score

from compiled_networks import load_circuit, load_network
from nvmc import Chip, Target, compile_model, load_device
from nvmc.compiled.options import CompileOptions
from nvmc.errors import ModelError
from nvmc.hardware.devices import parse_noise
from nvmc.metrics import against_ideal, decisions
from nvmc.metrics.determination import LOWEST, Determination
from nvmc.metrics.ideal_agreement import Agreement
from nvmc.models import resolve_model
from nvmc.rng import stream
from nvmc.runtime import montecarlo, networks
from nvmc.runtime.circuit_sessions import CircuitSessions
from nvmc.runtime.montecarlo import (
    ChipSession,
    CircuitNetwork,
    Feed,
    Network,
    Span,
    evaluate_chips,
    outputs_of,
)
from nvmc.runtime.sessions import run_batch
from nvmc.runtime.tally import Tally
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet1"))


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("lenet") / "lenet.nvmc"
    compiled = compile_model(resolve_model("zoo:lenet5-digits"), TARGET, output=folder)
    return load_network(compiled, TARGET)


def images(count: int) -> Feed:
    shape = (count, 1, 28, 28)
    return Feed({"image": stream(0, 0, "images").random(shape, dtype=np.float32)})


def chips(count: int) -> list[Chip]:
    return [Chip.of(TARGET, 0, index, 0.2) for index in range(count)]


@pytest.mark.parametrize("batch", [1, 3, 16, 37, 64])
def test_outputs_do_not_depend_on_the_batch(lenet: Network, batch: int) -> None:
    """Bit for bit: an image's outputs change neither with the batch nor with what is in it."""
    feed, chip = images(37), chips(1)[0]
    expected = outputs_of(replace(lenet, batch=5), feed, chip)
    assert np.array_equal(outputs_of(replace(lenet, batch=batch), feed, chip), expected)
    others = Feed({"image": feed.inputs["image"][[20, 3, 11]]})
    assert np.array_equal(outputs_of(lenet, others, chip), expected[[20, 3, 11]])


def test_few_images_are_run_in_vain(lenet: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are even, so the last is filled up by fewer images than there are batches."""
    feed, score, sizes = images(45), against_ideal(np.eye(10)[np.arange(45) % 10]), list[int]()

    def spied(session: Any, names: Any, inputs: Any, size: int, shape: Any) -> list[Any]:
        sizes.append(size)
        return run_batch(session, names, inputs, size, shape)

    monkeypatch.setattr(montecarlo, "run_batch", spied)
    network = replace(lenet, batch=32)
    whole = evaluate_chips(network, feed, score, chips(2), jobs=1)
    assert sizes == [23, 23]
    spans = (Span(0, 3), Span(3, 33), Span(36, 9))
    parts = [evaluate_chips(network, feed, score, chips(2), span, jobs=1) for span in spans]
    assert np.array_equal(np.sum(parts, axis=0), whole)
    assert sizes[2:] == [8, 17, 17, 9]


def test_a_stack_that_is_optimised_once_gives_the_same_bits(
    lenet: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lenet.stack is not None
    few = chips(lenet.stack.count)
    assert networks.stack_laid_out(lenet, 9 * len(few)) is None
    assert networks.stack_laid_out(lenet, 10 * len(few)) is not None
    feed, found = images(20), list[np.ndarray]()
    score = Determination(stream(0, 0, "values").random((20, 10)))  # which turns with every bit
    for groups in (1, 2):
        monkeypatch.setattr(networks, "SHARED_BY", groups)
        found.append(evaluate_chips(lenet, feed, score, few, jobs=1))
    assert np.array_equal(*found) and len(np.unique(found[0])) == len(few)


def test_values_do_not_depend_on_order_or_jobs(lenet: Network) -> None:
    feed, population = images(40), chips(8)
    score = against_ideal(outputs_of(lenet, feed, Chip.ideal()))
    alone = evaluate_chips(lenet, feed, score, population, jobs=1)
    assert len(np.unique(alone)) > 1
    assert np.array_equal(evaluate_chips(lenet, feed, score, population, jobs=3), alone)
    assert np.array_equal(evaluate_chips(lenet, feed, score, population[::-1], jobs=2), alone[::-1])


def test_each_chip_is_reported_once(lenet: Network) -> None:
    feed = images(4)
    score = against_ideal(outputs_of(lenet, feed, Chip.ideal()))
    seen: dict[int, float] = {}
    values = evaluate_chips(lenet, feed, score, chips(6), jobs=2, on_chip=seen.__setitem__)
    assert seen == dict(enumerate(values))


def test_global_generator_is_left_alone(lenet: Network) -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].copy()  # pyright: ignore
    outputs_of(lenet, images(2), chips(1)[0])
    assert np.array_equal(before, np.random.get_state()[1])  # pyright: ignore


def test_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    """A model for exactly 4 images serves 6; the filling does not show."""
    proto = proto_of(
        "g (float[4,3] x) => (float[4,2] y) <float[3,2] w> { m = MatMul (x, w) y = Tanh (m) }"
    )
    onnx.save(proto, tmp_path / "m.onnx")
    compiled = compile_model(tmp_path / "m.onnx", TARGET, output=tmp_path / "m.nvmc")
    network = load_network(compiled, TARGET)
    assert network.batch == 4
    x = stream(0, 0, "x").standard_normal((6, 3), dtype=np.float32)
    outputs = outputs_of(network, Feed({"x": x}), Chip.ideal())
    weight = network.arrays[0].ideal
    # three products in float32, then tanh, whose slope is at most 1
    np.testing.assert_allclose(outputs, np.tanh(x @ weight), rtol=0, atol=3 * 2.0**-23 * 10)


def test_output_without_a_row_an_image_is_an_error(tmp_path: Path) -> None:
    proto = proto_of(
        "g (float[N,3] x) => (float y) <float[3,2] w> "
        "{ m = MatMul (x, w) y = ReduceMean <keepdims = 0> (m) }"
    )
    onnx.save(proto, tmp_path / "m.onnx")
    compiled = compile_model(tmp_path / "m.onnx", TARGET, output=tmp_path / "m.nvmc")
    feed = Feed({"x": np.ones((5, 3), np.float32)})
    with pytest.raises(ModelError, match="one row per image"):
        outputs_of(load_network(compiled, TARGET), feed, Chip.ideal())


def test_scores_add_up_over_batches() -> None:
    generator = stream(0, 0, "scores")
    reference = generator.standard_normal((20, 4))
    outputs = reference + 0.5 * generator.standard_normal((20, 4))
    whole, parts = Agreement(decisions(reference)), Agreement(decisions(reference))
    total = parts.add(outputs[:7], 0) + parts.add(outputs[7:], 7)
    assert total == whole.add(outputs, 0)
    assert whole.finish(total, 20) == np.mean(outputs.argmax(1) == reference.argmax(1))


def test_determination_is_r_squared() -> None:
    reference = np.array([1.0, 2.0, 4.0, 5.0])
    score = Determination(reference)
    assert score.finish(score.add(reference, 0), 4) == 1
    assert score.finish(score.add(np.full(4, 3.0), 0), 4) == 0
    assert score.finish(score.add(np.full(4, np.nan), 0), 4) == LOWEST
    assert score.finish(score.add(np.full(4, np.inf), 0), 4) == LOWEST
    assert isinstance(against_ideal(reference), Determination)


def test_errors_add_up_to_the_same_bits_in_any_parts() -> None:
    generator = stream(0, 0, "errors")
    targets = 3e4 + generator.standard_normal((999, 7))
    outputs = (targets + 0.3 * generator.standard_normal(targets.shape)).astype(np.float32)
    score = Determination(targets)
    total = score.add(outputs, 0)
    wanted = r2_score(targets, outputs, multioutput="variance_weighted")
    assert score.finish(total, 999) == pytest.approx(wanted, abs=1e-10)
    for cuts in ([500], [1, 2, 3, 998], sorted(generator.choice(998, 40, replace=False) + 1)):
        parts = zip([0, *cuts], [*cuts, 999], strict=True)
        found = [score.add(outputs[first:end], first) for first, end in parts]
        assert sum(found) == sum(found[::-1]) == total


def test_constant_targets_are_met_or_not() -> None:
    score = Determination(np.full((4, 1), 2.5))
    assert score.finish(score.add(np.full((4, 1), 2.5), 0), 4) == 1
    assert score.finish(score.add(np.full((4, 1), 2.5 + 1e-9), 0), 4) == LOWEST


@pytest.mark.parametrize("scale", [3.0, 30.0, 500.0])
def test_chips_worse_than_the_mean_are_not_floored(scale: float) -> None:
    """Outputs k times too large have R^2 = 1 - (k - 1)^2 q, q = sum(y^2) / variation."""
    targets = stream(0, 0, "worse").standard_normal((400, 3))
    score = Determination(targets)
    share = np.sum(targets**2) / np.sum((targets - targets.mean(0)) ** 2)
    wanted = 1 - (scale - 1) ** 2 * share
    parts = [score.add(scale * targets[k : k + 7], k) for k in range(0, 400, 7)]
    found = {score.finish(sum(p), 400) for p in (parts, parts[::-1])}
    assert len(found) == 1 and found.pop() == pytest.approx(wanted, rel=1e-5)


def test_outputs_wait_until_they_are_many() -> None:
    """The sum is that over single batches, whatever is scored at once; for hits the same bits."""
    generator = stream(0, 0, "tally")
    outputs = generator.standard_normal((2, 5000, 4))
    score = Agreement(decisions(generator.standard_normal((5007, 4))))
    calls: list[int] = []

    class Counted(Agreement):
        def add(self, outputs: np.ndarray, first: int) -> float:
            calls.append(len(outputs))
            return score.add(outputs, first)

    tally = Tally(Counted(np.empty((0, 4))), 7, 2)
    for first in range(0, 5000, 16):
        tally.take(list(outputs[:, first : first + 16]))
    assert tally.totals() == [score.add(each, 7) for each in outputs] == tally.totals()
    assert sum(calls) == 2 * 5000 and len(calls) < 10


def test_memory_does_not_grow_with_the_chips(lenet: Network) -> None:
    """A session of 8 chips takes some 10 MiB; 40 of them kept would take 400."""
    feed = images(16)
    score = against_ideal(outputs_of(lenet, feed, Chip.ideal()))

    def peak(count: int) -> float:
        evaluate_chips(lenet, feed, score, chips(count), jobs=2)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB on Linux

    before = peak(64)
    assert peak(320) - before < 64


@pytest.mark.parametrize("cuts", [(0, 40), (0, 1, 40), (0, 13, 16, 39, 40), (0, 32, 40)])
def test_spans_add_up(lenet: Network, cuts: tuple[int, ...]) -> None:
    """Hits on consecutive spans are those on all images, cut where one likes."""
    feed, population = images(40), chips(9)
    score = against_ideal(outputs_of(lenet, feed, Chip.ideal()))
    whole = evaluate_chips(lenet, feed, score, population, jobs=1)
    assert len(np.unique(whole)) > 1
    spans = [Span(a, b - a) for a, b in pairwise(cuts)]
    parts = [evaluate_chips(lenet, feed, score, population, span, jobs=2) for span in spans]
    assert np.array_equal(sum(parts), whole)


NOISY = TARGET.on(None, [parse_noise("read:sigma=0.3")])


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> CircuitNetwork:
    """A layer whose reads are noisy, in batches of 4."""
    folder = tmp_path_factory.mktemp("dense")
    proto = proto_of("g (float[N,3] x) => (float[N,2] y) <float[3,2] w> { y = MatMul (x, w) }")
    onnx.save(proto, folder / "m.onnx")
    compiled = compile_model(folder / "m.onnx", TARGET, output=folder / "m.nvmc")
    return replace(load_circuit(compiled, NOISY), batch=4)


def test_chips_that_share_a_session_are_as_in_their_own(dense: CircuitNetwork) -> None:
    feed = Feed({"x": np.ones((11, 3), np.float32)})
    sessions, seen = CircuitSessions(dense), set[int]()
    first, second = (Chip.of(NOISY, 0, index) for index in (2, 5))
    order = [(first, (0, 11)), (second, (3, 6)), (Chip.ideal(), (0, 3)), (first, (9, 2))]
    for chip, (start, count) in order:
        span = Span(start, count)
        with sessions.on(chip, start, count) as session:
            seen.add(id(session))
            found = ChipSession(dense, chip, span, session).outputs(feed, span=span)
        own = ChipSession(dense, chip, span).outputs(feed, span=span)
        np.testing.assert_array_equal(found, own)
    assert len(seen) == 1
    with sessions.on(first, 0, 3) as one, sessions.on(second, 0, 3) as other:
        assert one is not other


def test_a_session_in_which_a_chip_failed_is_not_used_again(dense: CircuitNetwork) -> None:
    sessions, chip = CircuitSessions(dense), Chip.of(NOISY, 0, 2)
    with pytest.raises(KeyError), sessions.on(chip, 0, 3) as failed:
        raise KeyError
    with sessions.on(chip, 0, 3) as session:
        assert session is not failed


def test_noise_of_reads_goes_on_from_image_to_image(dense: CircuitNetwork) -> None:
    """Some images have the reads that they have among all of them."""
    feed = Feed({"x": np.ones((11, 3), np.float32)})
    network, chip = dense, Chip.of(NOISY, 0, 2)
    whole = outputs_of(network, feed, chip)
    assert len(np.unique(whole, axis=0)) == 11
    for span in (Span(0, 3), Span(3, 6), Span(9, 2)):
        found = ChipSession(network, chip, span).outputs(feed, span=span)
        np.testing.assert_array_equal(found, whole[span.first : span.end])


def test_a_stored_bias_may_be_a_single_number(tmp_path: Path) -> None:
    proto = proto_of(
        "g (float[N,3] x) => (float[N,2] y) <float[3,2] w, float b = {0.5}> "
        "{ m = MatMul (x, w) y = Add (m, b) }"
    )
    onnx.save(proto, tmp_path / "m.onnx")
    options = CompileOptions(store=("bias",))
    compiled = compile_model(tmp_path / "m.onnx", TARGET, options=options, output=tmp_path / "m")
    network = load_network(compiled, TARGET)
    assert [array.ideal.shape for array in network.arrays] == [(), (3, 2)]
    x = np.ones((5, 3), np.float32)
    outputs = outputs_of(network, Feed({"x": x}), Chip.ideal())
    b, w = (array.ideal for array in network.arrays)
    np.testing.assert_allclose(outputs, x @ w + b, rtol=0, atol=1e-6)
