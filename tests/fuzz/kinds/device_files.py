"""Device files: shown, compiled for, simulated."""

from __future__ import annotations

import json
import math
import tomllib
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

from fuzz.case import Commands, Kind
from fuzz.made import compile_networks
from fuzz.mutations import changed_bytes, changed_tree

__all__ = ["KIND", "toml_of"]

LIBRARY = resources.files("nvmc.hardware.devices") / "library"


def prepare(folder: Path) -> None:
    compile_networks(folder, "dense")


def make(draw: Random, valid: Path, here: Path) -> Commands:
    names = sorted(file.name for file in LIBRARY.iterdir() if file.name.endswith(".toml"))
    text = (LIBRARY / draw.choice(names)).read_text()
    if draw.random() < 0.92:
        content = toml_of(changed_tree(draw, tomllib.loads(text))).encode(
            "utf-8", "surrogateescape"
        )
    else:
        content = changed_bytes(draw, text.encode())
    (here / "mine.toml").write_bytes(content)
    network, made = str(valid / "dense.onnx"), str(valid / "dense.nvmc")
    runs = ["--runs", "2", "--no-store"]
    time = ["--time", "1d"] if '"retention"' in text else []
    last = draw.choice(
        (
            ["simulate", "out.nvmc", *runs],
            ["simulate", made, "--device", "./mine.toml", *runs, "--json"],
            ["simulate", "out.nvmc", *runs, "--fidelity", "circuit"],
            ["simulate", made, "--device", "./mine.toml", *runs],
            ["simulate", made, "--device", "./mine.toml", *runs, "--json", *time],
            ["program", "out.nvmc", "--chip", "0", "-o", "out.onnx", "--cells", "out.npz"],
            ["sweep", "out.nvmc", "--sigma", "0:0.2:0.1", *runs],
        )
    )
    show = ["devices", "show", "./mine.toml", *draw.choice(([], ["--json"]))]
    bits = draw.choice(([], [], ["--weight-bits", "4"], ["--encoding", "offset"]))
    return [show, ["compile", network, "--device", "./mine.toml", "-o", "out.nvmc", *bits], last]


def toml_of(tree: Any) -> str:
    """A tree as TOML; what TOML does not have (None) is left out."""
    if not isinstance(tree, dict):
        return _value(tree)
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in tree.items())


def _key(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case str():
            return _key(value)
        case dict():
            return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(_value(v) for v in value if v is not None) + "]"
        case None:
            return '""'
        case _:
            return str(value)


KIND = Kind(prepare, make)
