"""Chips in torch: the same chips and, but for rounding, the same decisions as in onnxruntime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from nvmc import Chip, Compiled, Target, compile_model, load_device
from nvmc.compiled.options import CompileOptions
from nvmc.data import Dataset
from nvmc.errors import ModelError, OptionError
from nvmc.evaluation.population import Workload
from nvmc.evaluation.simulation import simulate
from nvmc.evaluation.workload import set_up
from nvmc.executors import torch_network
from nvmc.executors.torch import TorchExecutor
from nvmc.executors.torch_images import Images, right_decisions
from nvmc.executors.torch_network import ChipsNetwork, exact_arithmetic, prepared
from nvmc.executors.torch_weights import WeightProgrammer
from nvmc.metrics import Metric, correct, decisions
from nvmc.metrics.accuracy import Accuracy
from nvmc.metrics.determination import Determination
from nvmc.metrics.ideal_agreement import Agreement
from nvmc.models import resolve_model
from nvmc.rng import stream
from nvmc.runtime.montecarlo import Feed, Network, Span, evaluate_chips, outputs_of
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet2"))
CPU = torch.device("cpu")
MEMORY = 64 << 20

NETWORKS = {
    "resnet": """g (float[N,3,8,8] x) => (float[N,K] y)
    <float[8,3,3,3] w, float[8] b, float[8,8,3,3] u, float[8] c, float[8,8,3,3] v,
     float[12,8,3,3] d, float[12,8,1,1] s, float[12,12,3,3] e, float[12,5] f, float[5] g> {
      stem = Conv <pads = [1,1,1,1]> (x, w, b)
      r0 = Relu (stem)
      h1 = Conv <pads = [1,1,1,1]> (r0, u, c)
      r1 = Relu (h1)
      h2 = Conv <pads = [1,1,1,1]> (r1, v)
      a1 = Add (h2, r0)
      r2 = Relu (a1)
      h3 = Conv <pads = [1,1,1,1], strides = [2,2]> (r2, d)
      r3 = Relu (h3)
      h4 = Conv <pads = [1,1,1,1]> (r3, e)
      short = Conv <strides = [2,2]> (r2, s)
      a2 = Add (h4, short)
      r4 = Relu (a2)
      p = GlobalAveragePool (r4)
      q = Flatten (p)
      y = Gemm (q, f, g)
    }""",
    "lstm": """g (float[N,6,3] x) => (float[N,K] y)
    <float[2,16,3] w, float[2,16,4] r, float[2,32] b, float[1,15,8] v, float[1,15,5] u,
     float[5,3] o, int64[3] s = {0, 0, -1}, int64[1] zero = {0}> {
      t = Transpose <perm = [1,0,2]> (x)
      h = LSTM <hidden_size = 4, direction = "bidirectional"> (t, w, r, b)
      k = Transpose <perm = [0,2,1,3]> (h)
      f = Reshape (k, s)
      g, gh = GRU <hidden_size = 5, linear_before_reset = 1> (f, v, u)
      q = Squeeze (gh, zero)
      y = MatMul (q, o)
    }""",
    "segments": """g (float[N,2,6,6] x) => (float[N,K,H,W] y)
    <float[4,2,3,3] w, float[3,4,1,1] v> {
      h = Conv <pads = [1,1,1,1]> (x, w)
      t = Tanh (h)
      y = Conv (t, v)
    }""",
    "regression": """g (float[N,5] x) => (float[N,1] y) <float[5,9] w, float[9,1] v> {
      h = MatMul (x, w)
      t = Sigmoid (h)
      y = MatMul (t, v)
    }""",
    "fixed": """g (float[4,5] x) => (float[4,K] y) <float[5,9] w, float[9,3] v> {
      h = MatMul (x, w)
      t = Relu (h)
      y = MatMul (t, v)
    }""",
    "sum": """g (float[1,5] x) => (float[1,1] y) <float[5,70000] w> {
      h = MatMul (x, w)
      y = ReduceSum (h)
    }""",
    # where the slice begins is computed from the weights: chips differ in their control flow
    "branching": """g (float[N,5] x) => (float[N,K] y)
    <float[5,9] w, float[9,3] v, float nought = {0.0}, int64[1] one = {1}, int64[1] end = {99}> {
      h = MatMul (x, w)
      m = ReduceMax <keepdims = 0> (h)
      z = Mul (m, nought)
      i = Cast <to = 7> (z)
      j = Reshape (i, one)
      t = Slice (h, j, end, one)
      y = MatMul (t, v)
    }""",
}
ZOO = {"lenet5": "zoo:lenet5-digits", "mlp3": "zoo:mlp3-digits"}

Make = Callable[..., Workload]


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A workload by the network's name; options are `CompileOptions`, data of `set_up`."""
    made: dict[str, Compiled] = {}

    def make(name: str, data: Any = None, target: Target = TARGET, **options: Any) -> Workload:
        key = f"{name}{options}{target}"
        if key not in made:
            folder = tmp_path_factory.mktemp(name)
            source = folder / "m.onnx" if name in NETWORKS else resolve_model(ZOO[name])
            if name in NETWORKS:
                onnx.save(proto_of(NETWORKS[name]), source)
            made[key] = compile_model(
                source, target, CompileOptions(**options), output=folder / "m.nvmc"
            )
        return set_up(made[key], target, data=data, limit=50 if data else None)

    return make


@pytest.fixture(params=[torch_network.LEAST_CHIPS, 1000], ids=["side by side", "one by one"])
def batching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test both ways: a thousand chips do not fit in at once."""
    monkeypatch.setattr(torch_network, "LEAST_CHIPS", request.param)


def chips(count: int, sigma: float = 0.2) -> list[Chip]:
    return [Chip.of(TARGET, 0, index, sigma) for index in range(count)]


def totals(
    executor: TorchExecutor, workload: Workload, some: list[Chip], span: Span | None = None
) -> np.ndarray:
    found: dict[int, float] = {}

    def done(position: int, total: float) -> None:
        assert position not in found
        found[position] = total

    executor.totals(workload, some, span or Span(0, len(workload.feed)), done)
    assert sorted(found) == list(range(len(some)))
    return np.array([found[position] for position in range(len(some))])


def expected_totals(workload: Workload, some: list[Chip], span: Span | None = None) -> np.ndarray:
    span = span or Span(0, len(workload.feed))
    return evaluate_chips(workload.network, workload.feed, workload.metric, some, span, jobs=1)


@pytest.mark.usefixtures("batching")
@pytest.mark.parametrize("name", ["lenet5", "mlp3", "resnet", "lstm", "segments", "fixed"])
def test_decisions_are_those_of_onnxruntime(workload: Make, name: str) -> None:
    """One decision in a thousand may lie within rounding of another; here none is known to."""
    a_workload = workload(name, "digits" if name in ZOO else None)
    executor = TorchExecutor("cpu", MEMORY)
    found, expected = totals(executor, a_workload, chips(6)), expected_totals(a_workload, chips(6))
    assert len(np.unique(expected)) > 1
    decisions = a_workload.metric.classes.size  # pyright: ignore
    assert np.abs(found - expected).max() <= max(1, decisions // 1000)


@pytest.mark.usefixtures("batching")
@pytest.mark.parametrize("name", ["lenet5", "resnet"])
def test_outputs_are_within_rounding(workload: Make, name: str) -> None:
    """A sum of n products is within n units of the sum of their magnitudes (Higham, Sec. 3.1).

    Sums, ReLU and maxima carry errors on, so with the magnitudes of all weights and images for
    them, the network itself gives what its errors are relative to.
    """
    a_workload = workload(name, "digits" if name in ZOO else None)
    network = a_workload.network
    assert isinstance(network, Network)
    feed = Feed({k: x[:20] for k, x in a_workload.feed.inputs.items()})
    with exact_arithmetic(), torch.no_grad():
        side = prepared(network, feed, CPU, MEMORY)
        images = {k: torch.from_numpy(x) for k, x in feed.inputs.items()}
        weights = programmed(network, chips(side.chips), side.chips)
        found = side.outputs(weights, images).numpy()
        for parameter in side.graph.parameters():
            parameter.abs_()
        magnitudes = side.outputs(
            {k: x.abs() for k, x in weights.items()}, {k: x.abs() for k, x in images.items()}
        ).numpy()
    shapes = [array.codes.shape for array in network.arrays]
    terms = sum(int(np.prod(shape[1:])) + 4 for shape in shapes)  # bias, skip and mean are terms
    bound = 2 * terms * 2.0**-24 * magnitudes  # both engines round
    for chip, outputs, most in zip(chips(side.chips), found, bound, strict=True):
        assert np.all(np.abs(outputs - outputs_of(network, feed, chip)) <= most)


def programmed(network: Network, some: list[Chip], size: int) -> dict[str, torch.Tensor]:
    with WeightProgrammer(network, some, size, CPU, jobs=2, memory=1 << 20) as programming:
        ((group, weights),) = programming
    assert list(group) == list(range(len(some)))
    return weights


def test_weights_are_those_of_the_chip_bit_for_bit(workload: Make) -> None:
    network = workload("lenet5", "digits").network
    assert isinstance(network, Network)
    some = [*chips(4), Chip.ideal()]
    first = network.arrays[0].name
    half = replace(network, dtypes={**network.dtypes, first: np.dtype(np.float16)})
    weights = programmed(half, some, 8)
    for array in network.arrays:
        for position in range(8):
            chip = some[min(position, 4)]  # the last chip fills up the group
            wanted = chip.program(array).weights.astype(half.dtypes[array.name])
            assert weights[array.name][position].numpy().tobytes() == wanted.tobytes()


def test_groups_are_programmed_in_order(workload: Make) -> None:
    network = workload("mlp3", "digits").network
    assert isinstance(network, Network)
    array = network.arrays[0]
    for jobs, memory in ((1, 0), (3, 1 << 30)):
        with WeightProgrammer(network, chips(7), 2, CPU, jobs=jobs, memory=memory) as programming:
            for group, weights in programming:
                for place, position in enumerate(group):
                    wanted = chips(7)[position].program(array).weights
                    assert np.array_equal(weights[array.name][place].numpy(), wanted)
            assert group == range(6, 7)


@pytest.mark.usefixtures("batching")
def test_no_total_depends_on_the_order_or_on_what_is_asked(workload: Make) -> None:
    """Groups and batches have one size, so each chip is computed alike, whoever is beside it."""
    a_workload = workload("lenet5", "digits")
    executor = TorchExecutor("cpu", MEMORY)
    some, images = chips(9), len(a_workload.feed)
    whole = totals(executor, a_workload, some)
    assert np.array_equal(totals(executor, a_workload, some[::-1]), whole[::-1])
    assert np.array_equal(totals(executor, a_workload, some[7:8]), whole[7:8])
    for cut in (1, 37, images - 1):
        parts = [Span(0, cut), Span(cut, images - cut)]
        found = sum(totals(executor, a_workload, some, part) for part in parts)
        assert np.array_equal(found, whole)


def test_spans_are_those_of_onnxruntime(workload: Make) -> None:
    a_workload = workload("mlp3", "digits")
    executor = TorchExecutor("cpu", MEMORY)
    for span in (Span(13, 30), Span(49, 1), Span(20, 30)):
        expected = expected_totals(a_workload, chips(5), span)
        assert np.array_equal(totals(executor, a_workload, chips(5), span), expected)


def test_numbers_that_are_no_classes_are_scored_as_such(workload: Make) -> None:
    a_workload = workload("regression")
    assert isinstance(a_workload.metric, Determination)
    found = totals(TorchExecutor("cpu", MEMORY), a_workload, chips(6))
    expected = expected_totals(a_workload, chips(6))
    # 14 terms in float32, the outputs a few units: errors of 1e-5 beside deviations of 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.usefixtures("batching")
def test_stochastic_networks_have_their_masks(workload: Make) -> None:
    steps = ["insert-dropout:rate=0.3,active=true"]
    a_workload = workload("mlp3", "digits", passes=steps)
    assert a_workload.network.masks
    for passes in (1, 3):
        several = replace(a_workload, network=replace(a_workload.network, passes=passes))
        executor = TorchExecutor("cpu", MEMORY)
        expected = expected_totals(several, chips(5))
        assert len(np.unique(expected)) > 1
        assert np.abs(totals(executor, several, chips(5)) - expected).max() <= 1
        span = Span(20, 30)
        expected = expected_totals(several, chips(5), span)
        assert np.abs(totals(executor, several, chips(5), span) - expected).max() <= 1


def test_where_vmap_cannot_go_chips_run_alone(workload: Make) -> None:
    a_workload = workload("branching")
    executor = TorchExecutor("cpu", MEMORY)
    assert executor.plan == ""
    assert np.array_equal(
        totals(executor, a_workload, chips(5)), expected_totals(a_workload, chips(5))
    )
    assert "1 chip and 64 images at once; chips run one by one: " in executor.plan
    totals(executor, workload("mlp3", "digits"), chips(1))
    assert executor.plan == "64 chips and 50 images at once"


def hand_made() -> tuple[np.ndarray, np.ndarray]:
    """Outputs (2, 8, 3) full of ties, NaN, infinities and signed zeros; labels (8,)."""
    nan, inf = float("nan"), float("inf")
    one = [
        *([1, 1, 0], [0, 2, 2], [nan, 1, 0], [0, 1, nan]),
        *([inf, inf, 0], [-inf, -inf, -inf], [-0.0, 0.0, -0.0], [nan, nan, nan]),
    ]
    outputs = np.array([one, one[::-1]], np.float32)
    return outputs, np.array([0, 1, 1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int64])
def test_decisions_are_counted_as_metrics_count_them(kind: Any) -> None:
    outputs, labels = hand_made()
    if kind is np.int64:
        outputs = np.nan_to_num(outputs, posinf=5, neginf=-5)
    outputs = outputs.astype(kind)
    for wanted in (labels, labels[::-1].copy(), labels * 0 + 2):
        expected = [correct(one, wanted) for one in outputs]
        score = Accuracy(wanted)
        assert right_decisions(torch.tensor(outputs), torch.tensor(wanted)).tolist() == expected
        images = Images(Feed({"x": outputs[0]}), score, CPU, 0)
        found = images.hits(torch.tensor(outputs[:, 2:7]), 2)
        assert found is not None
        assert found.tolist() == [score.add(one[2:7], 2) for one in outputs]


def test_agreement_is_counted_as_metrics_count_it() -> None:
    outputs, _ = hand_made()
    for reference in (outputs[0], outputs[1], np.nan_to_num(outputs[0])):
        score = Agreement(decisions(reference))
        images = Images(Feed({"x": reference}), score, CPU, 0)
        found = images.hits(torch.tensor(outputs), 0)
        assert found is not None
        assert found.tolist() == [score.add(one, 0) for one in outputs]


def test_what_is_no_decision_is_left_to_the_score() -> None:
    labels = np.zeros(4, np.int64)
    images = Images(Feed({"x": labels}), Accuracy(labels), CPU, 0)
    assert images.hits(torch.zeros(2, 4), 0) is None
    assert images.hits(torch.zeros(2, 4, 1), 0) is None
    assert images.hits(torch.zeros(2, 4, 3, 2), 0) is None
    assert images.hits(torch.zeros(2, 4, 3, dtype=torch.bool), 0) is None
    plain = Images(Feed({"x": labels}), Determination(np.zeros(4)), CPU, 0)
    assert plain.hits(torch.zeros(2, 4, 3), 0) is None


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_images_are_filled_up_with_the_last_one(memory: int) -> None:
    x = np.arange(12.0).reshape(6, 2)
    images = Images(Feed({"x": x}), Accuracy(np.zeros(6, np.int64)), CPU, memory)
    assert np.array_equal(images.batch(1, 3)["x"].numpy(), x[1:4])
    assert np.array_equal(images.batch(4, 4)["x"].numpy(), x[[4, 5, 5, 5]])


@pytest.mark.usefixtures("batching")
@pytest.mark.parametrize("name", ["lenet5", "mlp3", "resnet", "lstm", "segments", "fixed"])
def test_nothing_waits_for_the_device(workload: Make, name: str) -> None:
    """On torch's `meta` device nothing has a value, so reading one to go on would fail."""
    network = workload(name, "digits" if name in ZOO else None).network
    assert isinstance(network, Network)
    feed = workload(name, "digits" if name in ZOO else None).feed
    with exact_arithmetic(), torch.no_grad():
        side = prepared(network, feed, CPU, MEMORY)
        side.graph.to("meta")
        images = {
            k: torch.empty(side.images, *x.shape[1:], device="meta") for k, x in feed.inputs.items()
        }
        weights = {
            a.name: torch.empty(side.chips, *a.codes.shape, device="meta") for a in network.arrays
        }
        outputs = side.outputs(weights, images)
        hits = right_decisions(outputs, torch.zeros_like(outputs[0, :, 0], dtype=torch.int64))
    assert hits.device.type == "meta"
    assert hits.shape == (side.chips,)


def test_size_follows_the_memory(workload: Make) -> None:
    a_workload = workload("lenet5", "digits")
    network = a_workload.network
    assert isinstance(network, Network)
    sizes: list[tuple[int, int]] = []
    for memory in (1 << 10, 1 << 22, 1 << 24, 1 << 26, 1 << 30):
        with exact_arithmetic(), torch.no_grad():
            side = prepared(network, a_workload.feed, CPU, memory)
        sizes.append((side.chips, side.images))
        # relu1's input and output, one image: 2 x 6 x 28 x 28 floats; twice that within operators
        pairs = max(1, memory // (2 * 2 * 4704 * 4))
        assert side.images == min(50, pairs)
        assert side.chips == (min(64, pairs // side.images) if pairs >= 400 else 1)
    assert sizes[0] == (1, 1) and sizes[-1] == (64, 50)


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A device on which no more than 8 images fit; the sizes that were tried on it."""
    tried: list[int] = []
    run = ChipsNetwork.outputs

    def outputs(self: ChipsNetwork, own: Any, images: Any) -> torch.Tensor:
        size = len(next(iter(images.values())))
        tried.append(size)
        if size > 8:
            raise torch.OutOfMemoryError("out of memory")
        return run(self, own, images)

    monkeypatch.setattr(ChipsNetwork, "outputs", outputs)
    yield tried


def test_out_of_memory_takes_fewer_images(workload: Make, crowded: list[int]) -> None:
    a_workload = workload("mlp3", "digits")
    executor = TorchExecutor("cpu", MEMORY)
    expected = expected_totals(a_workload, chips(5))
    assert np.array_equal(totals(executor, a_workload, chips(5)), expected)
    assert crowded[1:4] == [50, 25, 12]  # behind the trial of two images
    assert set(crowded[4:]) == {6}
    crowded.clear()
    totals(executor, a_workload, chips(1))
    assert set(crowded) == {6}  # found out once


def test_no_memory_at_all_is_an_error(workload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    a_workload = workload("mlp3", "digits")
    executor = TorchExecutor("cpu", MEMORY)
    totals(executor, a_workload, chips(1))

    def outputs(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(ChipsNetwork, "outputs", outputs)
    with pytest.raises(
        OptionError, match="the network does not fit into the memory of torch on cpu"
    ):
        totals(executor, a_workload, chips(1))


def test_refusals(workload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="'tpu'; expected cuda or cuda:NUMBER"):
        TorchExecutor("tpu")
    with pytest.raises(OptionError, match="'meta'; expected cuda or cuda:NUMBER"):
        TorchExecutor("meta")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="sees no CUDA device; install a CUDA build of torch or"):
        TorchExecutor()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(OptionError, match="torch sees cuda:0 to cuda:1"):
        TorchExecutor("cuda:2")


def test_circuits_are_refused(workload: Make) -> None:
    target = TARGET.model_copy(
        update={"periphery": TARGET.periphery.model_copy(update={"adc_bits": 8})}
    )
    a_workload = workload("mlp3", "digits", target=target)
    assert a_workload.fidelity == "circuit"
    with pytest.raises(OptionError, match="runs as circuits; use --fidelity cells or leave"):
        totals(TorchExecutor("cpu"), a_workload, chips(1))


def test_unknown_operators_are_refused(workload: Make) -> None:
    a_workload = workload("lenet5", "digits")
    network = a_workload.network
    assert isinstance(network, Network)
    proto = onnx.ModelProto.FromString(network.model)
    proto.graph.node[0].op_type = "Loop"
    other = replace(a_workload, network=replace(network, model=proto.SerializeToString()))
    with pytest.raises(OptionError, match="cannot run this network: node .* is Loop of domain"):
        totals(TorchExecutor("cpu"), other, chips(1))


def test_a_network_that_cannot_run_is_an_error(workload: Make) -> None:
    a_workload = workload("mlp3", "digits")
    wrong = replace(
        a_workload, feed=Feed({k: x[..., :3] for k, x in a_workload.feed.inputs.items()})
    )
    with pytest.raises(ModelError, match="torch cannot run the network: .* in "):
        totals(TorchExecutor("cpu"), wrong, chips(1))


def test_an_output_without_a_row_an_image_is_an_error(workload: Make) -> None:
    a_workload = workload("mlp3", "digits")
    (name,) = a_workload.feed.inputs
    side = prepared(a_workload.network, a_workload.feed, CPU, MEMORY)  # pyright: ignore
    side.graph.forward = lambda *_, **__: {side.output: torch.zeros(7, 2)}  # pyright: ignore
    with pytest.raises(
        ModelError, match=r"shape \[7, 2\] for 5 images; expected one row per image"
    ):
        side.outputs({"w": torch.zeros(2, 1)}, {name: torch.zeros(5, 1)})


def test_a_chip_that_cannot_be_programmed_ends_the_run(workload: Make) -> None:
    class Broken(Chip):
        def program(self, array: Any) -> Any:
            raise OptionError("this chip is broken")

    a_workload = workload("mlp3", "digits")
    executor = TorchExecutor("cpu", MEMORY, jobs=2)
    broken = Broken(0, 3)
    seen: list[int] = []
    with pytest.raises(OptionError, match="this chip is broken"):
        executor.totals(
            a_workload,
            [*chips(3), broken, *chips(30)],
            Span(0, 10),
            lambda position, _: seen.append(position),
        )
    assert set(seen) <= {0, 1, 2}
    assert not [t for t in threading.enumerate() if t.name.startswith("nvmc-program")]
    assert len(totals(executor, a_workload, chips(2))) == 2


class Summed(Metric):
    """Every bit of the outputs counts."""

    name = short = title = "sum"
    reference = "values"

    def __init__(self, reference: np.ndarray) -> None:
        pass

    def add(self, outputs: np.ndarray, first: int) -> float:
        return float(np.abs(outputs.astype(np.float64)).sum())

    def finish(self, total: float, images: int) -> float:
        return total


def test_no_bit_depends_on_the_threads_of_torch(workload: Make) -> None:
    """A sum to one number is what torch splits among its threads on every processor."""
    summed = replace(workload("sum"), metric=Summed(np.empty(0)))
    before, found = torch.get_num_threads(), set[bytes]()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            executor = TorchExecutor("cpu", MEMORY)
            found.add(totals(executor, summed, chips(3)).tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_settings_are_as_before() -> None:
    backends: Any = torch.backends

    def settings() -> list[Any]:
        return [
            backends.cuda.matmul.fp32_precision,
            backends.cudnn.conv.fp32_precision,
            backends.cudnn.rnn.fp32_precision,
            backends.cudnn.deterministic,
            backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,  # pyright: ignore
        ]

    before = settings()
    with pytest.raises(RuntimeError, match="inside"), exact_arithmetic():
        assert settings() == ["ieee", "ieee", "ieee", True, False, True, False]
        raise RuntimeError("inside")
    assert settings() == before
    assert isinstance(backends.cuda.matmul.allow_tf32, bool)  # its old name can still be asked


def test_the_same_population_by_simulate(tmp_path: Path) -> None:
    compiled = compile_model(
        resolve_model("zoo:mlp3-digits"), TARGET, output=tmp_path / "mlp3.nvmc"
    )
    x = stream(0, 0, "x").random((50, 1, 28, 28), dtype=np.float32)
    data = Dataset("noise", x, np.arange(50) % 10)
    executor = TorchExecutor("cpu", MEMORY)
    found = simulate(compiled, runs=12, data=data, executor=executor)
    expected = simulate(compiled, runs=12, data=data)
    assert found.executor == executor.name == "torch on cpu"
    assert executor.engine == f"torch {torch.__version__} cpu"
    assert np.abs(found.values - expected.values).max() <= 1 / 50 + 1e-12
