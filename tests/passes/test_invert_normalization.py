import math

import numpy as np
import onnx_ir as ir
import pytest

from nvmc.errors import ModelError, OptionError
from nvmc.passes import make_pass
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.passes.invert_normalization import InvertNormalization, inverted_places
from onnx_text import model_of, run, session_of, text_of

SHAPE = (3, 4, 5, 6)


def numbers(shape=SHAPE, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def inverted(x, gamma, beta, groups=1, epsilon=1e-5):
    """Affine first, then each instance's groups to mean zero and variance one, in float64."""
    affine = gamma * x.astype(np.float64) + beta
    flat = affine.reshape(x.shape[0], groups, -1)
    mean, variance = flat.mean(-1, keepdims=True), flat.var(-1, keepdims=True)
    return ((flat - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)


def check(found, expected):
    # 120 float32 numbers a group, of magnitude up to ~5 after normalising: the mean and variance
    # lose at most 120 roundings of 6e-8 relative, the quotient a few more.
    np.testing.assert_allclose(found, expected, rtol=0, atol=5 * 130 * 6e-8)


def one_norm(body, declared, shape="[N,4,5,6]", opset=21):
    return model_of(
        f"g (float{shape} x) => (float{shape} y) <{declared}> {{ {body} }}", seed=7, opset=opset
    )


def initializer(model, name):
    return model.graph.initializers[name].const_value.numpy()


BATCH = (
    "[norm] y = BatchNormalization (x, s, b, m, v)",
    "float[4] s, float[4] b, float[4] m, float[4] v = {1, 2, 3, 4}",
)
LAYER = (
    "[norm] y = LayerNormalization <axis: int = 1> (x, s, b)",
    "float[4,5,6] s, float[4,5,6] b",
)
INSTANCE = ("[norm] y = InstanceNormalization (x, s, b)", "float[4] s, float[4] b")
GROUP = (
    "[norm] y = GroupNormalization <num_groups: int = 2> (x, s, b)",
    "float[4] s, float[4] b",
)
DECOMPOSED = (
    """t = Reshape (x, k) [norm] u = InstanceNormalization (t, o, z) w = Shape (x)
    a = Reshape (u, w) c = Mul (a, s) y = Add (c, b)""",
    "int64[3] k = {0, 2, -1}, float[2] o = {1, 1}, float[2] z = {0, 0}, "
    "float[4,1,1] s, float[4,1,1] b",
)


@pytest.mark.parametrize(
    ("source", "groups"),
    [(BATCH, 1), (LAYER, 1), (INSTANCE, 1), (GROUP, 2), (DECOMPOSED, 2)],
    ids=["batch", "layer", "instance", "group", "decomposed"],
)
def test_replaces_each_kind_by_the_formula(source, groups):
    model = one_norm(*source)
    s, b = initializer(model, "s"), initializer(model, "b")
    if s.ndim == 1:
        s, b = s.reshape(-1, 1, 1), b.reshape(-1, 1, 1)
    assert InvertNormalization()(model).modified
    check(run(model, x=numbers())[0], inverted(numbers(), s, b, groups))
    np.testing.assert_array_equal(initializer(model, "norm_gamma"), s)
    np.testing.assert_array_equal(initializer(model, "norm_beta"), b)
    # What the source alone used is gone.
    assert sum(node.op_type == "Shape" for node in model.graph) == (source is not LAYER)
    assert set(model.graph.initializers) <= {
        *("norm_gamma", "norm_beta", "norm_ones", "norm_zeros", "norm_groups")
    }


def test_group_normalization_of_opset_18_has_a_pair_a_group():
    body, _ = GROUP
    model = one_norm(body, "float[2] s, float[2] b", opset=18)
    s, b = (np.repeat(initializer(model, k), 2).reshape(-1, 1, 1) for k in "sb")
    InvertNormalization()(model)
    found = session_of(model).run(None, {"x": numbers()})[0]
    check(found, inverted(numbers(), s, b, 2))


def test_layer_normalization_keeps_its_axes():
    body = "[norm] y = LayerNormalization <axis: int = -1> (x, s)"
    model = one_norm(body, "float[6] s")
    s = initializer(model, "s")
    InvertNormalization()(model)
    rows = inverted(numbers().reshape(-1, 6), s, 0.0).reshape(SHAPE)
    check(run(model, x=numbers())[0], rows)


def test_a_matrix_is_normalised_along_its_row():
    model = one_norm(*BATCH, shape="[N,4]")
    s, b = initializer(model, "s"), initializer(model, "b")
    InvertNormalization()(model)
    x = numbers((7, 4))
    # Four numbers per row can be close to each other, and then the quotient magnifies the rounding
    # of gamma x + beta (up to ~8) by up to 1/sqrt(epsilon).
    np.testing.assert_allclose(
        run(model, x=x)[0], inverted(x, s, b), rtol=0, atol=8 * 4 * 6e-8 / math.sqrt(1e-5)
    )


@pytest.mark.parametrize(("groups", "meant"), [(2, 2), (4, 1)])
def test_groups_where_the_source_does_not_say(groups, meant):
    model = one_norm(*BATCH)
    s, b = (initializer(model, k).reshape(-1, 1, 1) for k in "sb")
    InvertNormalization(groups=groups)(model)
    check(run(model, x=numbers())[0], inverted(numbers(), s, b, meant))


def test_instances_do_not_depend_on_their_batch_and_scale_does_not_matter():
    model = one_norm(*BATCH)
    InvertNormalization(sigma_beta=0.0, init="random")(model)
    session = session_of(model)
    whole = session.run(None, {"x": numbers()})[0]
    for index in range(SHAPE[0]):
        one = session.run(None, {"x": numbers()[index : index + 1]})[0]
        check(one[0], whole[index].astype(np.float64))
    # beta is zero: the drift of all weights by one factor cancels, but for epsilon (1e-5 of a
    # variance of about one moves the result by at most half of that).
    np.testing.assert_allclose(
        session.run(None, {"x": 8 * numbers()})[0], whole, rtol=0, atol=5 * 1e-5 + 4e-5
    )


def test_random_parameters_follow_their_law_and_their_seed():
    text = "float[4096] s, float[4096] b, float[4096] m, float[4096] v"
    gammas = []
    for seed in (0, 0, 1):
        model = one_norm(BATCH[0], text, shape="[N,4096]")
        InvertNormalization(init="random", sigma_gamma=0.3, sigma_beta=0.2, seed=seed)(model)
        gamma, beta = initializer(model, "norm_gamma"), initializer(model, "norm_beta")
        # The mean of 4096 normals spreads by sigma/64, their deviation by sigma/sqrt(8192); both
        # within five of those.
        for values, mean, sigma in ((gamma, 1.0, 0.3), (beta, 0.0, 0.2)):
            assert abs(values.mean() - mean) < 5 * sigma / 64
            assert abs(values.std() - sigma) < 5 * sigma / math.sqrt(8192)
        gammas.append(gamma)
    np.testing.assert_array_equal(gammas[0], gammas[1])
    assert not np.array_equal(gammas[0], gammas[2])


CNN = """g (float[N,1,6,6] x) => (float[N,3] y)
<float[4,1,3,3] w1, float[4] b1, float[4,4,1,1] w2, float[64,3] w3,
 float[4] s, float[4] b, float[4] m, float[4] v = {1, 2, 3, 4}> {
  [conv1] a = Conv (x, w1, b1)
  [relu1] c = Relu (a)
  [conv2] d = Conv (c, w2)
  [norm2] e = BatchNormalization (d, s, b, m, v)
  [relu2] f = Relu (e)
  [flat] h = Flatten (f)
  [fc] y = MatMul (h, w3)
}"""


def test_inserts_behind_a_conv_that_has_none():
    model, plain = model_of(CNN), model_of(CNN)
    InvertNormalization(seed=2)(model)
    assert {"conv1_gamma", "conv1_beta", "norm2_gamma"} <= set(model.graph.initializers)
    assert "conv2_gamma" not in model.graph.initializers
    x = numbers((2, 1, 6, 6))
    plain.graph.outputs[:] = [next(n.outputs[0] for n in plain.graph if n.name == "conv1")]
    convolved = run(plain, x=x)[0]
    relu = next(node for node in model.graph if node.name == "relu1")
    model.graph.outputs[:] = [relu.inputs[0]]
    gamma, beta = initializer(model, "conv1_gamma"), initializer(model, "conv1_beta")
    assert gamma.shape == (4, 1, 1)
    check(run(model, x=x)[0], inverted(convolved, gamma, beta))


def test_leaves_the_last_conv_alone_and_inserts_only_when_asked():
    alone = "g (float[N,1,6,6] x) => (float[N,4,4,4] y) <float[4,1,3,3] w> { y = Conv (x, w) }"
    assert not InvertNormalization()(model_of(alone)).modified
    model = model_of(CNN)
    InvertNormalization(insert=False)(model)
    assert "conv1_gamma" not in model.graph.initializers


@pytest.mark.parametrize("active", [False, True])
def test_a_second_run_changes_nothing_even_after_saving_and_canonicalising(active):
    model = model_of(CNN)
    InvertNormalization(active=active)(model)
    once = text_of(model)
    assert not InvertNormalization(active=active)(model).modified
    assert text_of(model) == once
    again = ir.from_proto(ir.to_proto(model))
    assert not InvertNormalization(active=active)(again).modified
    Canonicalize()(again)
    assert not InvertNormalization(active=active)(again).modified
    if active:
        assert sum(node.op_type == "RandomUniform" for node in again.graph) == 4


def test_switching_dropout_on_and_off_gives_the_model_back():
    model, never = model_of(CNN), model_of(CNN)
    InvertNormalization()(model)
    InvertNormalization()(never)
    assert InvertNormalization(active=True)(model).modified
    assert InvertNormalization(active=True, p=0.5)(model).modified
    assert InvertNormalization()(model).modified
    assert text_of(model) == text_of(never)


def small(granularity, p, runs, seed=0):
    """What gamma and beta were in each run, from an affine step that can be read off."""
    model = one_norm(*BATCH)
    InvertNormalization(p=p, granularity=granularity, active=True, seed=seed)(model)
    gamma, beta = initializer(model, "norm_gamma").copy(), initializer(model, "norm_beta").copy()
    where = [node for node in model.graph if node.op_type == "Where"]
    model.graph.outputs[:] = [node.outputs[0] for node in where]
    session = session_of(model)
    x = numbers((1, *SHAPE[1:]))
    drawn = [session.run(None, {"x": x}) for _ in range(runs)]
    return gamma, beta, np.array([d[0] for d in drawn]), np.array([d[1] for d in drawn])


@pytest.mark.parametrize("granularity", ["vector", "element"])
@pytest.mark.parametrize("p", [0.1, 0.3])
def test_drops_to_one_and_zero_with_probability_p(granularity, p):
    runs = 2000
    gamma, beta, gammas, betas = small(granularity, p, runs)
    dropped = gammas == 1
    np.testing.assert_array_equal(gammas, np.where(dropped, 1, gamma))
    lost = betas == 0
    np.testing.assert_array_equal(betas, np.where(lost, 0, beta))
    margin = 5 * math.sqrt(runs * p * (1 - p))  # five sigma of a binomial count
    for mask in (dropped, lost):
        counts = mask.reshape(runs, 4).sum(axis=0)
        assert np.all(np.abs(counts - runs * p) < margin)
    both = np.sum(dropped[:, 0] & lost[:, 0])  # weight and bias are independent
    assert abs(both - runs * p * p) < 5 * math.sqrt(runs * p * p * (1 - p * p))
    mixed = dropped.reshape(runs, 4).any(axis=1) & ~dropped.reshape(runs, 4).all(axis=1)
    assert mixed.any() == (granularity == "element")


@pytest.mark.parametrize(("p", "kept"), [(0.0, True), (1.0, False)])
def test_the_ends_of_p_are_certain(p, kept):
    model = one_norm(*BATCH)
    s, b = (initializer(model, k).reshape(-1, 1, 1) for k in "sb")
    InvertNormalization(p=p, active=True)(model)
    session = session_of(model)
    expected = inverted(numbers(), s, b) if kept else inverted(numbers(), 1.0, 0.0)
    for _ in range(20):
        check(session.run(None, {"x": numbers()})[0], expected)


def test_an_active_network_differs_from_run_to_run_and_repeats_with_its_seed():
    model = model_of(CNN)
    InvertNormalization(active=True, granularity="element", p=0.5)(model)
    x = numbers((2, 1, 6, 6))
    first, second = session_of(model), session_of(model)
    runs = [[s.run(None, {"x": x})[0] for _ in range(5)] for s in (first, second)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert len({one.tobytes() for one in runs[0]}) > 1


def test_dropout_follows_the_activation_behind_an_inverted_normalisation():
    model = model_of(CNN)
    InvertNormalization(active=True)(model)
    InsertDropout()(model)
    dropped = [node.inputs[0].name for node in model.graph if node.op_type == "Dropout"]
    assert dropped == ["c", "f"]


def test_norms_that_stand_one_behind_the_other_are_both_replaced():
    body = """[one] t = BatchNormalization (x, s, b, m, v)
    [two] y = InstanceNormalization (t, s, b)"""
    model = one_norm(body, BATCH[1])
    s, b = (initializer(model, k).reshape(-1, 1, 1) for k in "sb")
    InvertNormalization()(model)
    check(run(model, x=numbers())[0], inverted(inverted(numbers(), s, b), s, b))


def test_options_from_text():
    built = make_pass("invert-normalization:p=0.1,granularity=element,active=true,insert=false")
    assert built == InvertNormalization(p=0.1, granularity="element", active=True, insert=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, "expected a probability"),
        ({"p": float("nan")}, "expected a probability"),
        ({"sigma_gamma": -1.0}, "must not be negative"),
        ({"seed": -1}, "must not be negative"),
        ({"groups": 0}, "groups is 0"),
        ({"granularity": "row"}, "vector or element"),
        ({"init": "zero"}, "keep or random"),
    ],
)
def test_refuses_bad_options(options, message):
    with pytest.raises(OptionError, match=message):
        InvertNormalization(**options)


def test_refuses_what_it_cannot_do():
    with pytest.raises(OptionError, match="4 channels, which 3 groups do not divide"):
        InvertNormalization(groups=3)(one_norm(*BATCH))
    with pytest.raises(ModelError, match="opset 11"):
        InvertNormalization()(one_norm(*BATCH, opset=11))
    unknown = one_norm(*BATCH)
    unknown.graph.inputs[0].shape = None
    with pytest.raises(ModelError, match="shape of 'x'"):
        InvertNormalization()(unknown)


RECURRENT = """g (float[5,N,1] x) => (float[N,1] y)
<float[1,16,1] w1, float[1,16,4] r1, float[2,16,4] w2, float[2,16,4] r2, int64[1] one = {1},
 float[8,1] w3> {
  [first] a = LSTM <hidden_size: int = 4> (x, w1, r1)
  [lose] b = Squeeze (a, one)
  [second] c, d = LSTM <hidden_size: int = 4, direction: string = "bidirectional"> (b, w2, r2)
  [turn] e = Transpose <perm = [1, 0, 2]> (d)
  [join] f = Flatten <axis: int = 1> (e)
  [fc] y = MatMul (f, w3)
}"""


def by_units(states, gamma, beta):
    """A slow loop: each state's hidden units to mean zero and variance one, in float64."""
    affine = gamma.astype(np.float64) * states + beta
    result = np.empty_like(affine)
    for place in np.ndindex(affine.shape[:-1]):
        row = affine[place]
        mean = sum(row) / len(row)
        variance = sum((v - mean) ** 2 for v in row) / len(row)
        result[place] = [(v - mean) / math.sqrt(variance + 1e-5) for v in row]
    return result


def normalised_behind(model, value, reader):
    """What a layer puts out, and what the node that read it gets now."""
    node = next(n for n in model.graph if n.name == reader)
    raw = next(v for n in model.graph for v in n.outputs if v.name == value)
    model.graph.outputs[:] = [raw, node.inputs[0]]
    return run(model, x=numbers((5, 3, 1)))


@pytest.mark.parametrize(
    ("value", "reader", "name", "shape"),
    [("a", "lose", "first", (1, 1, 4)), ("d", "turn", "second_last", (2, 1, 4))],
)
def test_recurrent_layers_are_normalised_over_their_units(value, reader, name, shape):
    model = model_of(RECURRENT)
    assert InvertNormalization(recurrent="each", seed=3)(model).modified
    assert inverted_places(model) == ["first", "second_last"]
    gamma, beta = initializer(model, f"{name}_gamma"), initializer(model, f"{name}_beta")
    assert gamma.shape == beta.shape == shape
    raw, found = normalised_behind(model, value, reader)
    # States lie within 1; gamma and beta within 3. Four units can be close to each other, and
    # then the quotient magnifies the rounding of their sums by up to 1/sqrt(epsilon).
    expected = by_units(raw, gamma, beta)
    np.testing.assert_allclose(found, expected, rtol=0, atol=6 * 4 * 6e-8 / math.sqrt(1e-5))


@pytest.mark.parametrize(
    ("value", "reader", "name"), [("a", "lose", "first"), ("d", "turn", "second_last")]
)
def test_groups_of_hidden_units_are_normalised_apart(value, reader, name):
    model = model_of(RECURRENT)
    assert InvertNormalization(recurrent="each", seed=3, groups=2)(model).modified
    gamma, beta = initializer(model, f"{name}_gamma"), initializer(model, f"{name}_beta")
    raw, found = normalised_behind(model, value, reader)
    ones = np.ones_like(gamma[..., :2])
    affine = gamma * raw.astype(np.float64) + beta
    halves = [by_units(affine[..., part], ones, 0 * ones) for part in np.s_[:2, 2:]]
    # Two units are closer to each other than four: the bound of the test above.
    expected = np.concatenate(halves, -1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=6 * 4 * 6e-8 / math.sqrt(1e-5))
    assert not InvertNormalization(recurrent="each", seed=3, groups=2)(model).modified


def test_groups_that_do_not_divide_the_units_are_refused():
    with pytest.raises(OptionError, match="'first' has 4 hidden units, which 3 groups"):
        InvertNormalization(recurrent="each", groups=3)(model_of(RECURRENT))


def test_a_recurrent_layer_of_layout_1_has_its_directions_behind_the_steps():
    text = """g (float[N,5,1] x) => (float[N,5,1] y)
    <float[2,16,1] w, float[2,16,4] r, int64[3] k = {0, 0, 8}, float[8,1] v> {
      [rnn] a = LSTM <hidden_size: int = 4, layout: int = 1,
                      direction: string = "bidirectional"> (x, w, r)
      b = Reshape (a, k)
      y = MatMul (b, v)
    }"""
    model = model_of(text)
    InvertNormalization(recurrent="last")(model)
    assert initializer(model, "rnn_gamma").shape == (2, 4)


@pytest.mark.parametrize(
    ("which", "places"),
    [("off", []), ("last", ["second_last"]), ("each", ["first", "second_last"])],
)
def test_which_recurrent_layers_are_normalised(which, places):
    model = model_of(RECURRENT)
    assert InvertNormalization(recurrent=which)(model).modified == bool(places)
    assert inverted_places(model) == places
    once = text_of(model)
    assert not InvertNormalization(recurrent=which)(model).modified
    assert text_of(model) == once


def test_a_normalisation_behind_a_recurrent_layer_is_replaced_and_none_added():
    text = RECURRENT.replace(
        "[lose] b = Squeeze (a, one)",
        "z = Squeeze (a, one) [ln] b = LayerNormalization <axis: int = -1> (z, s)",
    ).replace("<float[1,16,1] w1", "<float[4] s, float[1,16,1] w1")
    model = model_of(text)
    InvertNormalization(recurrent="each")(model)
    assert inverted_places(model) == ["ln", "second_last"]


def test_recurrent_layers_need_layer_normalization():
    with pytest.raises(ModelError, match="'first'.*needs 17.*canonicalize"):
        InvertNormalization(recurrent="each")(model_of(RECURRENT, opset=16))


def test_active_dropout_behind_recurrent_layers_draws_one_coin_a_vector():
    model = model_of(RECURRENT)
    InvertNormalization(recurrent="each", active=True)(model)
    draws = [n for n in model.graph if n.op_type == "RandomUniform"]
    assert len(draws) == 4
    assert all(list(n.attributes["shape"].as_ints()) == [1] for n in draws)
    assert np.isfinite(run(model, x=numbers((5, 3, 1)))[0]).all()
