"""Recurrent layers: torch's kernels, the step-by-step form and onnxruntime agree."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from nvmc.torchgraph.graph import Graph
from nvmc.torchgraph.operators import OPERATORS
from onnx_models import run_proto
from onnx_text import proto_of

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 2
DIRECTIONS = ("forward", "reverse", "bidirectional")


def operands(op: str, direction: str) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(0)
    d, g = 1 + (direction == "bidirectional"), GATES[op] * HIDDEN
    shapes = {
        "x": (STEPS, BATCH, INPUTS),
        "w": (d, g, INPUTS),
        "r": (d, g, HIDDEN),
        "b": (d, 2 * g),
        "initial_h": (d, BATCH, HIDDEN),
    }
    if op == "LSTM":
        shapes["initial_c"] = (d, BATCH, HIDDEN)
    return {k: torch.from_numpy(generator.standard_normal(s)) for k, s in shapes.items()}


def outputs_and_gradients(op: str, given: dict[str, Any], **options: Any) -> list[torch.Tensor]:
    given = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in given.items()}
    leaves = [v.requires_grad_() for v in given.values() if v.is_floating_point()]
    found = OPERATORS[op].function(**given, **options)
    assert isinstance(found, tuple)
    loss = sum(y.sin().sum() for y in found if y is not None)
    assert isinstance(loss, torch.Tensor)
    return [*found, *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize(
    ("op", "direction", "layout", "bare"),
    list(product(GATES, DIRECTIONS, (0, 1), (False, True))),
)
def test_torch_kernels_are_the_steps(op: str, direction: str, layout: int, bare: bool) -> None:
    given = operands(op, direction)
    if bare:
        given = {k: given[k] for k in ("x", "w", "r")}
    if layout:
        turned = {"x", "initial_h", "initial_c"} & given.keys()
        given |= {k: given[k].transpose(0, 1) for k in turned}
    options: dict[str, Any] = {"direction": direction, "layout": layout}
    if op == "GRU":
        options["linear_before_reset"] = 1
    lengths = torch.full((BATCH,), STEPS)  # all steps, but only the step-by-step form takes them
    fast = outputs_and_gradients(op, given, **options)
    slow = outputs_and_gradients(op, {**given, "sequence_lens": lengths}, **options)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)  # doubles, sums of 4


@pytest.mark.parametrize(
    ("op", "direction", "options"),
    [
        *product(GATES, DIRECTIONS, ["", "clip = 0.4"]),
        ("GRU", "bidirectional", "linear_before_reset = 1, clip = 0.4"),
        ("LSTM", "forward", "input_forget = 1"),
        ("RNN", "bidirectional", 'activations = ["Relu", "Tanh"]'),
        ("RNN", "reverse", 'activations = ["LeakyRelu"], activation_alpha = [0.2]'),
        ("LSTM", "forward", 'activations = ["HardSigmoid", "Softsign", "ScaledTanh"], '
         "activation_alpha = [0.3, 0.9], activation_beta = [0.4, 0.7]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lengths", [None, "5, 2, 4"])
def test_they_are_onnxruntimes(op: str, direction: str, options: str, lengths: str | None) -> None:
    given = operands(op, direction)
    names = ["x", "w", "r", "b", "lens" if lengths else "", *list(given)[4:]]
    types = [f"float[{','.join(map(str, v.shape))}] {k}" for k, v in list(given.items())[1:]]
    types += [f"int32[3] lens = {{{lengths}}}"] if lengths else []
    results = ["y", "yh", "yc"][: 3 if op == "LSTM" else 2]
    settings = f'hidden_size = {HIDDEN}, direction = "{direction}"'
    settings += f", {options}" if options else ""
    text = f"""g (float[{STEPS},{BATCH},{INPUTS}] x) => (
        {
        ", ".join(
            f"float[A{n},B{n},C{n},D{n}] {n}" if n == "y" else f"float[A{n},B{n},C{n}] {n}"
            for n in results
        )
    })
    <{", ".join(types)}> {{ {", ".join(results)} = {op} <{settings}> ({", ".join(names)}) }}"""
    proto = proto_of(text)
    x = given["x"].numpy().astype(np.float32)
    graph = Graph.of(ir.from_proto(proto)).eval()
    found = graph(torch.from_numpy(x), wanted=graph.outputs)
    for y, wanted in zip(found.values(), run_proto(proto, {"x": x}), strict=True):
        # single precision through five steps of at most four products
        np.testing.assert_allclose(y.detach(), wanted, rtol=1e-5, atol=1e-5)
