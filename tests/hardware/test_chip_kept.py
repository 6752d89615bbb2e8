"""What an array keeps from one chip to the next changes no chip, and does not travel."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target, device_names, load_device, parse_noise
from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.encoding import Encoding
from nvmc.rng import streams

CODES = np.random.default_rng(3).integers(-15, 16, 500)


def fresh(target: Target, codes: np.ndarray = CODES) -> Array:
    return Array("w", codes, np.asarray(0.5), target)


@pytest.mark.parametrize("flips", [False, True], ids=["", "flips"])
@pytest.mark.parametrize("name", [n for n in device_names() if n != "bitflip"])
def test_one_array_serves_all_chips(name: str, flips: bool) -> None:
    """Chips of several strengths and ages, mixed, are those of an array that kept nothing."""
    device = load_device(name)
    required = "bitflip" in device.required
    noise = [parse_noise("bitflip:p=0.1")] if flips or required else []
    bits = device.defaults.weight_bits
    bits = 4 if bits == "none" else bits
    target = Target.of(device, weight_bits=bits).on(None, noise)
    sigmas = [None, 0.3] if device.needs_sigma else [None]
    if "sigma" in device.required:
        sigmas = [0.2, 0.3]
    times = [1.0, 30.0] if device.timed else [None]
    chips = [Chip.of(target, 0, k, s, t) for s in sigmas for t in times for k in range(2)]
    held = fresh(target, CODES.clip(1 - 2**bits, 2**bits - 1))
    for chip in [*chips, *chips[::-1], *chips[::2]]:
        alone = chip.program(fresh(target, held.codes))
        assert np.array_equal(chip.program(held).weights, alone.weights)
        assert chip.weights(held).tobytes() == alone.weights.tobytes()


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
@pytest.mark.parametrize("bits", [4, None], ids=["", "analog"])
def test_weights_at_once_are_those_of_programmed_cells(
    encoding: Encoding, bits: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, compiled and by NumPy, for one spread and for one a level."""
    codes = CODES if bits else CODES / np.float32(7)
    cells: Any = {"encoding": encoding, **({"cell_bits": 2} if bits else {})}
    laws: list[dict[str, str]] = [
        {},
        {"polynomial": "0.2;0.7;0.1"},
        {"polynomial": "0.2;0.7;0.1", "basis": "full_range"},
    ]
    for law in laws:
        told = ",".join(f"{key}={value}" for key, value in {"sigma": "0.3", **law}.items())
        noise = [parse_noise(f"programming:{told}")]
        device = load_device("ideal")
        target = Target.of(device, weight_bits=bits, **cells).on(None, noise)
        array, chip = fresh(target, codes.reshape(20, 25)), Chip.of(target, 0, 3)
        expected = chip.program(array).weights
        with monkeypatch.context() as patch:
            patch.setattr(Chip, "program", None)  # which the quick way does not take
            assert chip.weights(array).tobytes() == expected.tobytes()
        with monkeypatch.context() as patch:
            patch.setattr(streams, "_normals", None)
            assert chip.weights(array).tobytes() == expected.tobytes()


def test_large_arrays_keep_nothing() -> None:
    """It would take as much memory as the targets."""
    target = Target.of(load_device("fefet2"))
    for count, kept in ((1000, 1), (1 << 20, 0)):
        held = fresh(target, np.resize(CODES, count))
        Chip.of(target, 0, 0).program(held)
        assert isinstance(held.cells, Cells) and held.cells.found is not None
        assert len(held.cells.found) == kept


def test_an_array_travels_without_what_was_derived() -> None:
    target = Target.of(load_device("fefet2"))
    held = fresh(target)
    small = len(pickle.dumps(held))
    chip = Chip.of(target, 0, 0)
    weights = chip.program(held).weights
    assert len(pickle.dumps(held)) == small
    assert np.array_equal(chip.program(pickle.loads(pickle.dumps(held))).weights, weights)
