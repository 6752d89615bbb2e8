from __future__ import annotations

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir
import pytest

from nvmc.errors import ModelError
from nvmc.passes.canonicalize import OPSET, Canonicalize
from nvmc.passes.convert_opset import FUNCTION_OPSET
from nvmc.passes.io.load import NEWEST_OPSET
from onnx_models import MAPPED, OF_OPSET, feeds_of, run_proto
from onnx_text import proto_of

CASES = [
    pytest.param(text, opset, id=f"{name}-{opset}")
    for name, (first, last, text) in OF_OPSET.items()
    for opset in sorted({first, (first + last) // 2, last})
]


def canonical(proto: onnx.ModelProto) -> ir.Model:
    """The canonical model: checked, and the same when canonicalised again."""
    model = ir.from_proto(proto)
    assert Canonicalize()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert not Canonicalize()(model).modified
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    return model


def assert_same(proto: onnx.ModelProto, model: ir.Model) -> None:
    """Both give the same; onnxruntime may sum a Gemm in another order than a MatMul.

    float32 sums of n <= 256 products of standard normals differ by at most about
    n * 2**-24 * sum|x w| < 256 * 6e-8 * 256 in theory and by far less in practice.
    """
    feeds = feeds_of(proto)
    pairs = zip(run_proto(ir.to_proto(model), feeds), run_proto(proto, feeds), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in ir.traversal.RecursiveGraphIterator(model.graph)]


@pytest.mark.parametrize(("text", "opset"), CASES)
def test_old_forms_are_converted(text: str, opset: int) -> None:
    proto = proto_of(text, opset=opset)
    model = canonical(proto)
    assert model.graph.opset_imports == {"": OPSET}
    assert_same(proto, model)


@pytest.mark.parametrize("opset", range(OPSET, NEWEST_OPSET + 1))
def test_newer_models_keep_their_opset(opset: int) -> None:
    proto = proto_of(MAPPED["conv2d"][1], opset=opset)
    model = canonical(proto)
    assert model.graph.opset_imports[""] == opset
    assert_same(proto, model)


@pytest.mark.parametrize("name", MAPPED)
def test_nothing_changes_what_a_network_computes(name: str) -> None:
    proto = proto_of(MAPPED[name][1])
    model = ir.from_proto(proto)
    Canonicalize()(model)
    assert_same(proto, model)


def test_initializers_are_no_inputs() -> None:
    proto = proto_of(MAPPED["conv2d"][1], opset=9)
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(info)
    model = canonical(proto)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert model.ir_version >= 10
    assert_same(proto, model)


def test_a_dynamic_batch_stays_dynamic() -> None:
    model = canonical(proto_of(MAPPED["conv2d"][1]))
    assert model.graph.inputs[0].shape == ir.Shape(["B", 2, 6, 6])
    relu = next(node for node in model.graph if node.op_type == "Relu")
    assert relu.outputs[0].shape == ir.Shape(["B", 4, 6, 6])


def test_functions_are_inlined_whatever_their_opset() -> None:
    proto = proto_of("g (float[2,3,4] x) => (float[N,M,K] y) { y = Abs (x) }", opset=17)
    proto.opset_import.append(onnx.helper.make_opsetid("my", 1))
    proto.functions.append(
        onnx.parser.parse_function(
            '<domain: "my", opset_import: ["" : 12]> soft (x) => (y)'
            " { s = Softmax <axis = 1> (x) y = Exp (s) }"
        )
    )
    proto.graph.node[0].CopyFrom(onnx.helper.make_node("soft", ["x"], ["y"], domain="my"))
    model = canonical(proto)
    assert not model.functions
    assert set(model.graph.opset_imports) <= {"", "my"}
    x = feeds_of(proto)["x"]
    flat = np.exp(x.reshape(2, 12))  # before opset 13, softmax is over all axes from 1 on
    expected = np.exp((flat / flat.sum(1, keepdims=True)).reshape(x.shape))
    # Softmax and Exp of values of order 1, in float32: a few roundings of 6e-8 each.
    np.testing.assert_allclose(run_proto(ir.to_proto(model), {"x": x})[0], expected, rtol=1e-5)


def test_nodes_have_names_of_their_own() -> None:
    proto = proto_of(MAPPED["branch"][1])
    for node in proto.graph.node:
        node.name = "same"
    model = canonical(proto)
    names = [node.name for node in ir.traversal.RecursiveGraphIterator(model.graph)]
    assert all(names) and len(set(names)) == len(names) and "same" in names


def test_dead_nodes_go() -> None:
    text = """g (float[2,3] x) => (float[2,3] y) <float[3,3] w> {
      a = MatMul (x, w) b = Exp (a) y = Relu (x) }"""
    model = canonical(proto_of(text))
    assert operators(model) == ["Relu"]
    assert not model.graph.initializers


def test_sequences_survive_conversion() -> None:
    text = """g (float[2,3] x, int64 i) => (float[2,3] y) {
      s = SequenceConstruct (x, x)
      y = SequenceAt (s, i)
    }"""
    proto = proto_of(text, opset=12)
    model = canonical(proto)
    x = feeds_of(proto)["x"]
    found = run_proto(ir.to_proto(model), {"x": x, "i": np.array(1)})
    np.testing.assert_array_equal(found[0], x)


@pytest.mark.parametrize("opset", [7, 14, 15, 20])
def test_an_operator_without_converter(monkeypatch: pytest.MonkeyPatch, opset: int) -> None:
    def fail(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
        raise RuntimeError("no adapter for Rare\nat some line")

    monkeypatch.setattr(onnx.version_converter, "convert_version", fail)
    proto = proto_of(MAPPED["conv2d"][1], opset=opset)
    model = ir.from_proto(proto)
    if opset < FUNCTION_OPSET:
        with pytest.raises(ModelError, match=f"opset {opset} .* to 21: no adapter for Rare; "):
            Canonicalize()(model)
        return
    Canonicalize()(model)
    assert model.graph.opset_imports[""] == opset
    assert_same(proto, model)


def test_what_passes_noted_on_nodes_survives_conversion() -> None:
    proto = proto_of(MAPPED["conv2d"][1], opset=17)
    model = ir.from_proto(proto)
    noted = model.graph[0]
    noted.metadata_props["nvmc.note"] = "kept"
    output = noted.outputs[0].name
    assert Canonicalize()(model).modified
    kept = [n for n in model.graph if "nvmc.note" in n.metadata_props]
    assert [(n.outputs[0].name, n.metadata_props["nvmc.note"]) for n in kept] == [(output, "kept")]
