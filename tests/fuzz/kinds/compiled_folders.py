"""Compiled networks: other manifests, models, tiles; with digests that fit, or that do not."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import onnx

from fuzz.case import Commands, Kind
from fuzz.made import compile_networks, succeed
from fuzz.mutations import changed_bytes, changed_tree
from fuzz.protobuf import changed_message

__all__ = ["KIND"]

NETWORKS = ("dense", "images")


def prepare(folder: Path) -> None:
    compile_networks(folder, *NETWORKS)
    for name in NETWORKS:
        succeed("simulate", str(folder / f"{name}.nvmc"), "--runs", "2")
        succeed(
            "program", str(folder / f"{name}.nvmc"), "--chip", "0", "-o", str(folder / "c.onnx")
        )


def make(draw: Random, valid: Path, here: Path) -> Commands:
    name, other = draw.sample(NETWORKS, 2)
    folder = here / "net.nvmc"
    shutil.copytree(valid / f"{name}.nvmc", folder)
    match draw.randrange(10):
        case 0:
            swapped = draw.choice(("model.onnx", "tiles.json", "manifest.json", "results.sqlite"))
            shutil.copy(valid / f"{other}.nvmc" / swapped, folder / swapped)
        case 1:
            _changed_file(draw, draw.choice(sorted(path for path in folder.iterdir())))
        case 2:
            _change_json(draw, folder / "tiles.json")
        case 3 | 4 | 5:
            model = onnx.load(folder / "model.onnx")
            changed_message(draw, model, 1)
            (folder / "model.onnx").write_bytes(model.SerializeToString())
        case _:
            _change_json(draw, folder / "manifest.json")
    if draw.random() < 0.8:
        _seal(folder)
    runs = ["--runs", "2", "--no-store"]
    return draw.choice(
        (
            [["simulate", "net.nvmc", *runs]],
            [["simulate", "net.nvmc", *runs, "--fidelity", "circuit", "--json"]],
            [["simulate", "net.nvmc", "--runs", "2", "--store", "kept.sqlite"]],
            [["simulate", "net.nvmc", *runs, "--device", "fefet2"]],
            [["program", "net.nvmc", "--chip", "1", "-o", "out.onnx", "--cells", "out.npz"]],
            [["sensitivity", "net.nvmc", *runs]],
            [["results", "list", "net.nvmc"]],
        )
    )


def _changed_file(draw: Random, path: Path) -> None:
    if path.is_file():
        path.write_bytes(changed_bytes(draw, path.read_bytes(), 2))


def _change_json(draw: Random, path: Path) -> None:
    tree = changed_tree(draw, json.loads(path.read_bytes()))
    path.write_text(json.dumps(tree))


def _seal(folder: Path) -> None:
    """Write the digests that the manifest has of the other files anew."""
    path = folder / "manifest.json"
    try:
        tree: Any = json.loads(path.read_bytes())
        entries = dict(tree["files"])
    except (ValueError, KeyError, TypeError):
        return
    for name, entry in entries.items():
        file = folder / str(name)[:100]
        if isinstance(entry, dict) and file.is_file():
            content = file.read_bytes()
            entry.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    path.write_text(json.dumps(tree))


KIND = Kind(prepare, make)
