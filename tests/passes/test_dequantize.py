"""Operators of quantised networks on crossbars: what they compute, and whose codes cells hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest

from compiled_networks import load_network
from nvmc import make_session, program_chip
from nvmc.runtime.montecarlo import open_session
from quantised_networks import codes, compile_network, exact, ideal, model, steps

RNG = np.random.default_rng(11)


def reference(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(onnx.reference.ReferenceEvaluator(proto).run(None, feeds)[0])


F32, U8, I8 = np.float32, np.uint8, np.int8
X8 = RNG.integers(0, 256, (3, 4, 5, 5)).astype(U8)
ROWS = RNG.standard_normal((2, 3, 12)).astype(F32)
ROWS8 = RNG.integers(0, 256, (2, 12)).astype(U8)


@dataclass
class Case:
    """A network, what it is fed, what it gives, and what the manifest says of its codes.

    `off` is by how much a result may be off: rounding of sums in float32, or a step of the output
    where a sum lies between two.
    """

    proto: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    expected: Callable[[onnx.ModelProto, dict[str, np.ndarray]], np.ndarray]
    grid: str
    off: float


def by_onnxruntime(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    return exact(proto, feeds)[0]


def same(values: np.ndarray) -> Callable[[Any, Any], np.ndarray]:
    return lambda proto, feeds: values


CONV = "strides = [2, 1], pads = [1, 0, 2, 1], group = 2"


def _cases() -> dict[str, Case]:
    cases = {
        "QLinearConv": Case(
            model(
                f"""g (uint8[N,4,5,5] x) => (uint8[N,6,3,4] y) {{
                  y = QLinearConv <{CONV}> (x, xs, xz, w, ws, wz, ys, yz, b)
                }}""",
                xs=F32(0.02),
                xz=U8(100),
                w=codes(6, 2, 3, 3),
                ws=steps(6),
                wz=np.array([0, 3, -5, 7, 0, 1], I8),
                ys=F32(0.3),
                yz=U8(120),
                b=RNG.integers(-900, 900, 6).astype(np.int32),
            ),
            {"x": X8},
            reference,
            "kept int8 per channel",
            1,
        ),
        "QLinearMatMul": Case(
            model(
                """g (uint8[N,12] x) => (uint8[N,5] y) {
                  y = QLinearMatMul (x, xs, xz, w, ws, wz, ys, yz)
                }""",
                xs=F32(0.02),
                xz=U8(100),
                w=codes(12, 5),
                ws=steps(5),
                wz=codes(5, top=3),
                ys=F32(0.3),
                yz=U8(120),
            ),
            {"x": ROWS8},
            by_onnxruntime,
            "kept int8 per channel",
            1,
        ),
        "MatMulInteger": Case(
            model(
                """g (uint8[N,12] x) => (int32[N,5] y) { y = MatMulInteger (x, w, xz, wz) }""",
                w=codes(12, 5),
                xz=U8(90),
                wz=codes(5, top=3),
            ),
            {"x": ROWS8},
            reference,
            "kept int8 per tensor",
            0,
        ),
        "ConvInteger": Case(
            model(
                f"""g (uint8[N,4,5,5] x) => (int32[N,6,3,4] y) {{
                  y = ConvInteger <{CONV}> (x, w, xz, wz)
                }}""",
                w=RNG.integers(0, 256, (6, 2, 3, 3)).astype(U8),
                xz=U8(90),
                wz=U8(128),
            ),
            {"x": X8},
            lambda proto, feeds: conv_integer(feeds["x"].astype(int) - 90, proto, 128),
            "kept uint8 per tensor",
            0,
        ),
        "DynamicQuantizeMatMul": Case(
            model(
                """g (float[1,3,12] x) => (float[1,3,5] y) {
                  y = com.microsoft.DynamicQuantizeMatMul (x, w, s, z, b)
                }""",
                w=codes(12, 5, top=60),
                s=steps(5),
                z=codes(5, top=3),
                b=steps(5),
            ),
            {"x": ROWS[:1]},
            by_onnxruntime,
            "kept int8 per channel, codes x3",
            1e-4,
        ),
        "MatMulIntegerToFloat": Case(
            model(
                """g (uint8[N,12] x) => (float[N,5] y) {
                  y = com.microsoft.MatMulIntegerToFloat (x, w, xs, s, xz, z, b)
                }""",
                w=codes(12, 5, top=60),
                xs=F32(0.02),
                xz=U8(100),
                s=steps(5),
                z=codes(5, top=3),
                b=steps(5),
            ),
            {"x": ROWS8},
            by_onnxruntime,
            "kept int8 per channel, codes x3",
            1e-4,
        ),
        "QGemm": Case(
            model(
                """g (uint8[N,12] x) => (float[N,5] y) {
                  y = com.microsoft.QGemm <alpha = 0.5, transB = 1> (x, xs, xz, w, ws, wz, c)
                }""",
                xs=F32(0.02),
                xz=U8(100),
                w=codes(5, 12, top=60),
                ws=steps(5),
                wz=np.zeros(5, I8),
                c=RNG.integers(-900, 900, 5).astype(np.int32),
            ),
            {"x": ROWS8},
            lambda proto, feeds: gemm(proto, feeds["x"]),
            "kept int8 per channel, codes x3",
            1e-4,
        ),
    }
    for bits, size, zeros, grid in [
        (4, 16, None, "kept uint4 per channel, codes x31"),
        (4, 16, "packed", "kept uint4 per channel, codes x15"),
        (8, 16, "packed", "kept uint8 per channel"),
        (2, 16, "float", ""),
        (4, 32, "packed", "refitted from uint4 in blocks to 8 bits"),
    ]:
        cases[f"MatMulNBits {bits} {size} {zeros}"] = nbits(bits, size, zeros, grid)
    return cases


def conv_integer(x: np.ndarray, proto: onnx.ModelProto, zero: int) -> np.ndarray:
    """ConvInteger with the settings of `CONV`, window by window."""
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    w = stored["w"].astype(int) - zero
    padded = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 1)))
    y = np.zeros((len(x), 6, 3, 4), np.int32)
    for m, i, j in np.ndindex(6, 3, 4):
        group = slice(2 * (m // 3), 2 * (m // 3) + 2)
        window = padded[:, group, 2 * i : 2 * i + 3, j : j + 3]
        y[:, m, i, j] = (window * w[m]).sum((1, 2, 3))
    return y


def gemm(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """QGemm: alpha * a_scale * b_scale * (integers + C)."""
    v = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    whole = (x.astype(int) - int(v["xz"])) @ v["w"].astype(int).T + v["c"]
    return 0.5 * v["xs"].astype(float) * v["ws"].astype(float) * whole


def nbits(bits: int, size: int, zeros: str | None, grid: str) -> Case:
    """K = 40 in blocks of 64 (one), or of 32 (two, the second filled up)."""
    size = 64 if size == 16 else size
    k, n, blocks = 40, 6, -(-40 // size)
    q = RNG.integers(0, 2**bits, (n, blocks * size))
    scale = RNG.uniform(0.01, 0.1, (n, blocks)).astype(F32)
    zero = RNG.integers(0, 2**bits, (n, blocks))
    each = 8 // bits

    def packed(values: np.ndarray) -> np.ndarray:
        full = np.pad(values, ((0, 0), (0, -values.shape[1] % each)))
        parts = full.reshape(len(full), -1, each) << (bits * np.arange(each))
        return parts.sum(-1).astype(U8)

    stored: dict[str, np.ndarray] = {
        "b": packed(q).reshape(n, blocks, -1),
        "s": scale.ravel(),
    }
    middle: np.ndarray = np.full((n, blocks), 2.0 ** (bits - 1))
    if zeros == "packed":
        stored["z"], middle = packed(zero).ravel(), zero
    elif zeros == "float":
        middle = RNG.uniform(0, 2**bits, (n, blocks)).astype(F32)
        stored["z"] = middle
    weight = (q - np.repeat(middle, size, 1)) * np.repeat(scale, size, 1).astype(float)
    x = RNG.standard_normal((2, k)).astype(F32)
    proto = model(
        f"""g (float[N,{k}] x) => (float[N,{n}] y) {{
          y = com.microsoft.MatMulNBits <K = {k}, N = {n}, bits = {bits}, block_size = {size}>
            (x, b, s{", z" if zeros else ""})
        }}""",
        **stored,
    )
    # a weight that is rounded anew is off by half a step at most
    rounding = np.abs(weight).max() / 255 / 2 * np.abs(x).sum(1).max()
    return Case(
        proto, {"x": x}, same(x @ weight[:, :k].T), grid, 1e-4 if "kept" in grid else rounding
    )


CASES = _cases()


@pytest.mark.parametrize("name", CASES)
def test_the_ideal_chip_computes_what_the_network_computes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    network = compile_network(case.proto, tmp_path)
    assert [array.grid for array in network.manifest.arrays] == [case.grid]
    found = ideal(network, case.feeds).astype(float)
    chip = program_chip(network, 2, tmp_path / "chip.onnx", seed=3)
    output = exact(onnx.load(tmp_path / "chip.onnx"), case.feeds)[0]
    noisy, step = output.astype(float), 1 if output.dtype.kind in "iu" else 0
    sessions = [
        open_session(load_network(network, network.manifest.target), chip),
        make_session(network.model_path, chip=chip, quiet=True),
    ]
    for session in sessions:  # the chip is its own file, run without optimisers
        off = np.abs(session.run(None, case.feeds)[0].astype(float) - noisy).max()
        assert off <= max(step, 1e-4 * np.ptp(noisy))
    expected = case.expected(case.proto, case.feeds).astype(float)
    assert np.ptp(expected) > 20 * case.off
    assert np.abs(found - expected).max() <= case.off
    if case.off == 1:  # steps of the output: few sums lie between two
        assert np.mean(found != expected) < 0.02


def behind_identity(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same network, each of its constants behind an Identity, as exporters share them."""
    found = onnx.ModelProto()
    found.CopyFrom(proto)
    for stored in found.graph.initializer:
        found.graph.node.insert(0, onnx.helper.make_node("Identity", [stored.name], [stored.name]))
        stored.name += "_stored"
        found.graph.node[0].input[0] = stored.name
    return found


@pytest.mark.parametrize("name", CASES)
def test_constants_behind_nodes_are_weights(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    network = compile_network(behind_identity(case.proto), tmp_path)
    assert [array.grid for array in network.manifest.arrays] == [case.grid]
    assert network.manifest.mapped_share == 1
    plain = compile_network(case.proto, tmp_path)
    np.testing.assert_array_equal(ideal(network, case.feeds), ideal(plain, case.feeds))
