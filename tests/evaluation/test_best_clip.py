"""--clip kpp: the width that chips do best with, found on chips and images of its own."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc import CompileOptions, compile_model, simulate
from nvmc.data import Dataset
from nvmc.errors import DataError, OptionError
from nvmc.evaluation.best_clip import STRENGTHS, WIDTHS, best_clip
from nvmc.hardware.chip import CHOOSING
from nvmc.hardware.devices import Target
from onnx_text import proto_of

LINEAR = """g (float[N,20] x) => (float[N,3] y) <float[20,3] w> { y = MatMul (x, w) }"""
TARGET = Target.of("rram4")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Scores of three classes, with one weight that is far beyond the others."""
    weight = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    weight[0, 0] = 12.0
    proto = proto_of(LINEAR)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(proto, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def images() -> Dataset:
    draw = np.random.default_rng(1)
    weight = np.random.default_rng(0).standard_normal((20, 3))
    x = draw.standard_normal((300, 20)).astype(np.float32)
    return Dataset("x", x, (x @ weight).argmax(1))


def test_every_width_is_judged_on_the_same_chips(network: Path, images: Dataset, tmp_path: Path):
    options = CompileOptions(skip=())
    best, tried = best_clip(network, TARGET, images, options, sigma=0.4, chips=20)
    assert [one.clip for one in tried] == [
        None,
        *(f"{width:g}" for width in WIDTHS),
        *(f"auto:{0.4 * strength:g}" for strength in STRENGTHS),
    ]
    for one in tried:
        own = CompileOptions(clip=one.clip)
        compiled = compile_model(network, TARGET, own, output=tmp_path / "net.nvmc")
        found = simulate(compiled, runs=20, data=images, sigma=0.4, seed=CHOOSING, percentile=1.0)
        assert (one.ideal, one.kpp) == (found.ideal, found.kpp.value), one.clip
    assert best.kpp == max(one.kpp for one in tried) > tried[0].kpp
    told = []
    again, _ = best_clip(
        network, TARGET, images, options, sigma=0.4, chips=20, on_tried=told.append
    )
    assert (again, told) == (best, tried)


def test_among_equals_the_first_that_was_tried_wins(network: Path, images: Dataset):
    best, tried = best_clip(network, TARGET, images, sigma=0.0, chips=3, limit=3)
    assert len({one.kpp for one in tried}) < len(tried)
    assert best == next(one for one in tried if one.kpp == best.kpp)


def test_labels_are_needed(network: Path, images: Dataset):
    with pytest.raises(DataError, match="has no labels; --clip kpp compares chips by them"):
        best_clip(network, TARGET, Dataset("x", images.x))


def test_compiling_names_the_function_that_finds_it(network: Path, tmp_path: Path):
    with pytest.raises(OptionError, match="best_clip finds the width"):
        compile_model(network, TARGET, CompileOptions(clip="kpp"), output=tmp_path / "out.nvmc")
