import math

import numpy as np
import onnx
import onnx_ir
import pytest

from nvmc.errors import ModelError, OptionError
from nvmc.passes import make_pass
from nvmc.passes.insert_dropout import InsertDropout
from onnx_text import model_of, run, session_of, text_of

CNN = """g (float[N,1,6,6] x) => (float[N,3] y)
<float[4,1,3,3] w1, float[5,16] w2, float[5] b2, float[5,3] w3, float[3] b3> {
  [conv1] a = Conv (x, w1)
  [relu1] b = Relu (a)
  [pool1] c = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (b)
  [flat] d = Flatten (c)
  [fc1] e = Gemm <transB: int = 1> (d, w2, b2)
  [relu2] f = Relu (e)
  [fc2] h = MatMul (f, w3)
  [bias] y = Add (h, b3)
}"""


def image(seed=1, count=3):
    return np.random.default_rng(seed).standard_normal((count, 1, 6, 6)).astype(np.float32)


def dropouts(model):
    """(what is dropped, ratio, training mode) of every Dropout, in order."""
    return [
        (node.inputs[0].name, *(node.inputs[i].const_value.numpy().item() for i in (1, 2)))
        for node in model.graph
        if node.op_type == "Dropout"
    ]


def test_follows_the_activation_of_every_layer_but_the_last():
    model = model_of(CNN)
    assert InsertDropout(rate=0.25)(model).modified
    assert dropouts(model) == [("b", 0.25, False), ("f", 0.25, False)]


def test_does_nothing_at_inference():
    before, after = model_of(CNN), model_of(CNN)
    InsertDropout()(after)
    np.testing.assert_array_equal(run(after, x=image())[0], run(before, x=image())[0])


@pytest.mark.parametrize("active", [False, True])
def test_a_second_run_changes_nothing(active):
    model = model_of(CNN)
    InsertDropout(rate=0.2, active=active)(model)
    once = text_of(model)
    assert not InsertDropout(rate=0.2, active=active)(model).modified
    assert text_of(model) == once


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_active_dropout_has_the_type_of_the_network(kind):
    """Also in a model that states no types inside, as exporters write them."""
    dtype = {"float16": np.float16, "double": np.float64}[kind]
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g ({kind}[N,3] x) => ({kind}[N,2] y)'
        "{ h = MatMul (x, w)  a = Relu (h)  y = MatMul (a, v) }"
    )
    for name, shape in {"w": (3, 4), "v": (4, 2)}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, dtype), name))
    model = onnx_ir.from_proto(proto)
    assert InsertDropout(active=True)(model).modified
    onnx.checker.check_model(onnx_ir.to_proto(model), full_check=True)
    assert run(model, x=np.ones((2, 3), dtype))[0].dtype == dtype


def test_a_single_layer_and_a_zero_rate_are_left_unchanged():
    one = model_of("g (float[N,4] x) => (float[N,3] y) <float[4,3] w> { y = MatMul (x, w) }")
    assert not InsertDropout()(one).modified
    model = model_of(CNN)
    assert not InsertDropout(rate=0.0)(model).modified
    assert dropouts(model) == []


@pytest.mark.parametrize("rates", [{"conv*": 0.125, "*": 0.5}, "conv*=0.125;*=0.5"])
def test_rates_per_layer_first_match_counts(rates):
    model = model_of(CNN)
    InsertDropout(rates=rates)(model)
    assert [ratio for _, ratio, _ in dropouts(model)] == [0.125, 0.5]


def test_rates_match_the_names_that_compile_prints():
    """Those of arrays (weights), whatever an exporter called the nodes."""
    model = model_of(CNN)
    InsertDropout(rates="w1=0.125;fc*=0.75")(model)
    assert [ratio for _, ratio, _ in dropouts(model)] == [0.125, 0.75]


def test_new_rates_update_instead_of_inserting_again():
    model = model_of(CNN)
    InsertDropout(rate=0.5)(model)
    assert InsertDropout(rate=0.5, rates="fc1=0.75")(model).modified
    assert [ratio for _, ratio, _ in dropouts(model)] == [0.5, 0.75]
    assert InsertDropout(rate=0.0)(model).modified
    assert [ratio for _, ratio, _ in dropouts(model)] == [0.0, 0.0]
    assert len(model.graph.initializers) == 5 + 4  # no constant of an earlier rate is left over


def test_the_networks_own_dropout_is_updated_wherever_it_stands_before_the_next_layer():
    text = CNN.replace("[flat] d = Flatten (c)", "[mine] k = Dropout (c)\n[flat] d = Flatten (k)")
    model = model_of(text)
    assert InsertDropout(rate=0.25)(model).modified
    assert dropouts(model) == [("c", 0.25, False), ("f", 0.25, False)]
    assert not InsertDropout(rate=0.25)(model).modified


def test_walks_over_bias_and_normalisation_and_stops_at_a_residual_sum():
    model = model_of("""g (float[N,2,4,4] x) => (float[N,2,4,4] y)
    <float[2,2,1,1] w1, float[2,1,1] k, float[2] s, float[2] o, float[2] m,
     float[2] v = {1, 2}, float[2,2,1,1] w2> {
      [first] a = Conv (x, w1)
      b = Add (k, a)
      c = BatchNormalization (b, s, o, m, v)
      d = LeakyRelu (c)
      [second] e = Conv (d, w2)
      f = Add (e, d)
      z = Relu (f)
      [third] y = Conv (z, w1)
    }""")
    InsertDropout()(model)
    assert [name for name, _, _ in dropouts(model)] == ["d", "e"]


def test_walks_over_activations_that_exporters_take_apart():
    model = model_of("""g (float[N,4] x) => (float[N,4] y)
    <float[4,4] w, float r = {1.41421356}, float one = {1}, float half = {0.5}> {
      [silu] a = MatMul (x, w)
      b = Sigmoid (a)
      c = Mul (a, b)
      [gelu] d = MatMul (c, w)
      e = Div (d, r)
      f = Erf (e)
      h = Add (f, one)
      i = Mul (d, h)
      j = Mul (i, half)
      [last] y = MatMul (j, w)
    }""")
    InsertDropout(rate=0.25)(model)
    assert [name for name, _, _ in dropouts(model)] == ["c", "i"]
    assert not InsertDropout(rate=0.25)(model).modified


def test_a_recurrent_layer_drops_the_output_that_goes_on():
    model = model_of("""g (float[T,N,3] x) => (float[1,N,2] y)
    <float[1,16,3] w, float[1,16,4] r, float[4,2] v> {
      [lstm] a, h, c = LSTM <hidden_size: int = 4> (x, w, r)
      [fc] y = MatMul (h, v)
    }""")
    InsertDropout()(model)
    assert [name for name, _, _ in dropouts(model)] == ["h"]


def test_after_chooses_operator_types_with_a_layer_still_to_come():
    model = model_of(CNN)
    chosen = InsertDropout(rate=0.5, rates="pool1=0.25", after=("MaxPool", "Relu", "Add"))
    assert chosen(model).modified
    assert dropouts(model) == [("b", 0.5, False), ("c", 0.25, False), ("f", 0.5, False)]
    assert not chosen(model).modified


def test_an_output_of_the_network_is_not_dropped():
    text = CNN.replace("=> (float[N,3] y)", "=> (float[N,3] y, float[N,5] f)")
    model, plain = model_of(text), model_of(text)
    InsertDropout(rate=0.5, rates="conv1=0", active=True)(model)
    assert [name for name, _, _ in dropouts(model)] == ["f"]
    np.testing.assert_array_equal(run(model, x=image())[1], run(plain, x=image())[1])


def test_active_drops_with_the_rate_and_keeps_the_mean():
    rate, count = 0.3, 20_000
    model = model_of("""g (float[N,1] x) => (float[N,1] f, float[N,1] y)
    <float[1,1] w = {1}, float[1,1] v = {1}> {
      [fc1] e = MatMul (x, w)
      f = Relu (e)
      [fc2] y = MatMul (f, v)
    }""")
    InsertDropout(rate=rate, active=True, seed=3)(model)
    session = session_of(model)
    ones = np.ones((count, 1), np.float32)
    first, second = (session.run(["y"], {"x": ones})[0] for _ in range(2))
    assert not np.array_equal(first, second)
    # A binomial count of 20,000 lies within 5 sigma of its mean but for 6e-7 of all seeds.
    margin = 5 * math.sqrt(count * rate * (1 - rate))
    assert abs(np.sum(first == 0) - count * rate) < margin
    np.testing.assert_allclose(first[first != 0], 1 / (1 - rate), rtol=1e-6)
    again = session_of(model).run(["y"], {"x": ones})[0]
    np.testing.assert_array_equal(again, first)


def test_every_layer_has_a_seed_of_its_own():
    model = model_of(CNN)
    InsertDropout(active=True)(model)
    seeds = [n.attributes["seed"].as_int() for n in model.graph if n.op_type == "Dropout"]
    assert len(set(seeds)) == 2
    assert InsertDropout(active=True, seed=1)(model).modified
    assert InsertDropout(active=False)(model).modified
    unchanged = model_of(CNN)
    InsertDropout(active=False)(unchanged)
    assert [n.op_type for n in model.graph] == [n.op_type for n in unchanged.graph]
    assert list(model.graph.initializers) == list(unchanged.graph.initializers)
    assert [mode for _, _, mode in dropouts(model)] == [False, False]


def test_a_deep_residual_network_is_no_matter():
    """A walk back from every node would never end: each block doubles the ways to the input."""
    blocks = "\n".join(
        f"[conv{i}] a{i} = Conv (x{i}, w)\n r{i} = Relu (a{i})\n x{i + 1} = Add (r{i}, x{i})"
        for i in range(1200)
    )
    text = f"g (float[N,1,2,2] x0) => (float[N,1,2,2] x1200) <float[1,1,1,1] w> {{ {blocks} }}"
    model = model_of(text)
    InsertDropout()(model)
    assert len(dropouts(model)) == 1199


def test_options_from_text():
    built = make_pass("insert-dropout:rate=0.25,rates=conv1=0.5;fc*=0.125,after=Relu,active=true")
    assert built == InsertDropout(0.25, "conv1=0.5;fc*=0.125", ("Relu",), True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.0}, "expected 0 <= rate < 1"),
        ({"rate": float("nan")}, "expected 0 <= rate < 1"),
        ({"rates": {"conv1": -0.1}}, "'conv1' is -0.1"),
        ({"rates": "conv1"}, "not GLOB=RATE"),
        ({"rates": "conv1=a"}, "not GLOB=RATE"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_refuses_bad_options(options, message):
    with pytest.raises(OptionError, match=message):
        InsertDropout(**options)


def test_refuses_a_glob_without_a_layer_and_an_old_opset():
    with pytest.raises(OptionError, match=r"'conv9' matches no layer .* conv1 \(w1\), fc1 \("):
        InsertDropout(rates="conv9=0.5")(model_of(CNN))
    with pytest.raises(ModelError, match="opset 11"):
        InsertDropout()(model_of(CNN, opset=11))


def test_spatial_dropout_drops_whole_feature_maps():
    """Behind the convolution maps, behind the dense layer numbers; what is kept is scaled."""
    model, plain = model_of(CNN), model_of(CNN)
    assert InsertDropout(rate=0.25, active=True, spatial=True)(model).modified
    relus = {node.name: node.outputs[0] for node in plain.graph if node.op_type == "Relu"}
    plain.graph.outputs.append(relus["relu1"])
    model.graph.outputs.append(model.graph.node("conv1_dropout_product").outputs[0])
    x = image(count=200)
    maps, before = run(model, x=x)[1], run(plain, x=x)[1]
    kept = maps.any(axis=(2, 3))
    np.testing.assert_allclose(maps, before * kept[:, :, None, None] / np.float32(0.75), rtol=2e-7)
    alive = before.any(axis=(2, 3))
    # 800 maps; 5 standard errors of a share of 1/4
    assert abs(np.mean(kept[alive]) - 0.75) < 5 * math.sqrt(0.25 * 0.75 / alive.sum())
    assert {shape for shape, *_ in dropouts(model)} == {"conv1_dropout_fill_out", "f"}


@pytest.mark.parametrize("active", [False, True])
def test_spatial_dropout_is_found_again(active):
    """A second run changes nothing, another rate moves in, and a rate turns it on and off."""
    model = model_of(CNN)
    InsertDropout(rate=0.2, active=active, spatial=True)(model)
    once = text_of(model)
    assert not InsertDropout(rate=0.2, active=active, spatial=True)(model).modified
    assert text_of(model) == once
    assert InsertDropout(rate=0.5, active=not active)(model).modified
    assert [settings for _, *settings in dropouts(model)] == [[0.5, not active]] * 2
    InsertDropout(rate=0.2, active=active)(model)
    assert [node.op_type for node in model.graph].count("Dropout") == 2
    session_of(model)


def test_inactive_spatial_dropout_does_nothing():
    before, after = model_of(CNN), model_of(CNN)
    InsertDropout(spatial=True)(after)
    np.testing.assert_array_equal(run(after, x=image())[0], run(before, x=image())[0])


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_spatial_dropout_has_the_type_of_the_network(kind):
    dtype = {"float16": np.float16, "double": np.float64}[kind]
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g ({kind}[N,1,4] x) => ({kind}[N,3,2] y)'
        "{ a = Conv (x, w)  b = Relu (a)  y = Conv (b, v) }"
    )
    for name, shape in {"w": (2, 1, 2), "v": (3, 2, 2)}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, dtype), name))
    model = onnx_ir.from_proto(proto)
    assert InsertDropout(active=True, spatial=True)(model).modified
    onnx.checker.check_model(onnx_ir.to_proto(model), full_check=True)


def test_spatial_dropout_needs_a_rank():
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "other" : 1]> g (float[N,1,4] x) => (float[M] y)'
        "{ a = Conv (x, w)  b = other.Strange (a)  c = Relu (b)  y = MatMul (c, v) }"
    )
    for name, shape in {"w": (2, 1, 2), "v": (2, 2)}.items():
        array = np.ones(shape, np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    with pytest.raises(ModelError, match="rank"):
        InsertDropout(spatial=True, after=("Relu",))(onnx_ir.from_proto(proto))
