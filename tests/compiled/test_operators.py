"""The table of operators: no consumer can take one of them for another's."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime

from nvmc.compiled.operators import DOMAIN, OPS, VERSION
from nvmc.errors import ArtifactError
from nvmc.passes.program_chip import arrays_of
from provider_networks import matmul

KNOWN = {
    schema.name
    for schema in (
        *onnx.defs.get_all_schemas_with_history(),  # all domains of ONNX itself
        *onnxruntime.get_all_operator_schema(),  # com.microsoft and what else onnxruntime has
    )
}


def test_the_operators_of_onnx_and_of_microsoft_are_known():
    assert {"Gemm", "LSTM", "TreeEnsemble", "FusedMatMul", "QGemm"} <= KNOWN


@pytest.mark.parametrize("name", sorted(OPS))
def test_no_other_domain_has_an_operator_of_that_name(name: str):
    assert name not in KNOWN


def test_a_model_of_another_version_is_refused():
    proto = onnx.load_from_string(matmul())
    others = [entry for entry in proto.opset_import if entry.domain != DOMAIN]
    del proto.opset_import[:]
    proto.opset_import.extend([*others, helper.make_opsetid(DOMAIN, VERSION - 1)])
    expected = f"version {VERSION - 1} of the operators of 'nvmc'; expected {VERSION}: compile"
    with pytest.raises(ArtifactError, match=expected):
        arrays_of(ir.from_proto(proto))
