"""The laws of the noise sources, on NumPy arrays and on torch tensors alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import SOURCES, Cells, Conductance, Device, NoiseSource, Target
from nvmc.hardware.encoding import Layout
from nvmc.hardware.tiling import Lines
from nvmc.rng import Draw

N = 200_000
ALPHA = 1e-4  # of each statistical test below: two dozen of them, seeds fixed


def source(kind: str, **options: Any) -> Any:
    return SOURCES[kind].model_validate({"type": kind, **options})


def draw(*names: str) -> Draw:
    return Draw(5, 0, *names)


def cells(targets: Any, **options: Any) -> Cells:
    full: dict[str, Any] = {
        "highest_level": 3.0,
        "plane_bits": (2,) * len(targets),
        "full_range": 2.0,
    }
    size = int(np.prod(targets.shape[1:]))
    full |= {"conductance": Conductance(min_us=2.0, max_us=20.0), "time_s": 100.0}
    places = np.arange(size).reshape(tuple(targets.shape[1:]))
    full["tiles"] = places // 5
    full["lines"] = Lines(places % 5, places % 2, (5, 2))
    return Cells(targets, **{**full, **options})


def assert_binomial(count: int, trials: int, p: float) -> None:
    assert stats.binomtest(int(count), trials, p).pvalue > ALPHA


# --- weights -----------------------------------------------------------------------------------

WEIGHTS = np.random.default_rng(0).standard_normal(N).astype(np.float32)
EMPTY = cells(np.zeros((0, N), np.float32))


def test_drift_is_log_normal():
    """BayesFT, Eq. 1: ln(W'/W) ~ N(0, sigma^2), and no weight changes sign."""
    drifted = source("lognormal-drift", sigma=0.5).apply(WEIGHTS, EMPTY, draw("drift"))
    factor = drifted.astype(np.float64) / WEIGHTS
    assert factor.min() > 0
    assert stats.kstest(np.log(factor), stats.norm(0, 0.5).cdf).pvalue > ALPHA


def test_additive_noise_is_a_fraction_of_the_range():
    error = source("additive", sigma=0.1).apply(0 * WEIGHTS, EMPTY, draw("additive"))
    assert stats.kstest(error, stats.norm(0, 0.1 * 2.0).cdf).pvalue > ALPHA


def test_multiplicative_noise_is_a_fraction_of_the_value():
    noisy = source("multiplicative", sigma=0.1).apply(WEIGHTS, EMPTY, draw("multiplicative"))
    factor = noisy.astype(np.float64) / WEIGHTS
    assert stats.kstest(factor, stats.norm(1, 0.1).cdf).pvalue > ALPHA


def test_uniform_noise_is_flat_between_its_ends():
    error = source("uniform", amplitude=0.1).apply(0 * WEIGHTS, EMPTY, draw("uniform"))
    assert stats.kstest(error, stats.uniform(-0.2, 0.4).cdf).pvalue > ALPHA
    assert error.dtype == np.float32 and np.abs(error).max() <= np.float32(0.2)


# --- stuck cells -------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0.005, 0.02), (0.3, 0), (0, 1e-3), (0.25, 0.75)])
def test_cells_stick_in_the_fraction_asked_for(low: float, high: float):
    levels = np.full((2, N), 1.5, np.float32)
    stuck = source("stuck-at", p_low=low, p_high=high).apply(levels, cells(levels), draw("stuck"))
    assert_binomial(np.count_nonzero(stuck == 0), 2 * N, low)
    assert_binomial(np.count_nonzero(stuck == 3), 2 * N, high)
    assert set(np.unique(stuck)) <= {0, 1.5, 3}


def test_certain_faults_are_certain():
    levels = np.full((1, 1000), 1.5, np.float32)
    for options, level in (({"p_low": 1.0}, 0), ({"p_high": 1.0}, 3)):
        stuck = source("stuck-at", **options).apply(levels, cells(levels), draw("stuck"))
        assert np.all(stuck == level)


def test_raising_a_probability_only_adds_stuck_cells():
    levels = np.full((1, N), 1.5, np.float32)
    few = source("stuck-at", p_low=0.01, p_high=0.02).apply(levels, cells(levels), draw("s"))
    many = source("stuck-at", p_low=0.05, p_high=0.06).apply(levels, cells(levels), draw("s"))
    assert np.array_equal(many[few != 1.5], few[few != 1.5])


# --- flipped bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5])
def test_bits_flip_at_their_rate(p: float):
    layout = Layout(5, 2, "sign-magnitude")  # planes of 2, 2 and 1 bits
    codes = np.random.default_rng(1).integers(-31, 32, N)
    levels, sign = layout.levels(codes), layout.sign(codes)
    held = cells(levels, plane_bits=(2, 2, 1))
    flipped, signs = source("bitflip", p=p).apply(levels, sign, held, draw("flip"))
    changed = np.bitwise_xor(flipped.astype(int), levels.astype(int))
    for plane, bits in enumerate((2, 2, 1)):
        for bit in range(bits):
            assert_binomial(np.count_nonzero(changed[plane] >> bit & 1), N, p)
        assert changed[plane].max() < 2**bits
    assert_binomial(np.count_nonzero(signs != sign), N, p)


@pytest.mark.parametrize("bits", ["cells", "sign", "all"])
def test_the_same_flips_twice_are_none(bits: str):
    layout = Layout(5, 2, "sign-magnitude")
    codes = np.arange(-31, 32)
    start = layout.levels(codes), layout.sign(codes)
    flip = source("bitflip", p=0.4, bits=bits)
    once = flip.apply(*start, cells(start[0], plane_bits=(2, 2, 1)), draw("flip"))
    twice = flip.apply(*once, cells(once[0], plane_bits=(2, 2, 1)), draw("flip"))
    assert np.array_equal(twice[0], start[0]) and np.array_equal(twice[1], start[1])
    assert np.any(once[0] != start[0]) == (bits != "sign")
    assert np.any(once[1] != start[1]) == (bits != "cells")


def test_cells_and_sign_together_are_all():
    layout = Layout(4, 2, "sign-magnitude")
    codes = np.arange(-15, 16)
    start = layout.levels(codes), layout.sign(codes), cells(layout.levels(codes))
    whole, only_cells, only_sign = (
        source("bitflip", p=0.4, bits=bits).apply(*start, draw("flip"))
        for bits in ("all", "cells", "sign")
    )
    assert np.array_equal(whole[0], only_cells[0]) and np.array_equal(whole[1], only_sign[1])


def test_there_is_no_sign_bit_to_flip_without_a_sign():
    levels, sign = np.zeros((1, 1000), np.float32), np.ones(1000, np.float32)
    held = cells(levels, plane_bits=(1,), signed=False)
    flipped, signs = source("bitflip", p=1.0).apply(levels, sign, held, draw("flip"))
    assert np.all(flipped == 1) and np.array_equal(signs, sign)


# --- programming -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("basis", "profile", "expected"),
    [
        ("level", None, [0.1, 0.1, 0.1, 0.1]),
        ("full_range", None, [0.3, 0.3, 0.3, 0.3]),
        ("value", None, [0.0, 0.1, 0.2, 0.3]),
        ("us", None, [0.1 / 6, 0.1 / 6, 0.1 / 6, 0.1 / 6]),
        ("level", (1.0, 4.0, 4.0, 1.0), [0.1, 0.4, 0.4, 0.1]),
        ("full_range", (1.0, 2.0, 3.0, 4.0), [0.3, 0.6, 0.9, 1.2]),
        ("value", (1.0, 2.0, 3.0, 4.0), [0.0, 0.2, 0.6, 1.2]),
    ],
)
@pytest.mark.parametrize("plane_bits", [(2,), ()])
def test_spread_by_basis_and_profile(
    basis: str, profile: Any, expected: list[float], plane_bits: tuple[int, ...]
):
    held = cells(np.arange(4, dtype=np.float32)[None], plane_bits=plane_bits)
    if basis == "value":
        held = replace(held, conductance=None)  # with one, level 0 has a value too
    spread = source("programming", sigma=0.1, basis=basis, profile=profile).spread(held)
    np.testing.assert_allclose(np.broadcast_to(spread, (1, 4))[0], expected, rtol=2**-22)


def test_spread_of_analog_levels_is_linear_between_whole_ones():
    targets = np.array([[0, 0.25, 1.5, 2.75, 3]], np.float32)
    held = cells(targets, plane_bits=())
    spread = source("programming", sigma=0.5, basis="level", profile=(1, 5, 5, 1)).spread(held)
    assert spread.tolist() == [[0.5, 1.0, 2.5, 1.0, 0.5]]


def test_analog_weights_use_the_range_of_the_device():
    """g = |W| / max|W| * top: the largest weight sits on the top level of its profile."""
    profile = source("programming", sigma=0.0, basis="level", profile=(1, 4, 4, 1))
    device = Device(name="d", title="", source="s", levels=4, noise=(profile,))
    target = Target.of(device, weight_bits="none")
    held = Array("w", np.array([-2.0, 1.0, 0.0], np.float32), np.array(1.0), target)
    assert held.cells.targets.tolist() == [[3.0, 1.5, 0.0]]
    assert held.cells.full_range == 2
    assert Chip.of(target, 0, 0).program(held).weights.tolist() == [-2, 1, 0]


# --- strengths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["additive", "multiplicative", "lognormal-drift", "uniform"])
def test_a_source_without_strength_says_so(kind: str):
    loose: NoiseSource = source(kind)
    with pytest.raises(ValueError, match=kind):
        loose.apply(WEIGHTS, EMPTY, draw("x"))  # type: ignore[attr-defined]
    settled = loose.with_sigma(0.25)
    assert settled.active and settled.with_sigma(9.0) is settled
    assert not loose.with_sigma(0.0).active


# --- torch -------------------------------------------------------------------------------------


class TorchDraw:
    """The same numbers as torch tensors."""

    def __init__(self, draws: Draw) -> None:
        self.draws = draws

    def normal(self, shape: tuple[int, ...]) -> Any:
        return pytest.importorskip("torch").from_numpy(self.draws.normal(shape))

    def uniform(self, shape: tuple[int, ...]) -> Any:
        return pytest.importorskip("torch").from_numpy(self.draws.uniform(shape))


LAW = {"slope": -0.02, "intercept": 0.03, "min": 0.01, "max": 0.1}
ROWS = (
    {"time_s": 1.0, "profile": (1.0, 2.0, 3.0, 4.0)},
    {"time_s": 1e4, "polynomial": (0.5, 1.0), "bias": {"polynomial": (0.1, 0.2)}},
)
PLACED = [
    source("programming", sigma=0.1, basis="level"),
    source("programming", sigma=0.1, basis="value"),
    source("programming", sigma=0.1, basis="inverse"),
    source("programming", sigma=0.1, basis="level", profile=(1, 2, 2, 1)),
    source("programming-uniform", amplitude=0.1, basis="level"),
    source("programming-uniform", amplitude=0.1, basis="inverse", profile=(1, 2, 2, 1)),
    source("stuck-at", p_low=0.2, p_high=0.1),
    source(
        "temperature-coefficient", per_k=0.01, std_per_k=0.01, reference_c=25.0, temperature_c=45.0
    ),
    source("telegraph", amplitude=0.1, occupancy=0.3, share=0.5, basis="level", drawn="chip"),
    source("bitflip", p=0.3),
    source("lognormal-drift", sigma=0.5),
    source("additive", sigma=0.1),
    source("multiplicative", sigma=0.1),
    source("uniform", amplitude=0.1),
    source("programming", sigma=0.1, basis="us", polynomial=(0.5, 1.0, -1.0)),
    source("programming", sigma=0.1, basis="us", saturating={"a": 2.0, "b": 5.0}),
    source("programming", sigma=0.5, basis="value", tolerance=0.3, max_pulses=4),
    source("programming", sigma=0.1, basis="level", bias={"profile": (0.1, 0.2, 0.3, 0.4)}),
    source("programming", sigma=0.1, basis="us", table=ROWS),
    source("retention", nu_mean=0.05, nu_std=0.02, t0_s=1.0),
    source("retention", nu_mean=LAW, nu_std=LAW, t0_s=1.0),
    source("global", sigma=0.1, basis="full_range", scope="chip"),
    source("global", sigma=0.1, basis="value", scope="tile"),
    source("endurance", writes=1e5, life=1e5, shape=2.0, high=0.5),
    source("read-disturb", reads=10.0, p=0.05, towards="low"),
    source("read-disturb", reads=10.0, rate=0.01, rate_std=0.5, towards="low"),
    source("correlated", row=0.1, col=0.1, gradient=0.1, basis="level"),
]


def _apply(noise: Any, levels: Any, sign: Any, weights: Any, held: Cells, draws: Any) -> list[Any]:
    if noise.stage == "code":
        return list(noise.apply(levels, sign, held, draws))
    return [noise.apply(levels if noise.stage == "cell" else weights, held, draws)]


@pytest.mark.parametrize("noise", PLACED, ids=lambda s: f"{s.type}-{getattr(s, 'basis', '')}")
@pytest.mark.parametrize("plane_bits", [(2, 2), ()])
def test_torch_gives_the_same_numbers(noise: Any, plane_bits: tuple[int, ...]):
    """Products and sums round alike, but may be fused; e^x is good to 2 ulp in either library.

    Retention raises 100 to at most -0.3: x < 1.4 in e^-x, off by 1.4 * 4 ulp of x's own.
    """
    torch = pytest.importorskip("torch")
    if noise.quantized_only and not plane_bits:
        return
    rng = np.random.default_rng(2)
    levels = rng.integers(0, 4, (2, 3, 4)).astype(np.float32)
    if not plane_bits:
        levels = np.clip(levels + np.float32(0.25), 0, 3)
    weights = rng.standard_normal((3, 4)).astype(np.float32)
    sign = np.sign(weights)
    ours = _apply(noise, levels, sign, weights, cells(levels, plane_bits=plane_bits), draw("t"))
    tensors = [torch.from_numpy(a) for a in (levels, sign, weights)]
    held = cells(tensors[0], plane_bits=plane_bits)
    theirs = _apply(noise, *tensors, held, TorchDraw(draw("t")))
    for mine, other in zip(ours, theirs, strict=True):
        assert other.dtype == torch.float32
        np.testing.assert_allclose(other.numpy(), mine, rtol=12 * 2.0**-23, atol=8 * 2.0**-23)


@pytest.mark.parametrize("noise", PLACED, ids=lambda s: f"{s.type}-{getattr(s, 'basis', '')}")
def test_torch_keeps_gradients(noise: Any):
    """d out / d in: e^lambda, 1 + noise, 1, or 0 for a cell that is stuck; never lost."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    start = torch.from_numpy(rng.integers(1, 3, (2, 3, 4)).astype(np.float32)).requires_grad_()
    held = cells(start.detach())
    sign = torch.ones(3, 4)
    (out, *_) = _apply(noise, start, sign, start, held, TorchDraw(draw("t")))
    (gradient,) = torch.autograd.grad(out.sum(), start)
    match noise.type:
        case "read-disturb" if noise.rate:
            torch.testing.assert_close(gradient, (out / start).detach(), rtol=1e-6, atol=0)
        case "stuck-at" | "endurance" | "read-disturb":
            free = out.detach() == start.detach()
            assert torch.equal(gradient, free.float())
        case "lognormal-drift" | "multiplicative":
            torch.testing.assert_close(gradient, (out / start).detach(), rtol=1e-6, atol=0)
        case "retention" | "temperature-coefficient":
            conducted = start.detach() + 1 / 3
            expected = (out.detach() + 1 / 3) / conducted
            torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=0)
        case "global" if noise.basis == "value":
            expected = (out.detach() + 1 / 3) / (start.detach() + 1 / 3)
            torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=0)
        case _:
            assert torch.equal(gradient, torch.ones_like(gradient))


@pytest.mark.parametrize(
    "read",
    [
        source("read", basis="value", sigma=0.1),
        source("read", basis="us", polynomial=(0.5, 1.0, -1.0)),
        source("read", basis="us", saturating={"a": 2.0, "b": 5.0}),
        source("read", basis="level", profile=(1.0, 2.0, 2.0, 1.0)),
        source(
            "read",
            basis="value",
            one_over_f={"q": 0.01, "exponent": 0.5, "q_max": 0.05, "t_read_s": 1e-6},
        ),
    ],
    ids=["value", "polynomial", "saturating", "profile", "one-over-f"],
)
def test_read_spread_is_the_same_on_torch(read: Any):
    """A power is e^(p ln x), x >= 1/10: |p ln x| < 1.2, so 12 ulp bound it as above."""
    torch = pytest.importorskip("torch")
    targets = np.random.default_rng(2).integers(0, 4, (2, 3, 4)).astype(np.float32)
    levels = targets + np.float32(0.25)
    ours = read.spread(levels, cells(targets))
    theirs = read.spread(torch.from_numpy(levels), cells(torch.from_numpy(targets)))
    assert theirs.dtype == torch.float32 and ours.dtype == np.float32
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=12 * 2.0**-23)


def test_a_drift_beyond_all_numbers_warns_of_nothing():
    drift = source("lognormal-drift", sigma=1e3)
    drifted = drift.apply(np.ones((20, 20), np.float32), EMPTY, draw("drift"))
    assert np.isposinf(drifted).any() and (drifted == 0).any()
