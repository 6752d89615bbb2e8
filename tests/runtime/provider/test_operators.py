"""Every operator of the table, run by the provider and by onnxruntime's own kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from nvmc.compiled.operators import OPS
from nvmc.hardware.chip import Array, Chip
from nvmc.runtime.provider import make_session, record_claims
from provider_networks import codes_of, fefet, network

SCALE = np.float32(2**-6)
RECURRENT = 'hidden_size = 3, direction = "bidirectional"'

# Operator: input, output, node, weights in the order of the operator's row.
CASES: dict[str, tuple[str, str, str, list[tuple[int, ...]]]] = {
    "CrossbarConv": (
        "float[2, 4, 9, 8] x, float[6] b",
        "float[n, c, p, q] y",
        'y = nvmc.CrossbarConv <arrays = ["v"], group = 2, pads = [1, 0, 2, 1], strides = [2, 1],'
        " dilations = [1, 2], kernel_shape = [3, 2]> (x, v_codes, v_scale, b)",
        [(6, 2, 3, 2)],
    ),
    "CrossbarConvTranspose": (
        "float[2, 4, 5, 4] x, float[6] b",
        "float[n, c, p, q] y",
        'y = nvmc.CrossbarConvTranspose <arrays = ["v"], group = 2, strides = [2, 3],'
        " output_padding = [1, 0], pads = [1, 0, 0, 1]> (x, v_codes, v_scale, b)",
        [(4, 3, 3, 2)],
    ),
    "CrossbarGemm": (
        "float[5, 4] x, float[3] b",
        "float[n, m] y",
        'y = nvmc.CrossbarGemm <arrays = ["v"], transA = 1, transB = 0, alpha = 0.5, beta = 2.0>'
        " (x, v_codes, v_scale, b)",
        [(5, 3)],
    ),
    "CrossbarMatMul": (
        "float[2, 3, 5] x, float[1] b",
        "float[n, m, k] y",
        'h = nvmc.CrossbarMatMul <arrays = ["v"]> (x, v_codes, v_scale)\n y = Add (h, b)',
        [(5, 4)],
    ),
    "CrossbarLeftMatMul": (
        "float[2, 5, 3] x, float[1] b",
        "float[n, m, k] y",
        'h = nvmc.CrossbarLeftMatMul <arrays = ["v"]> (v_codes, v_scale, x)\n y = Add (h, b)',
        [(4, 5)],
    ),
    "CrossbarLSTM": (
        "float[4, 2, 5] x, float[2, 24] b",
        "float[n, m, k, l] y, float[m, k, l] last",
        f'y, last, omitted = nvmc.CrossbarLSTM <arrays = ["v", "r"], {RECURRENT}>'
        " (x, v_codes, v_scale, r_codes, r_scale, b)",
        [(2, 12, 5), (2, 12, 3)],
    ),
    "CrossbarGRU": (
        "float[4, 2, 5] x, float[2, 18] b",
        "float[n, m, k, l] y, float[m, k, l] last",
        f'y, last = nvmc.CrossbarGRU <arrays = ["v", "r"], {RECURRENT}, linear_before_reset = 1>'
        " (x, v_codes, v_scale, r_codes, r_scale, b)",
        [(2, 9, 5), (2, 9, 3)],
    ),
    "CrossbarRNN": (
        "float[4, 2, 5] x, float[2, 6] b",
        "float[n, m, k, l] y, float[m, k, l] last",
        f'y, last = nvmc.CrossbarRNN <arrays = ["v", "r"], {RECURRENT}>'
        " (x, v_codes, v_scale, r_codes, r_scale, b)",
        [(2, 3, 5), (2, 3, 3)],
    ),
    "CrossbarParameter": (
        "float[2, 5] x, float[1] b",
        "float[n, m] y",
        'w = nvmc.CrossbarParameter <arrays = ["v"]> (v_codes, v_scale)\n'
        "h = Mul (x, w)\n y = Add (h, b)",
        [(2, 5)],
    ),
}


def test_every_operator_has_a_case():
    assert CASES.keys() == OPS.keys()


def arrays_of(op: str) -> dict[str, np.ndarray[Any, Any]]:
    return {"vr"[i]: codes_of(shape, i) for i, shape in enumerate(CASES[op][3])}


def model_of(op: str, weights: dict[str, Any], scale: np.float32) -> bytes:
    inputs, outputs, node, _ = CASES[op]
    constants = {f"{name}_codes": value for name, value in weights.items()}
    constants |= {f"{name}_scale": scale.reshape(()) for name in weights}
    return network(f"g ({inputs}) => ({outputs}) {{ {node} }}", constants, fefet(), (op,))


def outputs_of(session: Any) -> list[Any]:
    numbers = np.random.default_rng(5)
    feeds = {
        value.name: numbers.standard_normal(value.shape).astype(np.float32)
        for value in session.get_inputs()
    }
    return session.run(None, feeds)


@pytest.mark.parametrize("chip", ["ideal", 3])
@pytest.mark.parametrize("op", CASES)
def test_the_provider_computes_what_onnxruntime_does_with_the_chips_weights(op: str, chip: Any):
    codes = arrays_of(op)
    with record_claims() as claims:
        session = make_session(model_of(op, codes, SCALE), chip=chip)
    assert [(claim.node.op, claim.accepted) for claim in claims] == [(op, True)]
    state = Chip.ideal() if chip == "ideal" else Chip.of(fefet(), 0, chip)
    weights = {k: state.program(Array(k, v, SCALE, fefet())).weights for k, v in codes.items()}
    stock = onnxruntime.InferenceSession(
        model_of(op, weights, np.float32(1)), providers=["CPUExecutionProvider"]
    )
    for found, expected in zip(outputs_of(session), outputs_of(stock), strict=True):
        assert found.dtype == expected.dtype
        # Sums of at most 24 products below 4 in magnitude, in float32 and in any order, through
        # at most 4 recurrent steps of gain below 4: 24 * 24 * 4 * 2^-24 * 4.
        np.testing.assert_allclose(found, expected, rtol=0, atol=24 * 24 * 16 * 2**-24)
