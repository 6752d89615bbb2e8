"""The mean squared error of codes against closed forms by hand and against chips."""

from __future__ import annotations

import numpy as np
import pytest

from nvmc import Target, load_device
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import device_names
from nvmc.hardware.expected_error import _found, code_errors
from nvmc.hardware.tiling import Place

STATED = [n for n in device_names() if "bitflip" not in load_device(n).required]


def test_equation_14_by_hand() -> None:
    """fefet2 has four levels, whose spreads are 1, 2, 2 and 1 times sigma; slices count 1 and 4."""
    found = code_errors(Target.of("fefet2", weight_bits=4, cell_bits=2), 0.1)
    spread = 0.1 * np.array([1.0, 2.0, 2.0, 1.0])
    code = np.arange(-15, 16)
    low, high = spread[np.abs(code) % 4], spread[np.abs(code) // 4]
    assert found.exact and found.steps.tolist() == code.tolist()
    np.testing.assert_allclose(found.squared, low**2 + 16 * high**2, rtol=1e-6)


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
@pytest.mark.parametrize("device", STATED)
def test_every_device_against_its_chips(device: str, encoding: str) -> None:
    """Both are means of draws where there is no closed form: their difference is twice as wide."""
    cells = load_device(device)
    sigma = 0.1 if "sigma" in cells.required else None
    bits = None if cells.levels == "continuous" else 4
    if bits is None and encoding == "offset":
        pytest.skip("analog weights have no offset encoding")
    target = Target.of(device, weight_bits=bits or "none", encoding=encoding)
    found = code_errors(target, sigma)
    at = found.steps if bits else found.steps[::32]
    kind = np.int32 if bits else np.float32
    codes = np.repeat(at.astype(kind)[:, None], 2000, axis=1)
    array = Array("w", codes, np.ones((), np.float32), target, Place("CrossbarMatMul"))
    off = (Chip.of(target, 7, 3, sigma).weights(array).astype(np.float64) - codes) ** 2
    error = np.sqrt(off.var(axis=1) / off.shape[1] * (1 if found.exact else 2))
    assert np.all(np.abs(found.of(at) - off.mean(axis=1)) <= 6 * error + 1e-9)


def test_drawn_errors_are_the_same_every_time() -> None:
    target = Target.of("sonos-agrawal2022")
    first, again = code_errors(target), _found(target, None)  # which draws once more
    assert not first.exact and first.squared.tobytes() == again.squared.tobytes()


def test_what_is_found_once_is_not_to_be_changed() -> None:
    for target in (Target.of("fefet2"), Target.of("sonos-agrawal2022")):
        found = code_errors(target)
        assert code_errors(target) is found
        for values in (found.steps, found.squared):
            with pytest.raises(ValueError, match="read-only"):
                values[0] = 0
