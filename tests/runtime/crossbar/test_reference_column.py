"""What cells conduct at level 0, behind the ADC: subtracted exactly, by a column, or digitally."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import reference
from crossbar_kernels import run
from nvmc.errors import OptionError
from nvmc.hardware.chip import REFERENCE, Array, Chip
from nvmc.hardware.devices import Device, Periphery, Target
from nvmc.hardware.encoding import Encoding, quantize, scale_of
from nvmc.hardware.reference_column import reference_of
from nvmc.hardware.restriction import AblatedChip, Selection
from nvmc.hardware.tiling import Place
from nvmc.rng import CountedDraw
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.runtime.crossbar.operand import CircuitOperand
from nvmc.runtime.crossbar.ranges import RangeObserver
from strategies import Case

PLACE = Place("CrossbarMatMul")
SEED, INDEX = 4, 2
SPREAD = {"type": "programming", "basis": "level", "sigma": 0.2}
READ = {"type": "read", "basis": "level", "sigma": 0.3}
DIGITAL = {"subtract": "digital"}
USES: dict[str, tuple[Encoding, dict[str, Any]]] = {
    "offset": ("offset", {}),
    "one cell": ("offset", {}),
    "pairs, digital": ("differential", DIGITAL),
    "balanced, digital": ("balanced", DIGITAL),
    "signs, analog": ("sign-magnitude", {}),
    "signs, digital": ("sign-magnitude", DIGITAL),
}
CASES = [(use, "none") for use in USES]
CASES += [(use, "column") for use in ("offset", "one cell", "pairs, digital")]


def target(
    use: str,
    how: str = "auto",
    *noise: dict[str, Any],
    ratio: float = 4.0,
    bits: int | None = 4,
    rows: int = 5,
    cols: int = 3,
    **periphery: Any,
) -> Target:
    """Four-bit weights in two-bit cells, or one of five (or analog ones), of that on/off ratio."""
    cell_bits = 5 if use == "one cell" and bits == 4 else 2
    device = Device.model_validate(
        {
            **{"name": "d", "title": "t", "source": "s", "noise": list(noise)},
            "levels": 2**cell_bits if bits else "continuous",
            "conductance": {"min_us": 20.0 / ratio, "max_us": 20.0},
        }
    )
    encoding, more = USES[use]
    return Target.of(
        device,
        weight_bits=bits or "none",
        cell_bits=1 if bits == 1 else cell_bits if bits else None,
        encoding=encoding,
        rows=rows,
        cols=cols,
        periphery=Periphery.model_validate({**more, "reference": how, **periphery}),
    )


def array_of(weight: NDArray[Any], cells: Target) -> Array:
    if cells.weight_bits is None:
        return Array("a", weight.astype(np.float32), np.ones((), np.float32), cells, PLACE)
    scale = scale_of(weight, cells.weight_bits).astype(np.float32)
    return Array("a", quantize(weight, scale, cells.weight_bits), scale, cells, PLACE)


def operand_of(
    weight: NDArray[Any],
    cells: Target,
    kernel: str = KERNELS[0],
    chip: Chip | None = None,
    observer: RangeObserver | None = None,
) -> CircuitOperand:
    array = array_of(weight, cells)
    found = Chip.of(cells, SEED, INDEX) if chip is None else chip
    return CircuitOperand(array, found.program(array), found, observer=observer, kernel=kernel)


def product(operand: CircuitOperand, x: NDArray[Any]) -> NDArray[Any]:
    return operand.mvm(PLACE, entries=len(x), dtype=x.dtype)(x)


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


# --- against the loop over currents --------------------------------------------------------------


def looped(x: NDArray[Any], array: Array, chip: Chip) -> NDArray[Any]:
    """Current by current: those of cells that conduct at level 0, then what is subtracted."""
    cells, (groups, _, cols) = array.target, array.codes.shape
    off, gap = cells.off_level, cells.layout.shift
    programmed = chip.program(array)
    unit = np.broadcast_to(array.unit, (groups, cols))
    counts = 2.0 ** (cells.cell_bits * np.arange(len(programmed.levels)))
    if cells.encoding in reference.PAIRS:
        counts = counts[: len(programmed.levels) // 2]
    if cells.weight_bits in (None, 1):
        counts = np.array([2.0 if cells.encoding == "offset" else 1.0])

    def read(levels: Any, sign: Any, unit: Any, *names: str) -> NDArray[Any]:
        found = chip.read_spread(array if not names else reference_of(array), levels)
        draws = CountedDraw(SEED, INDEX, "a", *names, "read", "node 0")
        more = {} if found is None else {"spread": found, "normal": draws.normal}
        return reference.circuit(x, levels + off, sign, unit, cells, **more)  # type: ignore[arg-type]

    y = read(programmed.levels, programmed.sign, unit)
    codes, steps = np.zeros(x.shape), np.zeros(len(x))
    for entry in range(len(x)):
        codes[entry], steps[entry], _ = reference._codes(x[entry], cells.periphery)
    by_input = codes * steps[:, None, None, None]
    driven = by_input.sum(-1)  # (entries, groups, vectors)
    if cells.reference == "none":
        if cells.encoding == "offset":
            y -= off * counts.sum() * unit[:, None] * driven[..., None]
        elif cells.encoding == "sign-magnitude":
            signed = np.einsum("bgvr,grc->bgvc", by_input, programmed.sign)
            y -= off * counts.sum() * unit[:, None] * signed
        return y
    other = chip.program(reference_of(array)).levels
    ones = np.ones(other.shape[1:])
    seen = read(other, ones, ones[:, 0], REFERENCE)
    seen += gap * driven[..., None]  # a column has no codes to shift
    return y - seen[..., np.arange(cols) // cells.cols] * unit[:, None]


@pytest.mark.parametrize("noise", [(), (SPREAD, READ)])
@pytest.mark.parametrize("inputs", ["two-phase", "offset"])
@pytest.mark.parametrize("mode", ["multi-level", "bit-serial"])
@pytest.mark.parametrize("bits", [4, 1, None])
@pytest.mark.parametrize(("use", "how"), CASES)
def test_equals_the_loop_over_currents(
    use: str, how: str, bits: int | None, mode: str, inputs: str, noise: Any
) -> None:
    """Ranges are given, as the loop does not know what the full one is here."""
    more = {"dac_bits": 4, "dac_mode": mode, "signed_inputs": inputs}
    cells = target(use, how, *noise, bits=bits, **more, adc_bits=7, adc_range=60.0)
    x, weight = normal(3, 2, 2, 8), normal(2, 8, 7, seed=1)
    x[0] = np.abs(x[0])
    operand, chip = operand_of(weight, cells), Chip.of(cells, SEED, INDEX)
    expected = looped(x, array_of(weight, cells), chip)
    np.testing.assert_allclose(product(operand, x), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("noise", [(), (SPREAD, READ)])
@pytest.mark.parametrize("bits", [4, None])
@pytest.mark.parametrize(("use", "how"), CASES)
def test_kernels_give_the_bits_of_numpy(use: str, how: str, bits: int | None, noise: Any) -> None:
    """A convolution with a bias, gathered where it lies by kernels and unfolded by NumPy."""
    cells = target(use, how, *noise, bits=bits, dac_bits=5, dac_mode="bit-serial", adc_bits=6)
    x, weight = normal(3, 4, 9, 9).astype(np.float32), normal(8, 4, 3, 3, seed=1)
    case = Case("Conv", [x, weight.astype(np.float32), normal(8, seed=2).astype(np.float32)])
    found = [run(case, operand=lambda w, k=k: operand_of(w, cells, k))[0] for k in KERNELS]
    assert KERNELS[-1] == NUMPY
    for one in found[:-1]:
        np.testing.assert_array_equal(one, found[-1])
    batches = [
        run(
            Case("Conv", [x[:1], *case.inputs[1:]]),
            operand=lambda w: operand_of(w, cells),
        )[0]
    ]
    np.testing.assert_array_equal(batches[0], found[0][:1])


# --- what it means -------------------------------------------------------------------------------


def cells_are_signed_by_place(use: str) -> bool:
    return USES[use][0] == "sign-magnitude"


@pytest.mark.parametrize("use", USES)
def test_a_finite_ratio_reaches_the_adc(use: str) -> None:
    """Behind 6 bits a ratio of 1.5 is another circuit than 1e9; without an ADC it is none."""
    x, weight = np.abs(normal(4, 1, 3, 10)).astype(np.float32), normal(1, 10, 4, seed=1)
    ideal = np.einsum("bgvr,grc->bgvc", x, array_of(weight, target(use)).ideal)

    def error(how: str, ratio: float, **more: Any) -> float:
        cells = target(use, how, ratio=ratio, **more)
        found = product(operand_of(weight, cells, chip=Chip.ideal()), x)
        return float(np.sqrt(np.mean((found - ideal) ** 2)))

    assert error("none", 1.5) < 5e-5 > error("exact", 1.5)
    adc = {"dac_bits": 6, "adc_bits": 6}
    assert error("exact", 1.5, **adc) == pytest.approx(error("exact", 1e9, **adc), rel=1e-6)
    assert error("none", 1.5, **adc) > 1.5 * error("none", 1e9, **adc)
    assert error("none", 1e9, **adc) == pytest.approx(error("exact", 1e9, **adc), rel=1e-2)
    if cells_are_signed_by_place(use):
        assert error("auto", 1.5, **adc) == error("exact", 1.5, **adc)
        return
    assert error("auto", 1.5, **adc) == error("none", 1.5, **adc)
    if use != "balanced, digital":
        assert error("column", 1.5, **adc) > 1.2 * error("exact", 1.5, **adc)


def test_pairs_subtracted_before_the_adc_need_no_reference() -> None:
    device = target("offset", ratio=1.5).device
    x, weight = normal(4, 1, 3, 10).astype(np.float32), normal(1, 10, 4, seed=1)
    found = []
    for how in ("auto", "exact", "none"):
        periphery = Periphery(dac_bits=4, adc_bits=5, reference=how)
        cells = Target.of(
            device, weight_bits=4, encoding="differential", rows=5, periphery=periphery
        )
        assert cells.off_at_adc == 0
        found.append(product(operand_of(weight, cells), x).tobytes())
    assert len(set(found)) == 1


def test_the_full_range_holds_the_off_current() -> None:
    """All rows at the top of both inputs and cells: no code is clipped, and none is unused."""
    cells = target("offset", "none", ratio=2.0, bits=2, dac_bits=3, adc_bits=10)
    weight = np.ones((1, 5, 1))
    observer = RangeObserver()
    array = array_of(weight, cells)
    top = Chip.ideal().program(array)
    x = np.ones((1, 1, 1, 5), np.float32)
    operand = CircuitOperand(array, top, Chip.ideal(), observer=observer)
    found = product(operand, x)
    # levels of 3 or 6 (code + 3), which lies in two cells of two bits: 2 + 1, off = 3 steps
    assert cells.off_level == pytest.approx(3.0)
    largest = float(top.levels.max() + 3.0) * 5 * 7
    assert observer.current == pytest.approx(largest, rel=0.012)
    np.testing.assert_allclose(found, 5.0, rtol=0.01)


def test_calibrated_ranges_see_the_off_current() -> None:
    x, weight = np.abs(normal(20, 1, 3, 10)).astype(np.float32), normal(1, 10, 4, seed=1)
    seen = {}
    for how in ("exact", "none", "column"):
        observer, cells = RangeObserver(), target("offset", how, ratio=1.5, dac_bits=4)
        product(operand_of(weight, cells, chip=Chip.ideal(), observer=observer), x)
        seen[how] = observer.current
    assert seen["none"] == seen["column"] > 2 * seen["exact"]


# --- the column's own cells ----------------------------------------------------------------------


@pytest.mark.parametrize("use", ["offset", "pairs, digital"])
def test_a_column_is_drawn_apart_and_moves_no_other_cell(use: str) -> None:
    cells, plain = target(use, "column", SPREAD), target(use, "exact", SPREAD)
    weight = normal(2, 8, 7, seed=1)
    array, chip = array_of(weight, cells), Chip.of(cells, SEED, INDEX)
    same = Chip.of(plain, SEED, INDEX).program(array_of(weight, plain)).levels
    np.testing.assert_array_equal(chip.program(array).levels, same)
    column = reference_of(array)
    assert column.codes.shape == (2, 8, 3)  # seven columns on tiles of three
    assert not column.cells.targets.any()
    levels = chip.program(column).levels
    assert np.std(levels) == pytest.approx(0.2, rel=0.25)
    assert len(np.unique(levels)) == levels.size
    assert not np.isin(levels, chip.program(array).levels - array.cells.targets).any()


@pytest.mark.parametrize("scope", ["chip", "array", "tile"])
def test_a_column_takes_off_what_its_tile_shares(scope: str) -> None:
    """A common offset is in the column too, which is what real ones are for."""
    common = {"type": "global", "basis": "level", "sigma": 0.5, "scope": scope}
    x, weight = np.abs(normal(4, 1, 3, 10)).astype(np.float32), normal(1, 10, 7, seed=1)
    ideal = np.einsum("bgvr,grc->bgvc", x, array_of(weight, target("offset")).ideal)
    errors = {}
    for how in ("none", "column"):
        found = product(operand_of(weight, target("offset", how, common)), x)
        errors[how] = float(np.abs(found - ideal).max())
    assert errors["column"] < 1e-4 < 0.1 < errors["none"]


def test_a_column_of_silent_arrays_is_silent() -> None:
    """Chips that are noisy only in part have its noise where they have the array's."""
    cells = target("offset", "column", SPREAD, READ)
    array, whole = array_of(normal(1, 8, 7), cells), Chip.of(cells, SEED, INDEX)
    column = reference_of(array)
    for names, noisy in ((frozenset({"a"}), True), (frozenset({"b"}), False)):
        part = AblatedChip.within(whole, Selection(arrays=names))
        found = part.program(column).levels
        assert (part.read(column, found) is not None) is noisy
        assert np.array_equal(found, whole.program(column).levels) is noisy
        assert bool(found.any()) is noisy


def test_chips_need_the_circuit_where_a_column_errs() -> None:
    assert not Periphery(reference="column").ideal
    assert Periphery(reference="none").ideal and Periphery(reference="exact").ideal


@pytest.mark.parametrize(
    ("use", "more", "why"),
    [
        ("signs, digital", {}, "leaves cells unformed"),
        ("signs, analog", {}, "leaves cells unformed"),
        ("pairs, digital", {"subtract": "analog"}, "before the ADC need none"),
        ("offset", {"wire_ohm": {"row": 1.0, "col": 1.0}}, "are not modelled"),
    ],
)
def test_columns_that_could_do_nothing_are_refused(use: str, more: Any, why: str) -> None:
    cells = target(use, "column", **more)
    with pytest.raises(OptionError, match=f"reference is 'column', but .*{why}.*; give"):
        operand_of(normal(1, 4, 3), cells)


def test_a_column_knows_nothing_of_its_arrays_lines() -> None:
    lines = {"type": "correlated", "basis": "level", "row": 0.1}
    with pytest.raises(OptionError, match="along the lines of a tile.*give --reference exact"):
        product(operand_of(normal(5, 3), target("offset", "column", lines)), normal(2, 5))
