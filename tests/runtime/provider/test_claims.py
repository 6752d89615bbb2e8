"""Which nodes are claimed, in which graphs, and what refused nodes do."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from nvmc.compiled.operators import VERSION
from nvmc.errors import ModelError
from nvmc.runtime.provider import make_session, record_claims
from nvmc.runtime.provider.claims import Node, Value, refusal
from provider_networks import batch, codes_of, fefet, matmul, network

WEIGHTS: dict[str, Any] = {"w_codes": codes_of((4, 3)), "w_scale": np.float32(0.5).reshape(())}
GOOD = Node(
    name="dense",
    op="CrossbarMatMul",
    domain="nvmc",
    version=VERSION,
    graph="g",
    place=0,
    inputs=(
        Value("x", "float32", False),
        Value("w_codes", "int8", True),
        Value("w_scale", "float32", True),
    ),
    outputs=("y",),
    attributes={"arrays": ["w"]},
)


def stock(model: bytes, feeds: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def test_a_well_formed_node_is_claimed():
    assert refusal(GOOD, has_target=True) is None


@pytest.mark.parametrize(
    ("node", "has_target", "reason"),
    [
        (replace(GOOD, domain="com.example"), True, "its domain is 'com.example'"),
        (replace(GOOD, op="Relu"), True, "no operator 'Relu'"),
        (GOOD, False, "no metadata 'nvmc.target'"),
        (replace(GOOD, attributes={}), True, "'arrays' is None; expected 1 names"),
        (replace(GOOD, attributes={"arrays": ["a", "b"]}), True, "expected 1 names"),
        (replace(GOOD, inputs=GOOD.inputs * 2), True, "it has 6 inputs; expected at most 3"),
        (replace(GOOD, inputs=GOOD.inputs[:2]), True, "input B_scale is left out"),
        (
            replace(GOOD, inputs=(None, Value("c", "int8", False), GOOD.inputs[2])),
            True,
            "input B_codes is 'c', which is computed",
        ),
        (
            replace(GOOD, inputs=(Value("x", None, False), *GOOD.inputs[1:])),
            True,
            "input A ('x') has a type that NumPy lacks",
        ),
    ],
)
def test_a_refusal_says_why(node: Node, has_target: bool, reason: str):
    assert reason in (refusal(node, has_target) or "")


SUBGRAPHS = {
    "If": """g (float[N, 4] x, bool c) => (float[N, 3] y) {
        y = If (c) <
          then_branch = t () => (float[N, 3] a) {
            [inner] a = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale) },
          else_branch = e () => (float[N, 3] b) {
            r = Relu (x)
            [other] b = nvmc.CrossbarMatMul <arrays = ["w"]> (r, w_codes, w_scale) }> }""",
    "Loop": """g (float[N, 4] x, bool c) => (float[N, 4] y)
        <int64 three = {3}> {
        y = Loop (three, c, x) <
          body = l (int64 i, bool go, float[N, 4] s) => (bool on, float[N, 4] t) {
            on = Identity (go)
            [inner] t = nvmc.CrossbarMatMul <arrays = ["v"]> (s, v_codes, v_scale) }> }""",
    "Scan": """g (float[N, 4] x, bool c) => (float[N, 3] y) {
        y = Scan <num_scan_inputs = 1,
          body = s (float[4] row) => (float[3] out) {
            [inner] out = nvmc.CrossbarMatMul <arrays = ["w"]> (row, w_codes, w_scale) }> (x) }""",
    "nested": """g (float[N, 4] x, bool c) => (float[N, 3] y) {
        y = If (c) <
          then_branch = t () => (float[N, 3] a) {
            a = If (c) <
              then_branch = tt () => (float[N, 3] aa) {
                [inner] aa = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale) },
              else_branch = te () => (float[N, 3] ab) {
                r = Slice (x, zero, three, one)
                ab = Identity (r) }> },
          else_branch = e () => (float[N, 3] b) {
            [other] b = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale) }> }""",
}


@pytest.mark.parametrize("kind", SUBGRAPHS)
@pytest.mark.parametrize("condition", [True, False])
def test_nodes_in_subgraphs_are_claimed(kind: str, condition: bool):
    constants = {
        **WEIGHTS,
        "v_codes": codes_of((4, 4), seed=3),
        "v_scale": np.float32(0.1).reshape(()),
        **{k: np.array([v]) for k, v in {"zero": 0, "three": 3, "one": 1}.items()},
    }
    if kind == "Loop":
        del constants["three"]
    model = network(SUBGRAPHS[kind], constants, fefet(), functions=("CrossbarMatMul",))
    with record_claims() as claims:
        ideal = make_session(model, chip="ideal")
    assert all(claim.accepted for claim in claims)
    assert "inner" in {claim.node.name for claim in claims}
    feeds = {"x": batch(), "c": np.array(condition)}
    expected = stock(model, feeds)[0]
    # The stand-in differs from onnxruntime's MatMul by the order of at most 4 additions, three
    # times over in the loop: 12 roundings of values below 100.
    np.testing.assert_allclose(ideal.run(None, feeds)[0], expected, atol=12 * 2**-24 * 100)
    if condition or kind != "Loop":
        noisy = make_session(model).run(None, feeds)[0]
        assert np.abs(noisy - expected).max() > 0.01


def test_a_node_without_target_is_inlined_and_says_so(caplog: pytest.LogCaptureFixture):
    text = """g (float[N, 4] x) => (float[N, 3] y)
        { [dense] y = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale) }"""
    model = network(text, WEIGHTS)
    with caplog.at_level(logging.WARNING, "nvmc.provider"), record_claims() as claims:
        session = make_session(model)
    assert [claim.accepted for claim in claims] == [False]
    assert "no metadata 'nvmc.target'" in (claims[0].reason or "")
    assert len(caplog.records) == 1
    assert "'dense'" in caplog.text and "without noise" in caplog.text
    feeds = {"x": batch()}
    np.testing.assert_array_equal(session.run(None, feeds)[0], stock(model, feeds)[0])


def test_a_computed_weight_is_refused_and_its_neighbour_claimed():
    text = """g (float[N, 4] x, int8[3, 2] k) => (float[N, 2] y) {
        [first] h = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale)
        [second] y = nvmc.CrossbarMatMul <arrays = ["k"]> (h, k, w_scale) }"""
    model = network(text, WEIGHTS, fefet(), functions=("CrossbarMatMul",))
    with record_claims() as claims:
        session = make_session(model, chip="ideal")
    answers = {claim.node.name: claim.reason for claim in claims}
    assert answers["first"] is None
    assert answers["second"] is not None and "'k', which is computed" in answers["second"]
    feeds = {"x": batch(), "k": codes_of((3, 2))}
    expected = stock(model, feeds)[0]
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, rtol=1e-5, atol=1e-4)


def test_a_type_that_numpy_lacks_is_refused():
    text = """g (bfloat16[N, 4] x) => (bfloat16[N, 3] y)
        { y = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale) }"""
    model = network(text, WEIGHTS, fefet(), functions=("CrossbarMatMul",))
    with record_claims() as claims, suppress(ModelError):  # the CPU provider may lack it too
        make_session(model)
    assert "has a type that NumPy lacks" in (claims[0].reason or "")


def test_claims_outside_the_block_are_not_recorded():
    with record_claims() as claims:
        pass
    make_session(matmul())
    assert claims == []


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_another_version_is_refused_and_never_runs_as_the_ideal_chip(version: int) -> None:
    """Its nodes would run digitally, whichever chip was asked for."""
    old = matmul(version=version)
    with pytest.raises(ModelError, match=f"imports nvmc version {version}; expected .*compile its"):
        make_session(old, chip=17)
