"""What holds of every kernel: linearity, independence of the batch, dtypes, bounded memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossbar_kernels import run
from nvmc.compiled.operators import OPS
from nvmc.runtime.crossbar import kernels, lowering
from nvmc.runtime.crossbar.mvm import BLOCK_VECTORS, ExactMvm
from nvmc.runtime.crossbar.operand import ExactOperand
from strategies import (
    Case,
    conv_cases,
    conv_transpose_cases,
    gemm_cases,
    matmul_cases,
    recurrent_cases,
)


def _normal(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


# (operator, batch axis of the input and of the outputs, case for a batch of that many); sizes on
# both sides of BLOCK_VECTORS, of OpenBLAS's blocking along K (384) and of its small matrices
def _batched(name: str, batch: int) -> tuple[Case, int]:
    x0 = _normal(100, 4, 9, 9)[:batch]
    match name:
        case "Conv":
            return Case("Conv", [x0, _normal(6, 4, 3, 3, seed=1), _normal(6)], {}), 0
        case "Conv few vectors":
            x = _normal(100, 40, 4, 4)[:batch]
            return Case("Conv", [x, _normal(17, 40, 3, 3, seed=1), None], {}), 0
        case "Conv depthwise":
            return Case("Conv", [x0, _normal(4, 1, 3, 3, seed=1), None], {"group": 4}), 0
        case "Conv 1x1 of one pixel":
            x = _normal(100, 500, 1)[:batch]
            return Case("Conv", [x, _normal(33, 500, 1, seed=1), None], {}), 0
        case "ConvTranspose":
            w = _normal(4, 3, 3, 3, seed=1)
            return Case("ConvTranspose", [x0, w, None], {"strides": [2, 2]}), 0
        case "Gemm":
            w = _normal(37, 513, seed=1)
            return Case("Gemm", [_normal(100, 513)[:batch], w, _normal(37)], {"transB": 1}), 0
        case "MatMul":
            return Case("MatMul", [_normal(100, 3, 120)[:batch], _normal(120, 84, seed=1)]), 0
        case "MatMul of vectors":
            return Case("MatMul", [_normal(100, 400)[:batch], _normal(400, 1, seed=1)]), 0
        case "LeftMatMul":
            return Case("MatMul", [_normal(37, 150, seed=1), _normal(100, 150, 5)[:batch]]), 0
        case _:
            gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[name]
            w, r = _normal(1, gates * 20, 30, seed=1) / 9, _normal(1, gates * 20, 20) / 9
            return Case(name, [_normal(5, 100, 30)[:, :batch], w, r], {"hidden_size": 20}), 1


BATCHED = (
    "Conv",
    "Conv few vectors",
    "Conv depthwise",
    "Conv 1x1 of one pixel",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "MatMul of vectors",
    "LeftMatMul",
    "LSTM",
    "GRU",
    "RNN",
)


def _outputs(name: str, case: Case) -> list[NDArray[Any]]:
    """Outputs with the batch axis first."""
    found = run(case, "LeftMatMul" if name == "LeftMatMul" else None)
    if case.op not in ("LSTM", "GRU", "RNN"):
        return found
    return [found[0].transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in found[1:])]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BATCHED)
def test_an_image_does_not_depend_on_its_batch(name: str, dtype: type) -> None:
    def outputs(batch: slice) -> list[NDArray[Any]]:
        case, axis = _batched(name, 100)
        which = 1 if name == "LeftMatMul" else 0
        x = case.inputs[which].astype(dtype)
        case.inputs[which] = x[batch] if axis == 0 else x[:, batch]
        return _outputs(name, case)

    whole = outputs(slice(0, 100))
    for first, count in ((0, 1), (7, 1), (99, 1), (3, 2), (0, 31), (5, 32), (1, 33), (20, 64)):
        part = outputs(slice(first, first + count))
        for found, expected in zip(part, whole, strict=True):
            np.testing.assert_array_equal(found, expected[first : first + count])


@settings(max_examples=100)
@given(
    st.one_of(
        conv_cases(),
        conv_transpose_cases(),
        recurrent_cases("LSTM"),
        recurrent_cases("GRU"),
        recurrent_cases("RNN"),
    )
)
def test_an_image_alone_is_the_same(case: Case) -> None:
    batched = {0: 0} if case.op.startswith("Conv") else {0: 1, 4: 0, 5: 1, 6: 1}
    whole = _outputs(case.op, case)
    for n in range(len(whole[0])):
        inputs = [
            v if v is None or k not in batched else np.take(v, [n], axis=batched[k])
            for k, v in enumerate(case.inputs)
        ]
        alone = _outputs(case.op, replace(case, inputs=inputs))
        for found, expected in zip(alone, whole, strict=True):
            np.testing.assert_array_equal(found[0], expected[n])


@pytest.mark.parametrize("name", BATCHED)
def test_empty_batch(name: str) -> None:
    (empty, _), (one, _) = _batched(name, 0), _batched(name, 1)
    for found, expected in zip(_outputs(name, empty), _outputs(name, one), strict=True):
        assert found.shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("name", BATCHED)
def test_dtype_of_the_activations(name: str, dtype: type) -> None:
    case, _ = _batched(name, 3)
    which = 1 if name == "LeftMatMul" else 0
    given = case.inputs[which].astype(np.float16)
    others = [v for k, v in enumerate(case.inputs) if k != which]

    def outputs(x: NDArray[Any]) -> list[NDArray[Any]]:
        return _outputs(name, replace(case, inputs=[*others[:which], x, *others[which:]]))

    # float16 is computed in float32 and rounded once; float64 differs from float32 by its rounding:
    # at most 600 products of magnitude 20 each
    for found, single in zip(
        outputs(given.astype(dtype)), outputs(given.astype(np.float32)), strict=True
    ):
        assert found.dtype == dtype
        if dtype == np.float16:
            np.testing.assert_array_equal(found, single.astype(np.float16))
        else:
            atol = 600 * float(np.finfo(np.float32).eps) * 20
            np.testing.assert_allclose(found, single, rtol=0, atol=atol)
            assert not np.array_equal(found, single)


@pytest.mark.parametrize("name", BATCHED[:9])
def test_linear_in_the_input(name: str) -> None:
    case, _ = _batched(name, 4)
    case.inputs = case.inputs[:2]
    which = 1 if name == "LeftMatMul" else 0
    case.inputs[which] = case.inputs[which].astype(np.float64)

    def output(x: NDArray[Any]) -> NDArray[Any]:
        inputs = [*case.inputs]
        inputs[which] = x
        return _outputs(name, replace(case, inputs=inputs))[0]

    x = case.inputs[which]
    other = np.roll(x, 1)
    # float64: 600 products of magnitude 100
    atol = 600 * 2.3e-16 * 100
    mixed = output(2 * x - 3 * other)
    np.testing.assert_allclose(mixed, 2 * output(x) - 3 * output(other), rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["Conv", "ConvTranspose"])
@settings(max_examples=20)
@given(data=st.data())
def test_blocks_do_not_change_a_convolution(name: str, data: st.DataObject) -> None:
    case = data.draw(conv_cases() if name == "Conv" else conv_transpose_cases())
    with pytest.MonkeyPatch.context() as patch:
        (whole,) = run(case)
        patch.setattr(lowering, "TOGETHER_BYTES", 1)
        (single,) = run(case)
        patch.setattr(lowering, "BLOCK_BYTES", 1)
        (rows,) = run(case)
    np.testing.assert_array_equal(single, whole)
    # cut into rows the products have other shapes, and BLAS another order: at most 27 * 9 products
    # of magnitude 1
    np.testing.assert_allclose(rows, whole, rtol=0, atol=243 * float(np.finfo(np.float32).eps))


def test_memory_of_a_convolution_is_bounded() -> None:
    # unfolded this input takes 9 * 32 * 256 * 256 * 4 bytes = 75 MB, in 16 MiB pieces
    x, w = _normal(1, 32, 256, 256), _normal(8, 32, 3, 3)
    tracemalloc.start()
    try:
        (y,) = run(Case("Conv", [x, w, None], {"pads": [1, 1, 1, 1]}))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    padded, product = 1.1 * x.nbytes, lowering.BLOCK_BYTES / 9
    assert peak < y.nbytes + padded + product + 1.1 * lowering.BLOCK_BYTES


@pytest.mark.parametrize("vectors", [1, BLOCK_VECTORS - 1, BLOCK_VECTORS, BLOCK_VECTORS + 1])
@pytest.mark.parametrize("columns", [False, True])
def test_mvm_multiplies_each_group(vectors: int, columns: bool) -> None:
    w = np.random.default_rng(1).integers(-8, 8, (3, 10, 6)).astype(np.float32)
    x = np.random.default_rng(2).integers(-8, 8, (4, 3, 10, vectors)).astype(np.float32)
    x = x.swapaxes(2, 3) if columns else np.ascontiguousarray(x.swapaxes(2, 3))
    # whole numbers: every sum is exact
    np.testing.assert_array_equal(ExactMvm(w)(x), np.einsum("bgvr,grc->bgvc", x, w))
    part = ExactMvm(w)(x, slice(2, 5))
    np.testing.assert_array_equal(part, np.einsum("bgvr,grc->bgvc", x, w)[..., 2:5])


@settings(max_examples=60)
@given(
    st.one_of(
        conv_cases(),
        conv_transpose_cases(),
        gemm_cases(),
        matmul_cases(),
        recurrent_cases("LSTM"),
        recurrent_cases("GRU"),
        recurrent_cases("RNN"),
    )
)
def test_zero_weights_forget_the_input(case: Case) -> None:
    """Whatever the input, all of it passes through the arrays."""
    op = OPS[f"Crossbar{case.op}"]
    for name in op.weights:
        index = op.inputs.index(name)
        case.inputs[index] = np.zeros_like(case.inputs[index])
    before = run(case)
    case.inputs[0] = case.inputs[0] + np.float32(1)
    for found, expected in zip(run(case), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_parameter_is_the_weight() -> None:
    weight = _normal(3, 4)
    (found,) = kernels.parameter([None], [ExactOperand(weight)], {})
    np.testing.assert_array_equal(found, weight)


def test_every_operator_has_its_kernel() -> None:
    assert {op.kernel.split(":")[1] for op in OPS.values()} == set(kernels.__all__)
