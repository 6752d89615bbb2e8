"""Fused operators computed by onnxruntime, and what canonicalize makes of them, give the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import nvmc
from nvmc.compiled.options import CompileOptions
from nvmc.compiler import map_network
from nvmc.errors import ModelError
from nvmc.evaluation.simulation import simulate
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.io.load import load_model
from nvmc.passes.unfuse_operators import UNFUSED
from onnx_models import run_proto
from onnx_text import proto_of
from strategies import Case, conv_cases

TARGET = Target.of(load_device("fefet2"))
MICROSOFT = "com.microsoft"
Array = np.ndarray


def normals(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def proto(
    op: str,
    inputs: list[Array | str | None],
    feeds: dict[str, Array],
    domain: str = MICROSOFT,
    outputs: tuple[str, ...] = ("y",),
    **attributes: Any,
) -> onnx.ModelProto:
    """One node: arrays are stored, texts are inputs whose first axis is free."""
    names: list[str] = []
    stored: list[onnx.TensorProto] = []
    for i, value in enumerate(inputs):
        names.append(value if isinstance(value, str) else "" if value is None else f"w{i}")
        if isinstance(value, np.ndarray):
            stored.append(numpy_helper.from_array(value, f"w{i}"))
    node = helper.make_node(op, names, list(outputs), domain=domain, name="layer", **attributes)
    given = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), ["N", *array.shape[1:]]
        )
        for name, array in feeds.items()
    ]
    made = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs if name
    ]
    graph = helper.make_graph([node], "g", given, made, stored)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets)


def stock(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # Of a FusedConv with a summand some versions make a node that refuses the summand's shape.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def assert_undone(
    model: onnx.ModelProto, feeds: dict[str, Array], tolerance: float = 1e-5
) -> ir.Model:
    """float32 sums of at most a hundred products of standard normals, in another order."""
    expected = stock(model, feeds)
    undone = ir.from_proto(onnx.ModelProto.FromString(model.SerializeToString()))
    assert Canonicalize()(undone).modified
    made = ir.to_proto(undone)
    onnx.checker.check_model(made, full_check=True)
    fused = [node.op_type for node in undone.graph if (node.domain, node.op_type) in UNFUSED]
    assert not [op for op in fused if op not in ("Gemm",)]
    for found, wanted in zip(run_proto(made, feeds), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
    return undone


def share_of(model: onnx.ModelProto) -> float | None:
    return map_network(ir.from_proto(model), TARGET, CompileOptions()).mapping.work.share


ACTIVATIONS: dict[str, list[float]] = {
    "": [],
    "Relu": [],
    "Tanh": [],
    "Sigmoid": [],
    "LeakyRelu": [0.3],
    "Clip": [-0.4, 0.7],
    "HardSigmoid": [0.3, 0.4],
    "HardSwish": [],
}
if ort.__version__.startswith("1.26."):  # whose FusedConv knows no HardSwish
    del ACTIVATIONS["HardSwish"]


@pytest.mark.parametrize("summand", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_conv(activation: str, summand: bool) -> None:
    feeds = {"x": normals(1, 2, 4, 7, 6)}
    if summand:
        feeds["z"] = normals(2, 2, 6, 5, 5)
    settings: dict[str, Any] = {"group": 2, "pads": [1, 0, 0, 1], "kernel_shape": [4, 3]}
    if activation:
        settings["activation"] = activation
    if ACTIVATIONS[activation]:
        settings["activation_params"] = ACTIVATIONS[activation]
    inputs = ["x", normals(3, 6, 2, 4, 3), normals(4, 6), *(["z"] if summand else [])]
    model = proto("FusedConv", inputs, feeds, **settings)
    undone = assert_undone(model, feeds)
    assert next(node for node in undone.graph if node.op_type == "Conv").name == "layer"
    assert share_of(model) == 1


GEMM_ACTIVATIONS: dict[str, dict[str, float]] = {
    "Relu": {},
    "LeakyRelu": {"activation_alpha": 0.3},
    "Elu": {"activation_alpha": 0.6},
    "HardSigmoid": {"activation_alpha": 0.3, "activation_beta": 0.4},
    "Selu": {"activation_alpha": 1.2, "activation_gamma": 1.5},
    "Softplus": {},
    "Softsign": {},
    "Tanh": {},
    "Sigmoid": {},
    "ThresholdedRelu": {"activation_alpha": 0.4},
}


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("activation", GEMM_ACTIVATIONS)
def test_fused_gemm(activation: str, turned: int) -> None:
    feeds = {"x": normals(1, 3, 5)}
    weight = normals(2, 4, 5) if turned else normals(2, 5, 4)
    settings = {"transB": turned, "alpha": 0.5, "beta": 2.0, "activation": activation}
    settings |= GEMM_ACTIVATIONS[activation]
    model = proto("FusedGemm", ["x", weight, normals(3, 4)], feeds, **settings)
    assert_undone(model, feeds)
    assert share_of(model) == 1


@pytest.mark.parametrize("batch_b", [0, 1])
@pytest.mark.parametrize("batch_a", [0, 1])
@pytest.mark.parametrize("turned_b", [0, 1])
@pytest.mark.parametrize("turned_a", [0, 1])
def test_fused_matmul(turned_a: int, turned_b: int, batch_a: int, batch_b: int) -> None:
    def operand(rows: int, cols: int, turned: int, batch: int) -> tuple[int, ...]:
        m, k = (cols, rows) if turned else (rows, cols)
        return (m, 2, k) if batch else (2, m, k)

    feeds = {"x": normals(1, *operand(3, 5, turned_a, batch_a))}
    weight = normals(2, *operand(5, 4, turned_b, batch_b))
    settings = {"transA": turned_a, "transB": turned_b, "alpha": 0.4}
    settings |= {"transBatchA": batch_a, "transBatchB": batch_b}
    model = proto("FusedMatMul", ["x", weight], feeds, **settings)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = feeds["x"].shape[0]
    assert_undone(model, feeds)
    assert share_of(model) == 1


def test_other_fused_products() -> None:
    feeds, weight = {"x": normals(1, 3, 5)}, normals(2, 4, 5)
    turned = proto("TransposeMatMul", ["x", weight], feeds, transB=1, alpha=1.5)
    undone = assert_undone(turned, feeds)
    product = run_proto(ir.to_proto(undone), feeds)[0]
    turned.graph.node[0].op_type = "FusedMatMulActivation"  # onnxruntime has it on GPUs only
    for name, value in (("activation", "LeakyRelu"), ("activation_alpha", 0.2)):
        turned.graph.node[0].attribute.append(helper.make_attribute(name, value))
    model = ir.from_proto(turned)
    Canonicalize()(model)
    expected = np.where(product < 0, 0.2 * product, product)
    np.testing.assert_allclose(run_proto(ir.to_proto(model), feeds)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_gemm_with_its_weights_on_the_left(turned: tuple[int, int]) -> None:
    weight = normals(1, *((5, 4) if turned[0] else (4, 5)))
    feeds = {"x": normals(2, *((3, 5) if turned[1] else (5, 3)))}
    settings = {"transA": turned[0], "transB": turned[1], "alpha": 0.5, "beta": 3.0}
    model = proto("Gemm", [weight, "x", normals(3, 4, 1)], feeds, "", **settings)
    assert_undone(model, feeds)
    assert share_of(model) == 1


@pytest.mark.parametrize(
    ("op", "inputs", "settings"),
    [
        ("Gelu", [], {}),
        ("BiasGelu", [normals(5, 6)], {}),
        ("FastGelu", [], {}),
        ("FastGelu", [normals(5, 6)], {}),
        ("QuickGelu", [], {"alpha": 1.3}),
    ],
)
@pytest.mark.parametrize("opset", [17, 21])
def test_gelus(op: str, inputs: list[Any], settings: dict[str, Any], opset: int) -> None:
    feeds = {"x": normals(1, 3, 6)}
    model = proto(op, ["x", *inputs], feeds, **settings)
    model.opset_import[0].version = opset
    assert_undone(model, feeds)


def test_normalisations_with_their_sums() -> None:
    feeds = {"x": normals(1, 2, 3, 6), "s": normals(2, 2, 3, 6)}
    norm = [normals(3, 6), normals(4, 6)]
    outputs = ("y", "", "", "sum")
    skip = proto(
        "SkipLayerNormalization",
        ["x", "s", *norm, normals(5, 6)],
        feeds,
        outputs=outputs,
        epsilon=0.01,
    )
    undone = assert_undone(skip, feeds)
    assert "LayerNormalization" in [node.op_type for node in undone.graph]
    simple = proto(
        "SkipSimplifiedLayerNormalization",
        ["x", "s", norm[0], normals(5, 6)],
        feeds,
        outputs=outputs,
        epsilon=0.01,
    )
    assert_undone(simple, feeds)


@pytest.mark.parametrize("positions", [False, True])
def test_embeddings(positions: bool) -> None:
    rng = np.random.default_rng(0)
    feeds = {"i": rng.integers(0, 9, (2, 4)).astype(np.int32)}
    feeds["s"] = rng.integers(0, 2, (2, 4)).astype(np.int32)
    feeds["m"] = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], np.int32)
    tables = [normals(1, 9, 6), normals(2, 5, 6), normals(3, 2, 6)]
    inputs = ["i", "s", *tables, normals(4, 6), normals(5, 6), "m"]
    if positions:
        feeds["p"] = rng.integers(0, 5, (2, 4)).astype(np.int32)
        inputs.append("p")
    model = proto("EmbedLayerNormalization", inputs, feeds, outputs=("y", "n"), epsilon=0.01)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT32
    if not positions:
        del model.graph.output[1]
        model.graph.node[0].output[1] = "n"
    assert_undone(model, feeds)


MASKS = {
    "none": None,
    "lengths": np.array([2, 4], np.int32),
    "rows": np.array([[1, 1, 0, 0], [1, 1, 1, 1]], np.int32),
    "squares": np.tril(np.ones((2, 4, 4), np.int32)),
}


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", MASKS)
def test_attention(mask: str, causal: int) -> None:
    feeds = {"x": normals(1, 2, 4, 6)}
    given = MASKS[mask]
    if given is not None:
        feeds["m"] = given
    inputs = ["x", normals(2, 6, 24) * 0.3, normals(3, 24), "m" if "m" in feeds else None]
    settings: dict[str, Any] = {"num_heads": 2, "unidirectional": causal}
    model = proto("Attention", inputs, feeds, **settings)
    assert_undone(model, feeds)
    work = map_network(ir.from_proto(model), TARGET, CompileOptions()).mapping.work
    length = 4
    assert (work.mapped, work.digital) == (length * 6 * 24, 0)
    assert work.activations == 2 * length * length * 8


@pytest.mark.parametrize("op", ["Attention", "MultiHeadAttention"])
def test_a_causal_position_whose_past_is_masked_never_hears_what_comes_later(op: str) -> None:
    feeds = {"x": normals(1, 2, 4, 6), "m": np.array([[0, 0, 1, 1], [0, 1, 1, 1]], np.int32)}
    inputs: list[Any] = ["x", normals(2, 6, 24) * 0.3, normals(3, 24), "m"]
    if op == "MultiHeadAttention":
        feeds = {"x": normals(1, 2, 4, 6), "k": normals(2, 2, 4, 6), "v": normals(3, 2, 4, 6)} | {
            "m": feeds["m"]
        }
        inputs = ["x", "k", "v", normals(5, 18), "m"]
    assert_undone(proto(op, inputs, feeds, num_heads=2, unidirectional=1), feeds)


def test_attention_of_other_widths_with_a_bias_of_its_scores() -> None:
    feeds = {"x": normals(1, 2, 4, 6), "b": normals(4, 2, 2, 4, 4)}
    inputs = ["x", normals(2, 6, 20) * 0.3, normals(3, 20), None, None, "b"]
    settings: dict[str, Any] = {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 4], "scale": 0.6}
    assert_undone(proto("Attention", inputs, feeds, **settings), feeds)


@pytest.mark.parametrize("causal", [0, 1])
def test_multi_head_attention(causal: int) -> None:
    feeds = {name: normals(i, 2, 4, 8) for i, name in enumerate("qkv")}
    feeds["m"] = MASKS["rows"]
    inputs = ["q", "k", "v", normals(5, 24), "m"]
    settings: dict[str, Any] = {"num_heads": 2, "unidirectional": causal}
    assert_undone(proto("MultiHeadAttention", inputs, feeds, **settings), feeds)


EINSUMS = {
    "bi,io->bo": ((3, 5), (5, 4)),
    "bi,oi->bo": ((3, 5), (4, 5)),
    "oi,bi->bo": ((4, 5), (3, 5)),
    "bti,oi->bto": ((2, 3, 5), (4, 5)),
    "bti,io->bot": ((2, 3, 5), (5, 4)),
    "bsd,dhk->bshk": ((2, 3, 5), (5, 2, 4)),
    "bshk,hkd->bsd": ((2, 3, 2, 4), (2, 4, 5)),
    "bhnd,hde->bhne": ((2, 3, 4, 5), (3, 5, 6)),
    "bhd,hde->bhe": ((2, 3, 5), (3, 5, 4)),
    "bchw,oc->bohw": ((2, 3, 4, 5), (6, 3)),
    "bi,i->b": ((3, 5), (5,)),
    "...i,oi->...o": ((2, 3, 5), (4, 5)),
    "bi,io": ((3, 5), (5, 4)),
    "bgtc,goc->btgo": ((2, 3, 4, 5), (3, 6, 5)),
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum_with_a_constant_side(equation: str) -> None:
    shapes = EINSUMS[equation]
    right = not equation.startswith("oi,b")
    x, w = shapes if right else shapes[::-1]
    feeds = {"x": normals(1, *x)}
    inputs: list[Any] = ["x", normals(2, *w)]
    model = proto("Einsum", inputs if right else inputs[::-1], feeds, "", equation=equation)
    assert_undone(model, feeds)
    assert share_of(model) == 1


@pytest.mark.parametrize("equation", ["bi,bo->bio", "bii,io->bo", "bij,io->bo"])
def test_other_einsums_stay(equation: str) -> None:
    feeds = {"x": normals(1, *{2: (5, 5), 3: (3, 5, 5)}[equation.index(",")])}
    model = proto("Einsum", ["x", normals(2, 5, 5)], feeds, "", equation=equation)
    undone = ir.from_proto(model)
    Canonicalize()(undone)
    assert "Einsum" in [node.op_type for node in undone.graph]
    np.testing.assert_allclose(
        run_proto(ir.to_proto(undone), feeds)[0], stock(model, feeds)[0], rtol=1e-5
    )


def saved(level: str, path: Path) -> Path:
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    source = Path(nvmc.__file__).parent / "models/pretrained/lenet5-digits.onnx"
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return path


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
def test_lenet_saved_by_onnxruntime_has_the_chips_of_the_original(
    level: str, tmp_path: Path
) -> None:
    source = Path(nvmc.__file__).parent / "models/pretrained/lenet5-digits.onnx"
    values: list[Any] = []
    for path in (source, saved(level, tmp_path / "lenet.onnx")):
        compiled = nvmc.compile_model(path, TARGET, output=tmp_path / f"{path.stem}.nvmc")
        assert compiled.manifest.mapped_share == 1
        values.append(simulate(compiled, runs=5, data="digits", sigma=0.4, limit=100).values)
    np.testing.assert_array_equal(values[0], values[1])


@pytest.mark.parametrize(
    ("op", "opset"), [("LayerNormalization", 13), ("SimplifiedLayerNormalization", 21)]
)
def test_normalisations_that_onnxruntime_saves_without_a_domain(
    op: str, opset: int, tmp_path: Path
) -> None:
    feeds = {"x": normals(1, 2, 3, 6)}
    model = proto(op, ["x", normals(2, 6)], feeds, "", axis=-1, epsilon=0.01)
    model.opset_import[0].version = opset
    onnx.save(model, tmp_path / "net.onnx")
    loaded = load_model(tmp_path / "net.onnx")
    Canonicalize()(loaded)
    made = ir.to_proto(loaded)
    onnx.checker.check_model(made, full_check=True)
    np.testing.assert_allclose(
        run_proto(made, feeds)[0], stock(model, feeds)[0], rtol=1e-5, atol=1e-5
    )


@given(conv_cases(), st.sampled_from(sorted(ACTIVATIONS)), st.booleans())
def test_fused_conv_in_all_its_forms(case: Case, activation: str, summand: bool) -> None:
    x, *weights = case.inputs
    assert x is not None
    feeds = {"x": x}
    plain = proto("Conv", ["x", *weights], feeds, "", **case.attributes)
    plain.graph.input[0].type.tensor_type.shape.dim[0].dim_value = len(x)
    y = run_proto(plain, feeds)[0]
    settings = dict(case.attributes)
    if activation:
        settings["activation"] = activation
    if ACTIVATIONS[activation]:
        settings["activation_params"] = ACTIVATIONS[activation]
    inputs = ["x", *weights]
    if summand:
        feeds["z"] = normals(0, *y.shape)
        inputs += [None] * (3 - len(inputs)) + ["z"]
    assert_undone(proto("FusedConv", inputs, feeds, **settings), feeds)


BLOCK = """g (float[N,6,8] x) => (float[N,6,8] y)
<float[8,8] wq, float[8,8] wk, float[8,8] wv, float[8] s, float[8] t, float[8,16] w1, float[16] b1,
 float[16,8] w2, float root = {1.4142135}, float one = {1.0}, float half = {0.5}> {
  q = MatMul (x, wq)
  k = MatMul (x, wk)
  v = MatMul (x, wv)
  kt = Transpose <perm = [0,2,1]> (k)
  a = MatMul (q, kt)
  c = Mul (a, half)
  p = Softmax <axis = -1> (c)
  o = MatMul (p, v)
  r = Add (x, o)
  n = LayerNormalization <axis = -1> (r, s, t)
  h = MatMul (n, w1)
  hb = Add (h, b1)
  d = Div (hb, root)
  e = Erf (d)
  f = Add (e, one)
  m = Mul (hb, f)
  g = Mul (m, half)
  y = MatMul (g, w2)
}"""


def test_an_encoder_saved_by_onnxruntime_is_mapped_as_its_source(tmp_path: Path) -> None:
    proto = proto_of(BLOCK, opset=17)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fused = onnx.load(tmp_path / "fused.onnx")
    found = {node.op_type for node in fused.graph.node if node.domain == MICROSOFT}
    assert {"BiasGelu", "FusedMatMul"} <= found
    works = [
        map_network(ir.from_proto(model), TARGET, CompileOptions()).mapping.work
        for model in (proto_of(BLOCK, opset=17), fused)
    ]
    assert works[0] == works[1]
    assert (works[0].mapped, works[0].activations) == (6 * (3 * 64 + 2 * 128), 2 * 6 * 6 * 8)
    assert_undone(onnx.load(tmp_path / "fused.onnx"), {"x": normals(1, 3, 6, 8)})


def test_a_layout_in_blocks_is_refused_with_its_cause(tmp_path: Path) -> None:
    text = "g (float[N,8,4,4] x) => (float[N,8,4,4] y) <float[8,8,1,1] w> { y = Conv (x, w) }"
    model = proto_of(text)
    model.graph.node[0].domain = "com.microsoft.nchwc"
    model.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    with pytest.raises(ModelError, match="saved by onnxruntime at level all; save it at level bas"):
        Canonicalize()(ir.from_proto(model))
