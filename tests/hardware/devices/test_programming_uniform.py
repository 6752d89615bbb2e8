"""Flat programming errors, and errors that grow as conductance falls (CrossSim's generic kinds).

CrossSim works on x = g/g_max: an error e is added as e (independent), x e (proportional) or e/x
(inverse-proportional, none where x = 0), e normal with sigma or uniform on +-magnitude/2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import SOURCES, Cells, Conductance, Device, Target, parse_noise
from nvmc.rng import Draw

N = 200_000
ALPHA = 1e-4  # of each statistical test; seeds are fixed
X = (0.1, 0.25, 0.5, 1.0)
KINDS = {"full_range": lambda x: 1.0, "value": lambda x: x, "inverse": lambda x: 1 / x}


def source(kind: str, **options: Any) -> Any:
    return SOURCES[kind].model_validate({"type": kind, **options})


def errors(noise: Any, x: float, low_us: float = 0.0) -> np.ndarray:
    """Errors in x of cells that aim for x = g/g_max, on 0 to 40 µS or less."""
    level = (40 * x - low_us) / (40 - low_us)
    targets = np.full((1, N), level, np.float32)
    held = Cells(targets, 1.0, (), 1.0, conductance=Conductance(min_us=low_us, max_us=40.0))
    moved = noise.apply(targets, held, Draw(5, 0, "w", noise.type))
    assert moved.dtype == np.float32
    return ((moved.astype(float) - targets) * (40 - low_us) / 40).ravel()


@pytest.mark.parametrize("x", X)
@pytest.mark.parametrize("basis", KINDS)
def test_the_six_generic_kinds(basis: str, x: float):
    """Ends of the flat law to float32's rounding; both laws by Kolmogorov and Smirnov."""
    strength = 0.01 * KINDS[basis](x)
    flat = errors(source("programming-uniform", amplitude=0.01, basis=basis), x)
    assert np.abs(flat).max() <= strength + 2.0**-23
    assert stats.kstest(flat, stats.uniform(-strength, 2 * strength).cdf).pvalue > ALPHA
    normal = errors(source("programming", sigma=0.01, basis=basis), x)
    assert stats.kstest(normal, stats.norm(0, strength).cdf).pvalue > ALPHA


def test_inverse_counts_conductance_from_zero_not_levels():
    """On 8 to 40 µS the lowest level has x = 1/5: five times the error of g_max."""
    found = errors(source("programming", sigma=0.01, basis="inverse"), 0.2, low_us=8.0)
    assert abs(found.std() - 0.05) < 5 * 0.05 / math.sqrt(2 * N)


@pytest.mark.parametrize("kind", ["programming", "read"])
def test_a_cell_that_conducts_nothing_has_no_inverse_error(kind: str):
    levels = np.array([[0.0, 1.0, 1.5, 3.0]], np.float32)
    held = Cells(levels, 3.0, (2,), 1.0)
    noise = source(kind, sigma=0.1, basis="inverse")
    spread = noise.spread(held) if kind == "programming" else noise.spread(levels, held)
    np.testing.assert_allclose(spread, [[0.0, 0.9, 0.6, 0.3]], rtol=2.0**-22)


def test_a_law_of_the_state_scales_the_bounds():
    levels = np.arange(4, dtype=np.float32)[None]
    law = source("programming-uniform", amplitude=0.5, basis="level", profile=(1, 2, 4, 0))
    held = Cells(levels, 3.0, (2,), 1.0)
    assert law.bound(held).tolist() == [[0.5, 1.0, 2.0, 0.0]]
    np.testing.assert_allclose(law.spread(held), law.bound(held) / math.sqrt(3))


def test_the_device_gives_the_amplitude_that_is_left_out():
    noise = [{"type": "programming-uniform", "basis": "level"}]
    device = Device.model_validate(
        {"name": "d", "title": "", "source": "s", "levels": 4, "sigma": 0.25, "noise": noise}
    )
    assert device.needs_sigma and device.sources()[0].amplitude == 0.25  # type: ignore[attr-defined]
    target = Target.of(device, weight_bits=2)
    codes = np.full((50, 40), 3, np.int8)
    levels = Chip.of(target, 0, 0, 0.5).program(Array("w", codes, np.ones(()), target)).levels
    assert 0.49 < np.abs(levels - 3).max() <= 0.5
    assert not device.sources(0.0)[0].active


def test_it_is_typed_like_the_others():
    found = parse_noise("programming-uniform:amplitude=0.1")
    assert found.model_dump(exclude_none=True) == {
        "type": "programming-uniform",
        "amplitude": 0.1,
        "basis": "level",
    }
    assert parse_noise("programming:sigma=0.1,basis=inverse").basis == "inverse"  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match="'inverse'"):
        parse_noise("programming-uniform:amplitude=0.1,basis=log")
    with pytest.raises(OptionError, match="keep one law"):
        parse_noise("programming-uniform:profile=1;2;2;1,polynomial=1;2")
    with pytest.raises(ValidationError):
        source("programming-uniform", amplitude=-0.1, basis="level")
