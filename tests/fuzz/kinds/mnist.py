"""MNIST's files of images and labels, plain and compressed."""

from __future__ import annotations

import gzip
from pathlib import Path
from random import Random

from fuzz.case import Commands, Kind
from fuzz.made import compile_networks
from fuzz.mutations import INTEGERS, changed_bytes

__all__ = ["KIND"]


def prepare(folder: Path) -> None:
    compile_networks(folder, "images")


def make(draw: Random, valid: Path, here: Path) -> Commands:
    count = draw.randint(1, 9)
    sizes = {"images-idx3": [count, 6, 6], "labels-idx1": [count]}
    folder = here / draw.choice(("set", "set/raw"))
    folder.mkdir(parents=True)
    changed = draw.choice(list(sizes))
    for name, shape in sizes.items():
        pixels = (
            draw.randbytes(count * 36) if len(shape) > 1 else bytes(n % 10 for n in range(count))
        )
        header = [0, 0, 8, len(shape)]
        if name == changed:
            header, shape, pixels = _changed(draw, header, shape, pixels)
        raw = bytes(header) + b"".join((size % 2**32).to_bytes(4, "big") for size in shape) + pixels
        ending = draw.choice(("", "", ".gz"))
        content = gzip.compress(raw, mtime=0) if ending else raw
        if name == changed and draw.random() < 0.15:
            content = changed_bytes(draw, content, kept=draw.random() < 0.5)
        if draw.random() < 0.98:
            (folder / f"t10k-{name}-ubyte{ending}").write_bytes(content)
    fidelity = draw.choice(([], [], ["--fidelity", "circuit"]))
    words = ["simulate", str(valid / "images.nvmc"), "--data", "mnist:set", "--runs", "2"]
    return [[*words, "--no-store", *fidelity]]


def _changed(
    draw: Random, header: list[int], shape: list[int], pixels: bytes
) -> tuple[list[int], list[int], bytes]:
    match draw.randrange(9):
        case 0:
            header[draw.randrange(4)] = draw.randrange(256)
        case 1:
            shape[draw.randrange(len(shape))] = draw.choice(INTEGERS)
        case 2:
            shape[0] += draw.choice((-1, 1))
        case 3 if len(shape) > 1:
            shape = draw.choice(
                ([shape[0], 36, 1], [shape[0] * 36, 1, 1], [0, 6, 6], [0, 2**31, 0])
            )
        case 4 | 5:
            pixels = changed_bytes(draw, pixels, kept=draw.random() < 0.9)
        case _:
            pass
    return header, shape, pixels


KIND = Kind(prepare, make)
