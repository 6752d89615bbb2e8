from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc.compiled.artifact import TARGET_KEY
from nvmc.compiled.options import CompileOptions
from nvmc.errors import ArtifactError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.map_crossbars import MapCrossbars
from nvmc.passes.pipeline import compile_passes
from nvmc.passes.program_chip import ProgramChip, arrays_of, target_of
from nvmc.passes.quantize_weights import QuantizeWeights
from onnx_models import MAPPED, feeds_of, run_proto
from onnx_text import proto_of

FEFET = Target.of(load_device("fefet2"))
TARGETS = {
    "analog": Target.of(load_device("reram-lognormal")),
    "sign-magnitude": FEFET,
    "differential": Target.of(load_device("fefet2"), encoding="differential"),
    "channels": Target.of(load_device("rram4"), encoding="offset", per_channel=True),
}


def compiled(name: str, target: Target = FEFET) -> ir.Model:
    model = ir.from_proto(proto_of(MAPPED[name][1]))
    for step in compile_passes(target):
        step(model)
    return model


def outputs(model: ir.Model, name: str) -> list[np.ndarray]:
    return run_proto(ir.to_proto(model), feeds_of(proto_of(MAPPED[name][1])))


@pytest.mark.parametrize("name", MAPPED)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_ideal_chip_computes_what_the_compiled_network_does(name: str, target: Target) -> None:
    model = compiled(name, target)
    expected = outputs(model, name)
    assert ProgramChip(Chip.ideal())(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for found, wanted in zip(outputs(model, name), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", MAPPED)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_weights_are_the_chips(name: str, target: Target) -> None:
    model = compiled(name, target)
    chip = Chip.of(target, seed=3, index=5)
    arrays = arrays_of(model)
    ProgramChip(chip)(model)
    for array in arrays:
        tensor = model.graph.initializers[array.name].const_value
        assert tensor is not None
        programmed = chip.program(array).weights
        np.testing.assert_array_equal(tensor.numpy(), programmed)
        assert not np.array_equal(programmed, array.ideal)


@pytest.mark.parametrize("name", MAPPED)
def test_nothing_of_nvmc_remains(name: str) -> None:
    model = compiled(name)
    ProgramChip(Chip.of(FEFET, 0, 0))(model)
    domains = {node.domain for node in ir.traversal.RecursiveGraphIterator(model.graph)}
    assert domains == {""} and not model.functions
    assert set(model.graph.opset_imports) == {""} and TARGET_KEY not in model.metadata_props
    assert not any(name.endswith((".codes", ".scale")) for name in model.graph.initializers)


def test_arrays_say_what_the_network_holds() -> None:
    arrays = arrays_of(compiled("lstm"))
    assert [array.name for array in arrays] == ["w", "r"]
    stored = {t.name: t for t in proto_of(MAPPED["lstm"][1]).graph.initializer}
    for array in arrays:
        weight = onnx.numpy_helper.to_array(stored[array.name])
        # Half a step, and the roundings of step and product to float32.
        assert np.all(np.abs(array.ideal - weight) <= array.scale * (0.5 + 15 * 2**-23))


def test_a_network_of_another_type_keeps_it() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (double[2,3] x) => (double[2,2] y)'
        " { y = MatMul (x, w) }"
    )
    weight = np.random.default_rng(0).standard_normal((3, 2))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model = ir.from_proto(proto)
    for step in compile_passes(FEFET):
        step(model)
    ProgramChip(Chip.ideal())(model)
    assert model.graph.initializers["w"].dtype == ir.DataType.DOUBLE
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_a_network_that_was_not_compiled() -> None:
    model = ir.from_proto(proto_of(MAPPED["gemm"][1]))
    with pytest.raises(ArtifactError, match="compile it with `nvmc compile` first"):
        ProgramChip(Chip.ideal())(model)


def test_a_damaged_target() -> None:
    model = compiled("gemm")
    model.metadata_props[TARGET_KEY] = "{}"
    with pytest.raises(ArtifactError, match=r"is damaged \(.*device: is missing\); compile again"):
        target_of(model)


def test_a_node_without_its_arrays() -> None:
    model = compiled("gemm")
    model.graph.node(0).attributes.pop("arrays")
    with pytest.raises(ArtifactError, match="is not of this nvmc; compile again"):
        arrays_of(model)


def test_a_skipped_layer_keeps_the_weight_it_shares() -> None:
    """The quantised weight stays for the digital layer, beside the chip's for the mapped one."""
    proto = proto_of(MAPPED["shared"][1])
    model = ir.from_proto(proto)
    Canonicalize()(model)
    QuantizeWeights(4)(model)
    expected = run_proto(ir.to_proto(model), feeds_of(proto))
    MapCrossbars(FEFET, CompileOptions(skip=(str(model.graph.node(2).name),)))(model)
    ProgramChip(Chip.ideal())(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert "w" in model.graph.initializers
    found = run_proto(ir.to_proto(model), feeds_of(proto))
    np.testing.assert_array_equal(found[0], expected[0])
