from __future__ import annotations

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir
import pytest

from nvmc.compiled.artifact import TARGET_KEY
from nvmc.compiled.operators import VERSION
from nvmc.compiled.options import CompileOptions, Kind
from nvmc.errors import OptionError
from nvmc.hardware.devices import Target, load_device
from nvmc.hardware.tiling import Matrix, tiles_of
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.graph.arrays import Mapping
from nvmc.passes.map_crossbars import MapCrossbars
from nvmc.passes.pipeline import compile_passes
from nvmc.passes.quantize_weights import QuantizeWeights
from onnx_models import MAPPED, feeds_of, run_proto
from onnx_text import proto_of, text_of

IDEAL = Target.of(load_device("ideal"))
FEFET = Target.of(load_device("fefet2"))


def compiled(
    text: str,
    target: Target = IDEAL,
    options: CompileOptions = CompileOptions(),  # noqa: B008
) -> tuple[ir.Model, Mapping]:
    """The compiled network, checked."""
    model = ir.from_proto(proto_of(text))
    for step in compile_passes(target, options):
        step(model)
    assert isinstance(step, MapCrossbars)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model, step.mapping


def outputs(model: ir.Model, text: str) -> list[np.ndarray]:
    return run_proto(ir.to_proto(model), feeds_of(proto_of(text)))


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", MAPPED)
def test_analog_weights_give_the_stock_outputs(name: str) -> None:
    operators, text = MAPPED[name]
    model, mapping = compiled(text)
    assert [layer.op for layer in mapping.layers] == [f"Crossbar{name}" for name in operators]
    # onnxruntime inlines the same operator on the same float32 weights.
    canonical = ir.from_proto(proto_of(text))
    Canonicalize()(canonical)
    assert_equal(outputs(model, text), outputs(canonical, text))


@pytest.mark.parametrize("name", MAPPED)
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_weights_give_the_quantised_networks_outputs(
    name: str, per_channel: bool
) -> None:
    operators, text = MAPPED[name]
    target = FEFET.model_copy(update={"per_channel": per_channel})
    model, mapping = compiled(text, target)
    assert [layer.op for layer in mapping.layers] == [f"Crossbar{name}" for name in operators]
    quantised = ir.from_proto(proto_of(text))
    Canonicalize()(quantised)
    QuantizeWeights(4, per_channel)(quantised)
    assert_equal(outputs(model, text), outputs(quantised, text))


def test_a_network_quantised_before_gives_the_same_codes() -> None:
    text = MAPPED["conv2d"][1]
    once, _ = compiled(text, FEFET)
    model = ir.from_proto(proto_of(text))
    QuantizeWeights(4)(model)
    for step in compile_passes(FEFET):
        step(model)
    for name in ("w.codes", "v.codes"):
        found = model.graph.initializers[name].const_value
        expected = once.graph.initializers[name].const_value
        assert found is not None and expected is not None
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("opset", [15, 21, 26])
@pytest.mark.parametrize("name", ["conv2d", "lstm", "branch"])
def test_function_bodies_run_at_every_opset_that_stays(
    name: str, opset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opset 15 stays where onnx has no converter."""

    def fail(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
        raise RuntimeError("no adapter")

    monkeypatch.setattr(onnx.version_converter, "convert_version", fail)
    proto = proto_of(MAPPED[name][1], opset=opset)
    feeds = feeds_of(proto)
    expected = run_proto(proto, feeds)
    model = ir.from_proto(proto)
    for step in compile_passes(IDEAL):
        step(model)
    assert model.graph.opset_imports[""] == opset
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for found, wanted in zip(run_proto(ir.to_proto(model), feeds), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_running_it_twice_changes_nothing_more() -> None:
    model, _ = compiled(MAPPED["conv2d"][1], FEFET)
    before = text_of(model)
    assert not MapCrossbars(FEFET)(model).modified
    assert text_of(model) == before


@pytest.mark.parametrize("name", MAPPED)
def test_every_node_is_listed_once(name: str) -> None:
    model, mapping = compiled(MAPPED[name][1])
    names = [node.name for node in ir.traversal.RecursiveGraphIterator(model.graph)]
    listed = [entry.name for entry in (*mapping.layers, *mapping.digital)]
    assert sorted(listed) == sorted(str(name) for name in names)
    assert all(entry.reason for entry in mapping.digital)


def test_a_shared_weight_is_one_array() -> None:
    _, mapping = compiled(MAPPED["shared"][1])
    assert [array.name for array in mapping.arrays] == ["w"]
    assert [layer.arrays for layer in mapping.layers] == [["w"], ["w"]]


def test_attention_projections_are_not_left_digital() -> None:
    """Packed or transposed as exporters write them; only products of two activations remain."""
    text = """g (float[B,3,4] x) => (y)
    <float[12,4] w, float[4,4] o, int64[3] s = {4,4,4}> {
      a, b, c = Split <axis = 0> (w, s)
      wq = Transpose <perm = [1,0]> (a)
      wk = Transpose <perm = [1,0]> (b)
      wv = Transpose <perm = [1,0]> (c)
      q = MatMul (x, wq)
      k = MatMul (x, wk)
      v = MatMul (x, wv)
      kt = Transpose <perm = [0,2,1]> (k)
      e = MatMul (q, kt)
      p = Softmax (e)
      h = MatMul (p, v)
      y = MatMul (h, o)
    }"""
    _, mapping = compiled(text)
    assert [layer.op for layer in mapping.layers] == ["CrossbarMatMul"] * 4
    digital = [entry.reason for entry in mapping.digital if entry.op == "MatMul"]
    assert digital == ["weight B is computed at run time, not constant"] * 2


def test_recurrent_layers_have_two_arrays() -> None:
    _, mapping = compiled(MAPPED["lstm"][1])
    assert mapping.layers[0].arrays == ["w", "r"]
    assert [(a.groups, a.rows, a.cols) for a in mapping.arrays] == [(2, 3, 16), (2, 4, 16)]


def test_the_model_says_what_it_was_compiled_for() -> None:
    model, mapping = compiled(MAPPED["conv2d"][1], FEFET)
    assert Target.model_validate_json(model.metadata_props[TARGET_KEY]) == FEFET
    assert model.graph.opset_imports["nvmc"] == VERSION
    assert {key[1] for key in model.functions} == {"CrossbarConv", "CrossbarGemm"}
    for array in mapping.arrays:
        assert array.codes in model.graph.initializers
        assert array.scale in model.graph.initializers
        assert array.name not in model.graph.initializers


def test_tiles_hold_every_weight_in_every_plane() -> None:
    target = Target.of(load_device("fefet2"), rows=32, cols=2)
    _, mapping = compiled(MAPPED["conv2d"][1], target)
    for array in mapping.arrays:
        matrix = Matrix(array.groups, array.rows, array.cols)
        tiles = list(tiles_of(matrix, array.planes, target.rows, target.cols))
        assert len(tiles) == array.tiles
        assert sum(tile.cells for tile in tiles) == array.cells
        assert array.cells == np.prod(array.shape) * target.layout.crossbars
        assert array.utilization == array.cells / (array.tiles * 64)
        assert array.planes == target.layout.crossbars


def test_skipped_layers_stay_digital_and_say_so() -> None:
    text = MAPPED["conv2d"][1]
    model, mapping = compiled(text, FEFET, CompileOptions(skip=("Gemm*",)))
    assert [layer.op for layer in mapping.layers] == ["CrossbarConv"]
    (entry,) = (entry for entry in mapping.digital if entry.op == "Gemm")
    assert entry.reason == "skipped by 'Gemm*'"
    assert "v" in model.graph.initializers


REFUSED = [
    ("y = MatMul (x, x)", "weight B is computed at run time"),
    ("i = Cast <to = 6> (x) m = MatMul (i, k) y = Cast <to = 1> (m)", "is of type INT32"),
    ('y = Einsum <equation = "ij,ij->ij"> (x, w)', "not an Einsum of two operands that MatMul"),
    ("y = Relu (x)", "element-wise"),
    ("y = Softmax (x)", "normalisation"),
    ("y = Transpose (x)", "moves or converts data"),
    ("y = Dropout (x)", "dropout, no matrix product"),
    ("y = Gemm (x, x)", "weight B is computed at run time"),
    ("r = Reshape (x, s) y = Conv (r, r)", "weight W is computed at run time"),
]


@pytest.mark.parametrize(("nodes", "reason"), REFUSED)
def test_digital_nodes_say_why(nodes: str, reason: str) -> None:
    text = f"""g (float[4,4] x) => (y)
    <float[4,4] w, int32[4,1] k = {{1,2,3,4}}, int64[4] s = {{1,1,4,4}}> {{ {nodes} }}"""
    _, mapping = compiled(text)
    assert not mapping.layers
    assert any(reason in entry.reason for entry in mapping.digital)


def test_nodes_of_other_domains_say_why() -> None:
    proto = proto_of("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    proto.graph.node[0].domain, proto.graph.node[0].op_type = "com.microsoft", "Gelu"
    model = ir.from_proto(proto)
    step = MapCrossbars(IDEAL)
    step(model)
    assert step.mapping.digital[0].reason.startswith("operator of domain 'com.microsoft'")


NORMED = """g (float[2,3,8,8] x) => (y)
<float[4,3,3,3] w, float[4] b, float[4] s, float[4] t, float[4] m,
 float[4] v = {1.0, 2.0, 0.5, 0.7}, float[6,5] u, float[5] a> {
  c = Conv (x, w, b)
  n = BatchNormalization (c, s, t, m, v)
  h = MatMul (n, u)
  y = Add (h, a)
}"""


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ((), set()),
        (("bias",), {"b", "a"}),
        (("norm",), {"s", "t"}),
        (("bias", "norm"), {"b", "a", "s", "t"}),
    ],
)
def test_parameters_can_be_stored_in_cells(parameters: tuple[Kind, ...], names: set[str]) -> None:
    model, mapping = compiled(NORMED, options=CompileOptions(store=parameters))
    stored = {layer.arrays[0] for layer in mapping.layers if layer.op == "CrossbarParameter"}
    assert stored == names
    plain, _ = compiled(NORMED)
    assert_equal(outputs(model, NORMED), outputs(plain, NORMED))


def test_quantised_parameters_are_off_by_half_a_step_at_most() -> None:
    model, _ = compiled(NORMED, FEFET, CompileOptions(store=("bias",)))
    plain = ir.from_proto(proto_of(NORMED)).graph.initializers["b"].const_value
    assert plain is not None
    codes = model.graph.initializers["b.codes"].const_value
    scale = model.graph.initializers["b.scale"].const_value
    assert codes is not None and scale is not None
    error = np.abs(codes.numpy() * scale.numpy() - plain.numpy())
    assert np.all(error <= scale.numpy() * (0.5 + 15 * 2**-23))


@pytest.mark.parametrize(("dtype", "kind"), [(np.float64, "double"), (np.float16, "float16")])
@pytest.mark.parametrize("target", [IDEAL, FEFET], ids=["analog", "quantised"])
def test_other_float_types(dtype: type, kind: str, target: Target) -> None:
    generator = np.random.default_rng(0)
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g ({kind}[2,3] x) => ({kind}[2,2] y)'
        " { y = Gemm (x, w, b) }"
    )
    for name, shape in {"w": (3, 2), "b": (2,)}.items():
        array = generator.standard_normal(shape).astype(dtype)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model = ir.from_proto(proto)
    for step in compile_passes(target, CompileOptions(store=("bias",))):
        step(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    found = run_proto(ir.to_proto(model), feeds_of(proto))[0]
    assert found.dtype == dtype


def test_a_float_weight_on_a_quantised_target() -> None:
    with pytest.raises(OptionError, match="run quantize-weights before map-crossbars"):
        MapCrossbars(FEFET)(ir.from_proto(proto_of(MAPPED["gemm"][1])))


def test_codes_that_do_not_fit_the_target() -> None:
    model = ir.from_proto(proto_of(MAPPED["gemm"][1]))
    QuantizeWeights(8)(model)
    with pytest.raises(OptionError, match="codes up to 255, but 4 bits hold 15"):
        MapCrossbars(FEFET)(model)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_code_is_one_below_a_power_of_two(sign: int) -> None:
    model = ir.from_proto(proto_of(MAPPED["gemm"][1]))
    QuantizeWeights(4)(model)
    value = model.graph.initializers["w.codes"]
    assert value.const_value is not None
    codes = value.const_value.numpy().copy()
    codes.flat[0] = sign * 16
    value.const_value = ir.Tensor(codes, name="w.codes")
    with pytest.raises(OptionError, match="codes up to 16, but 4 bits hold 15"):
        MapCrossbars(FEFET)(model)


def test_quantised_weights_on_an_analog_target() -> None:
    model = ir.from_proto(proto_of(MAPPED["gemm"][1]))
    QuantizeWeights(4)(model)
    with pytest.raises(OptionError, match="quantised, but the target is analog"):
        MapCrossbars(IDEAL)(model)
    Canonicalize()(model)  # gives float weights back
    assert MapCrossbars(IDEAL)(model).modified
