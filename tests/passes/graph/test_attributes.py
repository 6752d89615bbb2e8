"""Attributes that no operator can have are one line; none is dropped or taken for its default."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bombs import network, parsed, windowed
from nvmc.errors import ModelError
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.graph import attributes
from nvmc.passes.io.load import load_model
from source_tree import sources

GEMM = "float[2, 2] w = {1, 2, 3, 4}, float[2] b = {1, 2}"
NAN, INF = float("nan"), float("inf")

REFUSED = {
    "huge group": (windowed(f"group = {2**31 - 1}"), "group = 2147483647 for 2 channels"),
    "group of none": (windowed("group = 0"), "group = 0; expected a number from 1 on"),
    "negative group": (windowed("group = -2"), "group = -2; expected a number from 1 on"),
    "group that divides nothing": (windowed("group = 3"), "group = 3 for 2 channels"),
    "channels of no group": (
        "g (float[N, 4, 8, 8] x, float[6, 4, 1, 1] w) => (float y) { y = Conv <group = 3> (x, w) }",
        "group = 3: the weight takes 12 channels, but 4 enter",
    ),
    "channels of a transposed weight": (
        "g (float[N, 4, 8, 8] x, float[6, 4, 1, 1] w) => (float y) { y = ConvTranspose (x, w) }",
        "group = 1: the weight takes 6 channels, but 4 enter",
    ),
    "no stride": (windowed("strides = [1, 0]"), r"strides = \[1, 0\]; expected numbers from 1"),
    "negative stride": (windowed("strides = [-1, 1]"), "strides = .* from 1 to"),
    "endless stride": (windowed(f"strides = [{2**63 - 1}, 1]"), "strides = .* to 2,147,483,647"),
    "endless pads": (windowed(f"pads = [0, 0, {2**40}, 0]"), "pads = .* to 2,147,483,647"),
    "too many strides": (windowed("strides = [1, 1, 1]"), "3 strides for a window of 2 axes"),
    "no dilation": (windowed("dilations = [0, 1]"), "dilations = .* from 1 to"),
    "no kernel": (windowed("kernel_shape = [0, 1]"), "kernel_shape = .* from 1 to"),
    "negative pads": (windowed("pads = [0, 0, -1, 0]"), "pads = .* from 0 to"),
    "too few pads": (windowed("pads = [0, 1]"), "2 pads for a window of 2 axes; expected 4"),
    "unknown padding": (windowed('auto_pad = "FOO"'), "auto_pad = 'FOO'; expected NOTSET, SAME_UP"),
    "unknown type": (network("y = Cast <to = 9999> (x)"), "to = 9999; expected the number of a"),
    "no type": (network("y = RandomNormalLike <dtype = 0> (x)"), "dtype = 0; expected the number"),
    "in a branch": (
        "g (float[N, 2] x, bool c) => (float y) "
        "{ y = If (c) <then_branch = t () => (float a) { a = LeakyRelu <alpha = nan_> (x) }, "
        "else_branch = e () => (float b) { b = Relu (x) }> }",
        "LeakyRelu .* has alpha = nan; expected a finite number",
    ),
}
FLOATS = ["alpha", "beta"]


def written(text: str, folder: Path, **floats: float) -> Path:
    """A network's file; `floats` are put into the first node, nan_ in the text is NaN."""
    proto = parsed(text.replace("nan_", "0.125"))
    for node in proto.graph.node[:1]:
        for name, value in floats.items():
            node.attribute.append(helper.make_attribute(name, value))
        for branch in (a.g for a in node.attribute if a.HasField("g")):
            for attribute in (a for inner in branch.node for a in inner.attribute):
                attribute.f = NAN if attribute.f == 0.125 else attribute.f
    onnx.save(proto, folder / "m.onnx")
    return folder / "m.onnx"


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_operator_can_have_is_refused(name: str, tmp_path: Path) -> None:
    text, says = REFUSED[name]
    with pytest.raises(ModelError, match=says) as caught:
        load_model(written(text, tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_numbers_are_finite(name: str, value: float, tmp_path: Path) -> None:
    path = written(network("y = Gemm (x, w, b)", stored=GEMM), tmp_path, **{name: value})
    with pytest.raises(ModelError, match=f"Gemm 'y' has {name} = -?(nan|inf); expected a finite"):
        load_model(path)


def test_infinity_stays_where_it_may_be_meant(tmp_path: Path) -> None:
    path = written(network("y = Constant ()"), tmp_path, value_float=-INF)
    node = next(iter(load_model(path).graph))
    assert attributes.float_of(node, "value_float") == -INF


def test_another_type_than_wanted_is_said(tmp_path: Path) -> None:
    """onnx.checker knows no operators of onnxruntime's own."""
    text = network("z = com.microsoft.QuickGelu <alpha = 2> (x) y = MatMul (z, w)", stored=GEMM)
    model = load_model(written(text, tmp_path))
    with pytest.raises(ModelError, match="'alpha' of QuickGelu .* is of type INT; expected a num"):
        Canonicalize()(model)


def test_passes_read_attributes_strictly() -> None:
    loose = re.compile(r"\battributes\.get_\w+\(")
    found = [
        source.name
        for source in sources()
        if source.name.startswith(("nvmc.passes", "nvmc.training", "nvmc.torchgraph"))
        and source.name != attributes.__name__
        and loose.search(source.path.read_text(encoding="utf-8"))
    ]
    assert not found, "read attributes with nvmc.passes.graph.attributes"


@pytest.mark.parametrize("number", [2**31, -(2**31), 2**63 - 1, -(2**63)])
@pytest.mark.parametrize(
    "call",
    [
        "Pad (x, n)",
        "Tile (x, n)",
        "Expand (x, n)",
        "ConstantOfShape (n)",
        'Resize <mode = "nearest"> (x, , , n)',
    ],
)
def test_constants_that_ask_for_endless_outputs(call: str, number: int, tmp_path: Path) -> None:
    """onnxruntime ends the process where products of such sizes overflow."""
    text = f"g (float[2, 2] x) => (float[A, B] y) <int64[2] n = {{1, 2}}> {{ y = {call} }}"
    proto = parsed(text)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, number]), "n"))
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"\[1, .*\]; expected numbers up to 2,147,483,647"):
        load_model(tmp_path / "m.onnx")
