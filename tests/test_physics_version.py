"""Numbers that chips have now: whoever changes them raises `PHYSICS`, and renews the file.

Results in stores are keyed by that version, so that those of another physics are not taken for
those of this one. Renew with `PYTHONPATH=. python tests/test_physics_version.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nvmc.compiled.masks import ChipMasks, Mask
from nvmc.hardware.chip import PHYSICS, Array, Chip
from nvmc.hardware.devices import SOURCES, Target, device_names, load_device, parse_noise
from nvmc.hardware.tiling import Place
from nvmc.rng import CountedDraw, stream

FILE = Path(__file__).parent / "files" / "physics.json"
MORE = (
    "global:scope=chip,sigma=0.1",
    "read:sigma=0.1",
    "programming:sigma=0.1,basis=inverse",
    "programming-uniform:amplitude=0.1,basis=value",
    "temperature-coefficient:per_k=0.01,std_per_k=0.01,reference_c=25,temperature_c=85",
    "correlated:row=0.1,col=0.2,gradient=0.3",
    "endurance:writes=1e6,life=1e6,shape=2,high=0.5,closing=0.1,closing_from=1e5",
    "read-disturb:reads=10,rate=0.01,rate_std=0.5,towards=high",
    "telegraph:amplitude=0.5,occupancy=0.3,share=0.7,drawn=chip",
    "telegraph:amplitude=0.5,occupancy=0.3,share=0.7,drawn=read",
)
"""Sources that no device of the library states the strength of."""
OPEN = ("stt-mram",)
"""Devices that leave a strength to the user."""


ONE_BIT = ("sign-magnitude", "differential", "offset")


def numbers_of(target: Target) -> list[float]:
    """Weights of one chip, and the spread of its reads where they have one."""
    codes = stream(0, 0, "codes").integers(-7, 8, (2, 3))
    if target.weight_bits == 1:
        codes = np.where(codes < 0, -1, 1)
    place = Place("CrossbarMatMul")
    array = Array("w", codes.astype(np.float32), np.float32(0.25), target, place)
    if target.weight_bits is not None:
        array = Array("w", codes.astype(np.int8), np.float32(0.25), target, place)
    chip = Chip.of(target, 3, 5)
    programmed = chip.program(array)
    spread = chip.read_spread(array, programmed.levels)
    return [
        *programmed.weights.ravel().tolist(),
        *([] if spread is None else spread.ravel().tolist()),
    ]


def clipped_reads_now() -> list[float]:
    """Means and spreads of reads of PCM, an hour old, most of whose cells are idle."""
    target = Target.of("pcm-joshi2020")
    array = Array("w", np.array([[0.0, 0.01], [0.1, 1.0]], np.float32), np.float32(1), target)
    chip = Chip.of(target, 3, 5, time_s=3600.0)
    read = chip.read(array, chip.program(array).levels)
    assert read is not None
    return [number for part in read for number in part.ravel().tolist()]


def numbers() -> dict[str, list[float]]:
    """By device, source or stream."""
    whole = [name for name in device_names() if name not in OPEN]
    found = {name: numbers_of(Target.of(load_device(name))) for name in whole}
    plain = Target.of(load_device("ideal"), weight_bits=4)
    found |= {text: numbers_of(plain.on(None, [parse_noise(text)])) for text in MORE}
    binary = load_device("bitflip").with_noise([parse_noise("programming:sigma=0.1,basis=level")])
    for encoding in ONE_BIT:
        noisy = Target.of(binary, weight_bits=1, encoding=encoding)
        found[f"one bit, {encoding}"] = numbers_of(noisy.on(None, [parse_noise("bitflip:p=0.3")]))
    found["reads, clipped"] = clipped_reads_now()
    found["reads"] = CountedDraw(3, 5, "w", "read").normal((1, 2, 3), (4,)).tolist()
    masks = [
        Mask("drop", "a", (0, 4), 0, "float32", "keep", rate=0.5),
        Mask("scale", "b", (0, 4), 0, "float32", "uniform", low=-1.0),
    ]
    for name, drawn in ChipMasks(masks, 3, 5).feed(1, 2, 2).items():
        found[f"mask {name}"] = drawn.ravel().tolist()
    noise = [Mask("sign", "c", (0, 4), 0, "float32", "normal", source="activation")]
    drawn = ChipMasks(noise, 3, 5, {"activation": 0.3}).feed(1, 2, 2)["c"]
    found["activation"] = drawn.ravel().tolist()
    return found


def test_numbers_are_those_of_this_version() -> None:
    """To 1e-5: powers and logarithms may differ by some ulps of float32 from machine to machine."""
    stated, found = json.loads(FILE.read_text()), numbers()
    assert stated["physics"] == PHYSICS, "PHYSICS was raised: renew tests/files/physics.json"
    assert stated["numbers"].keys() == found.keys()
    for name, values in found.items():
        np.testing.assert_allclose(
            values, stated["numbers"][name], rtol=1e-5, atol=1e-6, err_msg=f"{name}: raise PHYSICS"
        )


def test_every_source_is_among_them() -> None:
    devices = [load_device(name) for name in device_names() if name not in OPEN]
    types = {source.type for device in devices for source in device.noise}
    others = {text.partition(":")[0] for text in MORE} | {"activation"}
    assert types | others == SOURCES.keys() - {"own"}


if __name__ == "__main__":
    FILE.write_text(json.dumps({"physics": PHYSICS, "numbers": numbers()}, indent=1) + "\n")
