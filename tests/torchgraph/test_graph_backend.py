"""The node test cases that ship with onnx, in torch: all whose operators training supports."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from onnx.backend.test.case.node import collect_testcases

from nvmc.errors import TrainingError
from nvmc.torchgraph.graph import Graph
from nvmc.torchgraph.operators import OPERATORS
from nvmc.torchgraph.tensors import tensor_from

# Older releases lack cases of newer operators, and have some that were mended since.
pytestmark = pytest.mark.skipif(
    onnx.defs.onnx_opset_version() < 28, reason="the cases of another release of onnx"
)

DRAWN = ("test_bernoulli", "test_training_dropout")
"""These hold the numbers of numpy's generator, or ask for nothing but the rates."""
STRETCHED = {
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}
"""Sizes that are no whole multiples of the scale: onnxruntime and nvmc align the real corners."""
WIDE = {onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64}
"""torch stores these types but computes little with them."""
KNOWN = {
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.BOOL,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.INT16,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.INT8,
    onnx.TensorProto.UINT8,
}
# In half precision the reference and torch round between other steps. The longest case, attention,
# has eight (two scalings, two products, bias, softmax, cast, product): one unit of each.
ROUGH = {torch.bfloat16: 8 * 2**-8, torch.float16: 8 * 2**-11}


def _supported(model: onnx.ModelProto) -> bool:
    values = (*model.graph.input, *model.graph.output)
    return all(value.type.HasField("tensor_type") for value in values) and all(
        not node.domain and (node.op_type in OPERATORS or node.op_type == "Constant")
        for node in model.graph.node
    )


def _types(model: onnx.ModelProto) -> set[int]:
    values = (*model.graph.input, *model.graph.output)
    return {value.type.tensor_type.elem_type for value in values}


@dataclass(frozen=True)
class Cases:
    """All cases by their name, and the names of each kind."""

    all: dict[str, Any]
    exact: list[str]
    lacking: list[str]
    unsigned: list[str]
    random: list[str]


@pytest.fixture(scope="module")
def cases() -> Cases:
    with warnings.catch_warnings():  # onnx computes the cases of all operators here: seconds
        warnings.simplefilter("ignore")
        found = {case.name: case for case in collect_testcases(None) if _supported(case.model)}
    types = {name: _types(case.model) for name, case in found.items()}
    lacking = {name for name in found if types[name] - KNOWN - WIDE}
    unsigned = {name for name in found if types[name] & WIDE} - lacking
    random = {name for name in found if name.startswith(DRAWN)}
    exact = found.keys() - lacking - unsigned - random - STRETCHED
    return Cases(found, *map(sorted, (exact, lacking, unsigned, random)))


def offenders(names: Iterable[str], check: Callable[[Any], None], cases: Cases) -> dict[str, str]:
    """The cases that fail `check`, each with its error: one test names all of them."""
    failed: dict[str, str] = {}
    for name in names:
        try:
            check(cases.all[name])
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def torch_of(value: Any) -> torch.Tensor:
    if isinstance(value, onnx.TensorProto):
        return tensor_from(ir.from_proto(value))
    return tensor_from(ir.tensor(np.asarray(value)))


def outputs_of(case: Any, fed: Any) -> list[torch.Tensor]:
    graph = Graph.of(ir.from_proto(case.model)).eval()
    feeds = {i.name: torch_of(v) for i, v in zip(case.model.graph.input, fed, strict=True)}
    with torch.no_grad():
        found = graph(feeds, wanted=graph.outputs)
    return [found[name] for name in graph.outputs]


def test_every_operator_has_a_case_or_is_tested_elsewhere(cases: Cases) -> None:
    covered = {node.op_type for case in cases.all.values() for node in case.model.graph.node}
    elsewhere = {"GlobalLpPool", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    uncovered = set(OPERATORS) - covered
    assert uncovered == elsewhere


def test_the_counts_in_the_documentation(cases: Cases) -> None:
    kinds = (cases.exact, cases.lacking, cases.unsigned, cases.random, STRETCHED)
    assert len(cases.exact) >= 1300
    assert len(cases.lacking) >= 150 and len(cases.unsigned) >= 50 and len(cases.random) >= 10
    assert len(cases.all) == sum(map(len, kinds))


def right(case: Any) -> None:
    for fed, expected in case.data_sets:
        for y, value in zip(outputs_of(case, fed), expected, strict=True):
            wanted = torch_of(value)
            assert y.dtype == wanted.dtype and y.shape == wanted.shape
            rtol = max(case.rtol, ROUGH.get(y.dtype, 0))
            wide = torch.float64 if y.is_floating_point() else y.dtype
            y, wanted = y.to(wide).numpy(), wanted.to(wide).numpy()
            np.testing.assert_allclose(y, wanted, rtol=rtol, atol=case.atol)


def test_backend_cases(cases: Cases) -> None:
    assert not offenders(cases.exact, right, cases)


def refused(case: Any) -> None:
    ((fed, _),) = case.data_sets
    with pytest.raises(TrainingError, match="torch"):
        outputs_of(case, fed)


def test_types_that_torch_lacks_are_refused(cases: Cases) -> None:
    assert not offenders(cases.lacking, refused, cases)


def right_or_refused(case: Any) -> None:
    ((fed, expected),) = case.data_sets
    try:
        found = outputs_of(case, fed)
    except NotImplementedError as error:
        assert any(note.startswith("in ") for note in error.__notes__)
        return
    for y, value in zip(found, expected, strict=True):
        np.testing.assert_array_equal(y.numpy(), torch_of(value).numpy())


def test_unsigned_numbers_are_right_or_refused_by_torch(cases: Cases) -> None:
    assert not offenders(cases.unsigned, right_or_refused, cases)


def of_the_shape(case: Any) -> None:
    for fed, expected in case.data_sets:
        for y, value in zip(outputs_of(case, fed), expected, strict=True):
            assert y.dtype == torch_of(value).dtype and y.shape == torch_of(value).shape


def test_random_cases_give_the_shapes(cases: Cases) -> None:
    assert not offenders(cases.random, of_the_shape, cases)


@pytest.mark.parametrize("name", sorted(STRETCHED))
def test_corners_are_aligned_as_onnxruntime_does(name: str, cases: Cases) -> None:
    case = cases.all[name]
    session = ort.InferenceSession(
        case.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ((fed, _),) = case.data_sets
    names = [value.name for value in case.model.graph.input]
    (wanted,) = session.run(None, dict(zip(names, map(np.asarray, fed), strict=True)))
    (y,) = outputs_of(case, fed)
    np.testing.assert_allclose(y.numpy(), wanted, rtol=case.rtol, atol=1e-6)
