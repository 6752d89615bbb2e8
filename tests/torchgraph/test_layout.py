"""Channels last: where it is taken, and that it changes no more than rounding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch

from nvmc.hardware.devices import Target, load_device
from nvmc.models.zoo import zoo_path
from nvmc.passes.io.load import load_model
from nvmc.torchgraph.graph import Graph
from nvmc.torchgraph.layout import channels_last_pays
from nvmc.torchgraph.operators.convolution import conv_channels_last
from nvmc.training import Settings, make_method, make_task
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.run import Run
from onnx_text import model_of

CHANNELS = "g (float[N,{c},8,8] x) => (float[N,M,H,W] y) <{weights}> {{ {body} }}"
NARROW = "float[4,3,3,3] w"
POOL = "h = Conv (x, w) y = MaxPool <kernel_shape = [2, 2]> (h)"
PLANES = """g (float[N,3,9] x) => (float[N,M,L] y) <float[4,3,3] w> {
  h = Conv (x, w)
  y = MaxPool <kernel_shape = [2]> (h)
}"""


def graph(c: int, weights: str, body: str) -> ir.Graph:
    return model_of(CHANNELS.format(c=c, weights=weights, body=body)).graph


def test_it_is_taken_for_poolings_and_depthwise_but_not_for_wide_convolutions() -> None:
    assert channels_last_pays(load_model(zoo_path("lenet5-digits")).graph)
    assert channels_last_pays(graph(3, NARROW, POOL))
    assert channels_last_pays(graph(4, "float[4,1,3,3] w", "y = Conv <group = 4> (x, w)"))
    assert channels_last_pays(graph(256, "float[4,256,1,1] w", POOL))
    assert not channels_last_pays(graph(256, "float[4,256,3,3] w", POOL))
    assert not channels_last_pays(graph(3, NARROW, "y = Conv (x, w)"))
    assert not channels_last_pays(graph(4, "float[4,2,3,3] w", "y = Conv <group = 2> (x, w)"))
    assert not channels_last_pays(model_of(PLANES).graph)


@pytest.mark.parametrize("attributes", ["", "<strides = [2, 1], pads = [1, 0, 2, 1]>"])
def test_a_convolution_is_the_same_to_rounding(attributes: str) -> None:
    body = f"h = Conv {attributes} (x, w) y = MaxPool <kernel_shape = [2, 2]> (h)"
    model = model_of(CHANNELS.format(c=3, weights=NARROW, body=body))
    plain, last = Graph.of(model), Graph.of(model, {"Conv": conv_channels_last})
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 3, 8, 8), dtype=np.float32))
    found = last(x, wanted=["h", "y"])
    assert all(v.is_contiguous(memory_format=torch.channels_last) for v in found.values())
    for name, value in plain(x, wanted=["h", "y"]).items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)
    for one in (plain, last):
        one(x).square().sum().backward()
    torch.testing.assert_close(last.weights["w"].grad, plain.weights["w"].grad)


def test_a_network_in_training_is_its_graph_to_rounding_and_repeats_to_the_bit() -> None:
    task = make_task("digits", Target.of(load_device("rram4")), settings=Settings(epochs=1))
    method = make_method("erm")
    network = prepared_network(canonical_network(zoo_path("lenet5-digits")), task, method)
    found = list[dict[str, torch.Tensor]]()
    for _ in range(2):
        run = Run(network, task, 1)
        replica = run.replicas[0]
        x, y = next(run.batches(0))
        weights = replica.crossbars.quantized()
        loss = run.criterion(replica(x, weights), y)
        named = dict(replica.graph.weights)
        gradients = torch.autograd.grad(loss, list(named.values()))
        found.append({"loss": loss, **dict(zip(named, gradients, strict=True))})
    one, other = found
    assert all(torch.equal(one[name], other[name]) for name in one)
    plain = Graph.of(network).train()
    names = list(plain.weights)
    weights = {k: w.detach().requires_grad_() for k, w in weights.items()}
    given = {k: weights.get(k, plain.weights[k]) for k in names}
    loss = run.criterion(plain(x, given, wanted=[replica.scores])[replica.scores], y)
    gradients = torch.autograd.grad(loss, list(given.values()))
    torch.testing.assert_close(one["loss"], loss)
    for name, gradient in zip(names, gradients, strict=True):
        # Sums over 128 images and up to 784 pixels, in another order.
        torch.testing.assert_close(one[name], gradient, rtol=1e-4, atol=1e-5)
