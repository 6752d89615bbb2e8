"""An ONNX graph as a torch module: what it is asked for, what training changes, what comes back."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from nvmc.errors import TrainingError
from nvmc.models.lenet5 import LeNet5
from nvmc.models.zoo import zoo_path
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.passes.invert_normalization import InvertNormalization
from nvmc.passes.io.load import load_model
from nvmc.torchgraph.graph import Graph, write_values
from onnx_text import model_of, run, text_of

TWO = """g (float[N,3] x) => (float[N,M] y, float[N,K] z)
<float[3,4] w, float[4] b, float[4,2] v> {
  h = Gemm (x, w, b)
  r = Relu (h)
  y = MatMul (r, v)
  z = Sigmoid (h)
}"""
NORM = """g (float[N,3,5,5] x) => (float[N,C,H,W] y)
<float[3] s, float[3] t, float[3] m, float[3] v = {1.0, 2.0, 0.5}> {
  y = BatchNormalization <momentum = 0.7> (x, s, t, m, v)
}"""
DEEP = """g (float[N,3] x) => (float[N,M] y) <float[3,40] w, float[40] b, float[40,2] v> {
  h = Gemm (x, w, b)
  r = Relu (h)
  y = MatMul (r, v)
}"""


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_default_is_the_first_output_and_names_say_the_rest() -> None:
    model = model_of(TWO)
    graph = Graph.of(model)
    assert graph.inputs == ("x",) and graph.outputs == ("y", "z")
    x = numbers(5, 3)
    y, z = run(model, x=x.numpy())
    found = graph({"x": x}, wanted=["z", "h", "y", "x", "w"])
    assert list(found) == ["z", "h", "y", "x", "w"]
    for value, wanted in ((graph(x), y), (found["y"], y), (found["z"], z)):
        np.testing.assert_allclose(value.detach(), wanted, rtol=1e-6, atol=1e-6)
    assert found["x"] is x and found["w"] is graph.weights["w"]


def test_given_weights_stand_in_for_parameters() -> None:
    graph = Graph.of(model_of(TWO))
    x, noisy = numbers(5, 3), numbers(4, 2, seed=1).requires_grad_()
    (found,) = graph(x, {"v": noisy}, wanted=["y"]).values()
    torch.testing.assert_close(found, graph(x, wanted=["r"])["r"] @ noisy)
    found.sum().backward()
    assert noisy.grad is not None
    assert graph.weights["v"].grad is None and graph.weights["w"].grad is not None


def test_a_tap_changes_a_value_for_all_that_follows() -> None:
    graph = Graph.of(model_of(TWO))
    x = numbers(5, 3)
    found = graph(x, taps={"h": lambda h: h + 1}, wanted=["h", "z"])
    plain = graph(x, wanted=["h"])
    torch.testing.assert_close(found["h"], plain["h"] + 1)
    torch.testing.assert_close(found["z"], torch.sigmoid(plain["h"] + 1))
    torch.testing.assert_close(graph(x, taps={"x": lambda v: 0 * v}), graph(0 * x))


def test_values_that_nobody_needs_any_more_are_freed() -> None:
    graph = Graph.of(model_of(TWO))
    kept: list[Any] = []
    dead: list[bool] = []

    def note(value: torch.Tensor) -> torch.Tensor:
        kept.append(weakref.ref(value))
        return value

    def look(value: torch.Tensor) -> torch.Tensor:
        dead.append(kept[0]() is None)
        return value

    with torch.no_grad():
        graph(numbers(5, 3), taps={"h": note, "y": look})
    assert dead == [True]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda g, x: g(x, {"q": x}), "no trained weight 'q'"),
        (lambda g, x: g(x, taps={"q": torch.relu}), "no value 'q'"),
        (lambda g, x: g(x, wanted=["q"]), "no value 'q'"),
        (lambda g, x: g({"q": x}), "no input 'q'"),
        (lambda g, x: g({}), "no value for inputs x"),
    ],
)
def test_unknown_names_are_told(call: Any, problem: str) -> None:
    with pytest.raises(TrainingError, match=problem):
        call(Graph.of(model_of(TWO)), numbers(5, 3))


def test_an_unsupported_operator_is_named_with_its_node_and_domain() -> None:
    text = "g (float[N,3] x) => (float[N,K] y) { y = Unique <axis = 0> (x) }"
    with pytest.raises(TrainingError, match="node 'y' is Unique of domain 'ai.onnx'"):
        Graph.of(model_of(text))
    model = model_of(TWO)
    model.graph.node(1).domain = "nvmc"
    model.graph.opset_imports["nvmc"] = 1
    with pytest.raises(TrainingError, match="node 'r' is Relu of domain 'nvmc'"):
        Graph.of(model)


def test_an_unsupported_attribute_or_mode_is_named() -> None:
    text = "g (float[N,3] x) => (float[N,3] y) { y = Relu <gain = 2.0> (x) }"
    with pytest.raises(TrainingError, match="attribute 'gain' of Relu 'y'"):
        Graph.of(ir.from_onnx_text(f'<ir_version: 10, opset_import: ["": 21]> {text}'))
    text = "g (float[N,3] x) => (float8e4m3fn[N,3] y) { y = Cast <to = 17> (x) }"
    with pytest.raises(TrainingError, match="Cast 'y' cannot be trained: to is type FLOAT8E4M3FN"):
        Graph.of(model_of(text))


def test_a_fault_names_its_node() -> None:
    graph = Graph.of(model_of(TWO))
    with pytest.raises(RuntimeError) as caught:
        graph(numbers(5, 7))
    assert caught.value.__notes__ == ["in Gemm 'h'"]


def test_lenet_is_the_torch_model_it_came_from_bit_by_bit() -> None:
    graph = Graph.of(load_model(zoo_path("lenet5-digits")))
    own = LeNet5()
    own.load_state_dict({name: w.detach().clone() for name, w in graph.weights.items()})
    x = numbers(4, 1, 28, 28)
    y = graph(x)
    assert torch.equal(y, own(x))
    y.sum().backward()
    own(x).sum().backward()
    for name, w in own.named_parameters():
        assert torch.equal(w.grad, graph.weights[name].grad)


def test_written_values_leave_the_rest_of_the_model_alone() -> None:
    model = load_model(zoo_path("lenet5-digits"))
    before = text_of(model)
    graph = Graph.of(model)
    write_values(model, graph.values())
    assert text_of(model) == before
    with torch.no_grad():
        for w in graph.weights.values():
            w += 1
    assert text_of(model) == before
    nodes = [node for node in model.graph]
    write_values(model, graph.values())
    assert nodes == [node for node in model.graph] and text_of(model) != before
    x = numbers(2, 1, 28, 28)
    torch.testing.assert_close(Graph.of(model)(x), graph(x), rtol=0, atol=0)


def test_constant_nodes_are_trained_and_written_back() -> None:
    text = """g (float[N,2] x) => (float[N,M] y) {
      w = Constant <value = float[2,2] {1.0, 2.0, 3.0, 4.0}> ()
      b = Constant <value_floats = [1.0, -1.0]> ()
      h = MatMul (x, w)
      y = Add (h, b)
    }"""
    model = model_of(text)
    graph = Graph.of(model)
    assert set(graph.weights) == {"w", "b"}
    with torch.no_grad():
        for w in graph.weights.values():
            w *= 2
    write_values(model, graph.values())
    assert [node.op_type for node in model.graph] == ["Constant", "Constant", "MatMul", "Add"]
    x = numbers(3, 2)
    (y,) = run(model, x=x.numpy())
    np.testing.assert_allclose(y, graph(x).detach(), rtol=1e-6)


def test_a_value_of_another_name_or_shape_is_refused() -> None:
    model = model_of(TWO)
    with pytest.raises(TrainingError, match="no constant 'q'"):
        write_values(model, {"q": np.zeros(3)})
    with pytest.raises(TrainingError, match=r"shape \(4,\), but its value \(3,\)"):
        write_values(model, {"b": np.zeros(3)})


def test_copies_train_apart() -> None:
    graph = Graph.of(model_of(TWO))
    twin = copy.deepcopy(graph)
    before = graph(numbers(5, 3)).detach()
    with torch.no_grad():
        twin.weights["v"].zero_()
    assert torch.equal(graph(numbers(5, 3)), before)
    assert not twin(numbers(5, 3)).any()


def test_batch_normalization_trains_as_torch_does() -> None:
    model = model_of(NORM)
    graph = Graph.of(model).train()
    own = nn.BatchNorm2d(3, momentum=0.3)  # torch counts what is new, ONNX what is kept
    values = graph.values()
    pairs = {"s": own.weight, "t": own.bias, "m": own.running_mean, "v": own.running_var}
    with torch.no_grad():
        for name, tensor in pairs.items():
            tensor.copy_(torch.from_numpy(values[name]))
    for seed in range(3):
        x = numbers(4, 3, 5, 5, seed=seed)
        torch.testing.assert_close(graph(x), own(x), rtol=0, atol=0)
    values = graph.values()
    for name, tensor in pairs.items():
        assert np.array_equal(values[name], tensor.detach().numpy())
    write_values(model, values)
    x = numbers(4, 3, 5, 5, seed=9)
    (y,) = run(model, x=x.numpy())
    found = graph.eval()(x).detach()
    # One rounding each of difference, quotient, product and sum; onnxruntime folds them otherwise.
    np.testing.assert_allclose(y, found, rtol=1e-5, atol=1e-5)


def test_evaluation_leaves_running_statistics_alone() -> None:
    graph = Graph.of(model_of(NORM)).eval()
    before = graph.values()
    graph(numbers(4, 3, 5, 5))
    assert all(np.array_equal(before[name], array) for name, array in graph.values().items())


def test_dropout_drops_in_training_only_and_from_the_generator_alone() -> None:
    model = model_of(DEEP)
    InsertDropout(0.25)(model)
    graph = Graph.of(model)
    x = numbers(500, 3)
    state = torch.get_rng_state()
    found = graph.train()(x, wanted=["r", "r_dropped"], generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)
    active = found["r"] != 0
    kept = found["r_dropped"][active] != 0
    # 500 * 40 / 2 draws tell the rate to sqrt(0.25 * 0.75 / 10000) = 0.0043; five times that.
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.022)
    torch.testing.assert_close(found["r_dropped"][active][kept], found["r"][active][kept] / 0.75)
    assert torch.equal(graph(x, generator=seeded(3)), graph(x, generator=seeded(3)))
    assert not torch.equal(graph(x, generator=seeded(3)), graph(x, generator=seeded(4)))
    with pytest.raises(TrainingError, match="give its call a generator"):
        graph(x)
    plain = Graph.of(model_of(DEEP))(x)
    assert torch.equal(graph.eval()(x), plain)


def test_active_dropout_and_its_guard_drop_at_inference_too() -> None:
    model = model_of(DEEP)
    InsertDropout(0.5, active=True)(model)
    assert [n.op_type for n in model.graph] == ["Gemm", "Relu", "Dropout", "Where", "MatMul"]
    graph = Graph.of(model).eval()
    x = numbers(50, 3)
    found = graph(x, wanted=["r_dropped", "r_dropped_kept"], generator=seeded())
    assert torch.equal(found["r_dropped"], found["r_dropped_kept"])
    dropped = (found["r_dropped"] == 0).float().mean().item()
    # Half of what Relu leaves, itself about half: 2000 draws tell it to 0.01; five times that.
    assert dropped == pytest.approx(0.75, abs=0.1)
    assert torch.equal(graph(x), graph(x))  # without a generator, as the node's seed says
    assert set(graph.weights) == {"w", "b", "v"}


@pytest.mark.parametrize(
    ("granularity", "active"), [("vector", False), ("element", False), ("vector", True)]
)
def test_affine_dropout_acts_in_training(active: bool, granularity: Any) -> None:
    text = """g (float[N,2,4,4] x) => (float[N,M,H,W] y) <float[6,2,1,1] w, float[3,6,1,1] v> {
      h = Conv (x, w)
      r = Relu (h)
      y = Conv (r, v)
    }"""
    model = model_of(text)
    InvertNormalization(p=0.3, granularity=granularity, active=active)(model)
    graph = Graph.of(model).train()
    gamma, beta = (graph.weights[name] for name in ("h_gamma", "h_beta"))
    assert set(graph.weights) == {"w", "v", "h_gamma", "h_beta"}
    mul = next(n for n in model.graph if n.op_type == "Mul")
    add = next(n for n in model.graph if n.op_type == "Add")
    names = [str(v.name) for v in (mul.inputs[0], mul.outputs[0], add.outputs[0]) if v is not None]
    x, count, hits = numbers(2, 2, 4, 4), 400, torch.zeros(2)
    generator = seeded()
    for _ in range(count):
        found = [v.detach() for v in graph(x, wanted=names, generator=generator).values()]
        scale = (found[1] / found[0]).mean((0, 2, 3))
        shift = (found[2] - found[1]).mean((0, 2, 3))
        gone = torch.stack([(scale - 1).abs() < 1e-4, shift.abs() < 1e-4]).float()
        if granularity == "vector":
            assert set(gone.mean(1).tolist()) <= {0.0, 1.0}
        hits += gone.mean(1) / count
    # sqrt(0.3 * 0.7 / 400) = 0.023; four times that
    assert hits.tolist() == pytest.approx([0.3, 0.3], abs=0.092)
    graph(x, generator=generator).sum().backward()
    assert gamma.grad is not None and beta.grad is not None
    if not active:
        (y,) = run(model, x=x.numpy())
        np.testing.assert_allclose(graph.eval()(x).detach(), y, rtol=1e-4, atol=1e-4)


def test_rounding_has_the_gradient_of_the_identity() -> None:
    text = """g (float[N] x) => (float[N] y, float[N] z, float[N] q)
    <float step = {0.5}, int8 zero = {0}> {
      y = Round (x)
      z = Sign (x)
      c = QuantizeLinear (x, step, zero)
      q = DequantizeLinear (c, step, zero)
    }"""
    model = model_of(text)
    x = torch.tensor([-70.0, -1.3, -0.5, 0.0, 0.2, 0.9, 1.5, 2.5, 64.1], requires_grad=True)
    graph = Graph.of(model)
    found = graph(x, wanted=graph.outputs)
    for value, wanted in zip(found.values(), run(model, x=x.detach().numpy()), strict=True):
        assert np.array_equal(value.detach().numpy(), wanted)
    gradients = {
        name: torch.autograd.grad(value.sum(), x, retain_graph=True)[0].tolist()
        for name, value in found.items()
    }
    assert gradients["y"] == [1.0] * 9
    assert gradients["z"] == [0, 0, 1, 1, 1, 1, 0, 0, 0]  # saturates beyond one
    assert gradients["q"] == [0, 1, 1, 1, 1, 1, 1, 1, 0]  # codes end at -128 and 127


@pytest.mark.parametrize(
    ("body", "constants", "trained"),
    [
        ("h = MatMul (x, w) y = Mul (h, c)", "float[4,4] w, float[4] c", "w c"),
        ("h = MatMul (x, w) y = Mul (h, c)", "float[4,4] w, float c = {0.5}", "w"),
        ("h = MatMul (x, w) y = Mul (h, c)", "float[4,4] w, float[2,4] c", "w"),
        ("h = MatMul (x, w) y = Add (h, c)", "float[4,4] w, float[2,4] c", "w c"),
        (
            "h = MatMul (x, w) y = Add (h, c)",
            "float[4,4] w, float[4] c = {0.0, -1e4, 0.0, 0.0}",
            "w",
        ),
        ("h = Sub (x, c) y = MatMul (h, w)", "float[4,4] w, float[4] c", "w"),
        ("h = MatMul (x, w) y = Clip (h, c)", "float[4,4] w, float c = {0.5}", "w"),
        ("t = Transpose (w) y = MatMul (x, t)", "float[4,4] w", "w"),
        ("t = Mul (w, c) y = MatMul (x, t)", "float[4,4] w, float[4] c", "w c"),
        ("h = Gemm (x, w) y = PRelu (h, c)", "float[4,4] w, float c = {0.2}", "w c"),
    ],
)
def test_what_counts_as_a_weight(body: str, constants: str, trained: str) -> None:
    text = f"g (float[2,4] x) => (float[2,4] y) <{constants}> {{ {body} }}"
    assert set(Graph.of(model_of(text)).weights) == set(trained.split())


def test_functions_of_the_model_are_read_too() -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "own": 1]>
    g (float[N,3] x) => (float[N,M] y) <float[3,2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}> {
      y = own.dense (x, w)
    }
    <domain: "own", opset_import: ["": 21]> dense (a, b) => (c) { m = MatMul (a, b) c = Relu (m) }
    """
    model = ir.from_onnx_text(text)
    graph = Graph.of(model)
    assert list(graph.weights) == ["w"] and len(model.functions) == 1
    write_values(model, graph.values())
    x = numbers(4, 3)
    torch.testing.assert_close(graph(x), torch.relu(x @ graph.weights["w"]))


def test_spatial_dropout_drops_whole_maps() -> None:
    text = """g (float[N,2,4,4] x) => (float[N,M,H,W] y) <float[6,2,1,1] w, float[3,6,1,1] v> {
      h = Conv (x, w)
      r = Sigmoid (h)
      y = Conv (r, v)
    }"""
    model = model_of(text)
    InsertDropout(0.25, spatial=True)(model)
    graph = Graph.of(model).train()
    name = next(str(n.outputs[0].name) for n in model.graph if n.op_type == "Mul")
    maps = graph(numbers(200, 2, 4, 4), wanted=[name], generator=seeded())[name].flatten(2)
    gone = (maps == 0).float().mean(2)
    assert set(gone.unique().tolist()) == {0.0, 1.0}
    # 1200 draws tell the rate to sqrt(0.25 * 0.75 / 1200) = 0.0125; four times that
    assert gone.mean().item() == pytest.approx(0.25, abs=0.05)
    assert set(graph.weights) == {"w", "v"}
