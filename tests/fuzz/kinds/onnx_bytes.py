"""ONNX files with a few bytes changed: compiled, and simulated where that went well."""

from __future__ import annotations

from pathlib import Path
from random import Random

import onnx
from google.protobuf.message import DecodeError

from fuzz.case import Commands, Kind
from fuzz.made import compile_networks
from fuzz.mutations import changed_bytes
from fuzz.networks import NETWORKS, save_networks

__all__ = ["KIND", "commands", "prepare"]


def prepare(folder: Path) -> None:
    save_networks(folder)
    compile_networks(folder, "dense", "images")


def make(draw: Random, valid: Path, here: Path) -> Commands:
    content = (valid / f"{draw.choice(list(NETWORKS))}.onnx").read_bytes()
    changed = changed_bytes(draw, content, 1, kept=draw.random() < 0.9)
    if draw.random() < 0.7:  # most have to say more than that they do not parse
        for _ in range(5):
            if _parses(changed):
                break
            changed = changed_bytes(draw, content, 1, kept=True)
    (here / "model.onnx").write_bytes(changed)
    return commands(draw)


def _parses(content: bytes) -> bool:
    try:
        onnx.ModelProto.FromString(content)
    except DecodeError:
        return False
    return True


def commands(draw: Random) -> Commands:
    """Compile `model.onnx` in one way or another, then run the result in one way or another."""
    how = draw.choice(
        (
            [],
            [],
            ["--per-channel"],
            ["--fold-batchnorm"],
            ["--weight-bits", "4", "--tile", "4x4"],
            ["--device", "uniform"],
            ["--dac-bits", "4", "--adc-bits", "6"],
            draw.choice(([], ["--per-channel"], ["--store", "bias", "--store", "norm"])),
        )
    )
    then = draw.choice(
        (
            [["simulate", "out.nvmc", "--runs", "2", "--no-store"]],
            [["simulate", "out.nvmc", "--runs", "2", "--no-store", "--fidelity", "circuit"]],
            [["program", "out.nvmc", "--chip", "0", "-o", "out.onnx"]],
        )
    )
    alone = [["transform", "model.onnx", "--pass", "canonicalize", "-o", "out.onnx"]]
    whole = [["compile", "model.onnx", "-o", "out.nvmc", *how], *then]
    return alone if draw.random() < 0.1 else whole


KIND = Kind(prepare, make)
