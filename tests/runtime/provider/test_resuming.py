"""A run that one session begins and another goes on with: the same noise at every read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Periphery, Target, load_device, parse_noise
from nvmc.runtime.provider import make_session
from provider_networks import codes_of, network

READ = parse_noise("read:basis=level,sigma=0.2")
SCALE = np.float32(0.5).reshape(())
IMAGES = 12


def noisy(**periphery: Any) -> Target:
    stated = {"dac_bits": 6, "adc_bits": 8, **periphery}
    return Target.of(load_device("fefet2"), rows=8, periphery=Periphery.model_validate(stated)).on(
        None, [READ]
    )


def model(text: str, shapes: dict[str, tuple[int, ...]], **periphery: Any) -> bytes:
    cells: dict[str, NDArray[Any]] = {}
    for number, (name, shape) in enumerate(shapes.items()):
        cells |= {f"{name}_codes": codes_of(shape, number), f"{name}_scale": SCALE}
    return network(text, cells, noisy(**periphery))


CONV_GEMM = (
    """g (float[N, 2, 6, 6] x) => (float[N, 5] y) {
      c = nvmc.CrossbarConv <arrays = ["v"], strides = [2, 2]> (x, v_codes, v_scale)
      r = Relu (c)
      f = Flatten (r)
      y = nvmc.CrossbarGemm <arrays = ["w"]> (f, w_codes, w_scale)
    }""",
    {"v": (3, 2, 3, 3), "w": (12, 5)},
)
LSTM = (
    """g (float[7, N, 4] x) => (float[7, 2, N, 3] y) {
      y, h, c = nvmc.CrossbarLSTM
                <arrays = ["v", "w"], hidden_size = 3, direction = "bidirectional">
                (x, v_codes, v_scale, w_codes, w_scale)
    }""",
    {"v": (2, 12, 4), "w": (2, 12, 3)},
)
ROWS = (  # five vectors of each image are entries of their own
    """g (float[N, 5, 4] x) => (float[N, 5, 3] y) {
      y = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale)
    }""",
    {"w": (4, 3)},
)
NETWORKS = {"conv and gemm": (CONV_GEMM, 0), "lstm": (LSTM, 1), "rows": (ROWS, 0)}
SHAPES = {"conv and gemm": (IMAGES, 2, 6, 6), "lstm": (7, IMAGES, 4), "rows": (IMAGES, 5, 4)}


def outputs(
    content: bytes, x: NDArray[Any], axis: int, batch: int, first: int = 0, **options: Any
) -> NDArray[Any]:
    """What a session of its own makes of the images from `first` on, in batches."""
    session = make_session(content, first_image=first, images=batch, quiet=True, **options)
    last = x.shape[axis]
    parts = [
        session.run(["y"], {"x": x.take(range(at, min(at + batch, last)), axis)})[0]
        for at in range(first, last, batch)
    ]
    return np.concatenate(parts, axis if axis == 0 else 2)


@pytest.mark.parametrize("periphery", [{}, {"dac_mode": "bit-serial"}], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_two_sessions_read_as_one_does(name: str, periphery: dict[str, Any]):
    (text, shapes), axis = NETWORKS[name]
    content = model(text, shapes, **periphery)
    x = np.random.default_rng(0).standard_normal(SHAPES[name], np.float32)
    chip = Chip.of(noisy(**periphery), 3, 1)
    whole = outputs(content, x, axis, IMAGES, chip=chip)
    images = 2 if axis else 0
    for cut, batch in ((1, 1), (5, 4), (8, 3)):
        rest = outputs(content, x, axis, batch, cut, chip=chip)
        np.testing.assert_array_equal(rest, whole.take(range(cut, IMAGES), images))
        begun = outputs(content, x.take(range(cut), axis), axis, batch, chip=chip)
        np.testing.assert_array_equal(begun, whole.take(range(cut), images))
    fresh = outputs(content, x.take(range(5, IMAGES), axis), axis, 4, chip=chip)
    assert np.any(fresh != whole.take(range(5, IMAGES), images))


def test_a_chip_named_by_options_goes_on_too():
    content = model(*ROWS)
    x = np.random.default_rng(0).standard_normal(SHAPES["rows"], np.float32)
    whole = outputs(content, x, 0, 4, chip=2, seed=9)
    np.testing.assert_array_equal(outputs(content, x, 0, 4, 8, chip=2, seed=9), whole[8:])


TRANSPOSED = (  # three entries, however many images: the images are summed over
    """g (float[N, 3] x) => (float[3, 4] y) {
      y = nvmc.CrossbarGemm <arrays = ["w"], transA = 1> (x, w_codes, w_scale)
    }""",
    {"w": (2, 4)},
)


def test_entries_that_are_no_images_go_on_from_whole_runs_only():
    content = model(*TRANSPOSED)
    x = np.random.default_rng(0).standard_normal((2, 3), np.float32)
    session = make_session(content, quiet=True)
    _, second = (session.run(None, {"x": x})[0] for _ in range(2))
    resumed = make_session(content, first_image=2, images=2, quiet=True)
    np.testing.assert_array_equal(resumed.run(None, {"x": x})[0], second)
    between = make_session(content, first_image=1, images=2, quiet=True)
    with pytest.raises(Exception, match="ModelError: array 'w' is read 3 times for 2 images"):
        between.run(None, {"x": x})


def test_images_matter_only_where_reads_are_noisy():
    text, shapes = TRANSPOSED
    cells = {"w_codes": codes_of(shapes["w"]), "w_scale": SCALE}
    quiet = network(text, cells, Target.of(load_device("fefet2"), periphery=Periphery(adc_bits=8)))
    x = np.random.default_rng(0).standard_normal((2, 3), np.float32)
    sessions = [make_session(quiet, first_image=first, images=2, quiet=True) for first in (0, 1)]
    one, two = (session.run(None, {"x": x})[0] for session in sessions)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_image": 3}, "first_image is 3 without images; say how many each run brings"),
        ({"first_image": -1, "images": 2}, "first_image is -1; expected .* at least 0"),
        ({"first_image": 1, "images": 0}, "images is 0; expected a whole number of at least 1"),
    ],
)
def test_a_start_must_be_whole(options: dict[str, Any], message: str):
    with pytest.raises(OptionError, match=message):
        make_session(model(*ROWS), **options)
