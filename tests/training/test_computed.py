"""Weights that the network computes are trained in that form, which is written back."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nvmc import Target, compile_model, load_device
from nvmc.errors import OptionError
from nvmc.training import Settings, make_method, train
from nvmc.training.computed import Computed, Estimator, begun, computed_weights
from nvmc.training.preparation import canonical_network
from nvmc.training.task import Task
from onnx_text import proto_of
from small_training import blobs

HEAD = """
  a = Tanh (h)
  y = Gemm (a, w2, b2)
}"""
START = """g (float[N,8] x) => (float[N,3] y)
<float[8,12] v, float[12] b1, float[12,3] w2, float[3] b2, """
FORMS = {
    "sign": (
        "int64[1] zero = {0}",
        "s = Sign (v) m = Abs (v) alpha = ReduceMean <keepdims = 1> (m, zero) w = Mul (s, alpha)",
        {"v"},
    ),
    "scaled sign": ("float[1,12] alpha", "s = Sign (v) w = Mul (s, alpha)", {"v", "alpha"}),
    "weight norm": (
        "float[1,12] g, int64[1] zero = {0}",
        "n = ReduceL2 <keepdims = 1> (v, zero) d = Div (v, n) w = Mul (d, g)",
        {"v", "g"},
    ),
    "mask": ("float[8,12] mask", "w = Mul (v, mask)", {"v"}),
    "fake quantisation": (
        "float[1,12] step, float low = {-3}, float high = {3}",
        "d = Div (v, step) r = Round (d) c = Clip (r, low, high) w = Mul (c, step)",
        {"v", "step"},
    ),
    "low rank": (
        "float[8,2] p, float[2,12] q",
        "l = MatMul (p, q) w = Add (v, l)",
        {"v", "p", "q"},
    ),
}


def network(form: str, folder: Path) -> Path:
    """The small MLP whose first weight is computed in this form."""
    constants, nodes, _ = FORMS[form]
    proto = proto_of(f"{START}{constants}> {{ {nodes} h = Gemm (x, w, b1) {HEAD}")
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name not in ("low", "high"):
            array = 0.4 * onnx.numpy_helper.to_array(tensor)
            array = (array > 0) if tensor.name == "mask" else array
            array = np.abs(array) + 0.1 if tensor.name in ("step", "alpha") else array
            new = onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name)
            tensor.CopyFrom(new)
    path = folder / f"{form}.onnx"
    onnx.save(proto, path)
    return path


def task(bits: int = 1, **settings) -> Task:
    target = Target.of(load_device("bitflip"), weight_bits=6, bits={"w": bits})
    chosen = {"epochs": 3, "batch": 32, "chips": 4, "percentile": 30.0, "rate": 1e-2, **settings}
    return Task(target, None, blobs(96, 1), blobs(60, 2), Settings(**chosen))


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def of(path: Path):
    folds = []
    model = canonical_network(path, None, folds)
    return model, computed_weights(model, folds)


@pytest.mark.parametrize("form", FORMS)
def test_a_computed_weight_is_what_it_was_folded_to(form: str, tmp_path: Path) -> None:
    model, weights = of(network(form, tmp_path))
    (weight,) = weights
    assert (weight.name, set(weight.latent)) == ("w", FORMS[form][2])
    found = Computed(weights, {}).values()["w"]
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    # sums of at most 8 numbers of size 1 in float32, in other orders
    np.testing.assert_allclose(found, tensor.numpy(), rtol=1e-5, atol=1e-6)


def test_weights_that_are_only_moved_are_none(tmp_path: Path) -> None:
    text = """g (float[N,8] x) => (float[N,3] y) <float[3,8] v> {
      w = Transpose (v)
      y = MatMul (x, w)
    }"""
    onnx.save(proto_of(text), tmp_path / "moved.onnx")
    assert of(tmp_path / "moved.onnx")[1] == []


def test_the_gradient_of_a_scaled_sign_is_straight_through(tmp_path: Path) -> None:
    """Of sum(c W), W = sign(v) mean|v|: c alpha where |v| <= 1, plus sign(v)/8 sum(c sign(v))."""
    _, weights = of(network("sign", tmp_path))
    computed = Computed(weights, {})
    v = computed.latent["v"]
    with torch.no_grad():
        v *= 2  # some beyond 1
    c = torch.randn(v.shape, generator=torch.Generator().manual_seed(0))
    (c * computed.value("w")).sum().backward()
    sign, alpha = torch.sign(v), v.abs().mean(0, keepdim=True)
    expected = c * alpha * (v.abs() <= 1) + sign / 8 * (c * sign).sum(0, keepdim=True)
    assert v.grad is not None and bool((v.abs() > 1).any())
    np.testing.assert_allclose(v.grad.numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_the_error_decay_estimator_is_that_of_ir_net(progress: float) -> None:
    """Eq. 9 and 10: k t (1 - tanh^2(t x)), t = 0.1 * 100^progress, k = max(1/t, 1)."""
    estimator = Estimator()
    estimator.progress = progress
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    y = estimator.sign(x)
    assert torch.equal(y, torch.sign(x))
    y.sum().backward()
    t = 0.1 * 100**progress
    assert x.grad is not None
    expected = [max(1 / t, 1) * t * (1 - math.tanh(t * v) ** 2) for v in x.tolist()]
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("form", ["sign", "mask", "fake quantisation", "weight norm"])
def test_the_form_is_written_back_with_new_latent_weights(form: str, tmp_path: Path) -> None:
    source, output = network(form, tmp_path), tmp_path / "out.onnx"
    outcome = train(source, task(6), make_method("gaussian", {}), output=output)
    before, after = (onnx.load(path).graph for path in (source, output))
    nodes = [
        [(n.op_type, list(n.input), list(n.output), list(n.attribute)) for n in graph.node]
        for graph in (before, after)
    ]
    assert nodes[0] == nodes[1] and not outcome.canonical
    old, new = tensors(source), tensors(output)
    assert old.keys() == new.keys()
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert changed == {*FORMS[form][2], "b1", "w2", "b2"}
    assert list(outcome.computed) == ["w"]


@pytest.mark.parametrize("estimator", ["straight-through", "ede"])
def test_what_is_compiled_has_the_codes_that_were_trained(estimator: str, tmp_path: Path) -> None:
    source, output = network("sign", tmp_path), tmp_path / "out.onnx"
    chosen = task(1, estimator=estimator)
    outcome = train(source, chosen, make_method("erm", {}), output=output)
    assert outcome.computed == {"w": ("Sign", "Abs", "ReduceMean", "Mul")}
    network_ = compile_model(output, chosen.target, output=tmp_path / "out.nvmc")
    (entry,) = (entry for entry in network_.manifest.arrays if entry.name == "w")
    assert entry.weight_bits == 1 and entry.rounding is not None and entry.rounding.error < 1e-6
    v = tensors(output)["v"]
    assert not np.array_equal(np.sign(v), np.sign(tensors(source)["v"]))
    held = tensors(network_.model_path)
    assert np.array_equal(held[entry.codes], np.where(v < 0, -1, 1))
    np.testing.assert_allclose(held[entry.scale], np.abs(v).mean(0, keepdims=True), rtol=1e-5)


def binary_network(folder: Path) -> Path:
    """The MLP with a first weight of one magnitude per channel that stands in it as numbers."""
    proto = onnx.load(network("scaled sign", folder))
    values = {t.name: t for t in proto.graph.initializer}
    v, alpha = (onnx.numpy_helper.to_array(values[name]) for name in ("v", "alpha"))
    proto.graph.initializer.remove(values["v"])
    proto.graph.initializer.remove(values["alpha"])
    del proto.graph.node[:2]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.sign(v) * alpha, "w"))
    onnx.save(proto, folder / "binary.onnx")
    return folder / "binary.onnx"


def test_numbers_that_were_binary_stay_so_in_one_bit(tmp_path: Path) -> None:
    source, output = binary_network(tmp_path), tmp_path / "out.onnx"
    outcome = train(source, task(1, rate=0.1), make_method("erm", {}), output=output)
    assert (outcome.binary, outcome.unbinarised) == (("w",), ())
    old, new = tensors(source)["w"], tensors(output)["w"]
    assert np.array_equal(np.abs(new), np.broadcast_to(np.abs(new[:1]), new.shape))
    assert not np.array_equal(np.sign(old), np.sign(new))
    outcome = train(source, task(6), make_method("erm", {}), output=output)
    assert (outcome.binary, outcome.unbinarised) == ((), ("w",))


def test_a_resumed_run_has_the_latent_weights(tmp_path: Path) -> None:
    source, kept = network("sign", tmp_path), tmp_path / "kept"
    whole, parts = tmp_path / "whole.onnx", tmp_path / "parts.onnx"
    method = make_method("erm", {})
    train(source, task(1, estimator="ede"), method, output=whole)

    def stop(epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            source, task(1, estimator="ede"), method, output=parts, checkpoint=kept, on_epoch=stop
        )
    train(source, task(1, estimator="ede"), method, output=parts, checkpoint=kept, resume=True)
    for name, array in tensors(whole).items():
        assert np.array_equal(array, tensors(parts)[name])


def test_new_weights_are_new_latent_weights(tmp_path: Path) -> None:
    source, output = network("sign", tmp_path), tmp_path / "out.onnx"
    chosen = task(1, init="random", rate=1e-9, decay=0.0, epochs=1)
    train(source, chosen, make_method("erm", {}), output=output)
    assert not np.allclose(tensors(source)["v"], tensors(output)["v"], atol=1e-3)
    model, (weight,) = of(network("low rank", tmp_path))
    lost = type(weight)("w", weight.model, {"p": weight.latent["p"]}, weight.operators)
    with pytest.raises(OptionError, match="use --init keep"):
        begun([lost], model, random=True)
