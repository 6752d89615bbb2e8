"""TRICE: three networks, one search, one winner."""

import json
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import torch

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target, load_device
from nvmc.training import train
from nvmc.training.methods import make_method
from nvmc.training.methods.trice import Trice
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from small_training import small_network, small_run, small_task


def weights_of(replica: Replica) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in replica.graph.weights.items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def trained(folder: Path, name: str, kind: str, task: Any = None, **options: Any) -> Any:
    """The weights of a finished run and its outcome."""
    path = folder / f"{name}.onnx"
    source = small_network(folder)
    outcome = train(source, task or small_task(), make_method(kind, options), output=path)
    return path.read_bytes(), outcome


def peaked(monkeypatch: pytest.MonkeyPatch, method: Trice, peak: float) -> list[float]:
    """Let a network's KPP be how near its sigma_t is to `peak`; what was asked for."""
    asked: list[float] = []

    def kpp(run: Run, replica: Replica) -> float:
        sigma_t = method.strength(run, replica)
        asked.append(sigma_t)
        return -abs(sigma_t - peak)

    monkeypatch.setattr(Run, "kpp", kpp)
    return asked


def test_three_networks_train_at_the_three_quartiles(tmp_path: Path) -> None:
    method = Trice(warm=1)
    run = small_run(tmp_path, method)
    assert [method.strength(run, replica) for replica in run.replicas] == pytest.approx(
        [0.1, 0.2, 0.3]
    )
    before = [weights_of(replica) for replica in run.replicas]
    assert same(before[0], before[1]) and same(before[0], before[2])
    method.epoch(run, 0)
    after = [weights_of(replica) for replica in run.replicas]
    assert not any(same(after[i], after[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_each_network_sees_noise_of_its_own_on_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Trice(warm=2)
    run = small_run(tmp_path, method)
    noise: list[int] = []
    images: list[bytes] = []

    def step(self: Trice, run: Run, replica: Replica, x: Any, y: Any, generator: Any) -> Any:
        noise.append(generator.initial_seed())
        images.append(x.numpy().tobytes())
        return torch.tensor(0.0)

    monkeypatch.setattr(Trice, "step", step)
    for epoch in range(2):
        method.epoch(run, epoch)
    steps = len(noise) // 6
    assert [len(set(noise[i * steps : (i + 1) * steps])) for i in range(6)] == [1] * 6
    assert len(set(noise)) == 6  # a stream per epoch and network
    for epoch in (0, 3):
        parts = [images[(epoch + i) * steps : (epoch + i + 1) * steps] for i in range(3)]
        assert parts[0] == parts[1] == parts[2]


def test_warm_up_judges_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Trice(warm=2)
    asked = peaked(monkeypatch, method, 0.2)
    run = small_run(tmp_path, method)
    method.epoch(run, 0)
    method.epoch(run, 1)
    assert asked == []
    assert method.evaluated(run) is run.replicas[1]  # the middle one, while there is no winner
    method.epoch(run, 2)
    assert asked == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("peak", "winner", "ends"),
    [(0.2, 1, (0.1, 0.3)), (0.0, 0, (0.0, 0.3)), (0.4, 2, (0.1, 0.4))],
)
def test_the_winner_is_cloned(
    peak: float,
    winner: int,
    ends: tuple[float, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = Trice(warm=0)
    peaked(monkeypatch, method, peak)
    run = small_run(tmp_path, method)
    alone = Trice(warm=1)  # the same epoch without a comparison
    undisturbed = small_run(tmp_path, alone)
    alone.epoch(undisturbed, 0)
    loss = method.epoch(run, 0)
    expected = weights_of(undisturbed.replicas[winner])
    for replica in run.replicas:
        assert same(weights_of(replica), expected)
        state, other = replica.optimizer.state_dict(), undisturbed.replicas[winner].optimizer
        for moments, theirs in zip(
            state["state"].values(), other.state_dict()["state"].values(), strict=True
        ):
            assert all(torch.equal(moments[key], theirs[key]) for key in theirs)
    assert method.evaluated(run) is run.replicas[winner]
    assert loss > 0
    summary = method.summary(run)
    assert (summary["start"], summary["end"]) == pytest.approx(ends)
    assert summary["comparisons"][0]["winner"] == winner


def test_clones_do_not_share_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Trice(warm=0)
    peaked(monkeypatch, method, 0.2)
    run = small_run(tmp_path, method)
    method.epoch(run, 0)
    before = weights_of(run.replicas[1])
    method.pass_over(run, run.replicas[0], 1)
    assert same(weights_of(run.replicas[1]), before)
    assert not same(weights_of(run.replicas[0]), before)


@pytest.mark.parametrize("peak", [0.0, 0.07, 0.2, 0.33, 0.4])
def test_the_search_ends_at_the_peak(
    peak: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Trice(warm=1)
    asked = peaked(monkeypatch, method, peak)
    run = small_run(tmp_path, method, small_task(epochs=40))
    for epoch in range(32):
        method.epoch(run, epoch)
    summary = method.summary(run)
    assert summary["merged"]
    assert summary["sigma_t"] == pytest.approx(peak, abs=1e-4)
    assert 12 <= len(summary["comparisons"]) <= 29
    assert len(asked) == 3 * len(summary["comparisons"])


def test_one_network_trains_after_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Trice(warm=0, tolerance=0.3)
    asked = peaked(monkeypatch, method, 0.3)
    run = small_run(tmp_path, method)
    method.epoch(run, 0)  # right wins: 0.1 to 0.4, which is not below 0.3
    method.epoch(run, 1)  # 0.175 to 0.325
    assert method.summary(run)["merged"]
    others = [weights_of(replica) for replica in run.replicas]
    count = len(asked)
    method.epoch(run, 2)
    assert len(asked) == count
    assert method.strength(run, run.replicas[0]) == method.summary(run)["start"]
    assert method.evaluated(run) is run.replicas[0]
    assert not same(weights_of(run.replicas[0]), others[0])
    assert same(weights_of(run.replicas[1]), others[1])
    assert same(weights_of(run.replicas[2]), others[2])


def test_ends_that_meet_are_plain_right_censored_noise(tmp_path: Path) -> None:
    """Nothing to search: bit for bit the run with that sigma_t."""
    merged, outcome = trained(tmp_path, "merged", "trice", start=0.15, end=0.15)
    fixed, _ = trained(tmp_path, "fixed", "rc-gaussian", sigma_t=0.15)
    assert merged == fixed
    assert outcome.summary["comparisons"] == []


def test_without_noise_there_is_nothing_to_search(tmp_path: Path) -> None:
    """sigma = 0: [0, 0] is over at once, and what is left is plain training."""
    found, outcome = trained(tmp_path, "found", "trice", small_task(sigma=0.0))
    plain, _ = trained(tmp_path, "plain", "erm", small_task(sigma=0.0))
    assert outcome.summary["merged"] and outcome.summary["sigma_t"] == 0
    assert found == plain


@pytest.mark.parametrize("kind", ["a-trice", "trice"])
def test_the_same_run_gives_the_same_weights(kind: str, tmp_path: Path) -> None:
    task = small_task(epochs=3)
    first, outcome = trained(tmp_path, "first", kind, task, warm=1)
    again, _ = trained(tmp_path, "again", kind, task, warm=1)
    other, _ = trained(tmp_path, "other", kind, small_task(epochs=3, seed=1), warm=1)
    assert first == again != other
    assert len(outcome.summary["comparisons"]) == 2
    json.dumps(outcome.to_json())


class Killed(Exception):
    """The machine went down."""


@pytest.mark.parametrize(
    ("kind", "epochs"), [("trice", 1), ("trice", 3), ("trice", 5), ("a-trice", 3)]
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    kind: str, epochs: int, tmp_path: Path
) -> None:
    """Killed in the warm-up, in the search and after the merge."""
    task = small_task(epochs=6, every=2)
    options = {"warm": 1, "tolerance": 0.25}
    whole, expected = trained(tmp_path, "whole", kind, task, **options)
    source, path = small_network(tmp_path), tmp_path / "killed.onnx"
    checkpoint = tmp_path / "killed.ckpt"

    def kill(epoch: Any) -> None:
        if epoch.epoch == epochs:
            raise Killed

    method = make_method(kind, options)
    with pytest.raises(Killed):
        train(source, task, method, output=path, checkpoint=checkpoint, on_epoch=kill)
    assert not path.exists()
    outcome = train(source, task, method, output=path, checkpoint=checkpoint, resume=True)
    assert path.read_bytes() == whole
    assert outcome.summary == expected.summary
    assert outcome.summary["merged"]
    assert outcome.kept == expected.kept


def test_the_network_that_is_kept_is_the_one_that_was_judged(tmp_path: Path) -> None:
    """The last epoch compares: its winner's KPP is the run's, and is not taken twice."""
    task = small_task(epochs=3, every=1, keep="last")
    _, outcome = trained(tmp_path, "kept", "trice", task, warm=1)
    last = outcome.summary["comparisons"][-1]
    assert outcome.epochs[-1].kpp == max(last["kpp"]) == last["kpp"][last["winner"]]
    assert outcome.after.kpp == outcome.epochs[-1].kpp


def test_the_graph_that_comes_out_is_the_one_that_went_in(tmp_path: Path) -> None:
    trained(tmp_path, "out", "trice", small_task(epochs=2), warm=1)
    before, after = (ir.load(tmp_path / name) for name in ("mlp.onnx", "out.onnx"))
    assert [node.op_type for node in before.graph] == [node.op_type for node in after.graph]
    assert set(before.graph.initializers) == set(after.graph.initializers)


def test_a_run_too_short_to_search_is_refused() -> None:
    with pytest.raises(OptionError, match="warms up for 5 epochs.*has 5; give more"):
        Trice().check(small_task(epochs=5))
    Trice().check(small_task(epochs=6))
    Trice(start=0.2, end=0.2).check(small_task(epochs=5))


def test_ends_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(OptionError, match=r"from 0.5 to 0.4; give a start"):
        Trice(start=0.5).check(small_task(epochs=6))


@pytest.mark.parametrize(
    "options",
    [
        {"warm": -1},
        {"warm": "2.5"},
        {"tolerance": 0},
        {"end": "inf"},
        {"start": -1},
        {"sigma_t": 0.1},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="trice"):
        make_method("trice", options)


def test_the_end_is_twice_the_device_s_own_sigma(tmp_path: Path) -> None:
    device = load_device("rram4").model_copy(update={"sigma": 0.15})
    target = Target.of(device, weight_bits=4, cell_bits=2)
    run = small_run(tmp_path, Trice(), small_task(target, None, epochs=6))
    assert Trice().summary(run)["end"] == pytest.approx(0.3)


def test_options_may_come_as_texts() -> None:
    texts = {"warm": "3", "start": "0.1", "end": "0.2", "tolerance": "1e-3", "th": "1"}
    expected = Trice(warm=3, start=0.1, end=0.2, tolerance=1e-3, th=1.0)
    assert make_method("trice", texts) == expected
    assert make_method("trice", {"end": None}) == Trice()
