"""The compiled kernels: the bits of the NumPy path, whatever the processor."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossbar_kernels import run
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Periphery, Target
from nvmc.hardware.encoding import Encoding, quantize, scale_of
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.array import Block
from nvmc.runtime.crossbar.chain import chained, fused
from nvmc.runtime.crossbar.circuit import Circuit, CircuitMvm
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.mvm import ALL, ExactMvm, Reads
from nvmc.runtime.crossbar.native import KERNELS, NUMPY, Reader, drive
from nvmc.runtime.crossbar.operand import CircuitOperand
from nvmc.runtime.crossbar.ranges import RangeObserver
from strategies import Case, conv_cases, conv_transpose_cases, gemm_cases, recurrent_cases

COMPILED = KERNELS[:-1]
ENCODINGS: tuple[Encoding, ...] = ("sign-magnitude", "differential", "offset", "balanced")
NOISE = [
    {"type": "programming", "basis": "level", "sigma": 0.2},
    {"type": "read", "basis": "level", "sigma": 0.3},
]
ADCS = [
    "ideal:noise=0.4",
    "flash:comparator=0.6,offset=1",
    "sar:mismatch=0.1,noise=0.2",
    "ramp:slope=0.1",
    "pipeline:mismatch=0.1,gain=0.1",
    "cyclic:comparator=3,dnl=0.5",
    "time-based:delay=0.1,inl=1",
]
SEED, INDEX = 4, 2


def target(
    encoding: Encoding, bits: int | None, rows: int, noise: bool, **periphery: Any
) -> Target:
    """Four-bit weights in two-bit cells, or analog ones."""
    text = {"name": "d", "title": "t", "source": "s", "noise": NOISE if noise else NOISE[:1]}
    device = Device.model_validate({**text, "levels": 4 if bits else "continuous"})
    return Target.of(
        device,
        weight_bits=bits or "none",
        cell_bits=2 if bits else None,
        encoding=encoding,
        rows=rows,
        periphery=Periphery.model_validate(periphery),
    )


def operand_of(
    weight: NDArray[Any], cells: Target, kernel: str, observer: RangeObserver | None = None
) -> CircuitOperand:
    array = Array("a", weight.astype(np.float32), np.float32(1).reshape(()), cells)
    if cells.weight_bits is not None:
        scale = scale_of(weight, cells.weight_bits).astype(np.float32)
        array = Array("a", quantize(weight, scale, cells.weight_bits), scale, cells)
    chip = Chip.of(cells, SEED, INDEX)
    return CircuitOperand(array, chip.program(array), chip, observer=observer, kernel=kernel)


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def same_bits(found: NDArray[Any], expected: NDArray[Any]) -> None:
    assert found.dtype == expected.dtype == np.float32
    # a zero's sign is nobody's business: + 0.0 makes both zeros the same
    np.testing.assert_array_equal((found + 0.0).view(np.uint32), (expected + 0.0).view(np.uint32))


@st.composite
def peripheries(draw: st.DrawFn) -> dict[str, Any]:
    dac = draw(st.sampled_from([None, 2, 5, 8]))
    found: dict[str, Any] = {
        "dac_bits": dac,
        "dac_mode": draw(st.sampled_from(["multi-level", "bit-serial"])) if dac else "multi-level",
        "signed_inputs": draw(st.sampled_from(["two-phase", "offset", "bipolar"])),
        "adc_bits": draw(st.sampled_from([None, 1, 3, 6, 12, 16])),
        "adc_range": draw(st.sampled_from(["full", 2.5])),
        "subtract": draw(st.sampled_from(["analog", "digital"])),
        "row_split": draw(st.sampled_from(["filled", "even"])),
        "rows_on": draw(st.sampled_from([None, 1, 3])),
        "column_limit": draw(st.sampled_from([None, 1.5, 20.0])),
    }
    if found["dac_mode"] == "bit-serial":
        found["dac_slice_bits"] = draw(st.integers(1, dac or 1))
        found["accumulate"] = draw(st.sampled_from(["digital", "analog"]))
    if found["adc_bits"] in (1, 3, 6):
        found["adc"] = draw(st.sampled_from(["ideal", *ADCS]))
        found["adc_share"] = draw(st.sampled_from([1, 2, 5]))
        found["adc_rounding"] = draw(st.sampled_from(["nearest", "stochastic"]))
    return found


@settings(max_examples=100)
@given(
    shape=st.tuples(*(st.integers(1, n) for n in (4, 3, 5, 40))),
    bits=st.sampled_from([None, 1, 4, 8]),
    inputs=st.sampled_from(["two-phase", "offset"]),
    limit=st.sampled_from([None, 0.0, 0.7]),
    odd=st.sampled_from([0.0, np.nan, np.inf, -np.inf]),
    seed=st.integers(0, 999),
)
def test_codes_are_numpys(
    shape: tuple[int, ...],
    bits: int | None,
    inputs: str,
    limit: float | None,
    odd: float,
    seed: int,
) -> None:
    """Into room within a larger array, and with numbers that are none."""
    stated = {"dac_bits": 4 if bits == 1 and inputs == "offset" else bits, "signed_inputs": inputs}
    dac = Dac(Periphery.model_validate(stated), limit)
    x = normal(*shape, seed=seed)
    x[0] = np.abs(x[0])
    x[-1] = 0
    x[-1, 0, 0, seed % shape[3]] = odd
    with np.errstate(invalid="ignore"):
        codes, expected = dac.drive(x)
    for kernel in COMPILED:
        room = np.full((*shape[:2], shape[2] + 3, shape[3] + 2), 5, np.float32)
        inner = room[:, :, 1:-2, 1:-1]
        found = drive(
            kernel, x, inner, whole=dac.whole, top=dac.largest_code, half=dac.half, limit=dac.limit
        )
        np.testing.assert_array_equal(inner, codes)
        assert np.all(room[:, :, [0, -1]] == 5) and np.all(room[..., [0, -1]] == 5)
        np.testing.assert_array_equal(found.step, expected.step)
        np.testing.assert_array_equal(found.offset, expected.offset)
        np.testing.assert_array_equal(found.signed, expected.signed)


def test_what_is_seen_of_an_array_does_not_depend_on_the_kernel() -> None:
    cells = target("sign-magnitude", 4, 8, False, dac_bits=6, adc_bits=8)
    case = Case("Conv", [normal(3, 2, 9, 9), normal(4, 2, 3, 3, seed=1), normal(4, seed=2)])
    seen: list[tuple[Any, Any]] = []
    for kernel in KERNELS:
        watching = RangeObserver()
        found = run(case, operand=lambda w, k=kernel, o=watching: operand_of(w, cells, k, o))[0]
        seen.append((watching.range_of("a", True), found))
    for one, found in seen[:-1]:
        assert one == seen[-1][0]
        same_bits(found, seen[-1][1])


def test_a_kernel_is_compiled_and_the_best_one_is_chosen() -> None:
    assert KERNELS[-1] == NUMPY
    assert "portable" in COMPILED
    cells = target("offset", 4, 8, True)
    with pytest.raises(ValueError, match="kernel is 'abacus'; expected one of .*portable"):
        Reader("abacus", np.ones((1, 1)), np.ones(1), 0, None, [])
    assert (
        operand_of(normal(3, 2), cells, KERNELS[0])
        .mvm(Place("CrossbarMatMul"), entries=1, dtype="f4")
        .gathers
    )
    assert (
        not operand_of(normal(3, 2), cells, NUMPY)
        .mvm(Place("CrossbarMatMul"), entries=1, dtype="f4")
        .gathers
    )


@settings(max_examples=150)
@given(
    encoding=st.sampled_from(ENCODINGS),
    periphery=peripheries(),
    bits=st.sampled_from([4, None]),
    sizes=st.tuples(*(st.integers(1, n) for n in (5, 2, 70, 9, 13))),
    rows=st.integers(1, 10),
    noise=st.booleans(),
    positive=st.booleans(),
    some=st.booleans(),
    seed=st.integers(0, 999),
)
def test_kernels_give_the_bits_of_numpy(
    encoding: Encoding,
    periphery: dict[str, Any],
    bits: int | None,
    sizes: tuple[int, ...],
    rows: int,
    noise: bool,
    positive: bool,
    some: bool,
    seed: int,
) -> None:
    """Tiles, lanes, pulses, converters, noisy reads, some columns, entries of either sign."""
    batch, groups, vectors, height, cols = sizes
    cells = target(encoding, bits, rows, noise, **periphery)
    x = normal(batch, groups, vectors, height, seed=seed)
    x[: batch if positive else batch // 2] **= 2
    weight = normal(groups, height, cols, seed=seed + 1)
    cut = slice(cols // 3, cols // 3 + 1 + cols // 2) if some else ALL
    reads = Reads(first=seed, part=1, batch=max(1, batch // 2))
    expected = None
    for kernel in (NUMPY, *COMPILED):
        operand = operand_of(weight, cells, kernel)
        mvm = operand.mvm(Place("CrossbarMatMul"), entries=batch, dtype=np.float32)
        found = mvm(x, cut, reads)
        if expected is None:
            expected = found
        same_bits(found, expected)
        turned = np.asfortranarray(x)  # another order in memory
        same_bits(mvm(turned, cut, reads), expected)
        same_bits(mvm(x[::-1][:1], cut, Reads(first=seed + 3)), mvm(x[-1:], cut, Reads(seed + 3)))


@settings(max_examples=80)
@given(
    case=st.one_of(
        conv_cases(),
        conv_transpose_cases(),
        gemm_cases(),
        recurrent_cases("LSTM"),
        recurrent_cases("GRU"),
    ),
    encoding=st.sampled_from(ENCODINGS),
    periphery=peripheries(),
    rows=st.integers(2, 20),
    noise=st.booleans(),
)
def test_operators_give_the_bits_of_numpy(
    case: Case, encoding: Encoding, periphery: dict[str, Any], rows: int, noise: bool
) -> None:
    """Windows are found where they lie, whatever the strides, dilations, pads and groups."""
    cells = target(encoding, 4, rows, noise, **periphery)
    expected = run(case, operand=lambda w: operand_of(w, cells, NUMPY))
    for kernel in COMPILED:
        found = run(case, operand=lambda w, k=kernel: operand_of(w, cells, k))
        for one, two in zip(found, expected, strict=True):
            same_bits(one.astype(np.float32), two.astype(np.float32))


@pytest.mark.parametrize("kernel", COMPILED)
@pytest.mark.parametrize("size", [7, 11, 16, 19, 30, 45, 62, 130])
def test_rows_of_any_length_are_gathered(size: int, kernel: str) -> None:
    """Runs of windows side by side, longer and shorter than a register, across images."""
    cells = target("sign-magnitude", 4, 8, False, dac_bits=6, adc_bits=8)
    case = Case("Conv", [normal(3, 2, 9, size), normal(4, 2, 3, 3, seed=1), normal(4, seed=2)])
    expected = run(case, operand=lambda w: operand_of(w, cells, NUMPY))[0]
    same_bits(run(case, operand=lambda w: operand_of(w, cells, kernel))[0], expected)


def test_large_images_are_cut_into_the_same_parts() -> None:
    """Parts of an image have normals of their own."""
    cells = target("sign-magnitude", 4, 8, True, dac_bits=6, adc_bits=8)
    case = Case("Conv", [normal(2, 3, 9, 8), normal(4, 3, 3, 3, seed=1), normal(4, seed=2)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nvmc.runtime.crossbar.lowering.BLOCK_BYTES", 2500)
        cut = [run(case, operand=lambda w, k=k: operand_of(w, cells, k))[0] for k in KERNELS]
    whole = run(case, operand=lambda w: operand_of(w, cells, NUMPY))[0]
    assert np.any(whole != cut[0])
    for found in cut[:-1]:
        same_bits(found, cut[-1])


finite = st.floats(-(2.0**40), 2.0**40, width=32, allow_subnormal=False)


@settings(max_examples=300)
@given(a=finite, b=finite, c=finite, near=st.booleans())
def test_fused_rounds_once(a: float, b: float, c: float, near: bool) -> None:
    """Against exact fractions; also where the product almost cancels the addend."""
    left, right = np.float32(a), np.float32(b)
    added = np.float32(-a * b) if near else np.float32(c)
    exact = Fraction(float(left)) * Fraction(float(right)) + Fraction(float(added))
    found = fused(*(np.array([v], np.float32) for v in (left, right, added)))[0]
    below, above = (np.nextafter(found, np.float32(end)) for end in (-np.inf, np.inf))
    off = abs(Fraction(float(found)) - exact)
    for other in (below, above):
        apart = abs(Fraction(float(other)) - exact)
        assert off < apart or (off == apart and found.view(np.uint32) % 2 == 0)


def test_halves_round_to_even() -> None:
    """2^24 + 1 lies between two numbers, and 2^24 + 2 + 1 between the next two."""
    one = np.ones(2, np.float32)
    large = np.array([2**24, 2**24 + 2], np.float32)
    np.testing.assert_array_equal(fused(one, one, large), [2**24, 2**24 + 4])


def test_chains_are_products() -> None:
    x, weights = normal(3, 2, 17, 40), normal(2, 40, 6, seed=1)
    exact = ExactMvm(weights, np.float64)(x.astype(np.float64))
    # forty roundings of sums below 2^6
    np.testing.assert_allclose(chained(x, weights), exact, rtol=0, atol=40 * 2.0**-25 * 2**6)


def test_vectors_outside_their_array_are_refused() -> None:
    native = pytest.importorskip("nvmc.runtime.crossbar._native")
    one, four = np.ones(1, np.float32), np.arange(4)
    reader = native.Reader("portable", one.reshape(1, 1), one, 0.0, False, 0)
    reader.add(0, np.ones((1, 4, 1), np.float32), None, one.reshape(1, 1), None, 1.0)
    out = np.zeros((1, 1, 1, 1), np.float32)
    drive = (one, 0 * one, one < 0)
    source = np.ones(4, np.float32)
    reader.read(source, (0, 0), four[:1], four, *drive, out, None, None)
    assert out.item() == 4
    for places in ((four[1:2], four), (four[:1], four - 1), (four[:1], four[:3])):
        with pytest.raises(ValueError, match="within their array|negative|last tile"):
            reader.read(source, (0, 0), *places, *drive, out, None, None)
    with pytest.raises(ValueError, match="float32"):
        reader.read(source.astype(np.float64), (0, 0), four[:1], four, *drive, out, None, None)
    with pytest.raises(ValueError, match="shape of the result"):
        reader.read(source, (0, 0), four[:2] * 0, four, *drive, out, None, None)


@pytest.mark.parametrize("kernel", COMPILED)
@pytest.mark.parametrize("inputs", ["two-phase", "bipolar"])
def test_rows_without_a_bit_are_left_out_to_the_same_bits(inputs: str, kernel: str) -> None:
    """Most rows have none of a slice's bits in all vectors that a register holds."""
    stated = {"dac_bits": 6, "dac_mode": "bit-serial", "signed_inputs": inputs, "adc_bits": 5}
    cells = target("differential", 4, 12, True, **stated)
    x = normal(1, 1, 75, 20)  # panels of 32 vectors, and a part of one
    x[:, :, :, ::3] = 0
    x[:, :, 16:48, 1::3] = 0
    x[:, :, :, 2] *= 2.0**-6
    weight = normal(1, 20, 9, seed=1)
    found, expected = (
        operand_of(weight, cells, k).mvm(Place("CrossbarMatMul"), entries=1, dtype=np.float32)(x)
        for k in (kernel, NUMPY)
    )
    same_bits(found, expected)


@pytest.mark.parametrize("kernel", COMPILED)
def test_an_infinite_current_counts_where_its_row_has_no_bit(kernel: str) -> None:
    """Times 0 it is no number, and no zero."""
    native = pytest.importorskip("nvmc.runtime.crossbar._native")
    one, places = np.ones(1, np.float32), np.arange(2)
    reader = native.Reader(kernel, one.reshape(1, 1), one, 0.0, False, 3)
    currents = np.array([1, np.inf], np.float32).reshape(1, 2, 1)
    reader.add(0, currents, None, one.reshape(1, 1), None, 1.0)
    out = np.zeros((1, 1, 1, 1), np.float32)
    source = np.array([5, 0], np.float32)
    reader.read(source, (0, 0), places[:1], places, one, 0 * one, one < 0, out, None, None)
    assert np.isnan(out.item())


@pytest.mark.parametrize("inputs", ["two-phase", "offset", "bipolar"])
@pytest.mark.parametrize("mode", ["multi-level", "bit-serial"])
@pytest.mark.parametrize("limit", [None, 0.7])
def test_a_number_that_is_none_spoils_its_vector_alone(
    inputs: str, mode: str, limit: float | None
) -> None:
    """Its entry is read as one with negative inputs, whatever is beside it in the batch."""
    stated = {"dac_bits": 4, "dac_mode": mode, "signed_inputs": inputs}
    dac = Dac(Periphery.model_validate(stated), limit)
    x = normal(3, 1, 4, 5)
    x[0, 0, 2, 1] = np.nan
    found: list[NDArray[Any]] = []
    for kernel in KERNELS:
        cells = [Block(slice(0, 5), normal(1, 5, 3, seed=1), None)]
        adcs = [Adc(6, 3.0, signed=True, aligned=False)]
        circuit = Circuit(cells, np.ones(1), 0.0, np.ones((1, 3)), dac, adcs, kernel)
        mvm = CircuitMvm(circuit)
        with np.errstate(invalid="ignore"):
            found.append(mvm(x))
            np.testing.assert_array_equal(mvm(x[:1]), found[-1][:1])
    for each in found:
        np.testing.assert_array_equal(each, found[-1])
    assert np.all(np.isfinite(found[0][1:]))
    assert limit is None or np.all(np.isfinite(found[0][0, 0, [0, 1, 3]]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_images_give_no_results(kernel: str) -> None:
    cells = target("offset", 4, 8, True, dac_bits=6, adc_bits=8)
    cases = [
        (Case("Gemm", [normal(0, 5), normal(5, 3)]), (0, 3)),
        (Case("MatMul", [normal(2, 0, 5), normal(5, 3)]), (2, 0, 3)),
        (Case("Conv", [normal(0, 2, 9, 9), normal(4, 2, 3, 3)]), (0, 4, 7, 7)),
        (Case("ConvTranspose", [normal(0, 2, 3, 3), normal(2, 4, 3, 3)]), (0, 4, 5, 5)),
    ]
    for case, shape in cases:
        assert run(case, operand=lambda w: operand_of(w, cells, kernel))[0].shape == shape
