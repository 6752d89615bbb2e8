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


def test_among_equals_the_widest_wins(network: Path, images: Dataset):
    """Not the first: least expected error at little noise is wider than 1.5 deviations."""
    best, tried = best_clip(network, TARGET, images, sigma=0.0, chips=3, limit=3)
    equals = [one for one in tried if one.kpp == best.kpp]
    assert len(equals) > 1 and best.width == max(one.width for one in equals)
    found = {one.clip: one.width for one in tried}
    weight = onnx.numpy_helper.to_array(onnx.load(network).graph.initializer[0])
    assert found[None] == pytest.approx(np.abs(weight).max(), rel=1e-6)
    assert found["2"] == pytest.approx(2 * weight.std(), rel=1e-6)
    assert found[None] > found["3"] > found["2.5"] > found["2"] > found["1.5"]


def test_a_narrower_width_that_was_tried_earlier_does_not_win(
    network: Path, images: Dataset, monkeypatch: pytest.MonkeyPatch
):
    """With narrow widths first in the list, all of one KPP, the widest is still the answer."""
    monkeypatch.setattr("nvmc.evaluation.best_clip.WIDTHS", (1.5, 3.0, 2.0))
    same = Dataset("x", images.x, images.y)
    best, tried = best_clip(network, TARGET, same, sigma=0.4, chips=2, limit=1)
    equals = [one for one in tried if one.kpp == best.kpp]
    assert best.width == max(one.width for one in equals)


def test_a_device_that_states_no_strength_is_given_one(network: Path, images: Dataset):
    """STT-MRAM: sigma and a rate of flipped bits, without which no error can be expected."""
    target, noise = Target.of("stt-mram"), ["bitflip:p=1e-3"]
    best, tried = best_clip(network, target, images, sigma=0.1, noise=noise, chips=3)
    assert [one.clip for one in tried] == [None, "3", "2.5", "2", "1.5"]
    silent = best_clip(network, target, images, sigma=0.0, noise=["bitflip:p=0"], chips=3)[1]
    assert [one.kpp for one in silent] == [one.ideal for one in silent]
    assert best.kpp == max(one.kpp for one in tried) and tried[0].kpp < tried[0].ideal


def test_labels_are_needed(network: Path, images: Dataset):
    with pytest.raises(DataError, match="has no labels; clip kpp compares chips by them"):
        best_clip(network, TARGET, Dataset("x", images.x))


def test_compiling_names_the_function_that_finds_it(network: Path, tmp_path: Path):
    with pytest.raises(OptionError, match="best_clip finds the width"):
        compile_model(network, TARGET, CompileOptions(clip="kpp"), output=tmp_path / "out.nvmc")
