"""Files of data that claim more than they hold, or hold what no reader expects."""

from __future__ import annotations

import gzip
import io
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nvmc.data import load_data
from nvmc.errors import DataError, NvmcError

X = np.ones((3, 4), np.float32)


def member(array: np.ndarray, old: str = "", new: str = "") -> bytes:
    """An array as in an .npz file, with something else in its header."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    raw = file.getvalue()
    start = 10 + int.from_bytes(raw[8:10], "little")
    header = raw[10:start].decode()
    assert old in header
    header = header.replace(old, new, 1)
    return raw[:8] + len(header).to_bytes(2, "little") + header.encode() + raw[start:]


def packed(path: Path, how: int = zipfile.ZIP_STORED, **members: bytes) -> str:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return str(path)


def refused(spec: str) -> str:
    with pytest.raises(DataError) as caught:
        load_data(spec)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    "shape", ["(9999999999, 4)", "(9223372036854775807, 9223372036854775807)", "(-3, 4)"]
)
def test_an_array_takes_no_more_memory_than_its_file_holds(tmp_path: Path, shape: str) -> None:
    """numpy would ask for it all before it reads on."""
    said = refused(packed(tmp_path / "a.npz", x=member(X, "(3, 4)", shape)))
    assert "x.npy has 48 bytes, but shape [" in said


def test_a_size_that_compression_cannot_reach_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    raw = member(X, "(3, 4)", "(268435448, 4)")
    packed(path, x=raw)
    content = path.read_bytes()
    size = len(raw).to_bytes(4, "little")
    path.write_bytes(content.replace(size + size, size + (2**32 - 2).to_bytes(4, "little")))
    assert "too short for the size that is written for it" in refused(str(path))


def test_a_true_bomb_that_does_not_fit_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_left(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", nothing_left)
    spec = packed(tmp_path / "a.npz", x=member(X))
    with pytest.raises(NvmcError, match=r"x.npy takes 0.0 GiB, for which there is no memory"):
        load_data(spec)


@pytest.mark.parametrize("how", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_only_what_numpy_writes_is_decompressed(tmp_path: Path, how: int) -> None:
    """Their libraries have errors of their own, and compress without a bound."""
    spec = packed(tmp_path / "a.npz", how, x=member(X))
    assert "compressed as numpy does not" in refused(spec)


@pytest.mark.parametrize(
    ("old", "new"),
    [("{'descr'", "{((((((("), ("'<f4'", "'<f?'"), ("'shape'", "'shap'"), ("}", "")],
)
def test_headers_that_say_nothing(tmp_path: Path, old: str, new: str) -> None:
    spec = packed(tmp_path / "a.npz", x=member(X, old, new))
    assert "cannot be read as .npz" in refused(spec)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", member(X))
        archive.writestr("x", member(2 * X))
    assert "two of its members have one name" in refused(str(tmp_path / "a.npz"))


def test_members_that_are_no_arrays_are_passed_over(tmp_path: Path) -> None:
    spec = packed(tmp_path / "a.npz", x=member(X), readme=b"hello", empty=b"")
    assert load_data(spec).x.tolist() == X.tolist()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.5])
def test_tokens_are_whole_numbers(tmp_path: Path, kind: type, value: float) -> None:
    tokens = np.ones((3, 4), kind)
    tokens[1, 2] = value
    np.savez(tmp_path / "a.npz", input_ids=tokens, other=tokens)
    with warnings.catch_warnings(action="error"):
        assert "next: needs tokens" in refused(f"next:{tmp_path / 'a.npz'}")


def test_tokens_are_no_larger_than_whole_numbers_get(tmp_path: Path) -> None:
    for tokens in (np.full((3, 4), 1e19), np.full((3, 4), 2**63, np.uint64)):
        np.savez(tmp_path / "a.npz", input_ids=tokens, other=tokens)
        assert "next: needs tokens" in refused(f"next:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32])
def test_whole_numbers_that_float32_does_not_hold_are_no_warning(
    tmp_path: Path, kind: type
) -> None:
    np.savez(tmp_path / "a.npz", x=np.full((3, 4), np.iinfo(kind).max, kind))
    with warnings.catch_warnings(action="error"):
        assert "whole numbers that float32 does not" in refused(str(tmp_path / "a.npz"))


def idx(sizes: tuple[int, ...], values: bytes) -> bytes:
    header = bytes((0, 0, 8, len(sizes)))
    return header + b"".join(size.to_bytes(4, "big") for size in sizes) + values


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("sizes", "values", "told"),
    [
        ((2**32 - 1,) * 3, 8, "holds 8 values, but its header says 79228162458924105385300197375"),
        ((2, 2, 2), 10**7, "holds more values, but its header says 8"),
        ((2, 2, 2), 7, "holds 7 values"),
    ],
)
def test_idx_files_are_read_as_far_as_they_say(
    tmp_path: Path, ending: str, sizes: tuple[int, ...], values: int, told: str
) -> None:
    for name, content in (
        ("images-idx3", idx(sizes, bytes(values))),
        ("labels-idx1", idx((2,), bytes(2))),
    ):
        raw = gzip.compress(content) if ending else content
        (tmp_path / f"t10k-{name}-ubyte{ending}").write_bytes(raw)
    assert told in refused(f"mnist:{tmp_path}")


def test_the_memo_of_a_pickle_takes_no_more_than_the_file(tmp_path: Path) -> None:
    """Python's reader makes a table as large as the greatest number in it."""
    batch = pickle.dumps({b"labels": []}, protocol=2)
    (tmp_path / "test_batch").write_bytes(batch[:-1] + b"r\xff\xff\xff\x07" + b".")
    assert "entry 134217727 of its memo" in refused(f"cifar10:{tmp_path}")
