"""Checkpoints of training with other numbers, tensors and keys: resumed for an epoch."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
from collections.abc import Generator, Mapping
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
import torch

from fuzz.case import Commands, Kind
from fuzz.mutations import FLOATS, INTEGERS, changed_bytes, changed_number, changed_text
from fuzz.networks import save_networks
from nvmc.cli import main
from nvmc.interruption import EXIT_CODE
from nvmc.training import checkpoint

__all__ = ["KIND"]

METHODS = ("erm", "gaussian", "awp")
DTYPES = (torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64)


def prepare(folder: Path) -> None:
    """A state after the first of two epochs, by method: what was to be written, and the file."""
    save_networks(folder, "dense")
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((24, 8)), generator.integers(3, size=24)
    np.savez(folder / "data.npz", x=x.astype(np.float32), y=y)
    for method in METHODS:
        path = folder / f"{method}.checkpoint"
        said = io.StringIO()
        with _interrupted() as states, contextlib.redirect_stderr(said):
            code = main(_words(folder, method, str(path), str(folder / "none.onnx")))
        assert code == EXIT_CODE, said.getvalue()
        (folder / f"{method}.state").write_bytes(pickle.dumps(states[-1]))


@contextlib.contextmanager
def _interrupted() -> Generator[list[Any]]:
    """Training ends behind its first epoch; yields the identity and state that it saved."""
    saved: list[Any] = []
    save = checkpoint.save_checkpoint

    def keep(path: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
        saved.append(copy.deepcopy((dict(identity), dict(state))))
        save(path, identity, state)

    @contextlib.contextmanager
    def followers(*_: Any) -> Generator[Any]:
        def interrupt(epoch: Any) -> None:
            raise KeyboardInterrupt

        yield interrupt

    with (
        mock.patch("nvmc.training.loop.save_checkpoint", keep),
        mock.patch("nvmc.cli.train.epoch_progress", followers),
    ):
        yield saved


def _words(folder: Path, method: str, path: str, output: str) -> list[str]:
    words = ["train", str(folder / "dense.onnx"), "--data", str(folder / "data.npz")]
    words += ["--method", method, "--device", "rram4", "--epochs", "2", "--batch", "12"]
    return [*words, "--chips", "3", "--every", "1", "--checkpoint", path, "-o", output]


def make(draw: Random, valid: Path, here: Path) -> Commands:
    method = draw.choice(METHODS)
    path = here / "out.checkpoint"
    if draw.random() < 0.2:
        path.write_bytes(changed_bytes(draw, (valid / f"{method}.checkpoint").read_bytes(), 2))
    else:
        identity, state = pickle.loads((valid / f"{method}.state").read_bytes())
        for _ in range(draw.randint(1, 2)):
            _change(draw, identity if draw.random() < 0.05 else state)
        try:
            checkpoint.save_checkpoint(path, identity, state)
        except Exception:  # it writes no such thing
            path.write_bytes(draw.choice((b"", b"nvmc")))
    return [[*_words(valid, method, "out.checkpoint", "out.onnx"), "--resume"]]


def _change(draw: Random, tree: Any) -> None:
    """Change one value, key or element somewhere in dictionaries and lists."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    if not items:
        return
    key, value = draw.choice(items)
    if isinstance(value, dict | list) and value and draw.random() < 0.9:
        _change(draw, value)
    elif draw.random() < 0.15:
        del tree[key]
    elif isinstance(tree, dict) and draw.random() < 0.1 and isinstance(key, str):
        tree[changed_text(draw, key)] = value
    else:
        tree[key] = _other(draw, value)


def _other(draw: Random, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return _other_tensor(draw, value)
    if draw.random() < 0.2:
        return draw.choice((None, True, "x", [], {}, -1, 1.5, torch.ones(1), [1, 2], {"a": 1}))
    if isinstance(value, int | float):
        return changed_number(draw, value)
    return changed_text(draw, value) if isinstance(value, str) else None


def _other_tensor(draw: Random, value: Any) -> Any:
    match draw.randrange(6):
        case 0:
            return value.to(draw.choice(DTYPES))
        case 1:
            return draw.choice((value.reshape(-1), value[None], value.flatten()[:1], value[:0]))
        case 2:
            return value.T if value.ndim == 2 else torch.cat([value.reshape(-1)] * 2)
        case 3:
            return draw.choice((0, 1.5, "x", None, []))
        case _:
            changed = value.clone()
            special = draw.choice(FLOATS if value.is_floating_point() else INTEGERS)
            if changed.numel():
                changed.view(-1)[draw.randrange(changed.numel())] = special
            return changed


KIND = Kind(prepare, make)
