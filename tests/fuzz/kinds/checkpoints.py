"""Checkpoints of training with other numbers, tensors and keys: resumed for an epoch."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Generator
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load, save

from fuzz.case import Commands, Kind
from fuzz.mutations import FLOATS, INTEGERS, changed_bytes, changed_text, changed_tree
from fuzz.networks import save_networks
from nvmc.cli import main
from nvmc.interruption import EXIT_CODE
from nvmc.training.checkpoint import Checkpoint, save_checkpoint

__all__ = ["KIND"]

METHODS = {
    "erm": (),
    "hwa": (),
    "gaussian": (),
    "awp": (),
    "neft": (),
    "trice": ("--method-option", "warm=1"),
}
DTYPES = (torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64)
TEXTS = ("format", "identity", "state", "digest")


def prepare(folder: Path) -> None:
    """The checkpoint behind the first of two epochs, by method."""
    save_networks(folder, "dense")
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((24, 8)), generator.integers(3, size=24)
    np.savez(folder / "data.npz", x=x.astype(np.float32), y=y)
    for method in METHODS:
        path = folder / f"{method}.checkpoint"
        said = io.StringIO()
        with _interrupted(), contextlib.redirect_stderr(said):
            code = main(_words(folder, method, str(path), str(folder / "none.onnx")))
        assert code == EXIT_CODE, said.getvalue()


@contextlib.contextmanager
def _interrupted() -> Generator[None]:
    """Training ends behind its first epoch."""

    @contextlib.contextmanager
    def followers(*_: Any) -> Generator[Any]:
        def interrupt(epoch: Any) -> None:
            raise KeyboardInterrupt

        yield interrupt

    with mock.patch("nvmc.cli.train.epoch_progress", followers):
        yield


def _words(folder: Path, method: str, path: str, output: str) -> list[str]:
    words = ["train", str(folder / "dense.onnx"), "--data", str(folder / "data.npz")]
    words += [
        "--method",
        method,
        *METHODS[method],
        "--device",
        "rram4",
        "--epochs",
        "2",
        "--batch",
        "12",
    ]
    return [*words, "--chips", "3", "--every", "1", "--checkpoint", path, "-o", output]


def make(draw: Random, valid: Path, here: Path) -> Commands:
    method = draw.choice(list(METHODS))
    path = here / "out.checkpoint"
    content = (valid / f"{method}.checkpoint").read_bytes()
    tensors = load(content)
    length = int.from_bytes(content[:8], "little")
    texts: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    match draw.randrange(14):
        case 0:
            path.write_bytes(changed_bytes(draw, content, 2))
        case 1:
            text = draw.choice((*TEXTS, "more"))
            texts[text] = changed_text(draw, texts.get(text, ""))
            texts = {k: v.encode(errors="replace").decode() for k, v in texts.items()}
            path.write_bytes(save(tensors, texts))
        case _:
            _write(draw, path, texts, tensors)
    return [[*_words(valid, method, "out.checkpoint", "out.onnx"), "--resume"]]


def _write(
    draw: Random, path: Path, texts: dict[str, str], tensors: dict[str, torch.Tensor]
) -> None:
    """Another state or other tensors, with a digest that fits."""
    identity, state = json.loads(texts["identity"]), json.loads(texts["state"])
    if draw.random() < 0.05:
        identity = changed_tree(draw, identity, 1)
    if draw.random() < 0.5:
        if draw.random() < 0.6:  # what else is in it follows from the number of epochs
            state["epochs"][0] = changed_tree(draw, state["epochs"][0], 1)
        else:
            state = changed_tree(draw, state, 1)
    else:
        _change_tensors(draw, tensors)
    if not isinstance(identity, dict):
        identity = {"identity": identity}
    save_checkpoint(path, identity, Checkpoint(json.dumps(state), tensors))


def _change_tensors(draw: Random, tensors: dict[str, torch.Tensor]) -> None:
    name = draw.choice(sorted(tensors))
    chance = draw.random()
    if chance < 0.05:
        del tensors[name]
    elif chance < 0.1:
        new = changed_text(draw, name).encode(errors="replace").decode()
        tensors[new] = tensors[name].clone()
    else:
        tensors[name] = _other_tensor(draw, tensors[name])


def _other_tensor(draw: Random, value: torch.Tensor) -> torch.Tensor:
    match draw.randrange(12):
        case 0:
            return value.to(draw.choice(DTYPES))
        case 1:
            return draw.choice((value.reshape(-1), value[None], value.flatten()[:1]))
        case 2:
            return value.T if value.ndim == 2 else torch.cat([value.reshape(-1)] * 2)
        case _:
            changed = value.clone()
            if changed.numel():
                at = draw.randrange(changed.numel())
                changed.view(-1)[at] = _special(draw, changed.view(-1)[at])
            return changed


def _special(draw: Random, value: torch.Tensor) -> torch.Tensor:
    """Another number of its type; most are near."""
    if value.dtype == torch.bool:
        return ~value
    if draw.random() < 0.75:
        return value * draw.choice((1, 2, 0, -1))
    if value.is_floating_point():
        return torch.tensor(draw.choice(FLOATS)).to(value.dtype)
    limits = torch.iinfo(value.dtype)
    return torch.tensor(max(limits.min, min(limits.max, draw.choice(INTEGERS))))


KIND = Kind(prepare, make)
