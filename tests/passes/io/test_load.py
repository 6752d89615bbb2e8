from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc.compiler import compile_model
from nvmc.errors import ModelError
from nvmc.passes.io.load import NEWEST_IR, NEWEST_OPSET, OLDEST_OPSET, load_model
from onnx_models import MAPPED, feeds_of, run_proto
from onnx_text import proto_of, session_of

TEXT = MAPPED["conv2d"][1]


@pytest.fixture
def proto() -> onnx.ModelProto:
    return proto_of(TEXT)


def saved(folder: Path, content: onnx.ModelProto | bytes, name: str = "m.onnx") -> Path:
    path = folder / name
    raw = content if isinstance(content, bytes) else content.SerializeToString()
    path.write_bytes(raw)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def external(folder: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its weights in `m.data`; returns what m.onnx holds, to be tampered with."""
    onnx.save(
        proto, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    return onnx.load(folder / "m.onnx", load_external_data=False)


def relocated(proto: onnx.ModelProto, **changes: str) -> onnx.ModelProto:
    for entry in proto.graph.initializer[0].external_data:
        if entry.key in changes:
            entry.value = changes[entry.key]
    return proto


def test_a_model_is_read_as_it_is(tmp_path: Path, proto: onnx.ModelProto) -> None:
    path = saved(tmp_path, proto)
    before = path.read_bytes()
    model = load_model(path)
    feeds = feeds_of(proto)
    for found, expected in zip(
        run_proto(ir.to_proto(model), feeds), run_proto(proto, feeds), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert path.read_bytes() == before


def test_no_such_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.onnx")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        b"hello, this is text",
        bytes(range(256)) * 8,
        b"\x08\x07",
    ],
    ids=["empty", "png", "text", "bytes", "no graph"],
)
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    assert "not an ONNX model" in refused(saved(tmp_path, content))


def test_a_network_without_an_output(tmp_path: Path, proto: onnx.ModelProto) -> None:
    del proto.graph.output[:]
    assert "without an output" in refused(saved(tmp_path, proto))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_short(tmp_path: Path, proto: onnx.ModelProto, share: float) -> None:
    raw = proto.SerializeToString()
    assert "not an ONNX model, or is cut short" in refused(
        saved(tmp_path, raw[: int(len(raw) * share)])
    )


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_never_escape_as_another_error(
    tmp_path: Path, proto: onnx.ModelProto, seed: int
) -> None:
    raw = bytearray(proto.SerializeToString())
    generator = np.random.default_rng(seed)
    for place in generator.integers(0, len(raw), 40):
        raw[place] = generator.integers(256)
    try:
        load_model(saved(tmp_path, bytes(raw)))
    except ModelError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("opset", [1, OLDEST_OPSET - 1, NEWEST_OPSET + 1, 99])
def test_unsupported_opset(tmp_path: Path, proto: onnx.ModelProto, opset: int) -> None:
    proto.opset_import[0].version = opset
    message = refused(saved(tmp_path, proto))
    assert f"opset {opset}" in message and f"{OLDEST_OPSET} to {NEWEST_OPSET}" in message


newer = pytest.mark.skipif(onnx.IR_VERSION <= NEWEST_IR, reason="this onnx makes none newer")


@newer
def test_a_newer_ir_version_is_lowered(tmp_path: Path, proto: onnx.ModelProto) -> None:
    """What `onnx.helper.make_model` makes is newer than onnxruntime reads, and says the same."""
    sources = [tmp_path / "old.onnx", tmp_path / "new.onnx"]
    for path, version in zip(sources, (NEWEST_IR, onnx.IR_VERSION), strict=True):
        proto.ir_version = version
        path.write_bytes(proto.SerializeToString())
    before = sources[1].read_bytes()
    made = [compile_model(path, "fefet2", output=path.with_suffix(".nvmc")) for path in sources]
    assert sources[1].read_bytes() == before
    texts = [(path.with_suffix(".nvmc") / "model.onnx").read_bytes() for path in sources]
    assert texts[0] == texts[1]
    old, new = (one.manifest.against_source for one in made)
    assert old == new and new is not None and not new.reason


def test_an_ir_version_that_nobody_here_knows(tmp_path: Path, proto: onnx.ModelProto) -> None:
    proto.ir_version = onnx.IR_VERSION + 1
    message = refused(saved(tmp_path, proto))
    assert f"has IR version {onnx.IR_VERSION + 1}; expected at most {NEWEST_IR}" in message
    assert message.endswith(f"export it with ir_version={NEWEST_IR}")


@newer
def test_what_a_newer_ir_version_added(tmp_path: Path) -> None:
    """Folded away, it was compiled before anybody knew whether onnxruntime agrees."""
    proto = proto_of("""g (float[N,4] x) => (float[N,3] y) <float[4,3] w, float[4] q> {
        c = Cast <to = 1> (q)
        z = Mul (x, c)
        y = MatMul (z, w)
    }""")
    proto.ir_version = onnx.IR_VERSION
    (tensor,) = (one for one in proto.graph.initializer if one.name == "q")
    tensor.data_type, tensor.raw_data = onnx.TensorProto.FLOAT6E2M3, bytes(3)
    assert "has numbers of six bits" in refused(saved(tmp_path, proto))


def test_other_domains_are_no_concern(tmp_path: Path, proto: onnx.ModelProto) -> None:
    proto.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    assert load_model(saved(tmp_path, proto)).graph.opset_imports["ai.onnx.ml"] == 3


def test_external_data_is_read(tmp_path: Path, proto: onnx.ModelProto) -> None:
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    external(tmp_path, proto)
    model = load_model(tmp_path / "m.onnx")
    for name, value in model.graph.initializers.items():
        assert value.const_value is not None
        np.testing.assert_array_equal(value.const_value.numpy(), stored[name])


@pytest.mark.parametrize("width", [4, 4000])
def test_what_is_read_no_longer_points_to_the_data_file(tmp_path: Path, width: int) -> None:
    text = f"g (float[1,{width}] x) => (float[1,1] y) <float[{width},1] w> {{ y = MatMul (x, w) }}"
    external(tmp_path, proto_of(text))
    found = ir.to_proto(load_model(tmp_path / "m.onnx"))
    expected = proto_of(text)
    assert found.graph.initializer[0].data_location == onnx.TensorProto.DEFAULT
    assert run_proto(found, feeds_of(expected)) == run_proto(expected, feeds_of(expected))


def test_external_data_missing(tmp_path: Path, proto: onnx.ModelProto) -> None:
    external(tmp_path, proto)
    (tmp_path / "m.data").unlink()
    assert "'m.data'" in (message := refused(tmp_path / "m.onnx")) and "is missing" in message


def test_external_data_too_short(tmp_path: Path, proto: onnx.ModelProto) -> None:
    external(tmp_path, proto)
    with (tmp_path / "m.data").open("r+b") as file:
        file.truncate(10)
    assert "is too short" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize("place", ["absolute", "parent", "link"])
def test_external_data_outside(tmp_path: Path, proto: onnx.ModelProto, place: str) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    content = external(home, proto)
    os.rename(home / "m.data", elsewhere / "m.data")
    if place == "link":
        (home / "m.data").symlink_to(elsewhere / "m.data")
    where = {"absolute": str(elsewhere / "m.data"), "parent": "../elsewhere/m.data"}
    content = relocated(content, location=where.get(place, "m.data"))
    assert "outside the model's folder" in refused(saved(home, content))


def test_external_data_that_is_a_folder(tmp_path: Path, proto: onnx.ModelProto) -> None:
    content = external(tmp_path, proto)
    (tmp_path / "sub").mkdir()
    assert "is not a file" in refused(saved(tmp_path, relocated(content, location="sub")))


def test_external_length_that_does_not_fit(tmp_path: Path, proto: onnx.ModelProto) -> None:
    content = relocated(external(tmp_path, proto), length="4")
    assert "says length 4" in refused(saved(tmp_path, content))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(tmp_path: Path, proto: onnx.ModelProto, value: float) -> None:
    weight = next(t for t in proto.graph.initializer if t.name == "v")
    array = onnx.numpy_helper.to_array(weight).copy()
    array[1, 2] = value
    weight.CopyFrom(onnx.numpy_helper.from_array(array, "v"))
    message = refused(saved(tmp_path, proto))
    assert "'v'" in message and ("NaN" if np.isnan(value) else "infinity") in message


def test_an_infinite_mask_is_no_weight(tmp_path: Path) -> None:
    text = """g (float[2,2] x) => (float[2,2] y) <float[2] m = {0.0, -inf}> { y = Add (x, m) }"""
    load_model(saved(tmp_path, proto_of(text)))


@pytest.mark.parametrize(
    ("width", "message"),
    [(4, "w\\) raw_data size|'w' is damaged"), (4000, "tensor 'w' is damaged")],
)
def test_data_that_does_not_fit_its_shape(tmp_path: Path, width: int, message: str) -> None:
    text = f"g (float[1,{width}] x) => (float[1,1] y) <float[{width},1] w> {{ y = MatMul (x, w) }}"
    proto = proto_of(text)
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    assert re.search(message, refused(saved(tmp_path, proto)))


def test_what_the_checker_refuses(tmp_path: Path, proto: onnx.ModelProto) -> None:
    proto.graph.node[1].op_type = "Rellu"
    message = refused(saved(tmp_path, proto))
    assert "not valid ONNX" in message and "Rellu" in message


def test_sparse_initializers_are_refused(tmp_path: Path, proto: onnx.ModelProto) -> None:
    values = onnx.helper.make_tensor("s", onnx.TensorProto.FLOAT, [1], [1.0])
    indices = onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [1], [0])
    proto.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [3]))
    assert "sparse constants; make them dense" in refused(saved(tmp_path, proto))
    node = proto.graph.node.add(op_type="Constant", output=["unused"])
    sparse = onnx.helper.make_sparse_tensor(values, indices, [3])
    node.attribute.append(onnx.helper.make_attribute("sparse_value", sparse))
    del proto.graph.sparse_initializer[:]
    assert "sparse constants; make them dense" in refused(saved(tmp_path, proto))


def test_the_standard_domain_has_two_names(tmp_path: Path, proto: onnx.ModelProto) -> None:
    expected = run_proto(proto, feeds_of(proto))
    for node in proto.graph.node:
        node.domain = "ai.onnx"
    model = load_model(saved(tmp_path, proto))
    assert {node.domain for node in model.graph} == {""}
    for found, wanted in zip(run_proto(ir.to_proto(model), feeds_of(proto)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_nodes_out_of_order_are_sorted(tmp_path: Path, proto: onnx.ModelProto) -> None:
    expected = run_proto(proto, feeds_of(proto))
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    found = ir.to_proto(load_model(saved(tmp_path, proto)))
    np.testing.assert_array_equal(run_proto(found, feeds_of(proto))[0], expected[0])


def test_old_models_need_not_list_weights_as_inputs(tmp_path: Path, proto: onnx.ModelProto) -> None:
    proto.ir_version = 3
    proto.opset_import[0].version = 9
    load_model(saved(tmp_path, proto))


def zipped(kind: int = onnx.TensorProto.INT64) -> onnx.ModelProto:
    """What skl2onnx writes of a classifier: the label, and a map of class to probability."""
    proto = proto_of(
        "g (float[N,4] x) => (int64[N] label) <float[4,3] w> { s = MatMul (x, w) "
        "probabilities = Softmax (s) label = ArgMax <axis = 1, keepdims = 0> (s) }"
    )
    helper = onnx.helper
    one = helper.make_map_type_proto(kind, helper.make_tensor_type_proto(1, []))
    maps = helper.make_value_info("output_probability", helper.make_sequence_type_proto(one))
    node = helper.make_node(
        "ZipMap", ["probabilities"], [maps.name], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]
    )
    proto.graph.node.append(node)
    proto.graph.output.append(maps)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return proto


def test_zip_maps_are_read_past(tmp_path: Path) -> None:
    onnx.save(zipped(), tmp_path / "m.onnx")
    model = load_model(tmp_path / "m.onnx")
    assert [value.name for value in model.graph.outputs] == ["label", "probabilities"]
    assert "ZipMap" not in [node.op_type for node in model.graph]
    found = session_of(model).run(["probabilities"], {"x": np.ones((2, 4), np.float32)})[0]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_other_maps_are_refused_by_name(tmp_path: Path) -> None:
    proto = zipped()
    proto.graph.node[-1].op_type = "CastMap"
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="'output_probability' holds maps.*zipmap=False"):
        load_model(tmp_path / "m.onnx")


def test_a_value_of_no_type_is_one_that_nothing_is_said_of(tmp_path: Path) -> None:
    """Type 0 ended as "a fault of nvmc itself" where bytes were counted."""
    proto = proto_of(MAPPED["conv2d"][1])
    proto = onnx.shape_inference.infer_shapes(proto)
    inner = {name for node in proto.graph.node for name in node.output}
    inner -= {value.name for value in proto.graph.output}
    made = [onnx.helper.make_tensor_value_info(name, 0, [1, 2]) for name in sorted(inner)]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(made)
    model = load_model(saved(tmp_path, proto))
    assert made or len(proto.graph.node) == 1
    assert all(v.dtype != ir.DataType.UNDEFINED for n in model.graph for v in n.outputs)


def test_where_nodes_ran_elsewhere_is_left_out(tmp_path: Path, proto: onnx.ModelProto) -> None:
    """An empty one could not be written again: a fault of nvmc itself, it said."""
    for node in proto.graph.node:
        node.device_configurations.add()
    model = load_model(saved(tmp_path, proto))
    assert not any(node.device_configurations for node in ir.to_proto(model).graph.node)


def test_a_reference_outside_of_functions_is_refused(
    tmp_path: Path, proto: onnx.ModelProto
) -> None:
    """onnxruntime takes the file, but not what is made of it."""
    attribute = proto.graph.node[0].attribute.add(name="group", ref_attr_name="g")
    attribute.type = onnx.AttributeProto.INT
    assert "refers to 'g' of a function" in refused(saved(tmp_path, proto))
