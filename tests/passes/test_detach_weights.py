"""How many images per run: few where activations are large, many where they are small."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from nvmc import Target, load_device
from nvmc.compiler import compile_model
from nvmc.passes.detach_weights import detached, images_a_run
from nvmc.passes.io.load import load_model
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet1"))
CONV = "g (float[N,3,{0},{0}] x) => (float[N,{1},{0},{0}] y) <float[{1},3,1,1] w>"

# side and channels of the largest activation, images per run alone and where images share
CASES = [
    (2, 16, 256, 256),  # 256 bytes
    (28, 6, 16, 32),  # 18,816 bytes: 27 in 512 KiB
    (32, 64, 2, 16),  # 256 KiB
    (64, 64, 1, 4),  # 1 MiB
    (256, 64, 1, 1),  # 16 MiB
]


def compiled(text: str, folder: Path) -> Path:
    onnx.save(proto_of(text), folder / "m.onnx")
    return compile_model(folder / "m.onnx", TARGET, output=folder / "m.nvmc").model_path


@pytest.mark.parametrize(("side", "channels", "alone", "together"), CASES)
def test_images_fit_the_cache(
    side: int, channels: int, alone: int, together: int, tmp_path: Path
) -> None:
    path = compiled(CONV.format(side, channels) + " { y = Conv (x, w) }", tmp_path)
    assert images_a_run(load_model(path)) == alone
    assert detached(load_model(path), TARGET).batch == together


def test_a_network_keeps_its_own_number(tmp_path: Path) -> None:
    path = compiled(CONV.format(8, 4).replace("N", "3") + " { y = Conv (x, w) }", tmp_path)
    found = detached(load_model(path), TARGET)
    assert (found.batch, found.fixed) == (3, True)


def test_arrays_that_no_output_depends_on_are_left_out(tmp_path: Path) -> None:
    """A compiled network that somebody changed: what is scored may need fewer arrays."""
    text = CONV.format(8, 4).replace("y)", "y, float[N,3,8,8] z)", 1)
    path = compiled(text + " { y = Conv (x, w) z = Relu (x) }", tmp_path)
    model = load_model(path)
    assert [array.name for array in detached(load_model(path), TARGET).arrays] == ["w"]
    model.graph.outputs.pop(0)
    found = detached(model, TARGET)
    assert (found.arrays, found.dtypes, found.stack) == ((), {}, None)
