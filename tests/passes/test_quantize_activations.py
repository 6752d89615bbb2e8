import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.errors import ModelError, OptionError
from nvmc.passes import make_pass
from nvmc.passes.quantize_activations import QuantizeActivations, activation_tensors
from onnx_text import model_of, run, text_of

CNN = """g (float[N,1,6,6] x) => (float[N,3] y)
<float[4,1,3,3] w1, float[5,64] w2, float[5] b2, float[5,3] w3, float[3] b3> {
  [conv1] a = Conv (x, w1)
  [relu1] b = Relu (a)
  [flat] c = Flatten (b)
  [fc1] d = Gemm <transB: int = 1> (c, w2, b2)
  [tanh] e = Tanh (d)
  [fc2] f = MatMul (e, w3)
  [bias] y = Add (f, b3)
}"""
RANGES = {"x": (-3.0, 2.5), "c": (0.0, 6.0), "e": (-1.0, 1.0)}


def image(seed=1, count=8):
    draw = np.random.default_rng(seed).standard_normal((count, 1, 6, 6))
    return np.clip(draw, -3.0, 2.5).astype(np.float32)


def rounded(x, low, high, bits):
    """The formula, in float32 as the graph computes it."""
    top = 2**bits - 1 if low >= 0 else 2 ** (bits - 1) - 1
    step = np.float32(max(-low, high) / top)
    return np.clip(np.rint(x / step), 0 if low >= 0 else -top, top) * step


def one_layer(kind="float"):
    """y is the rounded x itself: a product with the identity."""
    return model_of(f"""g ({kind}[N,2] x) => ({kind}[N,2] y) <{kind}[2,2] w = {{1, 0, 0, 1}}> {{
      y = MatMul (x, w)
    }}""")


def test_the_inputs_of_the_layers_are_what_there_is_to_calibrate():
    model = model_of(CNN)
    assert activation_tensors(model) == ["x", "c", "e"]
    assert activation_tensors(model, ("conv*",)) == ["c", "e"]
    QuantizeActivations(8, {"x": (-3.0, 2.5)})(model)
    assert activation_tensors(model) == ["c", "e"]


@given(
    bits=st.integers(1, 16),
    high=st.floats(0.125, 100, width=32),
    unsigned=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_formula_for_every_width(bits, high, unsigned, seed):
    low = 0.0 if unsigned else -high / 2
    bits = bits if unsigned else max(bits, 2)
    x = np.random.default_rng(seed).uniform(-1.5 * high, 1.5 * high, (50, 2)).astype(np.float32)
    model = one_layer()
    assert QuantizeActivations(bits, {"x": (low, high)})(model).modified
    found = run(model, x=x)[0]
    np.testing.assert_array_equal(found, rounded(x, low, high, bits))
    assert len(np.unique(found)) <= 2**bits


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("low", [0.0, -2.0])
def test_is_within_half_a_step_inside_the_range_and_clips_outside(bits, low):
    high = 2.0
    step = high / (2**bits - 1 if low == 0 else 2 ** (bits - 1) - 1)
    x = np.linspace(low, high, 4002, dtype=np.float32).reshape(-1, 2)
    model = one_layer()
    QuantizeActivations(bits, {"x": (low, high)})(model)
    # Half a step, and the float32 rounding of step, quotient and product: three halves of an ulp
    # of a value up to 2, 1.2e-7 each.
    assert np.abs(run(model, x=x)[0] - x).max() <= step / 2 + 3 * 1.2e-7
    far = np.array([[1e6, -1e6]], np.float32)
    np.testing.assert_allclose(run(model, x=far)[0], [[high, low]], rtol=2e-7)


def test_rounding_twice_is_rounding_once():
    model = one_layer()
    QuantizeActivations(5, {"x": (-1.0, 3.0)})(model)
    once = run(model, x=np.linspace(-3, 3, 600, dtype=np.float32).reshape(-1, 2))[0]
    np.testing.assert_array_equal(run(model, x=once)[0], once)


def test_error_of_the_network_shrinks_with_every_two_bits():
    x = image()
    exact = run(model_of(CNN), x=x)[0]
    errors = []
    for bits in range(2, 17, 2):
        model = model_of(CNN)
        QuantizeActivations(bits, {"x": (-3.0, 2.5), "c": (0.0, 20.0), "e": (-1.0, 1.0)})(model)
        errors.append(np.sqrt(np.mean((run(model, x=x)[0] - exact) ** 2)))
    assert all(after < before for before, after in zip(errors, errors[1:], strict=False))


def test_only_layers_see_the_rounded_tensor_and_share_one_chain():
    model = model_of("""g (float[N,3] x) => (float[N,2] y, float[N,2] z, float[N,3] r)
    <float[3,2] w, float[3,2] v> {
      [one] y = MatMul (x, w)
      [two] z = MatMul (x, v)
      r = Relu (x)
    }""")
    QuantizeActivations(2, {"x": (-1.0, 1.0)})(model)
    assert sum(node.op_type == "Round" for node in model.graph) == 1
    x = np.array([[0.3, 0.7, -0.9]], np.float32)
    y, z, r = run(model, x=x)
    w, v = (model.graph.initializers[name].const_value.numpy() for name in "wv")
    grid = np.array([[0, 1, -1]], np.float32)
    # Sums of three products of float32: three roundings of values below 8.
    np.testing.assert_allclose(y, grid @ w, atol=3 * 8 * 6e-8)
    np.testing.assert_allclose(z, grid @ v, atol=3 * 8 * 6e-8)
    np.testing.assert_array_equal(r, np.maximum(x, 0))


def test_a_second_run_changes_nothing_and_new_bits_update():
    model = model_of(CNN)
    assert QuantizeActivations(4, RANGES)(model).modified
    once = text_of(model)
    assert not QuantizeActivations(4, RANGES)(model).modified
    assert text_of(model) == once
    assert QuantizeActivations(6, RANGES)(model).modified
    direct = model_of(CNN)
    QuantizeActivations(6, RANGES)(direct)
    np.testing.assert_array_equal(run(model, x=image())[0], run(direct, x=image())[0])
    assert text_of(model) == text_of(direct)


def test_a_model_without_ranges_or_with_a_dead_tensor_is_unchanged():
    model = model_of(CNN)
    assert not QuantizeActivations(8, {})(model).modified
    assert not QuantizeActivations(8, {"c": (0.0, 0.0)})(model).modified


def test_skipped_layers_keep_exact_inputs():
    model = model_of(CNN)
    QuantizeActivations(2, {"c": (0.0, 6.0)}, skip=("conv*", "fc2"))(model)
    assert [n.name for n in model.graph if n.op_type == "Round"] == ["c_quantize_round"]
    with pytest.raises(OptionError, match="'x', which enters no layer"):
        QuantizeActivations(2, {"x": (0.0, 6.0)}, skip=("conv*",))(model)


def test_the_input_of_a_recurrent_layer_is_rounded():
    model = model_of("""g (float[T,N,3] x) => (float[T,1,N,4] y)
    <float[1,16,3] w, float[1,16,4] r> {
      [lstm] y = LSTM <hidden_size: int = 4> (x, w, r)
    }""")
    exact = model.clone()
    QuantizeActivations(3, {"x": (-2.0, 2.0)})(model)
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    expected = run(exact, x=rounded(x, -2.0, 2.0, 3))[0]
    np.testing.assert_array_equal(run(model, x=x)[0], expected)


def test_half_precision():
    half = one_layer("float16")
    half.graph.initializers["w"].const_value = ir.tensor(np.eye(2, dtype=np.float16), name="w")
    QuantizeActivations(4, {"x": (-2.0, 2.0)})(half)
    found = run(half, x=np.array([[0.3, -5.0]], np.float16))[0]
    assert found.dtype == np.float16
    # 0.3 is nearest to one step of 2/7, -5 is clipped; float16 rounds to 2**-11 of the value.
    np.testing.assert_allclose(found, [[2 / 7, -2.0]], rtol=3 * 2**-11)
    with pytest.raises(ModelError, match="at most 11 activation bits"):
        QuantizeActivations(16, {"x": (-2.0, 2.0)})(one_layer("float16"))


def test_a_layer_inside_a_branch_reads_the_outer_rounded_tensor():
    model = model_of("""g (bool c, float[N,2] x) => (float[N,2] y) <float[2,2] w> {
      y = If (c) <
        then_branch = t () => (float[N,2] p) { p = MatMul (x, w) },
        else_branch = e () => (float[N,2] q) { q = Identity (x) }>
    }""")
    QuantizeActivations(2, {"x": (-1.0, 1.0)})(model)
    x = np.array([[0.3, 0.7]], np.float32)
    np.testing.assert_array_equal(run(model, c=np.array(False), x=x)[0], x)
    w = model.graph.initializers["w"].const_value.numpy()
    np.testing.assert_allclose(run(model, c=np.array(True), x=x)[0], w[1:], rtol=1e-6)


def test_options_from_text():
    built = make_pass("quantize-activations:bits=4,ranges=x=0:1;a=-2:2,skip=fc*,out")
    assert built == QuantizeActivations(4, "x=0:1;a=-2:2", ("fc*", "out"))


@pytest.mark.parametrize(
    ("bits", "ranges", "message"),
    [
        (0, {}, "expected 1 to 16"),
        (17, {}, "expected 1 to 16"),
        (8, {"x": (1.0, 0.0)}, "finite low <= high"),
        (8, {"x": (0.0, float("nan"))}, "finite low <= high"),
        (8, {"x": (0.0, float("inf"))}, "finite low <= high"),
        (1, {"x": (-1.0, 1.0)}, "use 2 bits or more"),
        (8, "x", "not NAME=LOW:HIGH"),
        (8, "x=1", "not NAME=LOW:HIGH"),
    ],
)
def test_refuses_bad_options(bits, ranges, message):
    with pytest.raises(OptionError, match=message):
        QuantizeActivations(bits, ranges)


def test_refuses_a_range_that_no_layer_reads():
    with pytest.raises(OptionError, match="'nowhere', which enters no layer; .* c, e, x"):
        QuantizeActivations(8, {"nowhere": (0.0, 1.0)})(model_of(CNN))
