"""Integer products whose operands are computed: of constants, which are weights, or of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from nvmc.compiled.options import CompileOptions
from nvmc.compiler import compile_model
from nvmc.errors import ModelError
from nvmc.hardware.devices import Target, load_device
from nvmc.training import Settings, make_method, make_task, train
from quantised_networks import codes, compile_network, exact, ideal, model, steps

F32, U8, I8 = np.float32, np.uint8, np.int8


def normal(*shape: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(F32)


def quantised_in_the_graph() -> onnx.ModelProto:
    """As onnxruntime's quantizer leaves weights that it does not round itself."""
    return model(
        """g (float[N,2,12] x) => (float[N,2,5] y) {
          xq = QuantizeLinear (x, xs, xz)
          wq = QuantizeLinear <axis = 1> (w, ws, wz)
          q = QLinearMatMul (xq, xs, xz, wq, ws, wz, ys, yz)
          y = DequantizeLinear (q, ys, yz)
        }""",
        w=normal(12, 5),
        xs=F32(0.02),
        xz=U8(128),
        ws=np.linspace(0.01, 0.1, 5, dtype=F32),
        wz=np.zeros(5, I8),
        ys=F32(0.1),
        yz=U8(128),
    )


def test_a_weight_that_the_graph_quantises_keeps_its_codes_and_is_trained(tmp_path: Path) -> None:
    proto = quantised_in_the_graph()
    x = normal(8, 2, 12, seed=5)
    network = compile_network(proto, tmp_path)
    assert [array.grid for array in network.manifest.arrays] == ["kept int8 per channel"]
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    assert np.abs(ideal(network, {"x": x}) - expected).max() <= 0.101  # a step of the output
    np.savez(tmp_path / "d.npz", x=x, y=expected)
    onnx.save(proto, tmp_path / "m.onnx")
    data = str(tmp_path / "d.npz")
    target = Target.of(load_device("fefet2"), weight_bits=8, cell_bits=2)
    task = make_task(data, target, validation=data, settings=Settings(epochs=1, chips=2, every=0))
    train(tmp_path / "m.onnx", task, make_method("erm", {}), output=tmp_path / "t.onnx")
    trained = exact(onnx.load(tmp_path / "t.onnx"), {"x": x})[0]
    assert trained.shape == expected.shape and np.isfinite(trained).all()


PRODUCTS = {
    "QLinearMatMul": """
      bq = Transpose <perm = [0, 2, 1]> (aq)
      q = QLinearMatMul (aq, s, z, bq, s, z, ys, yz)
      p = DequantizeLinear (q, ys, yz)""",
    "MatMulInteger": """
      bq = Transpose <perm = [0, 2, 1]> (aq)
      q = MatMulInteger (aq, bq, z, z)
      p = Cast <to = 1> (q)""",
    "QLinearMatMul, weights left": """
      q = QLinearMatMul (w, ws, wz, aq, s, z, ys, yz)
      p = DequantizeLinear (q, ys, yz)""",
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_activations_become_float_ones(name: str, tmp_path: Path) -> None:
    """Exact integers either way; training knows them, and the share counts them right."""
    left = "left" in name
    proto = model(
        f"""g (float[N,4,6] x) => (float[N,4,{6 if left else 4}] p) {{
          m = MatMul (x, v)
          aq = QuantizeLinear (m, s, z) {PRODUCTS[name]}
        }}""",
        v=normal(6, 6),
        s=F32(0.05),
        z=U8(120),
        ys=F32(0.2),
        yz=U8(100),
        **({"w": codes(4, 4), "ws": steps(4), "wz": np.zeros(4, I8)} if left else {}),
    )
    x = normal(3, 4, 6, seed=5)
    onnx.save(proto, tmp_path / "m.onnx")
    network = compile_model(tmp_path / "m.onnx", "ideal", CompileOptions())
    assert {entry.op for entry in network.manifest.digital} <= {
        *("Cast", "Concat", "DequantizeLinear", "MatMul", "QuantizeLinear", "Round", "Sub"),
        *(("Transpose",) if not left else ()),
    }
    assert len(network.manifest.arrays) == 1 + left and network.manifest.mapped_share == 1
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    whole = np.clip(np.rint(x @ stored["v"] / stored["s"]) + 120, 0, 255) - 120
    if name == "MatMulInteger":
        expected = whole @ whole.transpose(0, 2, 1)
    else:  # onnx's reference has no steps of rows, and older ones do not saturate
        other = stored["w"] * stored["ws"][:, None] if left else whole * 0.05
        sums = other @ (whole * 0.05) if left else other @ other.transpose(0, 2, 1)
        expected = (np.clip(np.rint(sums / 0.2) + 100, 0, 255) - 100) * 0.2
    found = ideal(network, {"x": x})
    # a step of the output where a sum lies between two
    assert np.abs(found - expected).max() <= 0.201
    assert np.mean(np.abs(found - expected) > 1e-4) < 0.05


def test_zero_points_that_only_run_time_knows_are_left_alone(tmp_path: Path) -> None:
    """A zero point per row cannot be told from one per column where its size is not known."""
    proto = model(
        """g (uint8[N,12] x, uint8[K] z) => (int32[N,5] y) { y = MatMulInteger (x, w, z) }""",
        w=codes(12, 5),
    )
    with pytest.raises(ModelError, match="has no layer that can be mapped"):
        compile_network(proto, tmp_path)
