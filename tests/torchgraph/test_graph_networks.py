"""Whole networks in torch against stock onnxruntime, and their gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from nvmc.errors import TrainingError
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.io.load import load_model
from nvmc.torchgraph.graph import Graph, write_values
from onnx_models import MAPPED, OF_OPSET, feeds_of, run_proto
from onnx_text import proto_of
from training_graphs import NETWORKS

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
QUICK = {"light_squeezenet", "light_shufflenet"}
CONTROL = ("branch", "loop", "scan")
TEXTS = {
    **{name: (text, 21) for name, text in NETWORKS.items()},
    **{f"mapped-{n}": (text, 21) for n, (_, text) in MAPPED.items() if n not in CONTROL},
    **{f"{n}-{o}": (text, o) for n, (o, _, text) in OF_OPSET.items() if n not in CONTROL},
}
TRAINED = {
    "cnn": "w b s t q u p f c",
    "unet": "w b u d v f s t o",
    "transformer": "table token position s1 t1 qkv qb wo bo s2 t2 w1 b1 w2 b2 head",
    "spatial": "w f b u o",
    "recurrent": "w r b v u d e o",
    "quantised": "w b v",
}


def feeds(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Seeded inputs; whole numbers are indices below 9."""
    found = feeds_of(proto)
    return {k: abs(v) % 9 if v.dtype == np.int64 else v for k, v in found.items()}


def torch_feeds(proto: onnx.ModelProto) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in feeds(proto).items()}


@pytest.mark.parametrize("name", TEXTS)
def test_it_computes_what_onnxruntime_does(name: str) -> None:
    text, opset = TEXTS[name]
    proto = proto_of(text, opset=opset)
    graph = Graph.of(ir.from_proto(proto)).eval()
    found = graph(torch_feeds(proto), wanted=graph.outputs)
    for output, wanted in zip(graph.outputs, run_proto(proto, feeds(proto)), strict=True):
        y = found[output].detach().numpy()
        assert y.dtype == wanted.dtype and y.shape == wanted.shape
        # Sums of at most 64 products in a row of ten layers, in another order: 10 * 8 * 2**-24 of
        # the largest number that cancels in them, which is at most ten times the largest output.
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=5e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trained(name: str) -> None:
    graph = Graph.of(ir.from_proto(proto_of(NETWORKS[name])))
    assert set(graph.weights) == set(TRAINED[name].split())


@pytest.mark.parametrize("name", CONTROL)
def test_control_flow_is_refused_by_name(name: str) -> None:
    model = ir.from_proto(proto_of(MAPPED[name][1]))
    with pytest.raises(TrainingError, match="node '[yz]' is (If|Loop|Scan) of domain 'ai.onnx'"):
        Graph.of(model)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"quantised"}))
def test_gradients_are_those_of_differences(name: str) -> None:
    proto = proto_of(NETWORKS[name])
    graph = Graph.of(ir.from_proto(proto)).double().train()
    (x,) = torch_feeds(proto).values()
    x = x.double() if x.is_floating_point() else x
    names = list(graph.weights)
    # Small weights keep softmax, tanh and LRN away from where differences drown in rounding.
    weights = [0.3 * w.detach() for w in graph.weights.values()]

    def run(*tensors: torch.Tensor) -> Any:
        return graph(x, dict(zip(names, tensors, strict=True))).sin()

    weights = [w.requires_grad_() for w in weights]
    assert torch.autograd.gradcheck(run, weights, fast_mode=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_waits_for_the_device(name: str) -> None:
    """On torch's `meta` device nothing has a value, so reading one to go on would fail."""
    proto = proto_of(NETWORKS[name])
    graph = Graph.of(ir.from_proto(proto)).to("meta").train()
    (x,) = torch_feeds(proto).values()
    y = graph(x.to("meta"), generator=torch.Generator())
    y.sum().backward()
    assert y.device.type == "meta"
    assert all(w.grad is not None for w in graph.weights.values())


def _drawn(model: ir.Model) -> None:
    """Give a network whose weights are constants random ones that keep the signal's size."""
    generator = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None
        if tensor.dtype != ir.DataType.FLOAT or tensor.size < 2:
            continue
        shape = tuple(tensor.shape.numpy())
        fan = max(int(np.prod(shape[1:])), 1)
        if len(shape) > 1:
            array = generator.standard_normal(shape, np.float32) * np.float32((2 / fan) ** 0.5)
        else:
            array = 1 + generator.random(shape, np.float32) / 8
        values[name] = array.astype(np.float32)
    write_values(model, values)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(p.stem, marks=() if p.stem in QUICK else pytest.mark.slow)
        for p in sorted(LIGHT.glob("*.onnx"))
    ],
)
def test_full_size_networks(name: str, tmp_path: Path) -> None:
    model = load_model(LIGHT / f"{name}.onnx")
    Canonicalize()(model)
    _drawn(model)
    ir.save(model, tmp_path / "m.onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(tmp_path / "m.onnx", options, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    x = np.random.default_rng(1).standard_normal(value.shape, dtype=np.float32)
    (wanted,) = session.run(None, {value.name: x})
    graph = Graph.of(model).eval()
    with torch.no_grad():
        y = graph(torch.from_numpy(x)).numpy()
    assert len(graph.weights) >= 16
    assert wanted.std() > 0
    # A rounding error of each of up to 121 layers, each a sum of up to 25088 products in another
    # order: sqrt(121 * 25088) * 2**-24 = 1e-4 of the largest probability.
    np.testing.assert_allclose(y, wanted, rtol=1e-3, atol=1e-4 * wanted.max())
