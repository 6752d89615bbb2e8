"""Whatever constants a network has: what is compiled of it is valid, and computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from nvmc.compiled.options import CompileOptions
from nvmc.compiler import compile_model, map_network
from nvmc.errors import ModelError
from nvmc.hardware.devices import Target, load_device
from nvmc.runtime.saving import save_checked
from onnx_models import run_proto
from onnx_text import proto_of

SIZE = 3
ANALOG = Target.of(load_device("fefet2"), weight_bits="none")
UNARY = ("Neg", "Identity", "Transpose", "Tanh", "Sigmoid", "Dropout")
BINARY = ("Mul", "Add", "Max")


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    """A chain of matrix products whose weights are computed from few, often equal constants."""
    nodes: list[onnx.NodeProto] = []
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    arrays = rng.uniform(0.5, 2, (2, SIZE, SIZE)).astype(np.float32)
    stored: list[onnx.TensorProto] = []
    constants = draw(st.integers(1, 3))
    for i in range(2 * constants):
        tensor = numpy_helper.from_array(arrays[draw(st.integers(0, 1))], f"c{i}")
        if draw(st.booleans()):
            stored.append(tensor)
        else:
            nodes.append(helper.make_node("Constant", [], [f"c{i}"], value=tensor))
    picks = st.tuples(st.sampled_from(UNARY + BINARY), *2 * [st.integers(0, 20)])
    chain = draw(st.lists(picks, min_size=1, max_size=5))
    pool: list[str] = []
    for copy in "ab":  # the same chain twice, from the same constants or from others
        own = [f"c{i + constants * draw(st.integers(0, 1))}" for i in range(constants)]
        for i, (op, *places) in enumerate(chain):
            operands = [own[-1 - place % len(own)] for place in places][: 1 + (op in BINARY)]
            nodes.append(helper.make_node(op, operands, [f"{copy}{i}"], name=draw(_NODE_NAMES)))
            own.append(f"{copy}{i}")
        pool += own
    data, outputs = "x", ["y"]
    weights = draw(st.lists(st.sampled_from(pool[::-1]), min_size=1, max_size=4))
    for i, weight in enumerate(weights):
        names = {"name": draw(_NODE_NAMES)}
        kind = draw(st.sampled_from(["MatMul", "Gemm", "left", "Add"]))
        if kind == "Gemm":
            made = helper.make_node("Gemm", [data, weight, weight], [f"h{i}"], transB=1, **names)
        elif kind == "left":
            made = helper.make_node("MatMul", [weight, data], [f"h{i}"], **names)
        else:
            made = helper.make_node(kind, [data, weight], [f"h{i}"], **names)
        nodes += [made, helper.make_node("Tanh", [f"h{i}"], [f"t{i}"], **names)]
        data = f"t{i}"
    nodes.append(helper.make_node("Identity", [data], ["y"]))
    outputs += draw(st.lists(st.sampled_from(pool), max_size=2, unique=True))
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [SIZE, SIZE])],
        [helper.make_tensor_value_info(name, kind, [SIZE, SIZE]) for name in outputs],
        stored,
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


_NODE_NAMES = st.sampled_from(["", "n", "n_1", "c0", "a0", "b1"])


def assert_same(proto: onnx.ModelProto) -> None:
    """onnx's evaluator tells what the source computes: onnxruntime refuses equal node names."""
    onnx.checker.check_model(proto, full_check=True)
    model = ir.from_proto(onnx.ModelProto.FromString(proto.SerializeToString()))
    made = ir.to_proto(map_network(model, ANALOG, CompileOptions()).model)
    onnx.checker.check_model(made, full_check=True)
    feeds: dict[str, Any] = {"x": np.linspace(-1, 1, SIZE**2, dtype=np.float32).reshape(3, 3)}
    with np.errstate(all="ignore"):
        wanted = onnx.reference.ReferenceEvaluator(proto).run(None, feeds)
    pairs = zip(run_proto(made, feeds), wanted, strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@given(networks())
def test_any_constants_give_a_valid_network_that_computes_the_same(proto: onnx.ModelProto) -> None:
    assert_same(proto)


def test_equal_chains_of_several_operators_stay_one_weight() -> None:
    text = """g (float[3,3] x) => (float[3,3] y) <float[3,3] w, float[1] k = {15.0}> {
      r = Reciprocal (w)
      a = Mul (r, k)
      h = MatMul (x, a)
      s = Reciprocal (w)
      b = Mul (s, k)
      y = MatMul (h, b)
    }"""
    proto = proto_of(text)
    assert_same(proto)
    mapping = map_network(ir.from_proto(proto), ANALOG, CompileOptions()).mapping
    assert [layer.arrays for layer in mapping.layers] == [["a"], ["a"]]


def test_branches_may_compute_constants_of_one_name() -> None:
    text = """g (float[3,3] x, bool c) => (float[3,3] y) <float[3,3] w, float[3,3] v> {
      y = If (c) <
        then_branch = t () => (float[3,3] p) { m = Transpose (w) p = MatMul (x, m) },
        else_branch = e () => (float[3,3] q) { m = Transpose (v) q = MatMul (x, m) }
      >
    }"""
    proto = proto_of(text)
    made = ir.to_proto(map_network(ir.from_proto(proto), ANALOG, CompileOptions()).model)
    onnx.checker.check_model(made, full_check=True)
    x = np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)
    for c in (True, False):
        feeds = {"x": x, "c": np.array(c)}
        np.testing.assert_allclose(run_proto(made, feeds)[0], run_proto(proto, feeds)[0], rtol=1e-6)


def test_a_constant_dropout_is_folded() -> None:
    text = """g (float[3,3] x) => (float[3,3] y) <float[3,3] w> {
      q, = Dropout (w)
      y = MatMul (x, q)
    }"""
    assert_same(proto_of(text))


def test_an_invalid_network_is_a_fault_and_nothing_is_written(tmp_path: Path) -> None:
    proto = proto_of("g (float[3,3] x) => (float[3,3] y) { y = Relu (x) }")
    source = tmp_path / "source.onnx"
    onnx.save(proto, source)
    model = ir.from_proto(proto)
    model.graph.node(0).replace_input_with(0, ir.Value(name="nowhere"))
    with pytest.raises(RuntimeError, match="not be valid ONNX.*nowhere"):
        save_checked(model, tmp_path / "made.onnx", source)
    assert list(tmp_path.iterdir()) == [source]


def test_a_network_that_onnxruntime_refuses_is_a_fault_unless_the_source_is(tmp_path: Path) -> None:
    good = proto_of("g (float[3,3] x) => (float[3,3] y) { y = Relu (x) }")
    unknown = proto_of("g (float[3,3] x) => (float[3,3] y) { y = Relu (x) }")
    unknown.graph.node[0].domain = "nobody.knows"
    unknown.opset_import.append(helper.make_opsetid("nobody.knows", 1))
    paths = {name: tmp_path / f"{name}.onnx" for name in ("good", "unknown")}
    onnx.save(good, paths["good"])
    onnx.save(unknown, paths["unknown"])
    with pytest.raises(RuntimeError, match="is not valid: onnxruntime"):
        save_checked(ir.from_proto(unknown), tmp_path / "made.onnx", paths["good"])
    with pytest.raises(ModelError, match=r"unknown\.onnx.*onnxruntime cannot load"):
        save_checked(ir.from_proto(unknown), tmp_path / "made.onnx", paths["unknown"])


def test_compile_writes_nothing_that_no_runtime_loads(tmp_path: Path) -> None:
    proto = proto_of(
        "g (float[3,3] x) => (float[3,3] y) <float[3,3] w> { h = MatMul (x, w) y = Relu (h) }"
    )
    proto.graph.node[1].domain = "nobody.knows"
    proto.opset_import.append(helper.make_opsetid("nobody.knows", 1))
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="onnxruntime cannot load"):
        compile_model(tmp_path / "net.onnx", ANALOG, output=tmp_path / "net.nvmc")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_contradicting_shapes_are_no_fault_of_ours(tmp_path: Path) -> None:
    """onnxruntime loads it, and would find them out once it runs it; folding shows them."""
    proto = proto_of(
        """g (float[N,2,8] x) => (float[N,5] y)
        <float[4,5] w, int64[1] one = {1}, int64[1] five = {5}> {
          s = Shape <end = 1> (x)
          t = Concat <axis = 0> (s, five, one)
          r = Reshape (x, t)
          m = ReduceMean <keepdims = 0> (r, one)
          y = MatMul (m, w)
        }"""
    )
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="contradict each other|cannot load"):
        compile_model(tmp_path / "net.onnx", ANALOG, output=tmp_path / "net.nvmc")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_standard_operators_have_no_overloads(tmp_path: Path) -> None:
    """A name that onnxruntime passes over, and that must not get to functions of ours."""
    proto = proto_of("g (float[3,3] x) => (float[3,3] y) <float[3,3] w> { y = MatMul (x, w) }")
    proto.graph.node[0].overload = "fast"
    onnx.save(proto, tmp_path / "net.onnx")
    compiled = compile_model(tmp_path / "net.onnx", ANALOG, output=tmp_path / "net.nvmc")
    assert [entry.op for entry in compiled.manifest.layers] == ["CrossbarMatMul"]


def test_a_type_that_is_not_told_is_float(tmp_path: Path) -> None:
    proto = proto_of("g (float[3,3] x) => (float[3,3] y) <float[3,3] w> { y = MatMul (x, w) }")
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UNDEFINED
    onnx.save(proto, tmp_path / "net.onnx")
    try:
        compiled = compile_model(tmp_path / "net.onnx", ANALOG, output=tmp_path / "net.nvmc")
    except ModelError:
        return
    assert compiled.manifest.outputs[0].dtype == "float32"


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("g (float[N,2,5,5] x, float[N,4] z) => (float[N,3,5,5] y) { y = Conv (x, w) }", (2, 2)),
        ("g (float[N,2,5,5] x, float[N,4] z) => (float[N,3,5,5] y) { y = Conv (x, w) }", ()),
        ("g (float[N,4] x, float[N,4] z) => (float[N,3] y) { y = MatMul (x, w) }", ()),
        ("g (float[N,4] x, float[N,4] z) => (float[N,3] y) { y = Gemm (x, w) }", (4,)),
    ],
)
def test_weights_with_too_few_axes_are_no_fault(
    text: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """onnx.checker does not mind; a layer beside it is mapped all the same."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]>{text}')
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), "w"))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((4, 2), np.float32), "v"))
    proto.graph.node.append(helper.make_node("MatMul", ["z", "v"], ["good"]))
    proto.graph.output.append(helper.make_tensor_value_info("good", TensorProto.FLOAT, ["N", 2]))
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="onnxruntime cannot load|contradict|valid ONNX"):
        compile_model(tmp_path / "net.onnx", ANALOG, output=tmp_path / "net.nvmc")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
