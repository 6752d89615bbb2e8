"""A replica computes what the network computes that it becomes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from nvmc.compiled.options import CompileOptions
from nvmc.data import Dataset, load_data
from nvmc.errors import ModelError, OptionError
from nvmc.evaluation.reading import Reading
from nvmc.hardware.devices import Target, load_device
from nvmc.models.zoo import zoo_path
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.graph.describe import serialized
from nvmc.passes.quantize_weights import QuantizeWeights
from nvmc.training import Settings, make_method, make_task
from nvmc.training.activations import ActivationRanges
from nvmc.training.draws import TorchDraw, named_generator
from nvmc.training.evaluation import finished_network
from nvmc.training.initialisation import initialise
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.replica import Replica
from nvmc.training.run import Run, scores_of
from onnx_text import model_of

TARGET = Target.of(load_device("rram4"), weight_bits=4, cell_bits=2)


def run_of(
    name: str = "lenet5-digits", activation_bits: int | None = None, **settings: object
) -> Run:
    options = CompileOptions(activation_bits=activation_bits)
    chosen = Settings(**settings)  # type: ignore[arg-type]
    task = make_task("digits", TARGET, sigma=0.2, settings=chosen, options=options)
    method = make_method("erm")
    return Run(prepared_network(canonical_network(zoo_path(name)), task, method), task, 1)


def outputs(model: ir.Model, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(serialized(model))
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


@pytest.mark.parametrize("bits", [None, 3, 8])
def test_evaluation_equals_onnxruntime(bits: int | None):
    run = run_of(activation_bits=bits)
    replica = run.replicas[0]
    make_method("erm").epoch(run, 0)
    replica.train(False)
    x = load_data("digits", "validation").x
    found = replica(torch.tensor(x), replica.crossbars.quantized()).detach().numpy()
    model = finished_network(run.model, replica, run.task.options)
    QuantizeWeights(4)(model)
    wanted = outputs(model, x)
    # Sums of at most 400 products; a value within rounding of the middle of two steps of an
    # activation's grid may go either way, which is rare, so most outputs agree to rounding.
    close = np.isclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert close.mean() == 1 if bits is None else close.mean() > 0.9
    assert np.mean(found.argmax(1) == wanted.argmax(1)) > 0.98


def test_ranges_are_running_means_of_extremes():
    ranges = ActivationRanges({"a": "a_mark"}, 4)
    tap = ranges.taps["a_mark"]
    tap(torch.tensor([0.0, 2.0]))
    assert ranges.ranges() == {"a": (0.0, 2.0)}
    tap(torch.tensor([-1.0, 4.0]))
    (low, high) = ranges.ranges()["a"]
    assert (low, high) == (pytest.approx(-0.1), pytest.approx(2.2))
    ranges.eval()
    tap(torch.tensor([100.0]))
    assert ranges.ranges()["a"] == (low, high)


@pytest.mark.parametrize(
    ("seen", "levels"), [([0.0, 3.0], 16), ([-3.0, 1.5], 15), ([-1.5, 3.0], 15)]
)
def test_rounding_is_that_of_the_pass(seen: list[float], levels: int):
    ranges = ActivationRanges({"a": "m"}, 4)
    tap = ranges.taps["m"]
    tap(torch.tensor(seen))
    ranges.eval()
    x = torch.linspace(-4, 4, 2001, requires_grad=True)
    y = tap(x)
    step = 3.0 / (levels - 1 if seen[0] == 0 else 7)
    low = 0 if seen[0] == 0 else -7
    wanted = np.clip(np.round(x.detach().numpy() / step), low, low + levels - 1) * step
    assert np.allclose(y.detach().numpy(), wanted, rtol=0, atol=1e-6)
    y.sum().backward()
    inside = (x >= low * step) & (x <= 3.0)
    # At the very ends a subgradient of either side is right.
    ends = np.isin(np.round(x.detach().numpy(), 3), [low * step, 3.0])
    assert torch.equal(x.grad[~ends], inside[~ends].float())  # type: ignore[index]


def test_copying_takes_everything_and_shares_nothing():
    run = run_of(activation_bits=4)
    task = run.task
    one = run.replicas[0]
    other = Replica(run.model, task, 100, one.scores)
    make_method("erm").epoch(run, 0)
    other.copy_from(one)
    for key, value in one.graph.state_dict().items():
        assert torch.equal(value, other.graph.state_dict()[key])
        assert value.data_ptr() != other.graph.state_dict()[key].data_ptr() or not value.numel()
    x, y = next(run.batches(1))
    for replica in (one, other):
        replica.train()
        replica.update(run.criterion(replica(x, replica.crossbars.quantized()), y))
    for key, value in one.graph.state_dict().items():
        assert torch.equal(value, other.graph.state_dict()[key]), key


def test_new_weights_are_he_uniform_and_named_by_the_seed():
    model = canonical_network(zoo_path("lenet5-digits"))
    first, again, other = (model.clone() for _ in range(3))
    initialise(first, 0)
    initialise(again, 0)
    initialise(other, 1)

    def values(model: ir.Model) -> dict[str, np.ndarray]:
        return {k: v.const_value.numpy() for k, v in model.graph.initializers.items()}  # type: ignore[union-attr]

    assert all(np.array_equal(values(first)[k], values(again)[k]) for k in values(first))
    weight = values(first)["fc1.weight"]
    bound = (6 / 400) ** 0.5
    assert weight.shape == (120, 400) and np.abs(weight).max() <= bound
    # 48,000 uniforms: their mean square is bound^2 / 3 within five relative standard errors.
    assert abs(np.mean(weight**2) / (bound**2 / 3) - 1) < 5 * (0.8 / 48_000) ** 0.5
    assert not np.array_equal(weight, values(other)["fc1.weight"])
    assert not values(first)["fc1.bias"].any()
    assert values(model)["fc1.bias"].any()  # the source is untouched


def test_new_recurrent_weights_lie_within_one_over_the_root_of_the_rows():
    model = model_of(
        """g (float[S,N,16] x) => (float[S,1,N,25] y)
        <float[1,75,16] w, float[1,75,25] r> { y = GRU <hidden_size = 25> (x, w, r) }"""
    )
    Canonicalize()(model)
    initialise(model, 0)
    for name, rows in (("w", 16), ("r", 25)):
        largest = np.abs(model.graph.initializers[name].const_value.numpy()).max()  # type: ignore[union-attr]
        # Of 1,200 uniform numbers and more, all lie below 99 % of the bound once in 170,000 times.
        assert 0.99 * rows**-0.5 < largest <= rows**-0.5


def test_rounding_comes_behind_what_a_method_does_to_a_value():
    run = run_of(activation_bits=4)
    replica = run.replicas[0]
    make_method("erm").epoch(run, 0)
    replica.train(False)
    assert replica.activations is not None
    mark = list(replica.activations.taps)[-1]
    _, high = list(replica.activations.ranges().values())[-1]
    step = high / 15
    x = torch.tensor(run.task.validation.x[:20])
    taps = {mark: lambda values: values + 0.3 * step}
    levels = replica.values(x, (mark,), taps=taps)[mark] / step
    assert torch.allclose(levels, levels.round(), rtol=0, atol=1e-4) and levels.max() > 0


def test_streams_are_named():
    first = torch.rand(3, generator=named_generator(0, "a", 1))
    assert torch.equal(first, torch.rand(3, generator=named_generator(0, "a", 1)))
    for names in ((0, "a", 2), (0, "b", 1), (1, "a", 1)):
        assert not torch.equal(first, torch.rand(3, generator=named_generator(*names)))
    uniform = TorchDraw(named_generator(0)).uniform((1000,))
    assert uniform.dtype == torch.float64 and 0 <= uniform.min() and uniform.max() < 1


def test_batches_hold_every_image_once_in_an_order_of_the_epoch():
    run = run_of(batch=100)
    batches = list(run.batches(0))
    assert [len(x) for x, _ in batches] == [100] * 10 + [87]
    seen = torch.cat([x for x, _ in batches])
    assert {x.numpy().tobytes() for x in seen} == {x.tobytes() for x in run.task.train.x}
    assert torch.equal(seen, torch.cat([x for x, _ in run.batches(0)]))
    assert not torch.equal(seen, torch.cat([x for x, _ in run.batches(1)]))


def test_an_image_is_moved_anew_in_every_epoch():
    run = run_of(augment={"turn": 12, "scale": 0.1, "shift": 2})
    whole = run.task.train
    one = replace(run.task, train=Dataset("one", whole.x[:1], np.asarray(whole.y)[:1]))
    alone = Run(run.model, one, 1)
    first, again, other = (next(alone.batches(epoch))[0] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, torch.tensor(whole.x[:1]))


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="torch finds no CUDA device"):
        make_task("digits", TARGET, settings=Settings(accelerator="cuda"))


def test_a_softmax_at_the_end_is_left_out_of_the_loss(tmp_path: Path):
    model = canonical_network(zoo_path("mlp3-digits"))
    logits = model.graph.outputs[0]
    node = ir.node("Softmax", [logits], {"axis": 1})
    node.outputs[0].name, node.outputs[0].shape = "probabilities", logits.shape
    node.outputs[0].type = logits.type
    model.graph.append(node)
    model.graph.outputs[0] = node.outputs[0]
    task = make_task("digits", TARGET, settings=Settings())
    run = Run(model, task, 1)
    x = torch.tensor(task.validation.x[:3])
    run.replicas[0].train(False)
    plain = run_of("mlp3-digits").replicas[0]
    plain.train(False)
    assert run.replicas[0].scores == logits.name
    assert torch.equal(run.replicas[0](x), plain(x))


def test_a_softmax_over_something_else_is_refused():
    model = canonical_network(zoo_path("mlp3-digits"))
    node = ir.node("Softmax", [model.graph.outputs[0]], {"axis": 0})
    node.outputs[0].name, node.outputs[0].shape = "shares", ir.Shape([None, 10])
    model.graph.append(node)
    model.graph.outputs[0] = node.outputs[0]
    with pytest.raises(ModelError, match="softmax along axis 0"):
        scores_of(model, Reading("shares", "class scores", 1))
