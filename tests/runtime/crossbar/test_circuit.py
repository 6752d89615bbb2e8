"""The circuit of one array: against a slow loop, and the laws that it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import reference
from crossbar_kernels import run
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip, Programmed
from nvmc.hardware.devices import Device, Periphery, Target, WireOhm, load_device
from nvmc.hardware.encoding import Encoding, quantize, scale_of
from nvmc.hardware.tiling import Channels, Place
from nvmc.rng import CountedDraw
from nvmc.runtime.crossbar import lowering
from nvmc.runtime.crossbar.mvm import Mvm, Reads
from nvmc.runtime.crossbar.operand import CircuitOperand, ExactOperand
from strategies import (
    Case,
    conv_cases,
    conv_transpose_cases,
    gemm_cases,
    matmul_cases,
    recurrent_cases,
)

ENCODINGS: tuple[Encoding, ...] = ("sign-magnitude", "differential", "offset", "balanced")
SPREAD = {"type": "programming", "basis": "level", "sigma": 0.2}
READ = {"type": "read", "basis": "level", "sigma": 0.3}
SEED, INDEX = 4, 2


def device(*noise: dict[str, Any], levels: int | str = 4) -> Device:
    text = {"name": "d", "title": "t", "source": "s", "levels": levels, "noise": list(noise)}
    return Device.model_validate(text)


def target(
    encoding: Encoding = "sign-magnitude",
    *noise: dict[str, Any],
    bits: int | None = 4,
    rows: int = 128,
    **periphery: Any,
) -> Target:
    """Four-bit weights in two-bit cells, or analog ones."""
    cells = device(*noise, levels=4 if bits else "continuous")
    return Target.of(
        cells,
        weight_bits=bits or "none",
        cell_bits=min(2, bits) if bits else None,
        encoding=encoding,
        rows=rows,
        periphery=Periphery.model_validate(periphery),
    )


def array_of(weight: NDArray[Any], cells: Target, name: str = "a") -> Array:
    if cells.weight_bits is None:
        return Array(name, weight.astype(np.float32), np.float32(1).reshape(()), cells)
    scale = scale_of(weight, cells.weight_bits).astype(np.float32)
    return Array(name, quantize(weight, scale, cells.weight_bits), scale, cells)


def chip_of(cells: Target, index: int = INDEX) -> Chip:
    return Chip.of(cells, SEED, index)


def operand_of(weight: NDArray[Any], cells: Target, chip: Chip | None = None) -> CircuitOperand:
    found = chip_of(cells) if chip is None else chip
    array = array_of(weight, cells)
    return CircuitOperand(array, found.program(array), found)


def product(operand: Any, x: NDArray[Any]) -> Mvm:
    return operand.mvm(Place("CrossbarMatMul"), entries=len(x), dtype=x.dtype)


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


@st.composite
def peripheries(draw: st.DrawFn) -> dict[str, Any]:
    dac = draw(st.sampled_from([None, 1, 2, 5, 8]))
    inputs = draw(st.sampled_from(["two-phase", "offset", "bipolar"]))
    found: dict[str, Any] = {
        "dac_bits": 2 if inputs == "offset" and dac == 1 else dac,
        "dac_mode": draw(st.sampled_from(["multi-level", "bit-serial"])) if dac else "multi-level",
        "signed_inputs": inputs,
        "adc_bits": draw(st.sampled_from([None, 1, 3, 6, 12, 16])),
        "adc_range": draw(st.sampled_from(["full", 2.5])),
        "subtract": draw(st.sampled_from(["analog", "digital"])),
        "row_split": draw(st.sampled_from(["filled", "even"])),
        "rows_on": draw(st.sampled_from([None, 1, 3])),
        "column_limit": draw(st.sampled_from([None, 1.5, 20.0])),
    }
    if found["dac_mode"] == "bit-serial":
        found["dac_slice_bits"] = draw(st.integers(1, found["dac_bits"]))
        found["accumulate"] = draw(st.sampled_from(["digital", "analog"]))
    return found


@settings(max_examples=60)
@given(
    encoding=st.sampled_from(ENCODINGS),
    periphery=peripheries(),
    bits=st.sampled_from([4, None]),
    sizes=st.tuples(*(st.integers(1, n) for n in (3, 2, 3, 7, 3))),
    rows=st.integers(1, 8),
    noise=st.booleans(),
    positive=st.booleans(),
    seed=st.integers(0, 999),
)
def test_equals_the_loop_over_currents(
    encoding: Encoding,
    periphery: dict[str, Any],
    bits: int | None,
    sizes: tuple[int, ...],
    rows: int,
    noise: bool,
    positive: bool,
    seed: int,
) -> None:
    """Programmed cells, noisy reads and all; the streams are the same, so the numbers are."""
    batch, groups, vectors, height, cols = sizes
    loud = (SPREAD, READ) if noise else ()
    cells = target(encoding, *loud, bits=bits, rows=rows, **periphery)
    x = normal(batch, groups, vectors, height, seed=seed)
    x = np.abs(x) if positive else x
    operand = operand_of(normal(groups, height, cols, seed=seed + 1), cells)
    array, chip = array_of(normal(groups, height, cols, seed=seed + 1), cells), chip_of(cells)
    programmed = chip.program(array)
    draws = CountedDraw(SEED, INDEX, "a", "read", "node 0")
    expected = reference.circuit(
        x,
        programmed.levels,
        programmed.sign,
        np.broadcast_to(array.unit, (groups, cols)),
        cells,
        spread=chip.read_spread(array, programmed.levels),
        normal=draws.normal if noise else None,
    )
    found = product(operand, x)(x)
    # float64 sums of at most 7 * 4 currents and 4 lanes of 8 pulses; noise is float32 on both sides
    size = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * size * 1000)


EVERY_OP = st.one_of(
    conv_cases(),
    conv_transpose_cases(),
    gemm_cases(),
    matmul_cases(),
    recurrent_cases("LSTM"),
    recurrent_cases("GRU"),
    recurrent_cases("RNN"),
)


def _double(case: Case) -> Case:
    inputs = [
        v.astype(np.float64) if v is not None and v.dtype == np.float32 else v for v in case.inputs
    ]
    return Case(case.op, inputs, case.attributes)


@settings(max_examples=60)
@given(
    case=EVERY_OP,
    encoding=st.sampled_from(ENCODINGS),
    inputs=st.sampled_from(["two-phase", "offset", "bipolar"]),
    subtract=st.sampled_from(["analog", "digital"]),
    bits=st.sampled_from([4, 1, None]),
    rows=st.integers(2, 20),
)
def test_without_converters_it_is_the_product_with_the_programmed_weights(
    case: Case, encoding: Encoding, inputs: str, subtract: str, bits: int | None, rows: int
) -> None:
    cells = target(encoding, SPREAD, bits=bits, rows=rows, signed_inputs=inputs, subtract=subtract)

    def exact(weight: NDArray[Any]) -> ExactOperand:
        return ExactOperand(chip_of(cells).program(array_of(weight, cells)).weights)

    found = run(_double(case), operand=lambda w: operand_of(w, cells))
    expected = run(_double(case), operand=exact)
    for one, two in zip(found, expected, strict=True):
        # the weights of the exact product are float32, those of the circuit sums of float32
        # levels in float64: 2^-24 of 2^4 codes a weight, at most 64 + 243 products of up to 2
        size = max(1.0, float(np.abs(two).max(initial=0)))
        np.testing.assert_allclose(one, two, rtol=0, atol=2.0**-22 * 307 * size)


@pytest.mark.parametrize("mode", ["multi-level", "bit-serial"])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_adc_with_a_step_a_unit_over_the_full_range_changes_nothing(
    encoding: Encoding, subtract: str, mode: str
) -> None:
    """8 rows of levels to 3 by codes to 15: whole currents up to 360 have codes in 10 bits."""
    common: dict[str, Any] = {"dac_bits": 4, "dac_mode": mode, "subtract": subtract}
    x = normal(20, 1, 3, 30)
    weight = normal(30, 5, seed=1)
    exact = operand_of(weight, target(encoding, rows=8, **common))
    expected = product(exact, x)(x)
    for bits in (10, 11, 16):
        read = operand_of(weight, target(encoding, rows=8, adc_bits=bits, **common))
        # both are whole numbers of steps; 4 tiles of float64 rounding
        np.testing.assert_allclose(product(read, x)(x), expected, rtol=1e-12, atol=1e-12)
    coarse = operand_of(weight, target(encoding, rows=8, adc_bits=3, **common))
    assert not np.allclose(product(coarse, x)(x), expected, rtol=1e-3)


@pytest.mark.parametrize("bits", [None, 6])
def test_a_column_saturates_at_its_limit(bits: int | None) -> None:
    """One lane, all rows driven by 3: currents of 3 sum(g), clipped; a limit above changes none."""
    weight = np.array([[3.0, 1.0, -3.0]] * 5)
    more: dict[str, Any] = {"dac_bits": 2, "adc_bits": bits, "adc_range": 63.0}
    x = np.full((1, 1, 1, 5), 3.0, np.float32)  # codes of 3; currents of 45, 15 and -45

    def read(limit: float | None) -> list[float]:
        cells = target("sign-magnitude", bits=2, column_limit=limit, **more)
        array = Array("a", weight.astype(np.int8), np.ones((), np.float32), cells)
        chip = Chip.ideal()
        operand = CircuitOperand(array, chip.program(array), chip)
        return product(operand, x)(x).ravel().tolist()

    step = 1.0 if bits is None else 63 / 31
    coded = [step * round(current / step) for current in (45, 15, -45)]
    assert read(None) == read(46.0) == pytest.approx(coded, rel=1e-6)
    most = step * round(30 / step)
    assert read(30.0) == pytest.approx([most, coded[1], -most], rel=1e-6)
    with pytest.raises(OptionError, match="column_limit"):
        Periphery(column_limit=0.0)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_ideal_array_is_linear(encoding: Encoding) -> None:
    cells = target(encoding, SPREAD, rows=8)
    operand = operand_of(normal(30, 5, seed=1), cells)
    x, other = normal(20, 1, 3, 30), normal(20, 1, 3, 30, seed=2)
    mvm = product(operand, x)
    mixed = mvm(2 * x - 3 * other)
    # 30 products of magnitude 15 * 5, in float64
    np.testing.assert_allclose(mixed, 2 * mvm(x) - 3 * mvm(other), rtol=0, atol=1e-11)


def test_one_scale_a_channel() -> None:
    cells = target(SPREAD and "differential", SPREAD)
    weight = normal(30, 5, seed=1) * [1, 2, 4, 8, 16]
    scale = scale_of(weight, 4, Channels(Place("CrossbarMatMul"), weight.shape)).astype(np.float32)
    array = Array("a", quantize(weight, scale, 4), scale, cells)
    chip = chip_of(cells)
    programmed = chip.program(array)
    x = normal(20, 1, 3, 30)
    found = product(CircuitOperand(array, programmed, chip), x)(x)
    expected = product(ExactOperand(programmed.weights), x)(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2.0**-22 * 30 * 50)


def test_scales_that_differ_along_a_column_are_refused() -> None:
    cells = target()
    scale = np.ones((3, 1), np.float32) * np.array([[1], [2], [3]], np.float32)
    array = Array("a", np.ones((3, 2), np.int8), scale, cells)
    chip = Chip.ideal()
    operand = CircuitOperand(array, chip.program(array), chip)
    with pytest.raises(OptionError, match="scales that differ along a column"):
        operand.mvm(Place("CrossbarMatMul"), entries=1, dtype=np.float32)


@pytest.mark.parametrize("bits", [4, 1, None])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["additive", "multiplicative", "lognormal-drift"])
def test_noise_on_weights_reaches_the_circuit(
    kind: str, encoding: Encoding, bits: int | None
) -> None:
    """Sources that act on recombined weights are put back onto the cells."""
    cells = target(encoding, SPREAD, {"type": kind, "sigma": 0.2}, bits=bits)
    chip, weight = chip_of(cells), normal(30, 5, seed=1)
    x = normal(20, 1, 3, 30)
    found = product(operand_of(weight, cells), x)(x)
    programmed = chip.program(array_of(weight, cells)).weights
    expected = product(ExactOperand(programmed), x)(x)
    # 30 weights, each to a few ulps of codes up to 2^5
    np.testing.assert_allclose(found, expected, rtol=0, atol=2.0**-19 * 30 * 5)


def noisy(**periphery: Any) -> Target:
    return target("sign-magnitude", SPREAD, READ, rows=8, **periphery)


def test_reads_are_independent() -> None:
    """The same inputs, read again and again: law of the differences, and no two alike."""
    operand = operand_of(normal(20, 4, seed=1), noisy())
    x = np.broadcast_to(normal(1, 1, 1, 20), (2000, 1, 1, 20)).copy()
    first, second = product(operand, x)(x), product(operand, x)(x)
    assert np.unique(np.concatenate([first, second]), axis=0).shape[0] == 4000
    array = array_of(normal(20, 4, seed=1), noisy())
    # every cell has sigma 0.3; slices count for 1 and 4
    spread = 0.3 * float(array.unit) * np.sqrt(17 * np.sum(x[0] ** 2))
    for sample in (first, second, first - second):
        factor = np.sqrt(2) if sample is not first and sample is not second else 1
        # a sample deviation of 2000 draws is within 5 / sqrt(4000) of the law
        np.testing.assert_allclose(sample.std(axis=0).ravel(), factor * spread, rtol=5 / 4000**0.5)
    # correlation of independent samples of 2000 is within 5 / sqrt(2000) of zero
    centred = [(s - s.mean(axis=0)) / s.std(axis=0) for s in (first, second)]
    assert np.abs(np.mean(centred[0] * centred[1], axis=0)).max() < 5 / 2000**0.5


def test_reads_of_two_nodes_are_independent() -> None:
    cells = noisy()
    array, chip = array_of(normal(20, 4, seed=1), cells), chip_of(cells)
    x = normal(3, 1, 1, 20)
    one, two = (CircuitOperand(array, chip.program(array), chip, user) for user in (0, 1))
    assert not np.any(product(one, x)(x) == product(two, x)(x))


def test_seed_chip_and_array_reach_every_read() -> None:
    """The same cells each time, so that what differs is the read."""
    cells, x, held = noisy(), normal(3, 1, 1, 20), normal(20, 4, seed=1)
    programmed = Chip.of(cells, 0, 0).program(array_of(held, cells))

    def read(seed: int, index: int, name: str) -> NDArray[Any]:
        array, chip = array_of(held, cells, name), Chip.of(cells, seed, index)
        return product(CircuitOperand(array, programmed, chip), x)(x)

    base = read(0, 0, "w")
    assert np.array_equal(base, read(0, 0, "w"))
    for other in ((1, 0, "w"), (0, 1, "w"), (0, 0, "v")):
        assert not np.any(base == read(*other))


def test_the_ideal_chip_reads_without_noise() -> None:
    operand = operand_of(normal(20, 4, seed=1), noisy(), Chip.ideal())
    x = normal(3, 1, 1, 20)
    np.testing.assert_array_equal(product(operand, x)(x), product(operand, x)(x))


@settings(max_examples=30)
@given(case=EVERY_OP, cut=st.integers(1, 3), periphery=peripheries())
def test_images_do_not_depend_on_how_they_are_batched(
    case: Case, cut: int, periphery: dict[str, Any]
) -> None:
    """To the bit, with noisy reads: the images one after the other, in any batches."""
    if case.op == "MatMul" or (case.op == "Gemm" and case.attributes["transA"]):
        return  # no batch axis of their own
    axis = {0: 0, 2: 0} if case.op == "Gemm" else {0: 0}
    if case.op in ("LSTM", "GRU", "RNN"):
        axis = {0: 1, 4: 0, 5: 1, 6: 1}
    if case.op == "Gemm":
        case.inputs[2] = None
    cells = noisy(**periphery)
    count = case.inputs[0].shape[axis[0]]

    def outputs(size: int) -> list[NDArray[Any]]:
        held: list[CircuitOperand] = []
        turn = iter(range(0))

        def operand(weight: NDArray[Any]) -> CircuitOperand:
            number = next(turn)
            if number == len(held):
                array, chip = array_of(weight, cells, f"w{number}"), chip_of(cells)
                held.append(CircuitOperand(array, chip.program(array), chip))
            return held[number]

        parts: list[list[NDArray[Any]]] = []
        for first in range(0, count, size):
            inputs = [
                v
                if v is None or k not in axis
                else v.take(range(first, min(first + size, count)), axis[k])
                for k, v in enumerate(case.inputs)
            ]
            turn = iter(range(2))
            parts.append(run(Case(case.op, inputs, case.attributes), operand=operand))
        joins = [0] if len(axis) < 3 else [2, 1, 1]
        return [np.concatenate([part[k] for part in parts], joins[k]) for k in range(len(parts[0]))]

    for one, two in zip(outputs(count), outputs(min(cut, count)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_blocks_do_not_change_reads() -> None:
    """A convolution cut into blocks of images: every image keeps its noise."""
    case = Case("Conv", [normal(9, 3, 8, 8).astype("f4"), normal(4, 3, 3, 3).astype("f4"), None])
    cells = noisy(dac_bits=6, adc_bits=8)
    whole = run(case, operand=lambda w: operand_of(w, cells))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lowering, "TOGETHER_BYTES", 1)
        single = run(case, operand=lambda w: operand_of(w, cells))
    np.testing.assert_array_equal(whole[0], single[0])


def test_a_read_is_found_by_its_number() -> None:
    """Steps of a sequence are parts of an entry: entry 1 reads the same in batches of 1 and 2."""
    cells = noisy()
    x = normal(6, 1, 1, 20)  # three steps of two entries
    both = product(operand_of(normal(20, 4, seed=1), cells), x[:2])(x, reads=Reads(batch=2))
    alone = product(operand_of(normal(20, 4, seed=1), cells), x[:2])(
        x[1::2], reads=Reads(first=1, batch=1)
    )
    np.testing.assert_array_equal(both[1::2], alone)


def test_a_range_below_the_currents_clips() -> None:
    x = np.ones((1, 1, 1, 20))
    weight = np.ones((20, 1))
    cells = target(rows=20, dac_bits=1, adc_bits=4, adc_range=7.0)
    found = product(operand_of(weight, cells, Chip.ideal()), x)(x)
    # every slice reads 60 and is clipped to 7, which is 7 (1 + 4) / 15 of the weight
    np.testing.assert_allclose(found, 7 * 5 / 15, rtol=1e-6)


def test_zero_inputs_and_zero_weights_give_zero() -> None:
    for encoding in ENCODINGS:
        cells = target(encoding, rows=8, dac_bits=4, adc_bits=4)
        zero = operand_of(np.zeros((20, 3)), cells, Chip.ideal())
        some = operand_of(normal(20, 3), cells, Chip.ideal())
        x = np.zeros((2, 1, 1, 20))
        np.testing.assert_array_equal(product(some, x)(x), 0)
        if encoding != "offset":  # its cells stand at half their range: the ADC rounds
            np.testing.assert_array_equal(product(zero, x)(normal(2, 1, 1, 20)), 0)


def test_values_are_the_programmed_weights() -> None:
    cells = noisy()
    array, chip = array_of(normal(20, 4, seed=1), cells), chip_of(cells)
    programmed: Programmed = chip.program(array)
    operand = CircuitOperand(array, programmed, chip)
    np.testing.assert_array_equal(operand.values(), programmed.weights)
    assert operand.shape == (20, 4)


def test_a_calibrated_range_must_be_known() -> None:
    with pytest.raises(OptionError, match="'a' has no calibrated range; compile with --data"):
        operand_of(normal(20, 4), target(dac_range="calibrated"))
    with pytest.raises(OptionError, match="'a' has no calibrated range"):
        ranges = [{"array": "a", "input": 1.0}]
        operand_of(normal(20, 4), target(adc_bits=4, adc_range="calibrated", ranges=ranges))


def test_a_calibrated_dac_clips() -> None:
    ranges = [{"array": "a", "input": 2.0}]
    cells = target(dac_bits=4, dac_range="calibrated", ranges=ranges)
    x = np.array([0.5, 2.0, 7.0, -9.0]).reshape(4, 1, 1, 1)
    found = product(operand_of(np.ones((1, 1)), cells, Chip.ideal()), x)(x).ravel()
    # codes of 2 / 15; 0.5 is code 4
    np.testing.assert_allclose(found, np.array([4, 15, 15, -15]) * 2 / 15, rtol=1e-6)


def test_wires_need_a_conductance() -> None:
    with pytest.raises(OptionError, match="'d' states no conductance"):
        operand_of(normal(20, 4), target(wire_ohm={"row": 1.0, "col": 1.0}), Chip.ideal())


@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_wires_fade_with_their_resistance(encoding: Encoding, subtract: str) -> None:
    text = {"name": "d", "title": "t", "source": "s", "levels": 4, "noise": [SPREAD]}
    cells = device().model_validate({**text, "conductance": {"min_us": 1.0, "max_us": 40.0}})
    case = Case("Conv", [normal(3, 4, 6, 6), normal(6, 2, 3, 3, seed=1), None], {"group": 2})

    def output(ohm: float) -> NDArray[Any]:
        periphery = {"wire_ohm": {"row": ohm, "col": ohm}, "subtract": subtract}
        wired = Target.of(
            cells,
            weight_bits=4,
            cell_bits=2,
            encoding=encoding,
            rows=40,
            cols=8,
            periphery=Periphery.model_validate(periphery),
        )
        return run(case, operand=lambda w: operand_of(w, wired))[0]

    ideal = output(0.0)
    errors = [float(np.abs(output(ohm) - ideal).max()) for ohm in (1e-3, 1e-2, 1.0, 100.0)]
    assert errors == sorted(errors) and errors[0] < 1e-4 * np.abs(ideal).max() < errors[-1]
    # small resistances act in proportion: ten times the resistance, ten times the error, to the
    # square of 30 cells * 40 µS * 1e-2 ohm and float32's rounding of levels
    np.testing.assert_allclose(errors[1] / errors[0], 10, rtol=0.05)


@pytest.mark.parametrize(
    ("encoding", "subtract"), [("offset", "analog"), ("differential", "digital")]
)
def test_currents_below_the_reference_are_not_clipped(encoding: Encoding, subtract: str) -> None:
    """Wires take so much of what level 0 conducts that columns end below the reference column."""
    weight, x = np.eye(64, 8) * 3 - 1.5, np.ones((2, 1, 1, 64), np.float32)

    def output(adc_bits: int | None) -> NDArray[Any]:
        wired = Target.of(
            load_device("rram-milo2021"),
            weight_bits=4,
            cell_bits=2,
            encoding=encoding,
            periphery=Periphery(
                adc_bits=adc_bits,
                subtract=subtract,  # pyright: ignore[reportArgumentType]
                wire_ohm=WireOhm(row=5.0, col=5.0),
            ),
        )
        return product(operand_of(weight, wired, Chip.ideal()), x)(x)

    exact = output(None)
    assert exact.min() < 0
    # each of the lanes is off by at most half a step of 64 rows * 3 levels / (2^15 - 1) codes; a
    # lane of slice i counts for 4^i, and at most 3 slices and 2 polarities add up
    step = 64 * 3 / (2**15 - 1)
    scale = 1.5 / 15
    bound = scale * 2 * (1 + 4 + 16) * step / 2
    np.testing.assert_allclose(output(16), exact, rtol=0, atol=bound)
