"""Devices, targets and hardware show themselves in one line."""

from __future__ import annotations

import pytest

import nvmc
from nvmc.hardware.devices import Device, LayerTarget


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: nvmc.load_device("rram4"), "<Device rram4: 4 levels, sigma 0.1, noise "),
        (lambda: nvmc.load_device("ideal"), "<Device ideal: continuous levels, noise none>"),
        (
            lambda: nvmc.make_target("rram4", adc_bits=6, rows=64),
            "<Target rram4, 4-bit weights in 2-bit cells, sign-magnitude, tiles of 64x128, "
            "6-bit ADC>",
        ),
        (lambda: nvmc.load_hardware("isaac-32nm"), "<Hardware isaac-32nm: 32 nm, "),
    ],
)
def test_what_matters_in_one_line(made: object, said: str) -> None:
    found = made()  # pyright: ignore
    for text in (repr(found), str(found), f"{[found]}"):
        assert said in text and len(text) < 130


def test_layers_of_their_own_are_named() -> None:
    layers = [LayerTarget(glob=f"fc{number}", rows=64) for number in range(5)]
    target = nvmc.Target.of("rram4", layers=layers)
    assert repr(target).endswith("layers of their own: fc0, fc1, fc2, …>")
    assert isinstance(target.device, Device)
