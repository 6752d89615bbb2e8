"""CIFAR-10's batches: pickles, of which nothing may be run, and binary records."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.case import Commands, Kind
from fuzz.made import compile_networks
from fuzz.mutations import changed_bytes, changed_tree

__all__ = ["KIND"]


def prepare(folder: Path) -> None:
    compile_networks(folder, "colour")


def make(draw: Random, valid: Path, here: Path) -> Commands:
    count = draw.randint(1, 4)
    (here / "set").mkdir()
    if draw.random() < 0.3:
        rows = [bytes([draw.randrange(10)]) + draw.randbytes(3072) for _ in range(count)]
        content = b"".join(rows)
        if draw.random() < 0.7:
            content = changed_bytes(draw, content, kept=draw.random() < 0.7)
        (here / "set" / "test_batch.bin").write_bytes(content)
    else:
        (here / "set" / "test_batch").write_bytes(_pickled(draw, count))
    words = ["simulate", str(valid / "colour.nvmc"), "--data", "cifar10:set", "--runs", "2"]
    return [[*words, "--no-store"]]


class _OfPython2(pickle._Pickler):  # pyright: ignore
    """Writes bytes as Python 2 wrote its texts, which is how CIFAR-10 comes."""

    dispatch = dict(pickle._Pickler.dispatch)  # pyright: ignore

    def save_bytes(self, value: bytes) -> None:
        if len(value) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(value)]) + value)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def _dumped(batch: Any, protocol: int) -> bytes:
    if protocol != 2:
        return pickle.dumps(batch, protocol)
    file = io.BytesIO()
    _OfPython2(file, 2).dump(batch)
    return file.getvalue()


def _pickled(draw: Random, count: int) -> bytes:
    pixels = np.frombuffer(draw.randbytes(count * 3072), np.uint8).reshape(count, 3072)
    batch: dict[Any, Any] = {
        b"batch_label": b"testing batch",
        b"labels": [draw.randrange(10) for _ in range(count)],
        b"data": pixels,
        b"filenames": [b"a.png"] * count,
    }
    match draw.randrange(4):
        case 0:
            batch[b"data"] = _other_pixels(draw, pixels)
        case 1:
            batch[b"labels"] = changed_tree(draw, batch[b"labels"])
        case _:
            pass
    protocol = draw.choice((2, 2, 2, 2, 3, 4, draw.choice((0, 5))))
    content = _dumped(batch, protocol)
    match draw.randrange(5):
        case 0:
            return changed_bytes(draw, content)
        case 1:
            return _other_opcode(draw, content)
        case 2 if protocol:
            return content[:-1] + draw.choice(HOSTILE) + b"."
        case _:
            return content


def _other_pixels(draw: Random, pixels: Any) -> Any:
    return draw.choice(
        (
            pixels.astype(np.int64),
            pixels[:, :100],
            pixels.reshape(-1, 3, 32, 32),
            np.asfortranarray(pixels),
            pixels.tobytes(),
            pixels.tolist(),
            pixels[:0],
            None,
        )
    )


HOSTILE = (
    b"cos\nsystem\n(S'true'\ntR",
    b"cnumpy\nndarray\n(tR",
    b"cnumpy\ndtype\n(S'u1'\ntR(lb",
    b"cnumpy\nndarray\n(tR(I1\n(I4\ntNI0\nS'abcd'\ntb",
    b"cnumpy\nndarray\n(tR(I1\n(I2147483648\nI2147483648\ntcnumpy\ndtype\n(S'u1'\ntRI0\nS'abcd'\ntb",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"(" * 1000,
    b"h\xff",
    b"r\xff\xff\xff\x7f",
)
"""Ends of pickles that are no data: names, huge lengths, deep stacks, a huge memo."""


def _other_opcode(draw: Random, content: bytes) -> bytes:
    """The pickle with one operation dropped, doubled or of another kind."""
    starts = [at for _, _, at in pickletools.genops(content) if at is not None]
    number = draw.randrange(len(starts) - 1)
    start, end = starts[number], starts[number + 1]
    part = content[start:end]
    code = bytes([ord(draw.choice(pickletools.opcodes).code)])
    middle = draw.choice((b"", part + part, code + part[1:], code, code + part))
    return content[:start] + middle + content[end:]


KIND = Kind(prepare, make)
