"""BayesFT: dropout's law, the objective, what is kept, and that nothing is lost by a kill."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from nvmc.errors import NvmcError, OptionError, TrainingError
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.passes.io.load import load_model
from nvmc.training import Epoch, Task, make_method, train
from nvmc.training.methods.bayesft import BayesFT
from nvmc.training.methods.searched import BUFFER, strengths
from nvmc.training.run import Run
from onnx_text import proto_of
from small_training import blobs, small_network, small_run, small_task

DRIFT = Target.of(load_device("reram-lognormal"))
DEEP = """g (float[N,8] x) => (float[N,3] y)
<float[8,16] w1, float[16] b1, float[16,12] w2, float[12] b2, float[12,3] w3, float[3] b3> {
  [fc1] h1 = Gemm (x, w1, b1)
  [act1] a1 = Relu (h1)
  [fc2] h2 = Gemm (a1, w2, b2)
  [act2] a2 = Tanh (h2)
  [fc3] y = Gemm (a2, w3, b3)
}"""


def deep(folder: Path) -> Path:
    """The file of a network of three layers, the first two of which dropout can follow."""
    path = folder / "deep.onnx"
    onnx.save(proto_of(DEEP), path)
    return path


def drift_task(sigma: float = 0.5, **settings: Any) -> Task:
    return small_task(DRIFT, sigma, **{"init": "random", "every": 2, **settings})


def quick(**options: Any) -> BayesFT:
    return BayesFT(**{"interval": 2, "samples": 3, "initial": 2, **options})


def ratios(model: ir.Model) -> dict[str, float]:
    """The ratio of each Dropout node by its name."""
    return {
        str(node.name): float(node.inputs[1].const_value.numpy())  # type: ignore[union-attr]
        for node in model.graph
        if node.op_type == "Dropout"
    }


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_an_element_is_dropped_with_the_rate_and_else_scaled_up(rate: float):
    x = torch.full((200, 500), 3.0)
    y = quick().disturbed(x, rate, torch.Generator().manual_seed(0))
    dropped = float((y == 0).double().mean())
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / x.numel()) ** 0.5
    torch.testing.assert_close(y[y != 0].unique(), torch.tensor([3.0 / (1 - rate)]))


def test_dropout_changes_only_training(tmp_path: Path):
    run = small_run(tmp_path, quick(), drift_task())
    replica, (x, y) = run.replicas[0], next(iter(run.batches(0)))
    plain = run.criterion(replica(x, replica.crossbars.quantized()), y)

    def loss(rate: float, seed: int) -> float:
        replica.train()
        replica.graph.get_buffer(BUFFER).fill_(rate)
        generator = torch.Generator().manual_seed(seed)
        return float(quick().loss(run, replica, x, y, generator).detach())

    assert loss(0.0, 0) == float(plain.detach())
    assert len({loss(0.7, seed) for seed in range(4)}) == 4
    assert loss(0.7, 0) == loss(0.7, 0)


def test_inserted_nodes_stay_and_hold_the_rates(tmp_path: Path):
    source, output = deep(tmp_path), tmp_path / "out.onnx"
    outcome = train(source, drift_task(epochs=6), quick(), output=output)
    before, after = load_model(source), load_model(output)
    assert not outcome.canonical
    rates = outcome.summary["rates"]
    assert list(rates) == ["fc1", "fc2"] and all(0 <= rate <= 0.8 for rate in rates.values())
    np.testing.assert_allclose(list(ratios(after).values()), list(rates.values()), rtol=1e-6)
    others = [node.name for node in after.graph if node.op_type != "Dropout"]
    assert others == [node.name for node in before.graph]
    # At inference the nodes do nothing: the same outputs with every ratio at zero.
    silent = load_model(output)
    for name in ratios(silent):
        value = silent.graph.initializers[f"{name}_ratio"]
        value.const_value = ir.tensor(np.float32(0), name=value.name)
    ir.save(silent, tmp_path / "silent.onnx")
    x = {"x": blobs(10, 3).x}
    runs = [onnxruntime.InferenceSession(p) for p in (output, tmp_path / "silent.onnx")]
    one, other = (session.run(None, x)[0] for session in runs)
    np.testing.assert_array_equal(one, other)


def test_dropout_that_is_there_is_taken_over(tmp_path: Path):
    model = load_model(deep(tmp_path))
    InsertDropout(rates={"fc1": 0.3, "fc2": 0.0})(model)
    ir.save(model, tmp_path / "with.onnx")
    output = tmp_path / "out.onnx"
    outcome = train(tmp_path / "with.onnx", drift_task(epochs=2), quick(), output=output)
    found = ratios(load_model(output))
    assert list(found) == ["fc1_dropout", "fc2_dropout"]
    np.testing.assert_allclose(
        list(found.values()), list(outcome.summary["rates"].values()), rtol=1e-6
    )


def drifted_losses(run: Run, sigma: float, chips: int) -> NDArray[np.float64]:
    """Loss of each of `chips` chips on the held-out images, one weight after another."""
    random = np.random.default_rng(12)
    values = run.replicas[0].graph.values()
    data = run.task.validation
    found: list[float] = []
    for _ in range(chips):
        w = {n: v * np.exp(sigma * random.standard_normal(v.shape)) for n, v in values.items()}
        hidden = np.tanh(data.x @ w["w1"] + values["b1"])
        scores = hidden @ w["w2"] + values["b2"]
        scores = scores - scores.max(1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        found.append(-float(np.mean([row[label] for row, label in zip(logs, data.y, strict=True)])))
    return np.array(found)


def test_the_objective_is_the_mean_loss_of_drifted_networks(tmp_path: Path):
    """Eq. 4 against plain NumPy with draws of its own."""
    sigma, chips = 0.5, 1500
    run = small_run(tmp_path, quick(), drift_task(sigma))
    for epoch in range(2):
        quick().pass_over(run, run.replicas[0], epoch)
    value = quick(samples=chips, objective="loss").value(run, run.replicas[0])
    expected = drifted_losses(run, sigma, chips)
    tolerance = 5 * expected.std() * (2 / chips) ** 0.5  # five standard errors of a difference
    assert abs(-value - expected.mean()) < tolerance
    clean = drifted_losses(run, 0.0, 1).mean()
    assert expected.mean() - clean > 2 * tolerance  # so drift that is left out would show


def test_the_objective_counts_hits_where_it_is_asked_to(tmp_path: Path):
    run = small_run(tmp_path, quick(), drift_task(0.0))
    x, y = run.validation()
    hits = run.replicas[0](x, None).argmax(1) == y
    assert quick().value(run, run.replicas[0]) == pytest.approx(float(hits.double().mean()))


def test_the_objective_has_chips_of_its_own_strength_where_it_is_given_one(tmp_path: Path):
    run, other = (small_run(tmp_path, quick(), drift_task(sigma)) for sigma in (0.5, 0.9))
    given = quick(objective="loss", sigma=0.9).value(run, run.replicas[0])
    assert given == quick(objective="loss").value(other, other.replicas[0])
    assert given != quick(objective="loss").value(run, run.replicas[0])


def test_the_objective_is_the_same_whenever_it_is_taken(tmp_path: Path):
    run = small_run(tmp_path, quick(), drift_task())
    values = {quick().value(run, replica) for replica in (*run.replicas, *run.replicas)}
    assert len(values) == 1


@pytest.mark.parametrize("objective", ["loss", "accuracy"])
def test_the_best_trial_is_kept_with_its_strengths(tmp_path: Path, objective: Any):
    method = quick(objective=objective)
    run = small_run(tmp_path, method, drift_task(0.8, epochs=11))
    assert method.evaluated(run) is run.replicas[0]
    kept: list[Any] = []
    for epoch in range(11):
        method.epoch(run, epoch)
        best = run.memory["search"].best
        if best is not None:
            replica = method.evaluated(run)
            assert replica is run.replicas[1]
            assert method.value(run, replica) == best.value
            assert strengths(replica) == best.point
            kept.append(best)
    trials = run.memory["search"].trials
    assert len(trials) == 6  # five of two epochs, and what is left
    assert len({trial.point for trial in trials}) == 6
    assert len(set(kept)) > 1  # something was replaced


def test_strengths_change_when_a_trial_ends_and_not_before(tmp_path: Path):
    run = small_run(tmp_path, quick(interval=3), drift_task(epochs=6))
    seen = []
    for epoch in range(6):
        seen.append(strengths(run.replicas[0]))
        quick(interval=3).epoch(run, epoch)
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4] == seen[5]


def test_trials_that_do_not_carry_on_start_from_the_same_weights(tmp_path: Path):
    method = quick(carry=False)
    run = small_run(tmp_path, method, drift_task(epochs=6))
    first = {
        name: weight.detach().clone() for name, weight in run.replicas[0].graph.weights.items()
    }
    for epoch in range(4):
        method.epoch(run, epoch)
        weights = run.replicas[0].graph.weights
        same = all(torch.equal(weights[name], value) for name, value in first.items())
        assert same == (epoch % 2 == 1)
        # Within a trial the learning rate falls to zero, then the next starts from the top.
        rate = run.replicas[0].optimizer.param_groups[0]["lr"]
        assert rate == pytest.approx(1e-2 if same else 0.5e-2)


@pytest.mark.parametrize(("inject", "different"), [(False, 1), (True, 4)])
def test_gradient_descent_sees_chips_only_where_asked(tmp_path: Path, inject: bool, different: int):
    method = quick(inject=inject)
    run = small_run(tmp_path, method, drift_task())
    generator = torch.Generator().manual_seed(0)
    seen = {
        tuple(method.weights(run, run.replicas[0], generator)["w1"].flatten().tolist())
        for _ in range(4)
    }
    assert len(seen) == different


def killed_after(stop: int) -> Callable[[Epoch], None]:
    def stopped(epoch: Epoch) -> None:
        if epoch.epoch == stop:
            raise KeyboardInterrupt

    return stopped


@pytest.mark.parametrize(
    ("kind", "stop", "carry"),
    [
        ("bayesft", 1, True),
        ("bayes-noise", 4, True),
        ("bayesft", 7, True),
        ("bayesft", 5, False),
        ("bayes-noise", 5, False),
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, kind: str, stop: int, carry: bool
):
    method = make_method(kind, {"interval": 2, "samples": 2, "initial": 2, "carry": carry})
    source, task = deep(tmp_path), drift_task(epochs=8)
    whole = train(source, task, method, output=tmp_path / "whole.onnx")
    files: dict[str, Any] = {"output": tmp_path / "parts.onnx", "checkpoint": tmp_path / "c"}
    with pytest.raises(KeyboardInterrupt):
        train(source, task, method, **files, on_epoch=killed_after(stop))
    parts = train(source, task, method, **files, resume=True)
    assert parts.resumed == stop
    assert whole.summary == parts.summary
    assert (tmp_path / "whole.onnx").read_bytes() == (tmp_path / "parts.onnx").read_bytes()


def test_what_cannot_be_searched_is_refused(tmp_path: Path):
    single = tmp_path / "single.onnx"
    text = "g (float[N,8] x) => (float[N,3] y) <float[8,3] w> { y = MatMul (x, w) }"
    onnx.save(proto_of(text), single)
    with pytest.raises(TrainingError, match="only one layer"):
        train(single, drift_task(), quick(), output=tmp_path / "o.onnx")
    with pytest.raises(OptionError, match="no whole number of trials"):
        quick(interval=3, carry=False).check(drift_task(epochs=4))
    unknown = replace(drift_task(), sigma=None, target=Target.of(load_device("stt-mram")))
    with pytest.raises(NvmcError, match="stt-mram"):
        quick().check(unknown)
    with pytest.raises(OptionError, match="cap: input should be less than 1"):
        make_method("bayesft", {"cap": 1.0})


def test_the_source_is_the_small_network(tmp_path: Path):
    """One layer of two can be followed by dropout; its node has no name, its output has."""
    outcome = train(small_network(tmp_path), drift_task(), quick(), output=tmp_path / "o.onnx")
    assert len(outcome.summary["rates"]) == 1
    assert len(ratios(load_model(tmp_path / "o.onnx"))) == 1
