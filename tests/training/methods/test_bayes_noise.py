"""Bayes-optimised noise injection: moments of the noise, a graph that comes out as it went in."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.io.load import load_model
from nvmc.training import make_method, train
from nvmc.training.methods.bayes_noise import BayesNoise
from small_training import small_network, small_run, small_task

KURTOSIS = {"gaussian": 3.0, "laplace": 6.0}
DRIFT = Target.of(load_device("reram-lognormal"))


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("form", ["multiplicative", "additive"])
def test_noise_has_the_moments_that_were_asked_for(law: Any, form: Any):
    generator = torch.Generator().manual_seed(3)
    x = 2.0 + torch.randn((1000, 400), generator=generator)
    strength, count = 0.3, x.numel()
    noise = BayesNoise(law=law, form=form).disturbed(x, strength, generator) - x
    unit = noise / (x if form == "multiplicative" else float(x.std())) / strength
    # A mean has variance 1/n, a second moment (kurtosis - 1)/n; five standard errors each.
    assert abs(float(unit.double().mean())) < 5 * count**-0.5
    spread = 5 * ((KURTOSIS[law] - 1) / count) ** 0.5
    assert abs(float((unit.double() ** 2).mean()) - 1) < spread
    # A fourth moment's variance is (m8 - m4^2)/n: 96 and 2,484 (m8 of Laplace: 8!/16).
    fourth = 5 * ({"gaussian": 96.0, "laplace": 2484.0}[law] / count) ** 0.5
    assert abs(float((unit.double() ** 4).mean()) - KURTOSIS[law]) < fourth


def test_every_element_has_a_draw_of_its_own():
    y = BayesNoise().disturbed(torch.ones(20, 30), 0.5, torch.Generator().manual_seed(0))
    assert len(y.unique()) == 600


def test_gradients_pass_through_the_noise():
    x = torch.tensor([[1.0, -2.0]], requires_grad=True)
    y = BayesNoise().disturbed(x, 0.5, torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope * x.detach(), y.detach())


def test_the_graph_comes_out_as_it_went_in(tmp_path: Path):
    source, output = small_network(tmp_path), tmp_path / "o.onnx"
    method = make_method("bayes-noise", {"interval": 1, "samples": 2, "initial": 2})
    outcome = train(source, small_task(DRIFT, 0.5), method, output=output)
    before, after = load_model(source).graph, load_model(output).graph
    assert [(n.op_type, n.name) for n in after] == [(n.op_type, n.name) for n in before]
    assert set(after.initializers) == set(before.initializers)
    assert len(outcome.summary["strengths"]) == 1
    assert len(outcome.summary["trials"]) == 4
    assert all(0 <= s <= 1 for s in outcome.summary["strengths"].values())


def test_noise_stands_behind_the_activation(tmp_path: Path):
    run = small_run(tmp_path, BayesNoise(), small_task(DRIFT, 0.5))
    assert list(run.memory["sites"].values()) == ["a"]


def test_the_cap_is_the_range(tmp_path: Path):
    run = small_run(tmp_path, BayesNoise(cap=0.01, initial=1), small_task(DRIFT, 0.5))
    search = run.memory["search"]
    for value in (0.0, 1.0, 2.0):
        (point,) = search.ask()
        assert 0 <= point <= 0.01
        search.tell((point,), value)
    with pytest.raises(OptionError, match="cap"):
        make_method("bayes-noise", {"cap": 0.0})


def test_the_size_of_additive_noise_is_a_constant_to_the_gradient():
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    method = make_method("bayes-noise", {"form": "additive"})
    assert isinstance(method, BayesNoise)
    method.disturbed(x, 0.5, torch.Generator().manual_seed(0)).sum().backward()
    assert torch.equal(x.grad, torch.ones(4, 5))  # type: ignore[arg-type]
