from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError

import nvmc.passes.io.parse
from nvmc.passes.io.parse import ir_version_of, parse_model
from onnx_models import MAPPED
from onnx_text import proto_of

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize("piece", [1, 100, 1 << 24])
@pytest.mark.parametrize("name", [*MAPPED, "light_resnet50"])
def test_pieces_make_the_same_message(
    name: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvmc.passes.io.parse, "_PIECE", piece)
    path = LIGHT / f"{name}.onnx"
    raw = proto_of(MAPPED[name][1]).SerializeToString() if name in MAPPED else path.read_bytes()
    whole = onnx.ModelProto.FromString(raw)
    assert parse_model(io.BytesIO(raw), len(raw)) == whole
    twice = raw + raw  # a message written twice is merged
    assert parse_model(io.BytesIO(twice), len(twice)) == onnx.ModelProto.FromString(twice)


@pytest.mark.parametrize("name", [*MAPPED, "light_resnet50"])
def test_the_ir_version_is_read_without_the_rest(name: str, tmp_path: Path) -> None:
    path = LIGHT / f"{name}.onnx"
    raw = proto_of(MAPPED[name][1]).SerializeToString() if name in MAPPED else path.read_bytes()
    (tmp_path / "m.onnx").write_bytes(raw)
    assert ir_version_of(tmp_path / "m.onnx") == onnx.ModelProto.FromString(raw).ir_version > 0
    (tmp_path / "m.onnx").write_bytes(raw + b"\x08\x0e")  # the last one counts
    assert ir_version_of(tmp_path / "m.onnx") == 14


def test_it_fails_where_protobuf_fails() -> None:
    """Cut anywhere, and with bytes changed anywhere: both parse to the same, or both fail."""
    raw = proto_of(MAPPED["gemm"][1]).SerializeToString()
    generator = np.random.default_rng(0)
    samples = [raw[:length] for length in range(len(raw))]
    for _ in range(300):
        changed = bytearray(raw)
        changed[generator.integers(len(raw))] = generator.integers(256)
        samples.append(bytes(changed))
    failures = 0
    for sample in samples:
        try:
            whole: onnx.ModelProto | None = onnx.ModelProto.FromString(sample)
        except DecodeError:
            whole, failures = None, failures + 1
        if whole is None:
            with pytest.raises(DecodeError):
                parse_model(io.BytesIO(sample), len(sample))
        else:
            assert parse_model(io.BytesIO(sample), len(sample)) == whole
    assert failures > len(raw) / 2
