"""The node test cases that ship with onnx, in torch: all whose operators training supports."""

from __future__ import annotations

import warnings
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


def _cases() -> dict[str, Any]:
    with warnings.catch_warnings():  # onnx computes the cases of all operators here
        warnings.simplefilter("ignore")
        return {case.name: case for case in collect_testcases(None) if _supported(case.model)}


def _types(model: onnx.ModelProto) -> set[int]:
    values = (*model.graph.input, *model.graph.output)
    return {value.type.tensor_type.elem_type for value in values}


CASES = _cases()
LACKING = {name for name, case in CASES.items() if _types(case.model) - KNOWN - WIDE}
UNSIGNED = {name for name, case in CASES.items() if _types(case.model) & WIDE} - LACKING
RANDOM = {name for name in CASES if name.startswith(DRAWN)}
EXACT = sorted(CASES.keys() - LACKING - UNSIGNED - RANDOM - STRETCHED)


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


def test_every_operator_has_a_case_or_is_tested_elsewhere() -> None:
    covered = {node.op_type for case in CASES.values() for node in case.model.graph.node}
    elsewhere = {"GlobalLpPool", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    assert set(OPERATORS) - covered == elsewhere


def test_the_counts_in_the_documentation() -> None:
    assert len(EXACT) >= 1300
    assert len(CASES) == len(EXACT) + len(LACKING) + len(UNSIGNED) + len(RANDOM) + len(STRETCHED)


@pytest.mark.parametrize("name", EXACT)
def test_backend_case(name: str) -> None:
    case = CASES[name]
    for fed, expected in case.data_sets:
        for y, value in zip(outputs_of(case, fed), expected, strict=True):
            wanted = torch_of(value)
            assert y.dtype == wanted.dtype and y.shape == wanted.shape
            rtol = max(case.rtol, ROUGH.get(y.dtype, 0))
            wide = torch.float64 if y.is_floating_point() else y.dtype
            y, wanted = y.to(wide).numpy(), wanted.to(wide).numpy()
            np.testing.assert_allclose(y, wanted, rtol=rtol, atol=case.atol)


@pytest.mark.parametrize("name", sorted(LACKING))
def test_types_that_torch_lacks_are_refused(name: str) -> None:
    ((fed, _),) = CASES[name].data_sets
    with pytest.raises(TrainingError, match="torch"):
        outputs_of(CASES[name], fed)


@pytest.mark.parametrize("name", sorted(UNSIGNED))
def test_unsigned_numbers_are_right_or_refused_by_torch(name: str) -> None:
    ((fed, expected),) = CASES[name].data_sets
    try:
        found = outputs_of(CASES[name], fed)
    except NotImplementedError as error:
        assert any(note.startswith("in ") for note in error.__notes__)
        return
    for y, value in zip(found, expected, strict=True):
        np.testing.assert_array_equal(y.numpy(), torch_of(value).numpy())


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random_cases_give_the_shapes(name: str) -> None:
    for fed, expected in CASES[name].data_sets:
        for y, value in zip(outputs_of(CASES[name], fed), expected, strict=True):
            assert y.dtype == torch_of(value).dtype and y.shape == torch_of(value).shape


@pytest.mark.parametrize("name", sorted(STRETCHED))
def test_corners_are_aligned_as_onnxruntime_does(name: str) -> None:
    case = CASES[name]
    session = ort.InferenceSession(
        case.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ((fed, _),) = case.data_sets
    names = [value.name for value in case.model.graph.input]
    (wanted,) = session.run(None, dict(zip(names, map(np.asarray, fed), strict=True)))
    (y,) = outputs_of(case, fed)
    np.testing.assert_allclose(y.numpy(), wanted, rtol=case.rtol, atol=1e-6)
