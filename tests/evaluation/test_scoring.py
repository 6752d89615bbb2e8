"""Which output is scored, and how it is read: every chip against the runtime's own outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from nvmc import Compiled, Target, compile_model, load_device, simulate
from nvmc.cli import main
from nvmc.compiled.options import CompileOptions
from nvmc.data import IGNORED
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.evaluation.reading import Reading
from nvmc.evaluation.scoring import _decide
from nvmc.evaluation.uncertainty import uncertainty
from nvmc.evaluation.workload import set_up
from nvmc.executors.torch import TorchExecutor
from nvmc.hardware.chip import Chip
from nvmc.hardware.chips import Chips
from nvmc.training import Settings, make_method, make_task, train
from onnx_text import proto_of

Capture = pytest.CaptureFixture[str]

LABELLED = (
    "g (float[N,8] x) => (int64[N] label, float[N,3] scores) <float[8,3] w> "
    "{ s = MatMul (x, w) label = ArgMax <axis = 1, keepdims = 0> (s) scores = Softmax (s) }"
)
TAGS = "g (float[N,T,4] x) => (float[N,T,5] y) <float[4,5] w> { y = MatMul (x, w) }"
PROBABILITIES = {
    "softmax": "y = Softmax <axis = 1> (s)",
    "exp of log": "l = LogSoftmax <axis = 1> (s) y = Exp (l)",
    "clipped": "p = Softmax <axis = 1> (s) y = Clip (p, low, one)",
    "written out": "e = Exp (s) a = ReduceSum <keepdims = 1> (e, axis) y = Div (e, a)",
    "logarithms": "p = Softmax <axis = 1> (s) c = Clip (p, low, one) y = Log (c)",
    "scores": "y = Identity (s)",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compiled_of(text: str, bits: int | str = 4) -> Compiled:
    onnx.save(proto_of(text), "m.onnx")
    return compile_model("m.onnx", Target.of(load_device("rram4"), weight_bits=bits))


def drawn(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def of_chip(index: int, name: str, inputs: dict[str, np.ndarray], sigma: float = 0.4) -> np.ndarray:
    """An output of the standard ONNX file of one chip."""
    words = ("m.nvmc", "--sigma", str(sigma), "--chip", str(index), "-o", "chip.onnx")
    assert main(["program", *words]) == 0
    session: Any = ort.InferenceSession("chip.onnx", providers=["CPUExecutionProvider"])
    return session.run([name], inputs)[0]


def test_whole_numbers_are_classes(folder: Path, capsys: Capture) -> None:
    """Scores are preferred, the choice is said, and both give the share of label == y."""
    compiled, x = compiled_of(LABELLED), drawn(200, 8)
    y = np.random.default_rng(0).integers(2, size=200)  # the two lowest classes only
    shares = [float((of_chip(k, "label", {"x": x}) == y).mean()) for k in range(4)]
    by_scores = simulate(compiled, runs=4, sigma=0.4, data=(x, y))
    by_label = simulate(compiled, runs=4, sigma=0.4, data=(x, y), output="label")
    assert by_scores.values.tolist() == by_label.values.tolist() == shares
    assert by_scores.description.reading.text == "class scores; label holds class numbers"
    assert by_label.description.reading.holds == "class numbers"
    np.savez("d.npz", x=x, y=y)
    assert main(["simulate", "m.nvmc", "--data", "d.npz", "--runs", "2"]) == 0
    assert "output scores (class scores; label holds class numbers)" in capsys.readouterr().out


def test_without_labels_class_numbers_agree_or_not() -> None:
    compiled, x = compiled_of(LABELLED), drawn(200, 8)
    session: Any = ort.InferenceSession(compiled.model_path, providers=["CPUExecutionProvider"])
    ideal = session.run(["label"], {"x": x})[0]
    for output in ("label", None):
        found = simulate(compiled, runs=3, sigma=0.4, data=(x, None), output=output)
        assert found.metric == "agreement" and found.ideal == 1
        expected = [(of_chip(k, "label", {"x": x}) == ideal).mean() for k in range(3)]
        assert found.values.tolist() == expected


def test_scores_that_count_their_classes_in_another_way_are_not_preferred() -> None:
    """A classifier of the labels 4, 7 and 9: its scores have the places 0, 1 and 2."""
    compiled = compiled_of(
        "g (float[N,8] x) => (int64[N] label, float[N,3] scores) "
        "<float[8,3] w, int64[3] known = {4, 7, 9}> { scores = MatMul (x, w) "
        "p = ArgMax <axis = 1, keepdims = 0> (scores) label = Gather (known, p) }"
    )
    x, y = drawn(90, 8), np.random.default_rng(0).choice([4, 7, 9], 90)
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y))
    assert found.description.output == "label"
    assert "scores counts its classes in another way" in found.description.reading.text
    assert found.values[1] == (of_chip(1, "label", {"x": x}) == y).mean()


def test_a_cast_argmax_holds_classes_and_no_sign() -> None:
    compiled = compiled_of(
        "g (float[N,8] x) => (float[N,1] y) <float[8,2] w> { s = MatMul (x, w) "
        "a = ArgMax <axis = 1> (s) y = Cast <to = 1> (a) }"
    )
    x, y = drawn(100, 8), np.random.default_rng(0).integers(2, size=100)
    found = simulate(compiled, runs=1, sigma=0.4, data=(x, y))
    assert found.values[0] == (of_chip(0, "y", {"x": x})[:, 0] == y).mean()
    with pytest.raises(DataError, match="holds class numbers.*save y as int64"):
        simulate(compiled, runs=1, data=(x, y.astype(np.float32)))
    with pytest.raises(OptionError, match="class numbers, which have no probabilities"):
        uncertainty(compiled, runs=1, data=(x, y))
    task = make_task((x, y), "rram4", settings=Settings(epochs=1, chips=101))
    with pytest.raises(ModelError, match="class numbers, which have no gradient"):
        train("m.onnx", task, make_method("erm"), output="out.onnx")


@pytest.mark.parametrize("steps", [7, 5])
def test_classes_of_sequences_lie_along_the_last_axis(steps: int) -> None:
    """By the labels; by the layer where as many steps as classes leave a choice."""
    compiled, x = compiled_of(TAGS), drawn(60, steps, 4)
    y = np.random.default_rng(0).integers(5, size=(60, steps))
    found = simulate(compiled, runs=3, sigma=0.4, data=(x, y))
    for chip, value in enumerate(found.values):
        assert value == (of_chip(chip, "y", {"x": x}).argmax(-1) == y).mean()
    reading = found.description.reading
    assert reading.class_axis == 2 and reading.axis_by == ("MatMul" if steps == 5 else "the labels")
    alone = simulate(compiled, runs=3, sigma=0.4, data=(x, None))
    ideal = of_chip(0, "y", {"x": x}, 0.0).argmax(-1)
    assert alone.values[2] == (of_chip(2, "y", {"x": x}).argmax(-1) == ideal).mean()


def test_every_engine_reads_axes_alike() -> None:
    compiled, x = compiled_of(TAGS), drawn(40, 5, 4)
    y = np.random.default_rng(0).integers(5, size=(40, 5))
    target = compiled.manifest.target
    workload = set_up(compiled, target, data=(x, y))
    chips = Chips(Chip.of(target, 0, 0, 0.4), 0, 6)
    values = workload.run(chips)
    assert len(set(values)) > 2
    assert np.array_equal(workload.run(chips, TorchExecutor("cpu")), values)
    circuit = set_up(compiled, target, data=(x, y), fidelity="circuit").run(chips)
    assert np.array_equal(circuit, values)
    fast = simulate(compiled, runs=6, sigma=0.4, data=(x, y), delta=1e-3)
    assert fast.kpp.value == np.sort(values)[0]


def test_padding_does_not_count() -> None:
    compiled, x = compiled_of(TAGS), drawn(60, 7, 4)
    y = np.random.default_rng(0).integers(5, size=(60, 7))
    counted = np.arange(7) < np.random.default_rng(1).integers(1, 8, 60)[:, None]
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, np.where(counted, y, IGNORED)))
    hits = of_chip(1, "y", {"x": x}).argmax(-1) == y
    assert found.values[1] == hits[counted].mean()
    data: Any = (x, np.where(counted, y, IGNORED))
    runs = simulate(compiled, runs=20, sigma=0.4, data=data, percentile=10)
    fast = simulate(compiled, runs=20, sigma=0.4, data=data, percentile=10, delta=1e-3)
    assert fast.kpp.value == runs.kpp.value


AMBIGUOUS = (
    "g (float[N,5] x) => (float[N,3,3] y) <float[5,9] w, int64[3] s = {-1, 3, 3}> "
    "{ z = MatMul (x, w) y = Reshape (z, s) }"
)


def test_what_is_ambiguous_is_refused_with_the_choices() -> None:
    compiled, x = compiled_of(AMBIGUOUS), drawn(50, 5)
    y = np.random.default_rng(0).integers(3, size=(50, 3))
    for data in ((x, y), (x, None)):
        with pytest.raises(OptionError, match="say class_axis=1 or class_axis=2"):
            simulate(compiled, runs=1, data=data)
    outputs = of_chip(0, "y", {"x": x})
    for axis in (1, 2, -1):
        found = simulate(compiled, runs=1, sigma=0.4, data=(x, y), class_axis=axis)
        assert found.values[0] == (outputs.argmax(axis) == y).mean()
    assert simulate(compiled, runs=1, data=(x, None), metric="agreement-r2").ideal == 1
    with pytest.raises(DataError, match="class_axis is 3, but output 'y'"):
        simulate(compiled, runs=1, data=(x, y), class_axis=3)


@pytest.mark.parametrize("shape", [(1, 35), (35, 1), (1, 35, 1)])
def test_axes_of_one_do_not_matter(shape: tuple[int, ...]) -> None:
    sizes = ",".join(map(str, shape))
    compiled = compiled_of(
        f"g (float[N,5] x) => (float[N,{sizes}] y) <float[5,35] w, "
        f"int64[{len(shape) + 1}] s = {{-1,{sizes}}}> {{ z = MatMul (x, w) y = Reshape (z, s) }}"
    )
    x, y = drawn(80, 5), np.random.default_rng(0).integers(35, size=80)
    expected = (of_chip(0, "y", {"x": x}).reshape(80, 35).argmax(1) == y).mean()
    for labels in (y, y[:, None]):
        assert simulate(compiled, runs=1, sigma=0.4, data=(x, labels)).values[0] == expected


def test_the_first_output_that_fits_the_labels() -> None:
    compiled = compiled_of(
        "g (float[N,8] x) => (float[N] norm, float[N,4] y) <float[8,4] w> "
        "{ y = MatMul (x, w) norm = ReduceL2 <keepdims = 0> (y, one) }".replace(
            "<float[8,4] w>", "<float[8,4] w, int64[1] one = {1}>"
        )
    )
    x, maps = drawn(50, 8), np.random.default_rng(0).integers(3, size=(50, 2))
    with pytest.raises(DataError, match="one number per image"):
        simulate(compiled, runs=1, data=(x, maps))
    target = drawn(50, 4, seed=5)
    found = simulate(compiled, runs=1, data=(x, target))
    assert found.description.output == "y"
    assert found.description.reading.text == "values; the first of 2 outputs that fits the values"


TIME_FIRST = (
    "g (float[N,3,6] x) => (float[T,N,5] y) <float[6,5] w> "
    "{ z = MatMul (x, w) y = Transpose <perm = [1,0,2]> (z) }"
)


@pytest.mark.parametrize("batch_axis", [None, "1", "y=1"])
def test_time_first_outputs(batch_axis: str | None) -> None:
    """Found where the file names its axes, else as asked for."""
    text = TIME_FIRST if batch_axis is None else TIME_FIRST.replace("float[T,N,5]", "float[3,M,5]")
    compiled, x = compiled_of(text), drawn(40, 3, 6)
    y = np.random.default_rng(0).integers(5, size=(40, 3))
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y), batch_axis=batch_axis)
    assert found.values[1] == (of_chip(1, "y", {"x": x}).argmax(-1).T == y).mean()
    assert found.description.reading.batch_axis == 1
    assert "images along axis 1" in found.description.reading.text


def test_inputs_and_outputs_with_images_second() -> None:
    compiled = compiled_of(
        "g (float[3,N,6] x) => (float[3,N,5] y) <float[6,5] w> { y = MatMul (x, w) }"
    )
    x, y = drawn(40, 3, 6), np.random.default_rng(0).integers(5, size=(40, 3))
    with pytest.raises(ModelError, match="batch_axis x=1"):
        simulate(compiled, runs=1, data=(x, y))
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y), batch_axis="x=1,y=1")
    outputs = of_chip(1, "y", {"x": x.transpose(1, 0, 2)})
    assert found.values[1] == (outputs.argmax(-1).T == y).mean()
    with pytest.raises(OptionError, match="batch_axis is 'one'; expected"):
        simulate(compiled, runs=1, data=(x, y), batch_axis="one")
    with pytest.raises(OptionError, match="input or output 'z' is unknown"):
        simulate(compiled, runs=1, data=(x, y), batch_axis="z=1")


@pytest.mark.parametrize("fidelity", ["cells", "circuit"])
def test_a_network_without_an_axis_of_images_runs_image_by_image(fidelity: Any) -> None:
    compiled = compiled_of(
        "g (float[3,6,6] x) => (float[4] y) <float[4,108] w> "
        "{ f = Flatten <axis = 0> (x) z = Gemm <transB = 1> (f, w) y = Squeeze (z) }"
    )
    x, y = drawn(30, 3, 6, 6), np.random.default_rng(0).integers(4, size=30)
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y), fidelity=fidelity)
    hits = [
        of_chip(1, "y", {"x": image}).argmax() == label for image, label in zip(x, y, strict=True)
    ]
    assert found.values[1] == np.mean(hits)
    assert "run image by image" in found.description.reading.text
    assert simulate(compiled, runs=1, batch_axis="none", limit=3).description.images == 3
    # (3, 6, 6) in and (4,) out: no number of images could be on the first axis
    seeded = simulate(compiled, runs=1, limit=3, fidelity=fidelity)
    assert "run image by image" in seeded.description.reading.text
    assert compiled.manifest.work is not None and compiled.manifest.work.mapped == 4 * 108
    assert compiled.manifest.layers[0].products == 1
    with pytest.raises(DataError, match="one sample of .* at a time: it has no batch axis"):
        compile_model("m.onnx", "fefet2", CompileOptions(activation_bits=4), data=(x, y))


def test_rows_of_one_image_are_its_decisions() -> None:
    """An axis of images that Reshape merged with rows: one image a run, three labels each."""
    text = (
        "g (float[IMAGES,12] x) => (float[M,3] y) <float[4,3] w, int64[2] s = {-1, 4}> "
        "{ r = Reshape (x, s) y = MatMul (r, w) }"
    )
    x, y = drawn(30, 12), np.random.default_rng(0).integers(3, size=(30, 3))
    with pytest.raises(DataError, match="does not fit output 'y'"):
        simulate(compiled_of(text.replace("IMAGES", "N")), runs=1, data=(x, y))
    compiled = compiled_of(text.replace("IMAGES", "1"))
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y))
    outputs = np.stack([of_chip(1, "y", {"x": image[None]}) for image in x])
    assert found.values[1] == (outputs.argmax(-1) == y).mean()
    assert "run image by image" in found.description.reading.text


def test_rows_that_depend_on_the_image_are_refused() -> None:
    compiled = compiled_of(
        "g (float[1,6] x) => (float[M,6] y) <float[6,6] w> { z = MatMul (x, w) b = Less (z, x) "
        "i = NonZero (b) t = Transpose (i) c = Cast <to = 1> (t) y = MatMul (c, v) }".replace(
            "<float[6,6] w>", "<float[6,6] w, float[2,6] v>"
        )
    )
    with pytest.raises(ModelError, match="shape .* image"):
        simulate(compiled, runs=2, data=(drawn(9, 6), None))
    compiled = compiled_of(
        "g (float[1,6] x) => (float[1,M] y) <float[6,6] w> { z = MatMul (x, w) b = Less (z, x) "
        "i = NonZero (b) c = Cast <to = 1> (i) y = ReduceSum (c, a) }".replace(
            "<float[6,6] w>", "<float[6,6] w, int64[1] a = {0}>"
        )
    )
    with pytest.raises(ModelError, match="for one image and .* for another.*NonMaxSuppression"):
        simulate(compiled, runs=2, data=(drawn(9, 6), None))


def test_what_decides_values_is_in_the_identity() -> None:
    compiled, x = compiled_of(AMBIGUOUS), drawn(50, 5)
    y = np.random.default_rng(0).integers(3, size=(50, 3))
    first, last = (
        set_up(compiled, compiled.manifest.target, data=(x, y), class_axis=axis).identity
        for axis in (1, 2)
    )
    assert "class_axis" not in first and last["class_axis"] == 2
    assert {k: v for k, v in last.items() if k not in ("class_axis", "order")} == {
        k: v for k, v in first.items() if k != "order"
    }


def test_training_takes_the_same_output_and_axis() -> None:
    """A tagger whose labels are its own classes shifted learns them along the last axis."""
    onnx.save(proto_of(TAGS), "m.onnx")
    y = np.random.default_rng(0).integers(4, size=(400, 6))
    x = 2 * np.eye(4, dtype=np.float32)[y] + 0.3 * drawn(400, 6, 4)
    y[:, 4:] = IGNORED
    settings = Settings(epochs=12, batch=16, rate=0.03, chips=4, percentile=50)
    target = Target.of(load_device("rram4"))
    task = make_task((x, y), target, sigma=0.05, settings=settings)
    outcome = train("m.onnx", task, make_method("erm"), output="out.onnx")
    assert outcome.reading.class_axis == 2
    assert outcome.before.ideal < 0.6 and outcome.after.ideal > 0.9
    compiled = compile_model("out.onnx", target, output="out.nvmc")
    assert simulate(compiled, runs=2, sigma=0.0, data=(x, y)).values[0] > 0.9


def test_training_prefers_scores_to_the_numbers_made_of_them() -> None:
    onnx.save(proto_of(LABELLED), "m.onnx")
    x = drawn(200, 8)
    y = (x @ np.random.default_rng(7).standard_normal((8, 3))).argmax(1)
    settings = Settings(epochs=10, rate=0.05, chips=4, percentile=50)
    task = make_task((x, y), Target.of(load_device("rram4")), sigma=0.05, settings=settings)
    outcome = train("m.onnx", task, make_method("erm"), output="out.onnx")
    assert outcome.reading.output == "scores"
    assert outcome.after.ideal > outcome.before.ideal + 0.2


@pytest.mark.parametrize("form", ["softmax", "exp of log", "clipped", "written out", "logarithms"])
def test_the_loss_is_that_of_the_probabilities(form: str) -> None:
    x = drawn(120, 6)
    y = (x @ np.random.default_rng(7).standard_normal((6, 3))).argmax(1)
    losses: list[float] = []
    settings = Settings(epochs=1, rate=0.01, chips=2, percentile=50)  # the loss is of one epoch
    for last in (PROBABILITIES["scores"], PROBABILITIES[form]):
        text = (
            "g (float[N,6] x) => (float[N,3] y) <float[6,3] w, int64[1] axis = {1}, "
            f"float low = {{0.0000001}}, float one = {{1}}> {{ s = MatMul (x, w) {last} }}"
        )
        onnx.save(proto_of(text), "m.onnx")
        task = make_task((x, y), Target.of(load_device("rram4")), sigma=0.0, settings=settings)
        losses.append(train("m.onnx", task, make_method("erm"), output="out.onnx").epochs[0].loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    "last", ["y = MatMul (x, w)", "z = MatMul (x, w) y = Softmax (z)", "y = LogSoftmax (z)"]
)
def test_perplexity_is_that_of_the_labels(last: str, capsys: Capture) -> None:
    """exp of minus the mean log-likelihood over the tokens that are no padding."""
    first = "z = MatMul (x, w) " if last.startswith("y = Log") else ""
    compiled = compiled_of(TAGS.replace("y = MatMul (x, w)", first + last))
    x = drawn(60, 7, 4)
    y = np.random.default_rng(0).integers(5, size=(60, 7))
    y[np.arange(7) >= np.random.default_rng(1).integers(1, 8, 60)[:, None]] = IGNORED
    data: Any = (x, y)
    found = simulate(compiled, runs=3, sigma=0.4, data=data, metric="perplexity")
    outputs = of_chip(2, "y", {"x": x}).astype(np.float64)
    shares = outputs if "= Soft" in last else np.exp(outputs)
    shares /= shares.sum(-1, keepdims=True)
    own = np.take_along_axis(shares, np.maximum(y, 0)[..., None], -1)[..., 0][y != IGNORED]
    assert found.values[2] == pytest.approx(np.exp(-np.log(own).mean()), rel=1e-5)
    parts = simulate(compiled, runs=3, sigma=0.4, data=data, metric="perplexity", batch=7)
    assert np.array_equal(parts.values, found.values)
    np.savez("d.npz", x=x, y=y)
    words = ["simulate", "m.nvmc", "--data", "d.npz", "--metric", "perplexity", "--runs", "1"]
    assert main([*words, "--sigma", "0.4"]) == 0
    shown = capsys.readouterr().out
    assert "ideal chip perplexity" in shown and f"{found.values[0]:.4g}" in shown


def test_perplexity_needs_scores() -> None:
    compiled, x = compiled_of(LABELLED), drawn(20, 8)
    y = np.random.default_rng(0).integers(3, size=20)
    assert simulate(compiled, runs=1, data=(x, y), metric="perplexity").ideal > 1
    with pytest.raises(OptionError, match="wants class scores, but output 'label' holds class num"):
        simulate(compiled, runs=1, data=(x, y), metric="perplexity", output="label")


def test_images_of_unequal_labels_are_no_sample_of_equal_parts() -> None:
    compiled, x = compiled_of(TAGS), drawn(12, 7, 4)
    y = np.zeros((12, 7), np.int64)
    target = compiled.manifest.target
    assert (found := set_up(compiled, target, data=(x, y)).sampled) and found.decisions == 7
    y[:, 5:] = IGNORED
    assert (found := set_up(compiled, target, data=(x, y)).sampled) and found.decisions == 5
    y[0, 0] = IGNORED
    assert set_up(compiled, target, data=(x, y)).sampled is None


@pytest.mark.parametrize("axis", ["", "axis = 1, "])
@pytest.mark.parametrize(
    "order", ["float[N,K] v, int64[N,K] label", "int64[N,K] label, float[N,K] v"]
)
@pytest.mark.parametrize("classes", [1, 2])
def test_sorted_scores_name_no_class(axis: str, order: str, classes: int) -> None:
    """TopK's values are sorted: whoever takes them for scores finds class 0 every time."""
    compiled = compiled_of(
        f"g (float[N,8] x) => ({order}) <float[8,2] w, int64[1] k = {{{classes}}}> "
        f"{{ s = MatMul (x, w) v, label = TopK <{axis}largest = 1> (s, k) }}"
    )
    x, y = drawn(80, 8), np.random.default_rng(0).integers(2, size=80)
    if classes == 1:
        found = simulate(compiled, runs=2, sigma=0.4, data=(x, y))
        assert found.description.output == "label"
        assert found.values[1] == (of_chip(1, "label", {"x": x})[:, 0] == y).mean()
    with pytest.raises(DataError, match="'v' holds what TopK took of the classes' scores"):
        simulate(compiled, runs=1, data=(x, y), output="v")


def test_a_confidence_is_no_score() -> None:
    compiled = compiled_of(
        "g (float[N,8] x) => (float[N] conf, int64[N] label) <float[8,2] w, int64[1] a = {1}> "
        "{ s = MatMul (x, w) p = Softmax <axis = 1> (s) conf = ReduceMax <keepdims = 0> (p, a) "
        "label = ArgMax <axis = 1, keepdims = 0> (s) }"
    )
    x, y = drawn(80, 8), np.random.default_rng(0).integers(2, size=80)
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y))
    assert found.values[1] == (of_chip(1, "label", {"x": x}) == y).mean()
    alone = simulate(compiled, runs=2, sigma=0.4, data=(x, None))
    assert alone.description.output == "label"
    values = simulate(compiled, runs=2, data=(x, None), output="conf", metric="agreement-r2")
    assert values.description.reading.holds == "values"


def test_scores_come_first_but_count_in_another_way() -> None:
    compiled = compiled_of(
        "g (float[N,8] x) => (float[N,3] scores, int64[N] label) "
        "<float[8,3] w, int64[3] known = {2, 0, 1}> { scores = MatMul (x, w) "
        "p = ArgMax <axis = 1, keepdims = 0> (scores) label = Gather (known, p) }"
    )
    x, y = drawn(90, 8), np.random.default_rng(0).integers(3, size=90)
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y))
    assert "scores counts its classes in another way" in found.description.reading.text
    assert found.values[1] == (of_chip(1, "label", {"x": x}) == y).mean()


MIXED = {
    "mean": "m = ReduceMean <keepdims = 1> (x, first) d = Sub (x, m) y = MatMul (d, w)",
    "batchnorm": (
        "b, rm, rv = BatchNormalization <training_mode = 1> (x, s, t, m0, v0) y = MatMul (b, w)"
    ),
}


@pytest.mark.parametrize("batch", ["N", "4"])
@pytest.mark.parametrize("kind", MIXED)
def test_images_that_depend_on_each_other_are_refused(kind: str, batch: str) -> None:
    text = (
        f"g (float[{batch},6] x) => (float[{batch},3] y) <float[6,3] w, int64[1] first = {{0}}, "
        "float[6] s, float[6] t, float[6] m0, float[6] v0 = {1, 1, 1, 1, 1, 1}> "
        f"{{ {MIXED[kind]} }}"
    )
    data = drawn(40, 6), np.random.default_rng(0).integers(3, size=40)
    with pytest.raises(ModelError, match="depends on the images that are run with it"):
        simulate(compiled_of(text), runs=1, data=data)


def test_one_image_a_run_is_no_mixture() -> None:
    text = (
        "g (float[N,T,6] x) => (float[N,T,3] y) <float[6,3] w, int64[1] first = {0, 1}> "
        "{ m = ReduceMean <keepdims = 1> (x, first) d = Sub (x, m) y = MatMul (d, w) }"
    ).replace("int64[1] first = {0, 1}", "int64[2] first = {0, 1}")
    onnx.save(proto_of(text), "m.onnx")
    compiled = compile_model(
        "m.onnx", Target.of(load_device("rram4"), weight_bits=4), CompileOptions(shape=("x=1x5x6",))
    )
    x, y = drawn(12, 5, 6), np.random.default_rng(0).integers(3, size=(12, 5))
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y))
    chip = [of_chip(1, "y", {"x": image[None]})[0].argmax(-1) for image in x]
    assert found.values[1] == (np.stack(chip) == y).mean()


@pytest.mark.parametrize("form", PROBABILITIES)
def test_probabilities_are_told_by_their_values(form: str) -> None:
    """Perplexity is that of the labels' probabilities, however the network writes its softmax."""
    compiled = compiled_of(
        "g (float[N,6] x) => (float[N,3] y) <float[6,3] w, int64[1] axis = {1}, "
        "float low = {0.0000001}, float one = {1}> "
        f"{{ s = MatMul (x, w) {PROBABILITIES[form]} }}"
    )
    x, y = drawn(50, 6), np.random.default_rng(0).integers(3, size=50)
    found = simulate(compiled, runs=2, sigma=0.1, data=(x, y), metric="perplexity")
    out = of_chip(1, "y", {"x": x}, sigma=0.1).astype(np.float64)
    if form in ("logarithms", "scores"):
        out = np.exp(out - out.max(1, keepdims=True))
        out /= out.sum(1, keepdims=True)
    own = np.exp(-np.log(out[np.arange(50), y]).mean())
    assert found.values[1] == pytest.approx(own, rel=1e-4)


def test_features_that_come_before_their_scores_are_not_scored() -> None:
    compiled = compiled_of(
        "g (float[N,6] x) => (float[N,16] h, float[N,5] y) <float[6,16] v, float[16,5] w> "
        "{ a = MatMul (x, v) h = Relu (a) y = MatMul (h, w) }"
    )
    x, y = drawn(60, 6), np.random.default_rng(0).integers(5, size=60)
    found = simulate(compiled, runs=2, sigma=0.4, data=(x, y))
    assert found.description.reading.text == "class scores; h is what it is computed from"
    assert found.values[1] == (of_chip(1, "y", {"x": x}).argmax(1) == y).mean()


def test_class_numbers_of_other_decisions_are_not_those_of_the_scores() -> None:
    """A mutated network had 3 numbers for 16 decisions: a fault of nvmc itself, it said."""
    reading = Reading("y", "class scores", 1)
    scores = np.eye(3, dtype=np.float32)
    assert _decide(scores, reading, np.arange(3))
    assert not _decide(scores, reading, np.arange(2))
