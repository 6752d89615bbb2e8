"""spindrop, spatial-spindrop and invnorm: what they insert, train and leave on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from nvmc import compile_model, simulate
from nvmc.data import Dataset
from nvmc.errors import NvmcError, OptionError, TrainingError
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.passes.invert_normalization import INVERTED, InvertNormalization
from nvmc.training import Settings, Task, train
from nvmc.training.methods import make_method
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.run import Run
from onnx_text import proto_of
from small_training import small_network, small_target, small_task

KINDS = ("invnorm", "spatial-spindrop", "spindrop")

CNN = """g (float[N,1,6,6] x) => (float[N,3] y)
<float[4,1,3,3] w1, float[4] b1, float[3,64] w2, float[3] b2> {
  [conv] a = Conv (x, w1, b1)
  [relu] r = Relu (a)
  [flat] f = Flatten (r)
  [fc] y = Gemm <transB: int = 1> (f, w2, b2)
}"""


def network(folder: Path) -> Path:
    proto = proto_of(CNN)
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor) * np.float32(0.3)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(proto, folder / "cnn.onnx")
    return folder / "cnn.onnx"


def stripes(count: int, seed: int) -> Dataset:
    """Three classes: rows, columns, and neither."""
    generator = np.random.default_rng(seed)
    y = generator.integers(3, size=count)
    waves = np.cos(np.arange(6) * np.pi)[:, None] * np.ones(6)
    shapes = np.array([waves, waves.T, 0 * waves])
    x = shapes[y][:, None] + 0.5 * generator.standard_normal((count, 1, 6, 6))
    return Dataset("stripes", x.astype(np.float32), y)


def task(**settings: Any) -> Task:
    chosen = {"epochs": 3, "batch": 32, "chips": 5, "percentile": 20.0, "rate": 1e-2, **settings}
    images = stripes(96, 1), stripes(60, 2)
    return Task(small_target(weight_bits=8), 0.1, *images, Settings(**chosen))


def run_of(folder: Path, kind: str, **options: Any) -> Run:
    method, work = make_method(kind, options), task()
    prepared = prepared_network(canonical_network(network(folder)), work, method)
    run = Run(prepared, work, 1)
    method.begin(run)
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_the_written_network_drops_and_is_reproducible(kind: str, tmp_path: Path) -> None:
    source = network(tmp_path)
    for name in ("a", "b"):
        train(source, task(epochs=10), make_method(kind), output=tmp_path / f"{name}.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    target = small_target(weight_bits=8)
    compiled = compile_model(tmp_path / "a.onnx", target, output=tmp_path / "a.nvmc")
    one, many = (
        simulate(compiled, data=stripes(80, 3), runs=4, sigma=0.1, mc_passes=t) for t in (1, 20)
    )
    assert one.description.mc_passes == 1 and many.description.mc_passes == 20
    # chance is 1/3, and 5 standard errors of 80 images above it 0.6
    assert many.summary.mean > 0.6
    assert not np.array_equal(many.values, one.values)


@pytest.mark.parametrize("kind", KINDS)
def test_inactive_networks_draw_nothing(kind: str, tmp_path: Path) -> None:
    """With active = false the file is what training judged, on every chip."""
    path = tmp_path / "m.onnx"
    method = make_method(kind, {"active": "false"})
    outcome = train(network(tmp_path), task(), method, output=path)
    compiled = compile_model(path, small_target(weight_bits=8), output=tmp_path / "m.nvmc")
    result = simulate(compiled, data=stripes(60, 2), runs=1, sigma=0.1)
    assert result.description.mc_passes is None
    assert result.ideal == outcome.after.ideal


@pytest.mark.parametrize("kind", KINDS)
def test_training_drops_and_judging_does_not(kind: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, kind)
    replica = run.replicas[0]
    x, _ = next(run.batches(0))

    def scores(seed: int) -> torch.Tensor:
        return replica(x, generator=torch.Generator().manual_seed(seed)).detach()

    replica.train()
    assert not torch.equal(scores(0), scores(1)) and torch.equal(scores(0), scores(0))
    replica.train(False)
    assert torch.equal(scores(0), scores(1))


def test_what_spindrop_inserts(tmp_path: Path) -> None:
    for kind, spatial in (("spindrop", False), ("spatial-spindrop", True)):
        found = run_of(tmp_path, kind, p=0.2).model
        expected = canonical_network(network(tmp_path))
        InsertDropout(rate=0.2, spatial=spatial)(expected)
        assert _operators(found) == _operators(expected)
        assert ("Mul" in _operators(found)) == spatial


def test_what_invnorm_inserts(tmp_path: Path) -> None:
    """The paper's initialisation, drawn by name; what stands behind the norm is not trained."""
    run = run_of(tmp_path, "invnorm", sigma_gamma=0.4)
    expected = canonical_network(network(tmp_path))
    InvertNormalization(sigma_gamma=0.4, init="random")(expected)
    assert _operators(run.model) == _operators(expected)
    for name in ("conv_gamma", "conv_beta"):
        found, wanted = (
            m.graph.initializers[name].const_value.numpy() for m in (run.model, expected)
        )
        assert np.array_equal(found, wanted)
        assert run.replicas[0].graph.weights[name].requires_grad


def test_invnorm_trains_its_affine_step_and_nothing_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    train(network(tmp_path), task(), make_method("invnorm"), output=path)
    model = ir.load(path)
    before = run_of(tmp_path, "invnorm").model.graph.initializers
    after = model.graph.initializers
    for name in ("conv_gamma", "conv_beta"):
        old, new = (x[name].const_value.numpy() for x in (before, after))
        assert not np.array_equal(old, new)
    (norm,) = [node for node in model.graph if INVERTED in node.metadata_props]
    scale, bias = (value.const_value.numpy() for value in norm.inputs[1:])
    assert (scale == 1).all() and (bias == 0).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("spindrop", {"p": 1.0}),
        ("spindrop", {"rate": 0.1}),
        ("spatial-spindrop", {"p": -0.1}),
        ("invnorm", {"p": 1.1}),
        ("invnorm", {"sigma_gamma": -1}),
        ("invnorm", {"sigma_beta": float("inf")}),
        ("invnorm", {"granularity": "layer"}),
        ("invnorm", {"groups": 0}),
    ],
)
def test_bad_options(kind: str, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=kind) as caught:
        make_method(kind, options)
    assert "\n" not in str(caught.value)


def test_networks_without_a_place(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no normalisation"):
        prepared_network(
            canonical_network(small_network(tmp_path)), small_task(), make_method("invnorm")
        )
    text = "g (float[N,8] x) => (float[N,3] y) <float[8,3] w> { y = MatMul (x, w) }"
    onnx.save(proto_of(text), tmp_path / "one.onnx")
    with pytest.raises(TrainingError, match="no place"):
        prepared_network(
            canonical_network(tmp_path / "one.onnx"), small_task(), make_method("spindrop")
        )
    with pytest.raises(NvmcError, match="do not divide"):
        run_of(tmp_path, "invnorm", groups=3)


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]
