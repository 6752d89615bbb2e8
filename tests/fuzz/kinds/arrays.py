"""Files of arrays, .npz: images and labels, tokens, inputs by their names."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.case import Commands, Kind
from fuzz.made import compile_networks
from fuzz.mutations import FLOATS, INTEGERS, changed_bytes, changed_number, changed_text, how_often
from nvmc.metrics import METRICS

__all__ = ["KIND"]

KINDS = "f2 f4 f8 >f4 i1 i4 i8 u1 u8 >i8 ? c8 U3 S2 M8[s] V4 O".split()
NETWORKS = ("dense", "tokens", "pair")


def prepare(folder: Path) -> None:
    compile_networks(folder, *NETWORKS)


def make(draw: Random, valid: Path, here: Path) -> Commands:
    network = draw.choice(NETWORKS)
    arrays = _valid(network, np.random.default_rng(draw.randrange(2**32)))
    for _ in range(how_often(draw, 2)):
        _change(draw, arrays)
    content = _packed(draw, arrays)
    if draw.random() < 0.1:
        content = changed_bytes(draw, content)
    (here / "data.npz").write_bytes(content)
    folder = str(valid / f"{network}.nvmc")
    spec = "next:data.npz" if network == "tokens" and "y" not in arrays else "data.npz"
    run = ["simulate", folder, "--data", spec, "--runs", "2", "--no-store"]
    if draw.random() < 0.15:
        run += ["--metric", draw.choice(list(METRICS))]
    if draw.random() < 0.2:
        run += ["--fidelity", "circuit"]
    if draw.random() < 0.2:
        run += ["--limit", "3"]
    ranges = ["--dac-bits", "4", "--dac-range", "calibrated", "--data", "data.npz"]
    compile_ = ["compile", str(valid / f"{network}.onnx"), *ranges, "-o", "out.nvmc"]
    unusual = ["uncertainty", folder, "--data", spec, "--runs", "2"]
    last = [unusual] if network == "dense" else [run]
    return draw.choice(([run], [run], [compile_], [run, compile_], last))


def _valid(network: str, generator: np.random.Generator) -> dict[str, Any]:
    count = int(generator.integers(4, 9))
    if network == "tokens":
        arrays: dict[str, Any] = {"input_ids": generator.integers(11, size=(count, 5))}
        if generator.random() < 0.5:
            arrays["attention_mask"] = np.ones((count, 5), np.int64)
        return arrays
    if network == "pair":
        x = generator.standard_normal((count, 4)).astype(np.float32)
        return {"x": x, "c": x[:, :2], "y": generator.integers(2, size=count)}
    x = generator.standard_normal((count, 8)).astype(np.float32)
    y = generator.integers(3, size=count)
    values = generator.standard_normal((count, 3)).astype(np.float32)
    return {"x": x, "y": y if generator.random() < 0.6 else values}


def _change(draw: Random, arrays: dict[str, Any]) -> None:
    name = draw.choice(list(arrays))
    array = arrays[name]
    match draw.randrange(12):
        case 0:
            del arrays[name]
            arrays[draw.choice(("x", "y", "input_ids", changed_text(draw, name)))] = array
        case 1:
            with np.errstate(all="ignore"):
                arrays[name] = array.astype(draw.choice(KINDS))
        case 2 if array.size:
            arrays[name] = array.reshape(draw.choice(((-1,), (1, -1), (-1, 1), array.shape[::-1])))
        case 3:  # fewer images, of one array or of all
            count = draw.randrange(len(array) + 1) if array.ndim else 0
            for one in [name] if draw.random() < 0.4 else list(arrays):
                arrays[one] = arrays[one][:count] if arrays[one].ndim else arrays[one]
        case 4 if array.ndim:
            arrays[name] = array[..., : draw.randrange(array.shape[-1] + 1)]
        case 5:
            arrays[name] = np.asarray(draw.choice((*FLOATS, *INTEGERS[:12])))
        case 6:
            arrays[draw.choice(("z", "c", "y", "attention_mask", "mask"))] = array.copy()
        case 7 if len(arrays) > 1:
            del arrays[name]
        case 8:  # other orders of axes in memory, and at times more images
            for one in [name] if draw.random() < 0.3 else list(arrays):
                twice = [arrays[one]] * 2 if arrays[one].ndim else [arrays[one][None]]
                arrays[one] = np.asfortranarray(np.concatenate(twice))
        case _ if array.size and array.dtype.kind in "fiu":
            at = draw.randrange(array.size)
            other = changed_number(draw, array.flat[at].item())
            with np.errstate(all="ignore"):
                changed = array.copy()
                changed.flat[at] = np.array(other).astype(array.dtype)
            arrays[name] = changed
        case _:
            pass


def _packed(draw: Random, arrays: dict[str, Any]) -> bytes:
    """The arrays as a zip file; at times one that numpy itself would not write."""
    file = io.BytesIO()
    odd = zipfile.ZIP_LZMA if draw.random() < 0.1 else zipfile.ZIP_STORED
    how = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, odd))
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=True)
            member = name.encode("utf-8", "replace").decode() + draw.choice((".npy",) * 9 + ("",))
            raw = content.getvalue()
            if draw.random() < 0.05:
                raw = _other_header(draw, raw)
            archive.writestr(member.replace("\0", "")[-200:] or "x.npy", raw)
    return file.getvalue()


def _other_header(draw: Random, raw: bytes) -> bytes:
    """The array with another text in its header: shape, type or order."""
    (length,) = struct.unpack("<H", raw[8:10])
    header, body = raw[10 : 10 + length].decode("latin-1"), raw[10 + length :]
    old, new = draw.choice(
        (
            ("(", "(2147483648, "),
            ("(", "(-1, "),
            ("(", "(0, "),
            ("(", "(9223372036854775807, 2, "),
            ("'<f4'", "'<f999'"),
            ("'<f4'", "[('a','<f4')]"),
            ("False", "True"),
            ("'shape'", "'shap'"),
            ("}", ", 'more': 1}"),
            ("{", "{" + "(" * 90),
            ("False", "__import__('os').getpid()"),
        )
    )
    changed = header.replace(old, new, 1).encode("latin-1")
    return raw[:8] + struct.pack("<H", len(changed)) + changed + body


KIND = Kind(prepare, make)
