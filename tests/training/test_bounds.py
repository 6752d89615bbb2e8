"""Learned bounds (PACT) and steps (LSQ) are trained, and the source's form is written back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nvmc import Target, load_device
from nvmc.compiled.options import CompileOptions
from nvmc.training import Settings, make_method, train
from nvmc.training.computed import computed_weights
from nvmc.training.evaluation import judge_source
from nvmc.training.preparation import canonical_network, fitted
from nvmc.training.replica import Replica
from nvmc.training.task import Task
from onnx_text import proto_of
from small_training import blobs

LEVELS = "n = Constant <value = float {15}> () zero = Constant <value = float {0}> () "
PACT = {
    "clip": "c = Clip (h, zero, a)",
    "minimum": "r = Relu (h) c = Min (r, a)",
    "absolute": "half = Constant <value = float {0.5}> () p = Abs (h) d = Sub (h, a) m = Abs (d) "
    "s = Sub (p, m) t = Add (s, a) c = Mul (half, t)",
    "two relus": "r = Relu (h) d = Sub (h, a) u = Relu (d) c = Sub (r, u)",
    "where": "r = Relu (h) below = Less (r, a) c = Where (below, r, a)",
}
STEPS = {
    "factor": "k = Div (n, a) q = Mul (c, k) o = Round (q) e = Div (o, k)",
    "step": "k = Div (a, n) q = Div (c, k) o = Round (q) e = Mul (o, k)",
    "both": "q1 = Div (c, a) q = Mul (q1, n) o = Round (q) e1 = Div (o, n) e = Mul (e1, a)",
    "detached": "k = Div (n, a) q = Mul (c, k) o = Round (q) d1 = Sub (o, q) d2 = Add (q, d1) "
    "e = Div (d2, k)",
}
LSQ = (
    "low = Constant <value = float {0}> () top = Constant <value = float {15}> () "
    "q = Div (h, a) c = Clip (q, low, top) o = Round (c) e = Mul (o, a)"
)
FORMS = {
    **{
        f"{name}, {way}": LEVELS + bound + " " + steps
        for name, bound in PACT.items()
        for way, steps in STEPS.items()
        if name == "minimum" or way == "factor"
    },
    "LSQ": LSQ,
}
"""Activation quantisers of h with a learned constant a and the result e."""


def network(form: str, folder: Path, bound: float = 1.3) -> Path:
    """The small MLP with its activations quantised in this form."""
    proto = proto_of(f"""g (float[N,8] x) => (float[N,3] y)
    <float[8,12] w1, float[12] b1, float[12,3] w2, float[3] b2, float a = {{{bound}}}> {{
      h = Gemm (x, w1, b1)
      {form}
      y = Gemm (e, w2, b2)
    }}""")
    for tensor in proto.graph.initializer:
        if tensor.name[0] in "wb":
            array = 0.4 * onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))
    path = folder / "quantised.onnx"
    onnx.save(proto, path)
    return path


def task(**settings) -> Task:
    target = Target.of(load_device("bitflip"), weight_bits=6)
    chosen = {"epochs": 3, "batch": 32, "chips": 4, "percentile": 30.0, "rate": 1e-2, **settings}
    return Task(target, None, blobs(96, 1), blobs(60, 2), Settings(**chosen))


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


WEIGHTS = {
    "PACT": "low = Neg (a) top = Constant <value = float {7}> () c = Clip (v, low, a) "
    "k = Div (top, a) q = Mul (c, k) o = Round (q) w = Div (o, k)",
    "LSQ": "low = Constant <value = float {-7}> () top = Constant <value = float {7}> () "
    "q = Div (v, a) c = Clip (q, low, top) o = Round (c) w = Mul (o, a)",
}


def weight_network(kind: str, folder: Path, bound: str) -> Path:
    """The small MLP with its first weight quantised so; `a` is float or float[1,12]."""
    proto = proto_of(f"""g (float[N,8] x) => (float[N,3] y)
    <float[8,12] v, float[12] b1, float[12,3] w2, float[3] b2, {bound} a> {{
      {WEIGHTS[kind]}
      h = Gemm (x, w, b1)
      e = Tanh (h)
      y = Gemm (e, w2, b2)
    }}""")
    for tensor in proto.graph.initializer:
        if tensor.dims or tensor.name == "a":
            array = 0.4 * onnx.numpy_helper.to_array(tensor)
            if tensor.name == "a":
                array = np.abs(array) * (0.2 if kind == "LSQ" else 1) + 0.05
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))
    path = folder / "weights.onnx"
    onnx.save(proto, path)
    return path


def replica_of(path: Path) -> Replica:
    folds = []
    model = canonical_network(path, None, folds)
    return Replica(model, task(), 3, "y", computed_weights(model, folds))


def gradient(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the sum of c e over the bound, and h, and c, for seeded images and c."""
    replica = replica_of(path)
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    c = torch.randn(64, 12, generator=torch.Generator().manual_seed(2))
    found = replica.values(x, ("h", "e"))
    (c * found["e"]).sum().backward()
    grad = replica.computed.latent["a"].grad
    assert grad is not None
    return grad.numpy(), found["h"].detach().numpy(), c.numpy()


@pytest.mark.parametrize("form", [form for form in FORMS if form != "LSQ"])
def test_the_gradient_of_a_bound_is_that_of_pact(form: str, tmp_path: Path) -> None:
    """Choi et al. 2018, Sec. 3: 1 where x >= a, else 0."""
    found, h, c = gradient(network(FORMS[form], tmp_path))
    beyond = h >= np.float32(1.3)
    assert 0.05 < beyond.mean() < 0.95
    # 768 terms of size 1 in float32
    np.testing.assert_allclose(found, (c * beyond).sum(), rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_step_is_that_of_lsq(tmp_path: Path) -> None:
    """Esser et al. 2020, Eq. 3: round(v) - v within the range, and its ends beyond it."""
    found, h, c = gradient(network(LSQ, tmp_path, 0.11))
    v = h / np.float32(0.11)
    inside = (v > 0) & (v < 15)
    expected = np.where(inside, np.rint(v) - v, np.clip(v, 0, 15))
    assert 0.1 < inside.mean() < 0.9 and (v > 15).any()
    np.testing.assert_allclose(found, (c * expected).sum(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_a_learned_bound_is_trained_and_written_back(form: str, tmp_path: Path) -> None:
    source, output = network(FORMS[form], tmp_path, 0.11 if form == "LSQ" else 1.3), tmp_path / "o"
    given = task()
    outcome = train(source, given, make_method("erm", {}), output=output)
    assert outcome.bounds == {"a": "LSQ" if form == "LSQ" else "PACT"} and not outcome.computed
    before, after = (onnx.load(path).graph for path in (source, output))
    nodes = [[(n.op_type, n.input, n.output) for n in graph.node] for graph in (before, after)]
    assert nodes[0] == nodes[1] and not outcome.canonical
    old, new = tensors(source), tensors(output)
    assert {n for n in old if not np.array_equal(old[n], new[n])} == {"a", "w1", "b1", "w2", "b2"}
    model = canonical_network(output)
    assert (
        judge_source(model, fitted(given, model, make_method("erm"))).ideal == outcome.after.ideal
    )


FIXED = {
    "ReLU6": "zero = Constant <value = float {0}> () e = Clip (h, zero, a)",
    "ReLU6 and a grid of its own": "zero = Constant <value = float {0}> () "
    "k = Constant <value = float {11.5}> () "
    "c = Clip (h, zero, a) q = Mul (c, k) o = Round (q) e = Div (o, k)",
    "folded by the exporter": "zero = Constant <value = float {0}> () "
    f"k = Constant <value = float {{{15 / 1.3}}}> () "
    "c = Clip (h, zero, a) q = Mul (c, k) o = Round (q) e = Div (o, k)",
    "numbers of levels": "zero = Constant <value = float {0}> () one = Constant <value = float {1}>"
    " () k = Constant <value = float {15}> () "
    "c = Clip (h, zero, one) q = Mul (c, k) o = Round (q) f = Div (o, k) e = Clip (f, zero, a)",
}


@pytest.mark.parametrize("form", FIXED)
def test_fixed_bounds_stay(form: str, tmp_path: Path) -> None:
    source, output = network(FIXED[form], tmp_path), tmp_path / "o"
    outcome = train(source, task(), make_method("erm", {}), output=output)
    old, new = tensors(source), tensors(output)
    assert not outcome.bounds and np.array_equal(old["a"], new["a"])
    assert outcome.bounds_apart == (("a",) if form == "folded by the exporter" else ())


def test_fixed_point_steps_stay(tmp_path: Path) -> None:
    source, output = network(LSQ, tmp_path, 0.125), tmp_path / "o"
    assert not train(source, task(), make_method("erm", {}), output=output).bounds
    assert tensors(output)["a"] == 0.125


@pytest.mark.parametrize("bound", ["float", "float[1,12]"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_gradients_of_quantised_weights(kind: str, bound: str, tmp_path: Path) -> None:
    """Of sum(c w). PACT: c within the bounds, for a c sign(v) beyond them. LSQ: as above."""
    source = weight_network(kind, tmp_path, bound)
    computed = replica_of(source).computed
    v, a = (computed.latent[name] for name in "va")
    c = torch.randn(v.shape, generator=torch.Generator().manual_seed(0))
    (c * computed.value("w")).sum().backward()
    assert v.grad is not None and a.grad is not None
    c, v_, a_ = c.numpy(), v.detach().numpy(), a.detach().numpy()
    if kind == "PACT":
        inside, each = np.abs(v_) < a_, np.sign(v_)
    else:
        scaled = v_ / a_
        inside = np.abs(scaled) < 7
        each = np.clip(scaled, -7, 7)
    assert 0.1 < inside.mean() < 0.95
    each = np.where(inside, np.rint(scaled) - scaled if kind == "LSQ" else 0, each)
    expected = (c * each).sum(0, keepdims=True) if a.dim() else (c * each).sum()
    np.testing.assert_allclose(v.grad.numpy(), c * inside, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(a.grad.numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_quantised_weights_keep_their_grid(kind: str, tmp_path: Path) -> None:
    """What is compiled has the codes and the step of the file that was written."""
    source, output = weight_network(kind, tmp_path, "float"), tmp_path / "out.onnx"
    given = task()
    outcome = train(source, given, make_method("erm", {}), output=output)
    assert outcome.bounds == {"a": kind} and list(outcome.computed) == ["w"]
    old, new = tensors(source), tensors(output)
    assert not outcome.canonical
    assert {n for n in old if not np.array_equal(old[n], new[n])} == {"a", "v", "b1", "w2", "b2"}
    model = canonical_network(output)
    assert (
        judge_source(model, fitted(given, model, make_method("erm"))).ideal == outcome.after.ideal
    )


def test_activations_are_not_rounded_twice(tmp_path: Path) -> None:
    """`activation_bits` rounds what the network does not round itself: the images."""
    source, output = network(FORMS["minimum, factor"], tmp_path), tmp_path / "o"
    given = task()
    given = replace(given, options=CompileOptions(activation_bits=4))
    outcome = train(source, given, make_method("erm", {}), output=output)
    assert outcome.bounds == {"a": "PACT"} and outcome.canonical
    ops = [node.op_type for node in onnx.load(output).graph.node]
    assert ops.count("Round") == 2
    new = tensors(output)
    assert new["a"] != np.float32(1.3) and np.isclose(new["k"] * new["a"], 15, rtol=1e-6)


def test_the_files_own_steps_of_activation_bits_stay(tmp_path: Path) -> None:
    """They were calibrated: nobody learned them."""
    source, output = network("e = Relu (h)", tmp_path), tmp_path / "o"
    given = replace(task(epochs=1), options=CompileOptions(activation_bits=4))
    train(source, given, make_method("erm", {}), output=output)
    again = train(output, task(epochs=1), make_method("erm", {}), output=tmp_path / "p")
    assert again.bounds == {}


def test_a_bound_stays_positive(tmp_path: Path) -> None:
    """A step of the optimiser halves it at most."""
    source, output = network(LSQ, tmp_path, 0.01), tmp_path / "o"
    replica = replica_of(source)
    bound = replica.computed.latent["a"]
    with replica.computed.within_half(), torch.no_grad():
        bound -= 1
    assert bound.detach().numpy() == np.float32(0.01) / 2
    train(source, task(optimizer="sgd", rate=1.0, epochs=1), make_method("erm", {}), output=output)
    assert tensors(output)["a"] > 0


def test_a_resumed_run_has_the_bounds(tmp_path: Path) -> None:
    source, kept = network(FORMS["minimum, factor"], tmp_path), tmp_path / "kept"
    whole, parts = tmp_path / "whole.onnx", tmp_path / "parts.onnx"
    method = make_method("erm", {})
    train(source, task(), method, output=whole)

    def stop(epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(source, task(), method, output=parts, checkpoint=kept, on_epoch=stop)
    train(source, task(), method, output=parts, checkpoint=kept, resume=True)
    for name, array in tensors(whole).items():
        assert np.array_equal(array, tensors(parts)[name])
