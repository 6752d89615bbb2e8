"""The order of the images: hard ones first, the others as they were shuffled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc import Chip, Compiled, Target, compile_model, load_device, simulate
from nvmc.compiled.options import CompileOptions
from nvmc.data import load_data
from nvmc.errors import ModelError
from nvmc.evaluation.ordering import HARD, margins
from nvmc.evaluation.workload import set_up
from nvmc.metrics.accuracy import Accuracy
from nvmc.models import resolve_model
from nvmc.runtime.montecarlo import evaluate, outputs_of
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet2"))
IMAGES = 200


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("lenet") / "lenet.nvmc"
    return compile_model(resolve_model("zoo:lenet5-digits"), TARGET, output=folder)


def test_margins_are_by_how_much_decisions_are_right() -> None:
    scores = np.array([[3.0, 1.0, 2.5], [0.0, 4.0, 4.0], [1.0, np.nan, 0.0]])
    np.testing.assert_array_equal(margins(scores, np.array([0, 0, 0])), [0.5, -4.0, np.nan])
    np.testing.assert_array_equal(margins(scores, None)[:2], [0.5, 0.0])
    many = np.stack([scores[:2], scores[1::-1]], axis=2)  # two decisions an image
    np.testing.assert_array_equal(margins(many, np.zeros((2, 2), int)), [-1.75, -1.75])


def test_hard_images_come_first_and_the_others_as_shuffled(lenet: Compiled) -> None:
    workload = set_up(lenet, TARGET, data="digits", limit=IMAGES)
    shuffled = load_data("digits", limit=IMAGES).shuffled()
    assert workload.hard == round(HARD * IMAGES) and isinstance(workload.metric, Accuracy)
    (images,) = workload.feed.inputs.values()
    place = [int(np.flatnonzero((shuffled.x == one).all(axis=(1, 2, 3)))[0]) for one in images]
    assert sorted(place) == list(range(IMAGES))
    rest = place[workload.hard :]
    assert rest == sorted(rest)
    assert shuffled.y is not None
    np.testing.assert_array_equal(workload.metric.classes, shuffled.y[place])
    found = margins(
        outputs_of(workload.network, workload.feed, Chip.ideal()), workload.metric.classes
    )
    assert found[: workload.hard].max() < found[workload.hard :].min()


def test_without_labels_the_ideal_chip_decides(lenet: Compiled) -> None:
    workload = set_up(lenet, TARGET, limit=IMAGES)
    outputs = outputs_of(workload.network, workload.feed, Chip.ideal())
    found = margins(outputs, None)
    assert workload.hard == round(HARD * IMAGES)
    assert found[: workload.hard].max() < found[workload.hard :].min()
    assert workload.metric.add(outputs, 0) == IMAGES


@pytest.mark.parametrize("data", ["digits", None])
def test_the_ideal_chip_of_a_stochastic_network_is_that_of_its_order(
    tmp_path: Path, data: str | None
) -> None:
    """An image's masks are those of its place, and the mean is taken over all passes."""
    source, steps = resolve_model("zoo:mlp3-digits"), ("insert-dropout:rate=0.5,active=true",)
    compiled = compile_model(
        source, TARGET, CompileOptions(passes=steps), output=tmp_path / "m.nvmc"
    )
    workload = set_up(compiled, TARGET, data=data, limit=IMAGES, mc_passes=3)
    assert workload.hard > 0
    ideal = evaluate(workload.network, workload.feed, workload.metric, Chip.ideal())
    assert workload.ideal == ideal and (data is None) == (ideal == 1)


def test_few_images_stay_as_they_are(lenet: Compiled) -> None:
    workload = set_up(lenet, TARGET, data="digits", limit=20)
    assert workload.hard == 0
    (images,) = workload.feed.inputs.values()
    np.testing.assert_array_equal(images, load_data("digits", limit=20).shuffled().x)


@pytest.mark.parametrize("classes", [5, 6])
def test_scores_that_do_not_lie_where_the_shape_says(tmp_path: Path, classes: int) -> None:
    """onnxruntime runs it, with [1, 5] scores an image; the classes would lie along another axis.

    The shape of the reshaped value is computed, so shape inference finds nothing wrong.
    """
    model = proto_of("""g (float[N,2,8] x) => (float[N,5] y)
    <int64[1] one = {1}, int64[1] zero = {0}, int64[1] four = {4}, float[4,5] w> {
      s = Shape (x)
      n = Gather (s, zero)
      t = Concat <axis = 0> (n, four, four)
      r = Reshape (x, t)
      m = ReduceMean <keepdims = 0> (r, one)
      y = MatMul (m, w)
    }""")
    del model.graph.value_info[:]
    model.graph.node[4].attribute[0].i = 1
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"puts out \[1, 5\] an image.*export the network"):
        compiled = compile_model(tmp_path / "net.onnx", "rram4", output=tmp_path / "net.nvmc")
        simulate(compiled, runs=2)
