"""Networks said in older opsets compute the same, or are refused in one line."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from nvmc.errors import ModelError, OptionError
from nvmc.passes.lower_opset import LOWEST, LowerOpset
from onnx_text import proto_of

NEWEST = 23
X, Y = "(float[2,4,7] x) =>", "(float[2,4,7] y)"

SAID = {
    "LayerNormalization": (
        f"g {X} {Y} <float[7] s, float[7] b> {{ y = LayerNormalization <axis=-1, epsilon=0.01> "
        "(x, s, b) }",
        13,
    ),
    "LayerNormalization of two axes": (
        f"g {X} {Y} <float[4,7] s> {{ y = LayerNormalization <axis=1> (x, s) }}",
        13,
    ),
    "RMSNormalization": (f"g {X} {Y} <float[7] s> {{ y = RMSNormalization (x, s) }}", 13),
    "Gelu": (f"g {X} {Y} {{ y = Gelu (x) }}", 13),
    "Gelu by tanh": (f'g {X} {Y} {{ y = Gelu <approximate="tanh"> (x) }}', 13),
    "HardSwish": (f"g {X} {Y} {{ y = HardSwish (x) }}", 13),
    "Mish": (f"g {X} {Y} {{ y = Mish (x) }}", 13),
    "GroupNormalization": (
        f"g {X} {Y} <float[4] s, float[4] b> {{ y = GroupNormalization <num_groups=2> (x, s, b) }}",
        13,
    ),
    "ReduceMean": (
        f"g {X} (float[4] y) <int64[2] a = {{0, -1}}> {{ y = ReduceMean <keepdims=0> (x, a) }}",
        13,
    ),
    "ReduceMax of all": (f"g {X} (float[1,1,1] y) {{ y = ReduceMax (x) }}", 13),
    "ReduceMean of none": (
        f"g {X} {Y} <int64[0] a = {{}}> {{ y = ReduceMean <noop_with_empty_axes=1> (x, a) }}",
        13,
    ),
    "ReduceL2 of none": (
        f"g {X} {Y} <int64[0] a = {{}}> {{ y = ReduceL2 <noop_with_empty_axes=1> (x, a) }}",
        18,
    ),
    "ReduceSum": (f"g {X} (float[2,1,7] y) <int64[1] a = {{1}}> {{ y = ReduceSum (x, a) }}", 13),
    "Split": (
        f"g {X} {Y} {{ a, b, c, d = Split <axis=2, num_outputs=4> (x)  y = Concat <axis=2> "
        "(d, c, a, b) }",
        13,
    ),
    "Shape": (
        f"g {X} {Y} {{ a = Shape <start=1> (x)  f = Cast <to=1> (a)  s = ReduceSum (f)  "
        "y = Mul (x, s) }",
        13,
    ),
    "Reshape": (
        f"g {X} (float[4,14] y) <int64[2] a = {{-1, 14}}> {{ y = Reshape <allowzero=1> (x, a) }}",
        13,
    ),
    "Reshape of names": (
        f"g {X} (float[2,2,14] y) <int64[3] a = {{0, 2, 14}}> "
        "{ y = Reshape <allowzero=0> (x, a) }",
        13,
    ),
    "AveragePool": (
        f"g {X} (float[2,4,6] y) {{ y = AveragePool <kernel_shape=[2], dilations=[1]> (x) }}",
        13,
    ),
    "AveragePool that skips": (
        f"g {X} (float[2,4,5] y) {{ y = AveragePool <kernel_shape=[2], dilations=[2]> (x) }}",
        19,
    ),
    "Cast": (f"g {X} {Y} {{ a = Cast <to=11> (x)  y = Cast <to=1> (a) }}", 13),
    "Pad": (f"g {X} (float[2,4,9] y) <int64[6] p = {{0,0,1,0,0,1}}> {{ y = Pad (x, p) }}", 13),
    "Pad around": (
        f'g {X} (float[2,4,9] y) <int64[6] p = {{0,0,1,0,0,1}}> {{ y = Pad <mode="wrap"> (x, p) }}',
        19,
    ),
    "Conv": (
        f"g {X} (float[2,3,6] y) <float[3,4,2] w, float[3] b> "
        "{ a = Conv (x, w, b)  y = Relu (a) }",
        13,
    ),
    "Trilu": (f"g {X} {Y} {{ y = Trilu (x) }}", 14),
}


def model_of(text: str) -> ir.Model:
    proto = proto_of(text, opset=NEWEST, seed=3)
    return ir.from_proto(proto)


def run(model: ir.Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("case", SAID)
def test_it_computes_the_same_in_every_opset_that_can_say_it(case: str) -> None:
    text, lowest = SAID[case]
    x = np.random.default_rng(0).standard_normal((2, 4, 7)).astype(np.float32)
    expected = run(model_of(text), x)
    for opset in range(lowest, NEWEST + 1):
        model = model_of(text)
        LowerOpset(opset)(model)
        assert model.opset_imports[""] == opset
        # Sums of at most 24 terms in another order, and functions written out: some ulps each.
        np.testing.assert_allclose(run(model, x), expected, rtol=2e-5, atol=2e-6)
    model = model_of(text)
    LowerOpset()(model)
    assert model.opset_imports[""] == lowest
    assert not LowerOpset()(model).modified


@pytest.mark.parametrize("case", [case for case, (_, lowest) in SAID.items() if lowest > LOWEST])
def test_what_cannot_be_said_is_one_line_that_names_the_opset(case: str) -> None:
    text, lowest = SAID[case]
    with pytest.raises(ModelError) as caught:
        LowerOpset(LOWEST)(model_of(text))
    (line,) = str(caught.value).splitlines()
    assert "cannot be written in opset 13" in line
    assert line.endswith(f"use --opset {lowest}")


def test_a_refused_network_stays_as_it_was() -> None:
    text, _ = SAID["Trilu"]
    model = model_of(text)
    before = ir.to_proto(model).SerializeToString()
    with pytest.raises(ModelError):
        LowerOpset(LOWEST)(model)
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize("opset", [12, 0, 99])
def test_opsets_that_there_are_not(opset: int) -> None:
    with pytest.raises(OptionError, match=f"--opset is {opset}; expected 13 to"):
        LowerOpset(opset)(model_of(SAID["Gelu"][0]))


def test_operators_that_are_not_standard_are_refused() -> None:
    model = model_of(SAID["Gelu"][0])
    node = model.graph[0]
    node.domain, node.op_type = "com.microsoft", "FastGelu"
    model.graph.opset_imports["com.microsoft"] = 1
    with pytest.raises(ModelError, match=r"com\.microsoft\.FastGelu, which is no standard"):
        LowerOpset()(model)


def test_types_that_came_later_are_refused() -> None:
    text = "g (bfloat16[2] x) => (bfloat16[2] y) { y = Round (x) }"
    model = model_of(text)
    with pytest.raises(ModelError, match=r"it takes no tensor\(bfloat16\) there; use --opset 22"):
        LowerOpset(13)(model)


def test_branches_are_lowered_too() -> None:
    text = (
        "g (float[2,4,7] x, bool c) => (float[2,4,7] y) { y = If (c) <"
        "then_branch = a () => (float[2,4,7] t) { t = HardSwish (x) },"
        "else_branch = b () => (float[2,4,7] e) { e = Gelu (x) }> }"
    )
    model = model_of(text)
    LowerOpset()(model)
    kinds = {node.op_type for node in ir.traversal.RecursiveGraphIterator(model.graph)}
    assert model.opset_imports[""] == 13
    assert not kinds & {"HardSwish", "Gelu"}
