"""Google's Speech Commands: a folder of WAV files for each word.

P. Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, arXiv:1804.03209.
"""

from __future__ import annotations

import io
import math
import wave
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.data.files import content, first_line
from nvmc.data.sources import Found, Source, mixed, positive
from nvmc.errors import DataError

__all__ = ["read_speech_commands"]

RATE = 8000
"""Samples a second by default: that of the M5 network's usual recipe."""
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_MOST = 1 << 20
"""Bytes of a recording that are read at most; a second has 32,000."""


def read_speech_commands(source: Source) -> Found:
    """Recordings (N, 1, rate) from -1 to 1, one second each, and words (N,).

    Classes are the sorted names of the folders. What is shorter gets zeros behind it, what is
    longer loses its end. The option `rate`, 8000 by default, is reached by a polyphase filter
    (`scipy.signal.resample_poly` with its default Kaiser window).
    """
    rate = positive(source, "rate", RATE)
    words = sorted(
        path.name
        for path in source.folder.iterdir()
        if path.is_dir() and not path.name.startswith(("_", "."))
    )
    if not words:
        raise DataError(
            f"{source.folder} has no folders; expected one for each word: unpack "
            "speech_commands_v0.02.tar.gz there"
        )
    files = _files(source, words)
    files = [files[index] for index in mixed(len(files))[: source.limit]]
    check_room(f"{len(files)} recordings of {source.folder}", 4 * rate * len(files))
    x = np.zeros((len(files), 1, rate), np.float32)
    for row, name in zip(x, files, strict=True):
        second = _second(source.folder / name, rate)
        row[0, : len(second)] = second
    number = {word: index for index, word in enumerate(words)}
    y = np.array([number[name.partition("/")[0]] for name in files], np.int64)
    return Found(x, y, {"rate": str(rate)})


def _files(source: Source, words: list[str]) -> list[str]:
    """A split's recordings, WORD/NAME.wav, sorted: those of its list, or those of none."""
    listed = {split: _listed(source.folder / name) for split, name in LISTS.items()}
    if source.split != "train":
        found = [name for name in listed[source.split] if name.partition("/")[0] in words]
    else:
        others = {name for names in listed.values() for name in names}
        files = (path for word in words for path in (source.folder / word).glob("*.wav"))
        names = (path.relative_to(source.folder).as_posix() for path in files)
        found = [name for name in names if name not in others]
    if not found:
        raise DataError(f"{source.folder} has no recordings of split {source.split}")
    return sorted(found)


def _listed(path: Path) -> list[str]:
    """The names in a list file."""
    if not path.is_file():
        raise DataError(
            f"no file {str(path)!r}; it says which recordings are of which split and comes with "
            "speech_commands_v0.02.tar.gz"
        )
    names = content(path).decode("utf-8", errors="replace").split()
    for name in names:
        if name.count("/") != 1 or ".." in name or "\\" in name:
            raise DataError(f"{path} names {name[:80]!r}; expected WORD/NAME.wav")
    return names


def _second(path: Path, rate: int) -> NDArray[np.float32]:
    """At most one second of a recording at a rate."""
    try:
        with wave.open(io.BytesIO(content(path, _MOST))) as file:
            channels, width, own = file.getnchannels(), file.getsampwidth(), file.getframerate()
            raw = file.readframes(min(file.getnframes(), own))
    except (wave.Error, EOFError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as WAV ({first_line(error)}); unpack it again"
        ) from error
    if channels != 1 or width != 2 or own < 1:
        raise DataError(
            f"{path} has {channels} channels of {8 * width} bits; expected one of 16 bits"
        )
    samples = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.float64) / 32768
    if own != rate and len(samples):
        from scipy import signal

        resample: Any = cast(Any, signal).resample_poly
        shared = math.gcd(own, rate)
        samples = resample(samples, rate // shared, own // shared)[:rate]
    return samples.astype(np.float32)
