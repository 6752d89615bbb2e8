from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc.compiled.options import CompileOptions
from nvmc.compiler import map_network
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.fold_shapes import fold_shapes
from nvmc.passes.io.load import load_model
from onnx_models import run_proto
from onnx_text import proto_of

ANALOG = Target.of(load_device("fefet2"), weight_bits="none")

CHAINS = {
    "whole": "s = Shape <start = 1> (x) w = Reshape (v, s)",
    "gathered": """s = Shape (x) g = Gather (s, one0) u = Unsqueeze (g, zero)
        k = Concat <axis = 0> (m1, u) r = Reshape (v, k) w = Transpose (r)""",
    "sliced": "s = Shape (x) k = Slice (s, one, three) w = Reshape (v, k)",
    "through the images": """s = Shape (x) n = Slice (s, zero, one) m = Constant <value_ints = [-1]>
        () k = Concat <axis = 0> (n, m) f = Reshape (x, k) t = Shape (f) e = Slice (t, one, two)
        d = Div (e, three) c = Concat <axis = 0> (d, three) w = Reshape (v, c)""",
    "computed": """s = Shape (x) g = Gather (s, two0) a = Mul (g, one0) b = Unsqueeze (a, zero)
        c = Concat <axis = 0> (m1, b) r = Reshape (v, c) w = Identity (r)""",
}


def network(chain: str) -> onnx.ModelProto:
    """x (N, 2, 3) times a weight of 6 numbers that is brought to (2, 3) by what x says."""
    return proto_of(f"""g (float[N,2,3] x) => (y)
    <float[6] v, int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}},
     int64[1] three = {{3}}, int64 one0 = {{1}}, int64 two0 = {{2}}, int64[1] m1 = {{-1}}> {{
      {chain}
      p = Transpose <perm = [1,0]> (w)
      y = MatMul (x, p)
    }}""")


def canonical(proto: onnx.ModelProto) -> ir.Model:
    model = ir.from_proto(onnx.ModelProto.FromString(proto.SerializeToString()))
    Canonicalize()(model)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert not Canonicalize()(model).modified
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    return model


def assert_same(proto: onnx.ModelProto, made: onnx.ModelProto, *shape: int) -> None:
    for images in (1, 3, 7):
        x = np.random.default_rng(images).standard_normal((images, *shape)).astype(np.float32)
        pairs = zip(run_proto(made, {"x": x}), run_proto(proto, {"x": x}), strict=True)
        for found, wanted in pairs:
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CHAINS)
def test_a_weight_that_takes_its_shape_from_an_activation_is_constant(name: str) -> None:
    proto = network(CHAINS[name])
    model = canonical(proto)
    assert [node.op_type for node in model.graph] == ["MatMul"]
    assert model.graph.node(0).inputs[1].name == "v"  # type: ignore[union-attr]
    assert_same(proto, ir.to_proto(model), 2, 3)


@pytest.mark.parametrize(
    "chain",
    [
        "s = Shape (x) n = Gather (s, zero) u = Concat <axis = 0> (n, six) y = Reshape (x, u)",
        # as many as there are images, up to five: the same for 5 and for 65,537 images
        """s = Shape (x) n = Gather (s, zero) m = Min (n, five) k = Slice (v, zero, m)
        r = ReduceSum (k) y = Add (x, r)""",
        # twos: the remainder of 2 and of 65,537 images by 5
        """s = Shape (x) n = Gather (s, zero) m = Mod (n, five) k = Slice (v, zero, m)
        r = ReduceSum (k) y = Add (x, r)""",
    ],
)
def test_what_depends_on_the_images_stays(chain: str) -> None:
    proto = proto_of(f"""g (float[N,2,3] x) => (y)
    <float[6] v, int64[1] zero = {{0}}, int64[1] five = {{5}}, int64[1] six = {{6}}> {{
      {chain}
    }}""")
    model = canonical(proto)
    assert "Shape" in [node.op_type for node in model.graph]
    assert_same(proto, ir.to_proto(model), 2, 3)


def test_sizes_that_a_file_states_for_its_inside_are_not_believed() -> None:
    proto = proto_of("""g (float[N,2,3] x) => (y) <int64[1] six = {6}> {
      r = Relu (x)
      s = Shape (r)
      z = Constant <value_ints = [0]> ()
      n = Gather (s, z)
      u = Concat <axis = 0> (n, six)
      y = Reshape (r, u)
    }""")
    (info,) = (info for info in proto.graph.value_info if info.name == "r")
    info.type.tensor_type.shape.dim[0].dim_value = 4  # an exporter's example
    made = ir.to_proto(canonical(proto))
    del proto.graph.value_info[:], made.graph.value_info[:]
    assert_same(proto, made, 2, 3)


def test_an_axis_behind_the_images_stays_open() -> None:
    proto = proto_of("""g (float[N,T,3] x) => (y) <int64[1] one = {1}, int64[1] two = {2}> {
      s = Shape (x)
      t = Slice (s, one, two)
      k = Concat <axis = 0> (t, s)
      y = Expand (x, k)
    }""")
    model = ir.from_proto(proto)
    assert not fold_shapes(model)


def test_sizes_that_cannot_be_joined_stay_as_they_are() -> None:
    """A number beside lists; the network is wrong, and whoever runs it says so."""
    proto = proto_of("""g (float[N,2,8] x) => (y) <int64[1] four = {4}, int64[1] zero = {0}> {
      s = Shape (x)
      n = Gather (s, zero)
      t = Concat <axis = 0> (n, four)
      y = Reshape (x, t)
    }""")
    (four,) = (tensor for tensor in proto.graph.initializer if tensor.name == "four")
    del four.dims[:], proto.graph.value_info[:]
    assert not fold_shapes(ir.from_proto(proto))


def test_a_network_that_asks_for_no_shape_is_not_looked_at() -> None:
    assert not fold_shapes(ir.from_proto(proto_of("g (float[N,3] x) => (y) { y = Relu (x) }")))


@pytest.mark.filterwarnings("ignore")  # torch's, of the exporter that older scripts use
def test_exports_that_fold_nothing_are_mapped_whole(tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch")

    class Reshaping(torch.nn.Module):
        """Weights whose shapes are computed from those of activations."""

        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(1, 4, 3, padding=1)
            self.second = torch.nn.Parameter(torch.randn(6 * 4 * 3 * 3) * 0.2)
            self.last = torch.nn.Parameter(torch.randn(6 * 64 * 10) * 0.1)

        def forward(self, x: Any) -> Any:
            h = torch.relu(self.first(x))
            h = torch.relu(
                torch.nn.functional.conv2d(h, self.second.view(-1, h.shape[1], 3, 3), padding=1)
            )
            h = h.reshape(h.shape[0], -1)
            return h @ self.last.view(h.shape[1], -1)

    torch.manual_seed(0)
    path = tmp_path / "net.onnx"
    torch.onnx.export(
        Reshaping().eval(),
        (torch.zeros(2, 1, 8, 8),),
        path,
        dynamo=False,
        do_constant_folding=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "N"}},
    )
    proto = onnx.load(path)
    mapped = map_network(load_model(path), ANALOG, CompileOptions())
    assert mapped.mapping.work.share == 1
    assert mapped.mapping.work.mapped == 64 * 4 * 9 + 64 * 6 * 4 * 9 + 6 * 64 * 10
    assert_same(proto, ir.to_proto(mapped.model), 1, 8, 8)
