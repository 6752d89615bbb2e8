"""Noise of the four cut Gaussians on the weights of a network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target, load_device
from nvmc.training.methods import METHODS, make_method
from nvmc.training.run import Run
from small_training import small_run, small_target, small_task

KINDS = ("rc-gaussian", "lc-gaussian", "rt-gaussian", "lt-gaussian")
# The three terms of w + (q + noise - w), all in float32, each rounded once.
ROUNDINGS = 3 * 2**-24


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_of(kind: str, run: Run, seed: int = 0, **options: Any) -> dict[str, np.ndarray]:
    """What the method adds to each weight, in units of the weight's spread at sigma_d = 0.2."""
    method = make_method(kind, options)
    crossbars = run.replicas[0].crossbars
    ideal, spread = crossbars.quantized(), crossbars.spread(0.2)
    noisy = method.weights(run, run.replicas[0], generator(seed))
    return {
        name: ((weight - ideal[name]) / spread[name]).detach().numpy()
        for name, weight in noisy.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_is_the_law_times_the_spread_of_each_weight(kind: str, tmp_path: Path) -> None:
    """One draw after the other, weights in the order of their names."""
    method = make_method(kind, {"th": 1.0})
    run = small_run(tmp_path, method)
    found = noise_of(kind, run, th=1.0)
    drawn = method.noise().sample((sum(each.size for each in found.values()),), generator())
    largest = max(weight.detach().abs().max() for weight in run.replicas[0].graph.weights.values())
    spread = min(each.min() for each in run.replicas[0].crossbars.spread(0.2).values())
    values = np.concatenate([each.ravel() for each in found.values()])
    # The noisy weight is at most some 4 times the largest one.
    assert np.abs(values - drawn.numpy()).max() <= ROUNDINGS * 4 * float(largest / spread)


@pytest.mark.parametrize(
    ("kind", "side"),
    [("rc-gaussian", 1), ("rt-gaussian", 1), ("lc-gaussian", -1), ("lt-gaussian", -1)],
)
def test_which_side_is_cut(kind: str, side: int, tmp_path: Path) -> None:
    run = small_run(tmp_path, make_method(kind))
    values = np.concatenate(
        [
            noise.ravel()
            for seed in range(50)
            for noise in noise_of(kind, run, seed, th=0.5).values()
        ]
    )
    # 6600 draws with a density of 0.5 and more below the cut: a gap of 0.01 has odds of e^-33.
    assert (side * values).max() == pytest.approx(0.5, abs=0.01)
    assert (side * values).min() < -2.5


def test_strength_is_the_device_s_unless_it_is_given(tmp_path: Path) -> None:
    run = small_run(tmp_path, make_method("rc-gaussian"))
    own = noise_of("rc-gaussian", run)
    double = noise_of("rc-gaussian", run, sigma_t=0.4)
    for name, noise in own.items():
        assert double[name] == pytest.approx(2 * noise, abs=1e-4)


def test_a_device_s_own_sigma_counts_where_the_task_has_none(tmp_path: Path) -> None:
    device = load_device("rram4").model_copy(update={"sigma": 0.2})
    target = Target.of(device, weight_bits=4, cell_bits=2)
    method = make_method("rc-gaussian")
    own = small_run(tmp_path, method, small_task(target, None))
    given = small_run(tmp_path, method, small_task(target, 0.2))
    for found, expected in zip(
        method.weights(own, own.replicas[0], generator()).values(),
        method.weights(given, given.replicas[0], generator()).values(),
        strict=True,
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_without_sigma_nothing_is_added(kind: str, tmp_path: Path) -> None:
    method = make_method(kind)
    run = small_run(tmp_path, method, small_task(sigma=0.0))
    noisy = method.weights(run, run.replicas[0], generator())
    for name, weight in run.replicas[0].crossbars.quantized().items():
        assert torch.equal(noisy[name], weight)


def test_fefet_levels_have_their_own_spread(tmp_path: Path) -> None:
    """The noise follows sigma(g): weights in the middle levels of fefet1 get four times as much."""
    method = make_method("rc-gaussian")
    run = small_run(tmp_path, method, small_task(small_target("fefet1")))
    spread = run.replicas[0].crossbars.spread(0.2)
    assert all(len(torch.unique(each)) > 1 for each in spread.values())
    noise = noise_of("rc-gaussian", run, th=0.5)
    # Wherever the draw is cut, the noise is half the weight's own spread.
    assert max(each.max() for each in noise.values()) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("kind", ["a-trice", "trice", *KINDS])
def test_the_gradient_is_that_at_the_noisy_point(kind: str, tmp_path: Path) -> None:
    """Finite differences of the loss in the noisy weights, in float64 (TRICE, Alg. 1, line 6)."""
    options = {"a-trice": {"warm": 1, "reach": 0.0}, "trice": {"warm": 1}}
    method = make_method(kind, options.get(kind))
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    replica.graph.double()
    x, y = next(run.batches(0))
    x = x.double()
    method.loss(run, replica, x, y, generator()).backward()
    noisy = {n: w.detach() for n, w in method.weights(run, replica, generator()).items()}
    step = 1e-5
    for name, weight in noisy.items():
        gradient = replica.graph.weights[name].grad
        assert gradient is not None
        for position in ((0, 0), (3, 2), (7, 1)):
            moved = [weight.clone(), weight.clone()]
            moved[0][position] += step
            moved[1][position] -= step
            up, down = (run.criterion(replica(x, noisy | {name: each}), y).item() for each in moved)
            # Central differences: h^2 f'''/6 with |f'''| < 10 here, and 2^-52 f / h of rounding.
            assert gradient[position].item() == pytest.approx((up - down) / (2 * step), abs=1e-9)


def test_the_clean_point_has_another_gradient(tmp_path: Path) -> None:
    """So the test above can fail."""
    method = make_method("rc-gaussian")
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    gradients = []
    for weights in (method.weights(run, replica, generator()), replica.crossbars.quantized()):
        replica.optimizer.zero_grad()
        run.criterion(replica(x, weights), y).backward()
        gradients.append(replica.graph.weights["w1"].grad.clone())
    assert (gradients[0] - gradients[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["a-trice", "trice", *KINDS])
@pytest.mark.parametrize("device", ["ideal", "bitflip", "stuck-at"])
def test_a_device_without_sigma_is_refused_in_one_line(kind: str, device: str) -> None:
    task = small_task(small_target(device, cell_bits=1), None)
    with pytest.raises(OptionError, match=f"{kind}.*{device}.*has none; use") as caught:
        make_method(kind).check(task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["trice", "rc-gaussian"])
def test_a_sigma_that_nobody_states_is_asked_for(kind: str) -> None:
    task = small_task(small_target("stt-mram", cell_bits=1), None)
    with pytest.raises(OptionError, match="stt-mram.*give --sigma"):
        make_method(kind).check(task)


def test_noise_without_a_closed_form_is_refused_before_training(tmp_path: Path) -> None:
    task = small_task(small_target("pcm-joshi2020", cell_bits=None), 1.0)
    method = make_method("rc-gaussian")
    with pytest.raises(OptionError, match="no closed-form spread"):
        small_run(tmp_path, method, task)


@pytest.mark.parametrize(
    "options", [{"th": -1}, {"th": "nan"}, {"sigma_t": -0.1}, {"sigma_t": "inf"}, {"sigma": 0.1}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_options_are_refused(kind: str, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=kind):
        make_method(kind, options)


def test_the_table_has_every_kind() -> None:
    assert {*KINDS, "trice", "a-trice"} <= set(METHODS)
